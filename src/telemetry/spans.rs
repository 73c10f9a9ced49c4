//! The spans of a request, made from its record once it is over.
//!
//! Names of attributes are those of OpenTelemetry's semantic conventions where it has some. What a client
//! sends is in them as far as the access log would tell it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Method;

use super::context::Trace;
use crate::proto::opentelemetry::proto::common::v1::any_value::Value;
use crate::proto::opentelemetry::proto::common::v1::{AnyValue, KeyValue};
use crate::proto::opentelemetry::proto::trace::v1::span::SpanKind;
use crate::proto::opentelemetry::proto::trace::v1::status::StatusCode;
use crate::proto::opentelemetry::proto::trace::v1::{Span, Status};
use crate::record::{Part, Record, Size};

/// A request that is over.
#[derive(Debug)]
pub struct Finished {
    /// Its place in the trace.
    pub trace: Trace,
    /// What has been learnt of it.
    pub record: Arc<Record>,
    /// What it asked for.
    pub verb: &'static str,
    /// Its method.
    pub method: Method,
    /// Its path, or the beginning of that.
    pub path: String,
    /// The status of its response.
    pub status: u16,
    /// The bytes of its response's body.
    pub response_bytes: u64,
    /// How many attempts at backends there were.
    pub attempts: u32,
    /// The id that the client knows it by.
    pub request_id: Option<String>,
    /// Who sent it.
    pub peer: Arc<str>,
    /// When there was a response, if there was one.
    pub answered: Option<Instant>,
    /// When it was over, on the clock that measures, and on the one that people read.
    pub end: (Instant, SystemTime),
}

impl Finished {
    /// The request's span and one for each of its parts.
    pub(super) fn spans(&self) -> Vec<Span> {
        let start = self.record.start();
        let mut spans = vec![self.request_span()];
        for part in Part::ALL {
            let (Some(began), Some(took)) = (self.record.began(part), self.record.took(part)) else {
                continue;
            };
            let mut span = self.span(part.name(), start + began, start + began + took);
            span.parent_span_id = span_id(self.trace.span);
            if part == Part::Backend {
                span.span_id = span_id(self.trace.backend);
                span.kind = SpanKind::Client.into();
                span.attributes = vec![
                    text("rpc.system", "grpc"),
                    number("tfbridge.request_message_bytes", self.record.size(Size::Request)),
                    number("tfbridge.reply_message_bytes", self.record.size(Size::Reply)),
                    number("tfbridge.attempts", self.attempts.into()),
                ];
            }
            spans.push(span);
        }
        if let Some(answered) = self.answered {
            let mut span = self.span("write", answered, self.end.0);
            span.parent_span_id = span_id(self.trace.span);
            spans.push(span);
        }
        spans
    }

    fn request_span(&self) -> Span {
        let mut span = self.span(self.verb, self.record.start(), self.end.0);
        span.span_id = span_id(self.trace.span);
        span.parent_span_id = self.trace.parent.map(span_id).unwrap_or_default();
        span.kind = SpanKind::Server.into();
        span.attributes = vec![
            text("http.request.method", self.method.as_str()),
            text("url.path", &self.path),
            number("http.response.status_code", self.status.into()),
            number("http.request.body.size", self.record.size(Size::Body)),
            number("http.response.body.size", self.response_bytes),
            text("network.peer.address", &self.peer),
        ];
        if let Some(id) = &self.request_id {
            span.attributes.push(text("tfbridge.request_id", id));
        }
        if let Some(subject) = self.record.subject() {
            span.attributes.push(text("tfbridge.model", &subject.model));
            if !subject.signature.is_empty() {
                span.attributes.push(text("tfbridge.signature", &subject.signature));
            }
            if let Some(version) = subject.version {
                span.attributes.push(attribute("tfbridge.version", Value::IntValue(version)));
            }
        }
        if self.status >= 500 {
            span.attributes.push(text("error.type", &self.status.to_string()));
            span.status = Some(Status { code: StatusCode::Error.into(), ..Status::default() });
        }
        span
    }

    /// A span of this trace. What is not the whole request has a random name of its own.
    fn span(&self, name: &str, start: Instant, end: Instant) -> Span {
        Span {
            trace_id: Bytes::copy_from_slice(&self.trace.id.0.to_be_bytes()),
            span_id: span_id(fastrand::u64(1..)),
            trace_state: self.trace.state.clone(),
            name: name.to_owned(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: self.at(start),
            end_time_unix_nano: self.at(end),
            flags: u32::from(self.trace.is_sampled),
            ..Span::default()
        }
    }

    /// A time as people read it.
    fn at(&self, instant: Instant) -> u64 {
        let (end, now) = self.end;
        let time = now.checked_sub(end.saturating_duration_since(instant)).unwrap_or(UNIX_EPOCH);
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

fn span_id(id: u64) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
