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
use crate::error::Result;
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

/// A place that the first request fills while others wait for it.
type Entry = OnceCell<Arc<Known>>;

/// Takes an entry out of the cache if it is still empty in the end.
struct Unfilled<'a> {
    cache: &'a SignatureCache,
    target: &'a Target,
    entry: &'a Arc<Entry>,
}

impl Drop for Unfilled<'_> {
    fn drop(&mut self) {
        if self.entry.get().is_none() {
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
        unfilled.entry.get_or_try_init(|| self.fetch(target, deadline)).await.cloned()
    }

    /// Forgets signatures that have turned out to be outdated.
    pub fn forget(&self, target: &Target, outdated: &Arc<Known>) {
        self.remove(target, |entry| entry.get().is_some_and(|known| Arc::ptr_eq(known, outdated)));
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
            && entry.get().is_none_or(|known| known.fetched.elapsed() < self.ttl)
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
