//! What is counted and measured of a running bridge, and its text.
//!
//! Label sets are closed: verbs, status codes and other lists that are written down here, and models
//! that a backend has confirmed, never anything a client makes up. To count a request takes a fraction of a
//! microsecond, and makes no thread wait for another. `deploy/OBSERVABILITY.md` lists all of it.

mod guards;
mod process;
mod register;
mod requests;
mod tally;

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tonic::Code;

use crate::error::{Error, Result};
use crate::record::{Limit, Record};
use register::{counter, counters, gauge, gauges};
use requests::Requests;

pub use guards::{BackendCall, Connected, Handshake, Present};

/// What metrics are written as: OpenMetrics.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counts and measures.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Requests,
    in_flight: Gauge,
    queued: Gauge,
    memory_held: Gauge,
    backend_calls: [Counter; CODES.len()],
    retries: Counter,
    hedges: Counter,
    ejections: Counter,
    backends: [Gauge; STATES.len()],
    lookups: [Counter; LOOKUPS.len()],
    connections: [Gauge; FACES.len()],
    accepted: [Counter; FACES.len()],
    handshakes: [Counter; HANDSHAKES.len()],
    limits: [Counter; Limit::ALL.len()],
}

/// The states of backends.
const STATES: [&str; 2] = ["ready", "ejected"];

/// The codes of gRPC, in the order of their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What looking a signature up may come to, in the order of [`Lookup`].
const LOOKUPS: [&str; 3] = ["hit", "miss", "wait"];

/// What is served on the ports that connections come in on.
const FACES: [&str; 3] = ["api", "admin", "grpc"];

/// How TLS handshakes end.
const HANDSHAKES: [&str; 2] = ["ok", "failed"];

/// Where the signatures of a model were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// They were known.
    Hit,
    /// The backend had to be asked.
    Miss,
    /// It had been asked already, for another request.
    Wait,
}

/// How a request was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// What was asked for.
    pub verb: &'static str,
    /// The HTTP status.
    pub code: u16,
    /// The bytes of the response's body.
    pub bytes: usize,
    /// From the head of the request to the last byte of the response.
    pub total: Duration,
    /// How long it took to write the response; `None` if there was none.
    pub write: Option<Duration>,
}

