//! Whether requests can be answered: a backend must be reached, and have the models that are required, and the
//! process must not be about to end.
//!
//! The backends are asked, at most once in a second however many want to know, and for a second at most.
//! What they say changes nothing about who gets calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Bridge;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::proto::tensorflow::serving::model_version_status::State;
use crate::proto::tensorflow::serving::{GetModelStatusRequest, ModelSpec};
use crate::upstream::{Call, Deadline, Memory, Upstream};

/// For how long an answer is good.
const FRESH: Duration = Duration::from_secs(1);

/// How long the backends may take.
const LIMIT: Duration = Duration::from_secs(1);

/// The most bytes of the states of a model, and of all replies at once. It is memory of its own, so that
/// a bridge that is busy is not taken for one that is not ready.
const MOST: usize = 1 << 20;
const MEMORY: usize = 64 << 20;

/// What is required, and what was found last.
#[derive(Debug)]
pub(super) struct Readiness {
    models: Vec<String>,
    memory: Memory,
    /// Whether the process is about to end, whatever its configuration is now.
    is_leaving: Arc<AtomicBool>,
    /// Held while the backends are asked, so that others wait for the same answer.
    found: Mutex<Option<Found>>,
}

/// Why the bridge was not ready, at some time.
#[derive(Debug)]
struct Found {
    at: Instant,
    reasons: Vec<String>,
}

impl Readiness {
    pub(super) fn new(config: &Config, metrics: &Arc<Metrics>) -> Self {
        Self {
            models: config.server.require_models.clone(),
            memory: Memory::new(MEMORY, metrics),
            is_leaving: Arc::default(),
            found: Mutex::default(),
        }
    }

    /// The same process with another configuration.
    pub(super) fn renewed(&self, config: &Config, metrics: &Arc<Metrics>) -> Self {
        Self { is_leaving: Arc::clone(&self.is_leaving), ..Self::new(config, metrics) }
    }
}

impl Bridge {
    /// Has the bridge say from now on that it is not ready, as the process is about to end. It answers all the same.
    pub(crate) fn leave(&self) {
        self.readiness.is_leaving.store(true, Ordering::Relaxed);
    }

    /// The reasons why requests could not be answered now, for people; none if they can be.
    pub async fn reasons_against(&self) -> Vec<String> {
        if self.readiness.is_leaving.load(Ordering::Relaxed) {
            return vec!["The bridge is about to end".to_owned()];
        }
        let mut found = self.readiness.found.lock().await;
        if let Some(Found { at, reasons }) = &*found
            && at.elapsed() < FRESH
        {
            return reasons.clone();
        }
        let (backend, models) = tokio::join!(reach(&self.upstream), self.missing_models());
        let reasons: Vec<_> = backend.into_iter().chain(models).collect();
        *found = Some(Found { at: Instant::now(), reasons: reasons.clone() });
        reasons
    }

    /// What is wrong with the required models, in the order in which they are required.
    async fn missing_models(&self) -> Vec<String> {
        let mut tasks = JoinSet::new();
        for (index, name) in self.readiness.models.iter().enumerate() {
            let (upstream, name) = (self.upstream.clone(), name.clone());
            let account = self.readiness.memory.account();
            let call = Call::new(Deadline::after(LIMIT), HeaderMap::new(), account, Arc::default(), MOST);
            tasks.spawn(async move { (index, missing(&upstream, name, &call).await) });
        }
        let mut missing = tasks.join_all().await;
        missing.sort_unstable();
        missing.into_iter().filter_map(|(_, reason)| reason).collect()
    }
}

async fn reach(upstream: &Upstream) -> Option<String> {
    match tokio::time::timeout(LIMIT, upstream.reach()).await {
        Ok(reached) => reached.err(),
        Err(_) => Some("No backend answers in time".to_owned()),
    }
}

/// Why a model cannot be used; `None` if it can.
async fn missing(upstream: &Upstream, name: String, call: &Call) -> Option<String> {
    let model_spec = Some(ModelSpec { name: name.clone(), ..ModelSpec::default() });
    match upstream.status(GetModelStatusRequest { model_spec }, call).await {
        Ok(reply) if reply.model_version_status.iter().any(|version| version.state() == State::Available) => {
            None
        }
        Ok(_) => Some(format!("The model {name} has no version that is AVAILABLE")),
        Err(error) => Some(format!("The model {name} cannot be used: {}", error.message())),
    }
}
