//! What has come back: how often with which status, and how long the good answers took.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;
use tonic::Code;

use crate::error::{Error, Result, code_name};

/// The longest latency that is told apart from longer ones, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;

/// To so many digits latencies are kept.
const DIGITS: u8 = 3;

/// What a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    /// The status of HTTP.
    Http(u16),
    /// The code of gRPC.
    Grpc(i32),
    /// No answer within the time limit.
    Timeout,
    /// No connection, or one that broke.
    NoAnswer,
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => write!(formatter, "{status}"),
            Self::Grpc(code) => formatter.write_str(code_name(Code::from_i32(*code))),
            Self::Timeout => formatter.write_str("timeout"),
            Self::NoAnswer => formatter.write_str("no answer"),
        }
    }
}

/// The end of a request.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: Status,
    /// What the server says, if it is no good answer.
    pub(super) failure: Option<String>,
}

/// How many requests ended like this.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) requests: u64,
    /// What the first of them was told, if they failed.
    pub(super) failure: Option<String>,
}

/// All requests so far.
#[derive(Debug)]
pub(super) struct Tally {
    latencies: Histogram<u64>,
    statuses: BTreeMap<Status, Count>,
}

impl Tally {
    /// Nothing yet.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if latencies cannot be kept, which does not happen.
    pub(super) fn shared() -> Result<Arc<Mutex<Self>>> {
        Ok(Arc::new(Mutex::new(Self::new()?)))
    }

    pub(super) fn new() -> Result<Self> {
        let latencies = Histogram::new_with_bounds(1, LONGEST, DIGITS)
            .map_err(|error| Error::internal(format!("Latencies cannot be kept: {error}")))?;
        Ok(Self { latencies, statuses: BTreeMap::new() })
    }

    /// Takes a request in.
    pub(super) fn add(&mut self, latency: Duration, outcome: Outcome) {
        if outcome.failure.is_none() {
            let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST);
            self.latencies.saturating_record(nanoseconds.max(1));
        }
        let count =
            self.statuses.entry(outcome.status).or_insert(Count { requests: 0, failure: outcome.failure });
        count.requests += 1;
    }

    pub(super) fn requests(&self) -> u64 {
        self.statuses.values().map(|count| count.requests).sum()
    }

    pub(super) fn failed(&self) -> u64 {
        self.statuses.values().filter(|count| count.failure.is_some()).map(|count| count.requests).sum()
    }

    pub(super) fn statuses(&self) -> &BTreeMap<Status, Count> {
        &self.statuses
    }

    /// The latency below which this part of the good answers is, in seconds.
    pub(super) fn quantile(&self, quantile: f64) -> f64 {
        seconds(self.latencies.value_at_quantile(quantile))
    }

    /// The latencies with their names, in seconds; none if there was no good answer.
    pub(super) fn latencies(&self) -> Vec<(&'static str, f64)> {
        if self.latencies.is_empty() {
            return Vec::new();
        }
        let quantiles = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];
        let ends = [("min", seconds(self.latencies.min())), ("mean", self.latencies.mean() / 1e9)];
        ends.into_iter()
            .chain(quantiles.map(|(name, quantile)| (name, self.quantile(quantile))))
            .chain([("max", seconds(self.latencies.max()))])
            .collect()
    }

    /// Every latency that occurred, in seconds, and how often, the shortest first.
    pub(super) fn recorded(&self) -> impl Iterator<Item = (f64, u64)> {
        self.latencies
            .iter_recorded()
            .map(|value| (seconds(value.value_iterated_to()), value.count_at_value()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "an hour in nanoseconds is exact")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_those_of_good_answers() {
        let mut tally = Tally::new().unwrap();
        for milliseconds in 1..=100 {
            let outcome = Outcome { status: Status::Http(200), failure: None };
            tally.add(Duration::from_millis(milliseconds), outcome);
        }
        for failure in ["first", "second"] {
            let outcome = Outcome { status: Status::Http(503), failure: Some(failure.to_owned()) };
            tally.add(Duration::from_secs(7), outcome);
        }
        assert_eq!((tally.requests(), tally.failed()), (102, 2));
        assert_eq!(tally.statuses()[&Status::Http(503)].failure.as_deref(), Some("first"));
        let latencies = tally.latencies();
        let names: Vec<_> = latencies.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"]);
        for ((name, latency), expected) in
            latencies.into_iter().zip([0.001, 0.0505, 0.05, 0.09, 0.095, 0.099, 0.1, 0.1])
        {
            assert!((latency / expected - 1.0).abs() < 2e-3, "{name}: {latency}");
        }
        assert_eq!(tally.recorded().map(|(_, count)| count).sum::<u64>(), 100);
        assert!(Tally::new().unwrap().latencies().is_empty());
    }
}
