//! W3C trace context: which trace a request is part of, and what the backend is told of that.
//!
//! OpenTelemetry's own propagator takes what the standard rules out, such as short ids and a second `traceparent`,
//! and passes but one of several `tracestate`; so the headers are read and written here.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use opentelemetry::trace::{SpanId, TraceId, TraceState};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What vendors say of a trace is kept in spans up to so many bytes, which is what all must take.
const MAX_STATE: usize = 512;

/// The bit of `traceparent` that says that the trace is kept.
const SAMPLED: u8 = 1;

/// The place of a request in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Which trace it is.
    pub id: TraceId,
    /// Whether it is kept.
    pub is_sampled: bool,
    /// The span of whoever sends the request, if there is one.
    pub(super) parent: Option<SpanId>,
    /// The span of the request.
    pub(super) span: SpanId,
    /// The span of the call to the backend, which is the parent of what happens there.
    pub(super) backend: SpanId,
    /// What vendors say of the trace.
    pub(super) state: TraceState,
}

impl Trace {
    /// The place of a request with these headers, which say from then on what the backend is to know.
    /// Whether a trace that begins here is kept is left to chance.
    pub(super) fn begin(headers: &mut HeaderMap, sample: f64) -> Self {
        let parent = parent(headers);
        let state = if parent.is_some() {
            state(headers)
        } else {
            // It belongs to a trace that nobody has named.
            headers.remove(TRACESTATE);
            TraceState::NONE
        };
        let (id, is_sampled) = match parent {
            Some(Parent { trace, flags, .. }) => (trace, flags & SAMPLED != 0),
            None => (fastrand::u128(1..).into(), fastrand::f64() < sample),
        };
        let trace = Self {
            id,
            is_sampled,
            parent: parent.map(|parent| parent.span),
            span: new_span(),
            backend: new_span(),
            state,
        };
        let text = format!("00-{}-{}-{:02x}", trace.id, trace.backend, u8::from(is_sampled));
        // Digits and hyphens may be in a header.
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(TRACEPARENT, value);
        }
        trace
    }
}

/// What `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parent {
    trace: TraceId,
    span: SpanId,
    flags: u8,
}

fn parent(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    parse(value.to_str().ok()?)
}

/// `VERSION-TRACE-SPAN-FLAGS`, in lower case. Later versions may have more behind it.
fn parse(text: &str) -> Option<Parent> {
    const LENGTH: usize = 55;
    let (text, rest) = text.split_at_checked(LENGTH)?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let lengths = [version.len(), trace.len(), span.len(), flags.len()];
    if parts.next().is_some()
        || lengths != [2, 32, 16, 2]
        || ![version, trace, span, flags].into_iter().all(is_hex)
    {
        return None;
    }
    let is_whole = match version {
        "00" => rest.is_empty(),
        "ff" => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    let parent = Parent {
        trace: TraceId::from_hex(trace).ok()?,
        span: SpanId::from_hex(span).ok()?,
        flags: u8::from_str_radix(flags, 16).ok()?,
    };
    (is_whole && parent.trace != TraceId::INVALID && parent.span != SpanId::INVALID).then_some(parent)
}

/// What vendors say, in one text. What is too long or not as the standard has it is left out of spans; it
/// passes all the same.
fn state(headers: &HeaderMap) -> TraceState {
    let values: Option<Vec<_>> =
        headers.get_all(TRACESTATE).iter().map(|value| value.to_str().ok()).collect();
    let state = values.unwrap_or_default().join(",");
    if state.len() > MAX_STATE { TraceState::NONE } else { state.parse().unwrap_or_default() }
}

/// A name for a span.
pub(super) fn new_span() -> SpanId {
    fastrand::u64(1..).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn parents_are_read_as_the_standard_has_them() {
        let trace = TraceId::from(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        let expected = Parent { trace, span: SpanId::from(0xb7ad_6b71_6920_3331), flags: 1 };
        assert_eq!(parse(PARENT), Some(expected));
        assert_eq!(parse(&PARENT.replace("00-", "cc-")), Some(expected));
        assert_eq!(parse(&format!("{}-more", PARENT.replace("00-", "cc-"))), Some(expected));
        for bad in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-more"),
            &format!("{}x", PARENT.replace("00-", "cc-")),
            &PARENT.replace("00-", "ff-"),
            &PARENT.to_uppercase(),
            &PARENT.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            &PARENT.replace("b7ad6b7169203331", "0000000000000000"),
            &PARENT.replace("b7ad", "-7ad"),
            &PARENT.replace("b7ad", "+7ad"),
            &PARENT.replace("b7ad", "éad"),
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    fn headers(items: &[(HeaderName, &str)]) -> HeaderMap {
        items.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn the_backend_is_told_of_the_call_to_it() {
        let mut headers = headers(&[(TRACEPARENT, PARENT), (TRACESTATE, "a=1")]);
        headers.append(TRACESTATE, HeaderValue::from_static("b=2"));
        // Whoever began it has decided.
        let trace = Trace::begin(&mut headers, 0.0);
        assert_eq!(
            (trace.is_sampled, trace.parent, trace.state.header().as_str()),
            (true, Some(SpanId::from(0xb7ad_6b71_6920_3331)), "a=1,b=2")
        );
        assert_eq!(trace.id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        let passed = parse(headers[TRACEPARENT].to_str().unwrap()).unwrap();
        assert_eq!(passed, Parent { trace: trace.id, span: trace.backend, flags: 1 });
        assert_eq!(headers.get_all(TRACESTATE).iter().count(), 2);
    }

    #[test]
    fn what_is_no_parent_begins_a_new_trace() {
        for (sample, is_sampled) in [(1.0, true), (0.0, false)] {
            let mut headers = headers(&[(TRACEPARENT, "00-1-1-01"), (TRACESTATE, "a=1")]);
            let trace = Trace::begin(&mut headers, sample);
            assert_eq!((trace.is_sampled, trace.parent), (is_sampled, None));
            let passed = parse(headers[TRACEPARENT].to_str().unwrap()).unwrap();
            assert_eq!((passed.trace, passed.span), (trace.id, trace.backend));
            assert_eq!(passed.flags & SAMPLED != 0, is_sampled);
            assert!(!headers.contains_key(TRACESTATE));
        }
        let mut twice = headers(&[(TRACEPARENT, PARENT)]);
        twice.append(TRACEPARENT, HeaderValue::from_static(PARENT));
        assert_eq!(Trace::begin(&mut twice, 1.0).parent, None);
        assert_eq!(twice.get_all(TRACEPARENT).iter().count(), 1);
    }
}
