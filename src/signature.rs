//! The signatures of the models, asked of the backend once and remembered.
//!
//! Requests for the same model wait for one call, which has a deadline of its own and goes on if
//! they go away. What is remembered is asked for again after a while and when a reply comes from
//! another version, both in the background, and when the backend rejects what was encoded with it.
//! Until newer ones are there, and while the backend cannot tell them, the old ones stay in use. A
//! failed look-up is never remembered, and of backends that tell nothing a number of models at most, so
//! that names that do not exist take no memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tonic::Code;

use crate::codec::model;
use crate::codec::signature::Signatures;
use crate::config::UpstreamConfig;
use crate::error::{Error, Result};
use crate::metrics::{Lookup as Outcome, Metrics};
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::route::{Target, Version};
use crate::upstream::{Call, Deadline, Upstream};

/// The signatures by model and version or label. Clones share them.
#[derive(Debug, Clone)]
pub struct SignatureCache {
    upstream: Upstream,
    metrics: Arc<Metrics>,
    ttl: Duration,
    /// Signatures by model, for backends that do not tell theirs.
    fallback: Arc<BTreeMap<String, Signatures>>,
    entries: Arc<Mutex<HashMap<Target, Entry>>>,
    /// A permit for each look-up.
    permits: Arc<Semaphore>,
    /// When another version was last seen to have taken over, of any model.
    changed: Arc<Mutex<Option<Instant>>>,
}

/// The signatures of one version of a model.
#[derive(Debug)]
pub struct Known {
    /// The signatures; `None` if the backend does not tell them and nobody else did.
    pub signatures: Option<Signatures>,
    /// The version they belong to, if the backend said.
    pub version: Option<i64>,
    fetched: Instant,
}

/// Signatures that are known, for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Remembered {
    /// The name of the model.
    pub model: String,
    /// The version or label that was asked for: `latest` if there was none.
    pub asked: String,
    /// The version that they belong to, if the backend said.
    pub version: Option<i64>,
    /// Their names, as many as are shown; `None` if the backend does not tell them.
    pub signatures: Option<Vec<String>>,
}

/// How many names of signatures are shown of one model.
const MOST_NAMES: usize = 100;

/// What there is for a target: signatures, a look-up under way, or both.
#[derive(Debug)]
struct Entry {
    known: Option<Arc<Known>>,
    lookup: Option<Lookup>,
    /// When the last look-up started.
    started: Instant,
}

/// Where the outcome of a look-up appears.
type Lookup = watch::Receiver<Option<Result<Arc<Known>>>>;

/// How old signatures are at least before a rejected request makes us ask for them again. It
/// waits for that long if need be: rejected requests alone must not keep the backend busy.
const MIN_AGE: Duration = Duration::from_millis(5);

/// How far apart look-ups are that nobody waits for.
const PAUSE: Duration = Duration::from_millis(100);

/// For how long a change of a model makes another one likely.
const LATELY: Duration = Duration::from_secs(10);

/// How many look-ups there are at once: they outlive their requests, and the clients choose the
/// names.
const MOST_LOOKUPS: usize = 1000;

/// How many models are remembered whose backend has not said that there are such: the clients choose
/// the names.
const MOST_UNTOLD: usize = 1000;

/// How long the backend may take to tell signatures, whoever waits for them.
const LIMIT: Duration = Duration::from_secs(30);

impl SignatureCache {
    /// An empty cache in front of a backend.
    #[must_use]
    pub fn new(upstream: Upstream, config: &UpstreamConfig, metrics: &Arc<Metrics>) -> Self {
        Self {
            upstream,
            metrics: Arc::clone(metrics),
            ttl: config.signature_ttl,
            fallback: Arc::clone(&config.signatures),
            entries: Arc::default(),
            permits: Arc::new(Semaphore::new(MOST_LOOKUPS)),
            changed: Arc::default(),
        }
    }

