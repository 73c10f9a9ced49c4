//! The signatures of the models, asked of the backend once and remembered.
//!
//! Requests for the same model wait for one call. What is remembered is asked for again after a
//! while (in the background: nobody waits), when a reply comes from another version, and when the
//! backend rejects what was encoded with it. A failed look-up is never remembered, so names that
//! do not exist take no memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;
use tonic::Code;

use crate::codec::model;
use crate::codec::signature::Signatures;
use crate::config::UpstreamConfig;
use crate::error::Result;
use crate::proto::tensorflow::serving::GetModelMetadataRequest;
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::route::Target;
use crate::upstream::{Call, Upstream};

/// The signatures by model and version or label. Clones share them.
#[derive(Debug, Clone)]
pub struct SignatureCache {
    upstream: Upstream,
    ttl: Duration,
    /// Signatures by model, for backends that do not tell theirs.
    fallback: Arc<BTreeMap<String, Signatures>>,
    entries: Arc<Mutex<HashMap<Target, Arc<Entry>>>>,
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
    /// Set once newer ones have been asked for.
    renewed: AtomicBool,
}

/// A place that the first request fills while others wait for it. A failure is for those who
/// wait; the entry leaves the cache with it.
type Entry = OnceCell<Result<Arc<Known>>>;

/// How old signatures are at least before a rejected request makes us ask for them again. It
/// waits for that long if need be: rejected requests alone must not keep the backend busy.
const MIN_AGE: Duration = Duration::from_millis(5);

/// For how long a change of a model makes another one likely.
const LATELY: Duration = Duration::from_secs(10);

/// How long the backend may take to renew signatures in the background.
const RENEWAL: Duration = Duration::from_secs(30);

/// Takes an entry out of the cache if it is still empty in the end.
struct Unfilled<'a> {
    cache: &'a SignatureCache,
    target: &'a Target,
    entry: &'a Arc<Entry>,
}

impl Drop for Unfilled<'_> {
    fn drop(&mut self) {
        // The map's and this reference are the last two: nobody else waits or fetches.
        if self.entry.get().is_none() && Arc::strong_count(self.entry) <= 2 {
            self.cache.remove(self.target, |found| Arc::ptr_eq(found, self.entry));
        }
    }
}

impl SignatureCache {
    /// An empty cache in front of a backend.
    #[must_use]
    pub fn new(upstream: Upstream, config: &UpstreamConfig) -> Self {
        let fallback = Arc::clone(&config.signatures);
        Self {
            upstream,
            ttl: config.signature_ttl,
            fallback,
            entries: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// The signatures of a model, from memory or from the backend.
    ///
    /// # Errors
    ///
    /// What the backend says of an unknown model, version or label.
    pub async fn get(&self, target: &Target, call: &Call) -> Result<Arc<Known>> {
        let entry = self.entry(target);
        // Also when this future is dropped: an entry that nobody fills must not stay.
        let unfilled = Unfilled { cache: self, target, entry: &entry };
        let fetched = unfilled.entry.get_or_init(async || {
            self.fetch(target, call).await.inspect_err(|error| {
                tracing::debug!(%error, model = target.name, "signatures could not be fetched");
            })
        });
        let known = fetched.await.clone().inspect_err(|_| {
            self.remove(target, |found| Arc::ptr_eq(found, &entry));
        })?;
        if known.fetched.elapsed() >= self.ttl && !known.renewed.swap(true, Ordering::Relaxed) {
            tokio::spawn(self.clone().renew(target.clone(), Arc::clone(&known)));
        }
        Ok(known)
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
        self.forget(target, outdated);
        let newer = self.get(target, call).await?;
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

    fn note_change(&self) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Forgets signatures that have turned out to be outdated.
    pub fn forget(&self, target: &Target, outdated: &Arc<Known>) {
        self.remove(target, |entry| matches!(entry.get(), Some(Ok(known)) if Arc::ptr_eq(known, outdated)));
    }

    /// Compares signatures with the version that answered, and forgets them if it was another.
    pub fn check_version(&self, target: &Target, known: &Arc<Known>, answered: Option<i64>) {
        if known.version.is_some() && answered.is_some() && known.version != answered {
            self.note_change();
            self.forget(target, known);
        }
    }

    /// Replaces signatures that are old. While that fails they stay in use: a backend that is busy
    /// has not changed.
    async fn renew(self, target: Target, old: Arc<Known>) {
        let call = Call::new(crate::upstream::Deadline::after(RENEWAL), http::HeaderMap::new());
        match self.fetch(&target, &call).await {
            Ok(known) => {
                let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(entry) = entries.get_mut(&target)
                    && matches!(entry.get(), Some(Ok(known)) if Arc::ptr_eq(known, &old))
                {
                    *entry = Arc::new(Entry::from(Ok(known)));
                }
            }
            Err(error) if error.code() == Code::NotFound => self.forget(&target, &old),
            Err(error) => {
                tracing::debug!(%error, model = target.name, "signatures could not be renewed");
                old.renewed.store(false, Ordering::Relaxed);
            }
        }
    }

    fn entry(&self, target: &Target) -> Arc<Entry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(target) {
            return Arc::clone(entry);
        }
        let entry = Arc::new(Entry::new());
        entries.insert(target.clone(), Arc::clone(&entry));
        entry
    }

    fn remove(&self, target: &Target, condition: impl Fn(&Arc<Entry>) -> bool) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.get(target).is_some_and(condition) {
            entries.remove(target);
        }
    }

    async fn fetch(&self, target: &Target, call: &Call) -> Result<Arc<Known>> {
        let request = GetModelMetadataRequest {
            model_spec: Some(target.to_spec("")),
            metadata_field: vec![model::SIGNATURE_DEF.to_owned()],
        };
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
        Ok(Arc::new(Known { signatures, version, fetched: Instant::now(), renewed: AtomicBool::new(false) }))
    }
}