/// What others know when the metrics are written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Levels {
    /// How many bytes requests and replies hold.
    pub memory_held: usize,
    /// How many backends get calls.
    pub backends_ready: usize,
    /// How many do not, because they have failed.
    pub backends_ejected: usize,
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
        let mut registry = Registry::default();
        let build = Family::<[(&str, &str); 2], Gauge>::default();
        let commit = option_env!("TFBRIDGE_COMMIT").unwrap_or_default();
        build.get_or_create_owned(&[("version", env!("CARGO_PKG_VERSION")), ("commit", commit)]).set(1);
        registry.register("tfbridge_build_info", "Which program this is", build);
        registry.register_collector(Box::new(process::Process::new()));
        Self {
            requests: Requests::register(&mut registry),
            in_flight: gauge(&mut registry, "tfbridge_requests_in_flight", "Requests that are worked on"),
            queued: gauge(&mut registry, "tfbridge_requests_queued", "Requests that wait for their turn"),
            memory_held: gauge(
                &mut registry,
                "tfbridge_memory_held_bytes",
                "Memory that bodies, tensors and replies hold",
            ),
            backend_calls: counters(
                &mut registry,
                "tfbridge_backend_calls",
                "Attempts at backends, by gRPC code",
                "code",
                CODES,
            ),
            retries: counter(
                &mut registry,
                "tfbridge_retries",
                "Attempts that were made after one that failed",
            ),
            hedges: counter(
                &mut registry,
                "tfbridge_hedges",
                "Attempts that were made beside one that took long",
            ),
            ejections: counter(
                &mut registry,
                "tfbridge_ejections",
                "How often a backend that failed was left out",
            ),
            backends: gauges(&mut registry, "tfbridge_backends", "Backends by their state", "state", STATES),
            lookups: counters(
                &mut registry,
                "tfbridge_signature_lookups",
                "Signatures that requests needed, by where they were found",
                "result",
                LOOKUPS,
            ),
            connections: gauges(
                &mut registry,
                "tfbridge_connections",
                "Connections that are open",
                "face",
                FACES,
            ),
            accepted: counters(
                &mut registry,
                "tfbridge_connections_accepted",
                "Connections that have been accepted",
                "face",
                FACES,
            ),
            handshakes: counters(
                &mut registry,
                "tfbridge_tls_handshakes",
                "TLS handshakes with clients",
                "result",
                HANDSHAKES,
            ),
            limits: counters(
                &mut registry,
                "tfbridge_limits_hit",
                "How often a limit was met",
                "limit",
                Limit::ALL.map(Limit::name),
            ),
            registry,
        }
    }

    /// Counts a request that is over, with all that was learnt of it.
    pub fn answered(&self, answer: &Answer, record: &Record) {
        self.requests.count(answer, record);
        for limit in Limit::ALL.into_iter().filter(|limit| record.has_hit(*limit)) {
            self.limit_hit(limit);
        }
    }

    /// A request is worked on until the guard is dropped.
    #[must_use]
    pub fn in_flight(&self) -> Present<'_> {
        Present::enter(&self.in_flight)
    }

    /// A request waits for its turn until the guard is dropped.
    #[must_use]
    pub fn queued(&self) -> Present<'_> {
        Present::enter(&self.queued)
    }

    /// Counts another attempt at a call, after one that failed.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// Counts an attempt that was made beside one that takes long.
    pub fn hedged(&self) {
        self.hedges.inc();
    }

    /// Counts a backend that gets no calls for a while because it fails.
    pub fn ejected(&self) {
        self.ejections.inc();
    }

    /// An attempt at a call begins, which may take until the deadline. Unless it is answered, it counts as
    /// cancelled before that, and as one that has exceeded it from then on.
    #[must_use]
    pub fn backend_call(&self, deadline: Option<Instant>) -> BackendCall<'_> {
        BackendCall { metrics: self, code: Code::Cancelled, deadline }
    }

    /// Counts that somebody needed signatures.
    pub fn looked_up(&self, lookup: Lookup) {
        self.lookups[lookup as usize].inc();
    }

    /// A connection has been accepted, to the `api`, the `admin` or the `grpc` port; it is there until
    /// the guard is dropped.
    #[must_use]
    pub fn connected(self: &Arc<Self>, face: &'static str) -> Connected {
        let face = FACES.iter().position(|known| *known == face).unwrap_or(0);
        self.connections[face].inc();
        self.accepted[face].inc();
        Connected { metrics: Arc::clone(self), face }
    }

    /// A TLS handshake begins; it has failed unless it succeeds.
    #[must_use]
    pub fn handshake(&self) -> Handshake<'_> {
        Handshake { metrics: self, outcome: 1 }
    }

    /// Counts that somebody met a limit, unless it is in the record of a request.
    pub fn limit_hit(&self, limit: Limit) {
        self.limits[limit as usize].inc();
    }

    /// All metrics as text, in the format of [`CONTENT_TYPE`].
    ///
    /// # Errors
    ///
    /// `INTERNAL` if they cannot be written, which memory alone could bring about.
    pub fn encode(&self, levels: Levels) -> Result<String> {
        self.memory_held.set(signed(levels.memory_held));
        for (gauge, count) in self.backends.iter().zip([levels.backends_ready, levels.backends_ejected]) {
            gauge.set(signed(count));
        }
        let mut text = String::new();
        text::encode(&mut text, &self.registry)
            .map_err(|error| Error::internal("The metrics cannot be written").with_source(error))?;
        Ok(text)
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Part, Size};

    #[test]
    fn a_request_is_in_all_metrics_that_it_belongs_to() {
        let (metrics, record) = (Arc::new(Metrics::new()), Record::new());
        record.note_subject("m", "s", Some(3));
        record.note(Size::Body, 1000);
        record.hit(Limit::BodySize);
        drop(record.timer(Part::Read));
        let answer = Answer {
            verb: "predict",
            code: 413,
            bytes: 20,
            total: Duration::from_millis(3),
            write: Some(Duration::from_micros(30)),
        };
        metrics.answered(&answer, &record);
        metrics.backend_call(Some(Instant::now())).ended(Code::Unavailable);
        drop(metrics.backend_call(None));
        drop(metrics.backend_call(Some(Instant::now() + Duration::from_secs(60))));
        drop(metrics.backend_call(Some(Instant::now())));
        let _connection = metrics.connected("admin");
        drop(metrics.connected("api"));
        metrics.handshake().succeeded();
        let _waits = metrics.queued();
        let levels = Levels { memory_held: 17, backends_ready: 2, backends_ejected: 1 };
        let text = metrics.encode(levels).unwrap();
        for line in [
            r#"tfbridge_requests_total{verb="predict",model="m",version="3",signature="s",code="413"} 1"#,
            r#"tfbridge_request_seconds_bucket{le="0.0025",verb="predict"} 0"#,
            r#"tfbridge_request_seconds_bucket{le="0.005",verb="predict"} 1"#,
            r#"tfbridge_request_part_seconds_count{part="read"} 1"#,
            r#"tfbridge_request_part_seconds_count{part="backend"} 0"#,
            r#"tfbridge_request_part_seconds_sum{part="write"} 0.00003"#,
            "tfbridge_request_body_bytes_sum 1000.0",
            "tfbridge_response_body_bytes_sum 20.0",
            "tfbridge_reply_message_bytes_count 0",
            r#"tfbridge_limits_hit_total{limit="body_size"} 1"#,
            r#"tfbridge_limits_hit_total{limit="memory"} 0"#,
            r#"tfbridge_backend_calls_total{code="UNAVAILABLE"} 1"#,
            r#"tfbridge_backend_calls_total{code="CANCELLED"} 2"#,
            r#"tfbridge_backend_calls_total{code="DEADLINE_EXCEEDED"} 1"#,
            r#"tfbridge_connections{face="api"} 0"#,
            r#"tfbridge_connections{face="admin"} 1"#,
            r#"tfbridge_connections_accepted_total{face="api"} 1"#,
            r#"tfbridge_tls_handshakes_total{result="ok"} 1"#,
            "tfbridge_requests_queued 1",
            "tfbridge_memory_held_bytes 17",
            r#"tfbridge_backends{state="ejected"} 1"#,
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
    }
}
