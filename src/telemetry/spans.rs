//! The spans of a request, made from its record once it is over.
//!
//! Names of attributes are those of OpenTelemetry's semantic conventions where it has some. What a client
//! sends is in them as far as the access log would tell it.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::Method;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::context::{Trace, new_span};
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
    /// The request's span and one for each of its parts, made by us.
    pub(super) fn spans(&self, us: &InstrumentationScope) -> Vec<SpanData> {
        let start = self.record.start();
        let mut spans = vec![self.request_span(us)];
        for part in Part::ALL {
            let (Some(began), Some(took)) = (self.record.began(part), self.record.took(part)) else {
                continue;
            };
            let (began, ended) = (start + began, start + began + took);
            spans.push(if part == Part::Backend {
                SpanData {
                    span_kind: SpanKind::Client,
                    attributes: vec![
                        KeyValue::new("rpc.system", "grpc"),
                        number("tfbridge.request_message_bytes", self.record.size(Size::Request)),
                        number("tfbridge.reply_message_bytes", self.record.size(Size::Reply)),
                        number("tfbridge.attempts", self.attempts.into()),
                    ],
                    ..self.part_span(us, part.name(), self.trace.backend, (began, ended))
                }
            } else {
                self.part_span(us, part.name(), new_span(), (began, ended))
            });
        }
        if let Some(answered) = self.answered {
            spans.push(self.part_span(us, "write", new_span(), (answered, self.end.0)));
        }
        spans
    }

    fn request_span(&self, us: &InstrumentationScope) -> SpanData {
        let mut attributes = vec![
            KeyValue::new("http.request.method", self.method.to_string()),
            KeyValue::new("url.path", self.path.clone()),
            number("http.response.status_code", self.status.into()),
            number("http.request.body.size", self.record.size(Size::Body)),
            number("http.response.body.size", self.response_bytes),
            KeyValue::new("network.peer.address", Arc::clone(&self.peer)),
        ];
        if let Some(id) = &self.request_id {
            attributes.push(KeyValue::new("tfbridge.request_id", id.clone()));
        }
        if let Some(subject) = self.record.subject() {
            attributes.push(KeyValue::new("tfbridge.model", subject.model));
            if !subject.signature.is_empty() {
                attributes.push(KeyValue::new("tfbridge.signature", subject.signature));
            }
            if let Some(version) = subject.version {
                attributes.push(KeyValue::new("tfbridge.version", version));
            }
        }
        let mut status = Status::Unset;
        if self.status >= 500 {
            attributes.push(KeyValue::new("error.type", self.status.to_string()));
            status = Status::error("");
        }
        SpanData {
            parent_span_id: self.trace.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: self.trace.parent.is_some(),
            span_kind: SpanKind::Server,
            attributes,
            status,
            ..self.part_span(us, self.verb, self.trace.span, (self.record.start(), self.end.0))
        }
    }

    /// A span of this trace, as the request's parts have it.
    fn part_span(
        &self,
        us: &InstrumentationScope,
        name: &'static str,
        id: SpanId,
        (start, end): (Instant, Instant),
    ) -> SpanData {
        let flags = TraceFlags::default().with_sampled(self.trace.is_sampled);
        SpanData {
            span_context: SpanContext::new(self.trace.id, id, flags, false, self.trace.state.clone()),
            parent_span_id: self.trace.span,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: self.at(start),
            end_time: self.at(end),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: us.clone(),
        }
    }

    /// A time as people read it.
    fn at(&self, instant: Instant) -> SystemTime {
        let (end, now) = self.end;
        now.checked_sub(end.saturating_duration_since(instant)).unwrap_or(UNIX_EPOCH)
    }
}

fn number(key: &'static str, value: u64) -> KeyValue {
    KeyValue::new(key, i64::try_from(value).unwrap_or(i64::MAX))
}
