//! The signatures of the models, asked of the backend once and remembered.
//!
//! Requests for the same model wait for one call. What is remembered is forgotten after a
//! while, when a reply comes from another version, and when the backend rejects what was
//! encoded with it. A failed look-up is never remembered, so names that do not exist take no
//! memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::codec::model;
use crate::codec::signature::Signatures;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::GetModelMetadataRequest;
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::route::Target;
use crate::upstream::{Deadline, Upstream};

/// The signatures by model and version or label.
#[derive(Debug)]
pub struct SignatureCache {
    upstream: Upstream,
    ttl: Duration,
    entries: Mutex<HashMap<Target, Arc<Entry>>>,
}

/// The signatures of one version of a model.
#[derive(Debug)]
pub struct Known {
    /// The signatures.
    pub signatures: Signatures,
    /// The version they belong to, if the backend said.
    version: Option<i64>,
    fetched: Instant,
}

/// A place that the first request fills while others wait for it. A failure is for those who
/// wait; the entry leaves the cache with it.
type Entry = OnceCell<std::result::Result<Arc<Known>, Failure>>;

/// An error that several requests get.
#[derive(Debug, Clone)]
struct Failure {
    code: tonic::Code,
    message: String,
}

/// How old signatures must be before a rejected request makes us ask for them again: rejected
/// requests alone must not keep the backend busy.
const MIN_AGE: Duration = Duration::from_secs(1);

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
    pub fn new(upstream: Upstream, ttl: Duration) -> Self {
        Self { upstream, ttl, entries: Mutex::default() }
    }

    /// The signatures of a model, from memory or from the backend.
    ///
    /// # Errors
    ///
    /// What the backend says of an unknown model, version or label.
    pub async fn get(&self, target: &Target, deadline: Deadline) -> Result<Arc<Known>> {
        let entry = self.entry(target);
        // Also when this future is dropped: an entry that nobody fills must not stay.
        let unfilled = Unfilled { cache: self, target, entry: &entry };
        let fetched = unfilled.entry.get_or_init(async || {
            self.fetch(target, deadline).await.map_err(|error| {
                tracing::debug!(%error, model = target.name, "signatures could not be fetched");
                Failure { code: error.code(), message: error.message().to_owned() }
            })
        });
        fetched.await.clone().map_err(|failure| {
            self.remove(target, |found| Arc::ptr_eq(found, &entry));
            Error::new(failure.code, failure.message)
        })
    }

    /// The signatures after a request was rejected that was encoded with `outdated`: `None` if
    /// they have not changed, or are too young to ask again.
    pub async fn refresh(
        &self,
        target: &Target,
        outdated: &Arc<Known>,
        deadline: Deadline,
    ) -> Option<Arc<Known>> {
        if outdated.fetched.elapsed() < MIN_AGE {
            return None;
        }
        self.forget(target, outdated);
        let known = self.get(target, deadline).await.ok()?;
        (known.signatures != outdated.signatures).then_some(known)
    }

    /// Forgets signatures that have turned out to be outdated.
    pub fn forget(&self, target: &Target, outdated: &Arc<Known>) {
        self.remove(target, |entry| matches!(entry.get(), Some(Ok(known)) if Arc::ptr_eq(known, outdated)));
    }

    /// Compares signatures with the version that answered, and forgets them if it was another.
    pub fn check_version(&self, target: &Target, known: &Arc<Known>, answered: Option<i64>) {
        if known.version.is_some() && answered.is_some() && known.version != answered {
            self.forget(target, known);
        }
    }

    fn entry(&self, target: &Target) -> Arc<Entry> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(target)
            && !matches!(entry.get(), Some(Ok(known)) if known.fetched.elapsed() >= self.ttl)
        {
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

    async fn fetch(&self, target: &Target, deadline: Deadline) -> Result<Arc<Known>> {
        let request = GetModelMetadataRequest {
            model_spec: Some(target.to_spec("")),
            metadata_field: vec![model::SIGNATURE_DEF.to_owned()],
        };
        let reply = self.upstream.metadata(request, deadline).await?;
        let signatures = Signatures::from(&model::decode_signatures(&reply)?);
        let version = match reply.model_spec.and_then(|spec| spec.version_choice) {
            Some(VersionChoice::Version(version)) => Some(version),
            _ => None,
        };
        Ok(Arc::new(Known { signatures, version, fetched: Instant::now() }))
    }
}