    /// The signatures of a model, from memory or from the backend.
    ///
    /// # Errors
    ///
    /// What the backend says of an unknown model, version or label.
    pub async fn get(&self, target: &Target, call: &Call) -> Result<Arc<Known>> {
        loop {
            let (lookup, is_ours) = {
                let mut entries = self.entries();
                match entries.get_mut(target) {
                    Some(Entry { known: Some(known), .. }) => {
                        let known = Arc::clone(known);
                        self.metrics.looked_up(Outcome::Hit);
                        if known.fetched.elapsed() >= self.ttl {
                            self.renew(&mut entries, target, call, self.ttl.min(PAUSE));
                        }
                        return Ok(known);
                    }
                    Some(Entry { lookup: Some(lookup), .. }) if is_running(lookup) => (lookup.clone(), false),
                    _ => (self.start(&mut entries, target, call)?, true),
                }
            };
            self.metrics.looked_up(if is_ours { Outcome::Miss } else { Outcome::Wait });
            match outcome(lookup, call).await {
                // What one client may not see, another one may.
                Err(error) if !is_ours && is_personal(&error) => {}
                outcome => return outcome,
            }
        }
    }

    /// The signatures after a request was rejected that was encoded with `outdated`, as the
    /// backend has them now.
    ///
    /// # Errors
    ///
    /// As [`SignatureCache::get`].
    pub async fn refresh(&self, target: &Target, outdated: &Arc<Known>, call: &Call) -> Result<Arc<Known>> {
        let due = tokio::time::sleep_until(outdated.fetched + MIN_AGE);
        call.deadline.limit("looking the signature up", due).await?;
        let lookup = {
            let mut entries = self.entries();
            match entries.get_mut(target) {
                Some(Entry { known: Some(known), .. }) if !Arc::ptr_eq(known, outdated) => {
                    return Ok(Arc::clone(known));
                }
                Some(Entry { lookup: Some(lookup), .. }) if is_running(lookup) => lookup.clone(),
                _ => self.start(&mut entries, target, call)?,
            }
        };
        let newer = outcome(lookup, call).await?;
        if newer.version != outdated.version {
            self.note_change();
        }
        Ok(newer)
    }

    /// True if a model has changed not long ago, and so may have changed to and fro.
    pub fn has_changed_lately(&self) -> bool {
        let changed = *self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.is_some_and(|changed| changed.elapsed() < LATELY)
    }

    /// Compares signatures with the version that answered, and asks for newer ones if it was
    /// another: in the background, since it has taken what was sent.
    pub fn check_version(&self, target: &Target, known: &Arc<Known>, answered: Option<i64>, call: &Call) {
        if known.version.is_some() && answered.is_some() && known.version != answered {
            self.note_change();
            self.renew(&mut self.entries(), target, call, PAUSE);
        }
    }

    /// What has been asked for that the backend has, in no order.
    #[must_use]
    pub fn confirmed(&self) -> Vec<Target> {
        let entries = self.entries();
        let is_confirmed = |entry: &Entry| entry.known.as_ref().is_some_and(|known| known.version.is_some());
        entries.iter().filter(|(_, entry)| is_confirmed(entry)).map(|(target, _)| target.clone()).collect()
    }

    /// How many there are, and the first ones by name.
    #[must_use]
    pub fn remembered(&self, most: usize) -> (usize, Vec<Remembered>) {
        let mut known: Vec<_> = {
            let entries = self.entries();
            let known = entries.iter().filter_map(|(target, entry)| Some((target, entry.known.as_ref()?)));
            known.map(|(target, known)| (target.clone(), Arc::clone(known))).collect()
        };
        let count = known.len();
        known.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        known.truncate(most);
        let names =
            |signatures: &Signatures| signatures.names().take(MOST_NAMES).map(str::to_owned).collect();
        let remembered = known.into_iter().map(|(target, known)| Remembered {
            asked: match target.version {
                Version::Latest => "latest".to_owned(),
                Version::Number(number) => number.to_string(),
                Version::Label(label) => label,
            },
            model: target.name,
            version: known.version,
            signatures: known.signatures.as_ref().map(names),
        });
        let mut remembered: Vec<_> = remembered.collect();
        remembered.sort_unstable();
        (count, remembered)
    }

