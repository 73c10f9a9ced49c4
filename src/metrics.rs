//! Counters and histograms of the requests, in the text format of Prometheus.
//!
//! Label sets are closed: verbs and status codes, never anything a client makes up.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::error::{Error, Result};

/// The metrics of a running bridge.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<VerbLabels, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

/// Buckets from 100 microseconds to 52 seconds.
fn request_buckets() -> Histogram {
    Histogram::new(exponential_buckets(1e-4, 2.0, 20))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that have counted nothing.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tfbridge");
        let requests = Family::default();
        registry.register("requests", "Requests answered, by verb and HTTP status", requests.clone());
        let seconds = Family::new_with_constructor(request_buckets as fn() -> Histogram);
        registry.register("request_seconds", "Time from a request's head to its reply", seconds.clone());
        Self { registry, requests, seconds }
    }

    /// Counts a request that has been answered.
    pub fn answered(&self, verb: &'static str, code: u16, elapsed: Duration) {
        self.requests.get_or_create_owned(&RequestLabels { verb, code }).inc();
        self.seconds.get_or_create_owned(&VerbLabels { verb }).observe(elapsed.as_secs_f64());
    }

    /// The metrics as text.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if they cannot be written, which memory alone could bring about.
    pub fn encode(&self) -> Result<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .map_err(|error| Error::internal("The metrics cannot be written").with_source(error))?;
        Ok(text)
    }
}
