//! Traces: which requests are part of one, and spans on their way to the collector.
//!
//! Requests that are over wait in a queue of bounded length, from which a task sends the spans of many at
//! once. What finds it full is dropped and counted, and so is what the collector does not take; the log
//! says so.
//!
//! OpenTelemetry's own batch processor is not used: how much it drops it tells at its end alone, it would have the
//! spans made before a connection goes on to its next request, and its thread ends with its owner, without sending
//! what it still has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, Uri};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::SpanExporter as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::context::Trace;
use super::otlp;
use super::spans::Finished;
use crate::config::TracesConfig;
use crate::error::{Error, Result};

/// How many requests may wait for their spans to be sent.
const QUEUE: usize = 4096;

/// The most requests whose spans are sent at once.
const BATCH: usize = 512;

/// How long to gather spans.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often to say that traces are lost.
const SILENCE: Duration = Duration::from_secs(30);

/// Makes traces and sends them. The task that sends ends when this is dropped, after what it still has.
#[derive(Debug)]
pub struct Tracer {
    config: TracesConfig,
    queue: mpsc::Sender<Item>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Item {
    Finished(Box<Finished>),
    /// Everything before this is to be sent now.
    Flush(oneshot::Sender<()>),
}

impl Tracer {
    /// Sends to the collector of the configuration from now on.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a collector that cannot be meant.
    pub fn start(config: &TracesConfig) -> Result<Arc<Self>> {
        let mut collector = otlp::exporter(config)
            .map_err(|error| Error::invalid_argument(format!("Traces cannot be sent: {error}")))?;
        collector.set_resource(&resource(config));
        let (queue, items) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let exporter = Exporter {
            items,
            collector,
            us: InstrumentationScope::builder("tfbridge").with_version(env!("CARGO_PKG_VERSION")).build(),
            dropped: Arc::clone(&dropped),
            endpoint: config.endpoint.clone(),
            is_failing: false,
            lost: 0,
            told: None,
        };
        tokio::spawn(exporter.run());
        Ok(Arc::new(Self { config: config.clone(), queue, dropped }))
    }

    /// What it was started with.
    #[must_use]
    pub fn config(&self) -> &TracesConfig {
        &self.config
    }

    /// The place of a request with these headers, which have from then on what the backend is to know.
    pub fn begin(&self, headers: &mut HeaderMap) -> Trace {
        Trace::begin(headers, self.config.sample)
    }

    /// Takes a request of a trace that is kept.
    pub fn finish(&self, finished: Finished) {
        if self.queue.try_send(Item::Finished(Box::new(finished))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends what there is, as far as this time allows.
    pub async fn flush(&self, patience: Duration) {
        let (done, sent) = oneshot::channel();
        let flush = async {
            if self.queue.send(Item::Flush(done)).await.is_ok() {
                // It only fails if the task has ended, and then there is nothing to wait for.
                let _ = sent.await;
            }
        };
        if timeout(patience, flush).await.is_err() {
            tracing::warn!("some traces could not be sent before the end");
        }
    }
}

/// The task that sends.
struct Exporter {
    items: mpsc::Receiver<Item>,
    collector: SpanExporter,
    us: InstrumentationScope,
    dropped: Arc<AtomicU64>,
    endpoint: Uri,
    /// The last attempt failed, which has been said.
    is_failing: bool,
    /// How many requests were lost since that was said.
    lost: u64,
    told: Option<Instant>,
}

impl Exporter {
    async fn run(mut self) {
        let mut batch = Vec::new();
        while let Some(item) = self.items.recv().await {
            let mut next = Some(item);
            let until = Instant::now() + INTERVAL;
            let mut flushed = None;
            while let Some(item) = next {
                match item {
                    Item::Finished(finished) => batch.push(finished),
                    Item::Flush(done) => {
                        flushed = Some(done);
                        break;
                    }
                }
                if batch.len() >= BATCH {
                    break;
                }
                next = timeout_at(until, self.items.recv()).await.unwrap_or_default();
            }
            self.export(&batch).await;
            batch.clear();
            if let Some(flushed) = flushed {
                // Who does not wait any more need not know.
                let _ = flushed.send(());
            }
        }
    }

    async fn export(&mut self, batch: &[Box<Finished>]) {
        self.lost += self.dropped.swap(0, Ordering::Relaxed);
        if !batch.is_empty() {
            let spans = batch.iter().flat_map(|finished| finished.spans(&self.us)).collect();
            let result = self.collector.export(spans).await;
            match &result {
                Ok(()) if self.is_failing => tracing::info!("the collector takes traces again"),
                Err(error) if !self.is_failing => {
                    tracing::warn!(%error, endpoint = %self.endpoint, "the collector takes no traces");
                }
                _ => {}
            }
            self.is_failing = result.is_err();
            if self.is_failing {
                self.lost += batch.len() as u64;
            }
        }
        if self.lost > 0 && self.told.is_none_or(|told| told.elapsed() > SILENCE) {
            tracing::warn!(requests = self.lost, "traces were lost");
            self.lost = 0;
            self.told = Some(Instant::now());
        }
    }
}

/// What sends the spans: what the configuration says counts for more than what the environment says.
fn resource(config: &TracesConfig) -> Resource {
    let builder = Resource::builder_empty()
        .with_service_name("tfbridge")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match &config.service_name {
        Some(name) => builder.with_service_name(name.clone()).build(),
        None => builder.build(),
    }
}
