//! The access log: a line for every request, once it is over.
//!
//! Lines are events of the target `tfbridge::access`, so that `--log` can say what becomes of them. What a
//! client sends is in them as far as it names the request: the path, of which the query is no part, but no
//! other header than the request's id.

use std::time::Duration;

use http::Method;

use crate::record::{Part, Record, Size, Subject};
use crate::telemetry::TraceId;

/// What there is to tell beside what the record has.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) method: &'a Method,
    /// The path, or the beginning of it.
    pub(super) path: &'a str,
    pub(super) verb: &'static str,
    pub(super) status: u16,
    pub(super) response_bytes: usize,
    /// From the request's head to the end of the response.
    pub(super) total: Duration,
    /// How long it took to write the response, if there was one.
    pub(super) write: Option<Duration>,
    pub(super) attempts: u32,
    pub(super) request_id: Option<&'a str>,
    pub(super) trace_id: Option<TraceId>,
    pub(super) peer: &'a str,
    pub(super) token: Option<&'a str>,
}

/// Whether anybody listens.
pub(super) fn is_enabled() -> bool {
    tracing::enabled!(target: "tfbridge::access", tracing::Level::INFO)
}

/// Writes the line of a request.
pub(super) fn write(entry: &Entry<'_>, record: &Record, subject: Option<&Subject>) {
    let part = |part| record.took(part).map(seconds);
    let signature = subject.map(|subject| subject.signature.as_str()).filter(|name| !name.is_empty());
    tracing::info!(
        target: "tfbridge::access",
        method = entry.method.as_str(),
        path = entry.path,
        verb = entry.verb,
        model = subject.map(|subject| subject.model.as_str()),
        signature,
        version = subject.and_then(|subject| subject.version),
        status = entry.status,
        request_bytes = record.size(Size::Body),
        response_bytes = entry.response_bytes as u64,
        seconds = seconds(entry.total),
        read = part(Part::Read),
        decode = part(Part::Decode),
        queue = part(Part::Queue),
        backend = part(Part::Backend),
        encode = part(Part::Encode),
        write = entry.write.map(seconds),
        attempts = (entry.attempts > 0).then_some(entry.attempts),
        request_id = entry.request_id,
        trace_id = entry.trace_id.map(tracing::field::display),
        peer = entry.peer,
        token = entry.token,
        "request"
    );
}

/// Seconds, to the microsecond.
#[expect(clippy::cast_precision_loss, reason = "so many microseconds are centuries")]
fn seconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e6
}