    fn note_change(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Target, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a look-up that nobody waits for, unless the last one started just now.
    fn renew(&self, entries: &mut HashMap<Target, Entry>, target: &Target, call: &Call, pause: Duration) {
        if let Some(entry) = entries.get(target)
            && !entry.lookup.as_ref().is_some_and(is_running)
            && entry.started.elapsed() >= pause
        {
            // If there are too many, a later request does it.
            drop(self.start(entries, target, call));
        }
    }

    /// Starts a look-up, with the metadata of the request that it is for.
    fn start(&self, entries: &mut HashMap<Target, Entry>, target: &Target, call: &Call) -> Result<Lookup> {
        let permit = Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| Error::unavailable("Too many signatures are being looked up"))?;
        let (report, lookup) = watch::channel(None);
        let started = Instant::now();
        let entry = entries.entry(target.clone()).or_insert(Entry { known: None, lookup: None, started });
        (entry.lookup, entry.started) = (Some(lookup.clone()), started);
        let (cache, target) = (self.clone(), target.clone());
        let call = call.detached(Deadline::after(LIMIT));
        tokio::spawn(async move {
            let outcome = cache.fetch(&target, &call).await;
            cache.keep(&target, &outcome);
            report.send_replace(Some(outcome));
            drop(permit);
        });
        Ok(lookup)
    }

    /// Takes the outcome of a look-up into the cache.
    fn keep(&self, target: &Target, outcome: &Result<Arc<Known>>) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(target) else { return };
        entry.lookup = None;
        match outcome {
            Ok(known) => {
                entry.known = Some(Arc::clone(known));
                // Whichever makes room is looked up again when somebody asks for it.
                if known.version.is_none()
                    && entries.len() > MOST_UNTOLD
                    && let Some(other) = entries.keys().find(|other| *other != target).cloned()
                {
                    entries.remove(&other);
                }
            }
            Err(error) => {
                tracing::debug!(%error, model = target.name, "signatures could not be fetched");
                // A backend that cannot answer has not changed.
                if entry.known.is_none() || error.code() == Code::NotFound {
                    entries.remove(target);
                }
            }
        }
    }

    async fn fetch(&self, target: &Target, call: &Call) -> Result<Arc<Known>> {
        let request = model::metadata_request(target.to_spec(""));
        let (signatures, version) = match self.upstream.metadata(request, call).await {
            Ok(reply) => {
                let signatures = Signatures::from(&model::decode_signatures(&reply)?);
                let version = match reply.model_spec.and_then(|spec| spec.version_choice) {
                    Some(VersionChoice::Version(version)) => Some(version),
                    _ => None,
                };
                (Some(signatures), version)
            }
            // A server without this method, as there are.
            Err(error) if error.code() == Code::Unimplemented => {
                (self.fallback.get(&target.name).cloned(), None)
            }
            Err(error) => return Err(error),
        };
        Ok(Arc::new(Known { signatures, version, fetched: Instant::now() }))
    }
}

/// False if a look-up has ended without an outcome, which only a bug could bring about.
fn is_running(lookup: &Lookup) -> bool {
    lookup.has_changed().is_ok()
}

/// Waits for a look-up until the request's own deadline.
async fn outcome(mut lookup: Lookup, call: &Call) -> Result<Arc<Known>> {
    let outcome = call.deadline.limit("looking the signature up", lookup.wait_for(Option::is_some)).await?;
    // It reports whatever comes of it, unless the runtime ends.
    let lost = || Err(Error::unavailable("The look-up of the signature was given up"));
    outcome.map_or_else(|_| lost(), |outcome| outcome.clone().unwrap_or_else(lost))
}

/// True for a refusal that was meant for the client whose metadata the look-up had.
fn is_personal(error: &Error) -> bool {
    matches!(error.code(), Code::Unauthenticated | Code::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Backend;

    #[tokio::test]
    async fn names_that_nobody_has_confirmed_take_little_memory() {
        let config = UpstreamConfig::new(vec![Backend::at(([127, 0, 0, 1], 9).into())]);
        let metrics = Arc::default();
        let cache = SignatureCache::new(Upstream::new(&config, &metrics), &config, &metrics);
        let remember = |name: String, version| {
            let target = Target { name, version: Version::Latest };
            let entry = Entry { known: None, lookup: None, started: Instant::now() };
            cache.entries().insert(target.clone(), entry);
            let known = Known { signatures: None, version, fetched: Instant::now() };
            cache.keep(&target, &Ok(Arc::new(known)));
            assert!(cache.entries().contains_key(&target));
        };
        (0..2 * MOST_UNTOLD).for_each(|index| remember(format!("untold {index}"), None));
        assert_eq!(cache.entries().len(), MOST_UNTOLD);
        // As many as the backend has.
        (0..MOST_UNTOLD).for_each(|index| remember(format!("told {index}"), Some(1)));
        assert_eq!(cache.entries().len(), 2 * MOST_UNTOLD);
    }
}
