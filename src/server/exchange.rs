//! A request and its response, from the head of the one to the last byte of the other.
//!
//! Every request is counted and logged here, once: when the client has its response, or has gone.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::HeaderValue;
use http::{HeaderMap, Method, Request, Uri};

use super::access_log::{self, Entry};
use super::front::State;
use crate::metrics::{self, Metrics};
use crate::record::Record;
use crate::telemetry::{Finished, Trace, Tracer};

/// What is counted for a request that was broken off before it was answered.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The most bytes of a path that are told.
const MAX_PATH: usize = 1 << 10;

/// What is counted for one that met a bug.
const INTERNAL_SERVER_ERROR: u16 = 500;

/// A request on its way; it is over when this is dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    /// What is learnt of it on the way.
    pub(super) record: Arc<Record>,
    /// What it asks for.
    pub(super) verb: &'static str,
    /// The name of the token that it came with.
    pub(super) token: Option<String>,
    /// The id that the client knows it by.
    pub(super) request_id: Option<HeaderValue>,
    /// How many attempts at backends there were.
    pub(super) attempts: u32,
    peer: Arc<str>,
    method: Method,
    uri: Uri,
    answer: Option<Answer>,
    metrics: Arc<Metrics>,
    is_logged: bool,
    is_measured: bool,
    /// Its place in a trace, and who is to know of it.
    trace: Option<(Arc<Tracer>, Trace)>,
}

/// A response that has yet to be written.
#[derive(Debug)]
struct Answer {
    status: u16,
    bytes: usize,
    at: Instant,
}

impl Exchange {
    /// A request that comes in now.
    pub(super) fn new<B>(state: &State, peer: &Arc<str>, request: &Request<B>) -> Self {
        Self {
            record: Arc::default(),
            verb: "none",
            token: None,
            request_id: None,
            attempts: 0,
            peer: Arc::clone(peer),
            method: request.method().clone(),
            uri: request.uri().clone(),
            answer: None,
            metrics: Arc::clone(&state.bridge.metrics),
            is_logged: state.telemetry.access_log,
            is_measured: state.telemetry.metrics,
            trace: None,
        }
    }

    /// Makes it part of a trace, if there are any. The headers have from then on what the backend is to know.
    pub(super) fn begin_trace(&mut self, tracer: Option<&Arc<Tracer>>, headers: &mut HeaderMap) {
        self.trace = tracer.map(|tracer| (Arc::clone(tracer), tracer.begin(headers)));
    }

    /// Ends it without a word: those that it stands for are counted and logged by themselves.
    pub(super) fn forget(mut self) {
        (self.is_logged, self.is_measured, self.trace) = (false, false, None);
    }

    /// There is a response of this status, with a body of so many bytes.
    pub(super) fn answered(&mut self, status: u16, bytes: usize) {
        self.answer = Some(Answer { status, bytes, at: Instant::now() });
    }

    /// So many more bytes of the body have come to be.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(answer) = &mut self.answer {
            answer.bytes += bytes;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let end = Instant::now();
        let (status, bytes, at) = match &self.answer {
            Some(answer) => (answer.status, answer.bytes, answer.at),
            None if std::thread::panicking() => (INTERNAL_SERVER_ERROR, 0, end),
            None => (CLIENT_CLOSED_REQUEST, 0, end),
        };
        let total = end.duration_since(self.record.start());
        let write = self.answer.as_ref().map(|_| end.duration_since(at));
        let answer = metrics::Answer { verb: self.verb, code: status, bytes, total, write };
        if self.is_measured {
            self.metrics.answered(&answer, &self.record);
        }
        let request_id = self.request_id.as_ref().and_then(|id| id.to_str().ok());
        let path = beginning(self.uri.path(), MAX_PATH);
        if self.is_logged && access_log::is_enabled() {
            let entry = Entry {
                method: &self.method,
                path,
                verb: self.verb,
                status,
                response_bytes: bytes,
                total,
                write,
                attempts: self.attempts,
                request_id,
                trace_id: self.trace.as_ref().map(|(_, trace)| trace.id),
                peer: &self.peer,
                token: self.token.as_deref(),
            };
            self.record.with_subject(|subject| access_log::write(&entry, &self.record, subject));
        }
        if let Some((tracer, trace)) = self.trace.take_if(|(_, trace)| trace.is_sampled) {
            tracer.finish(Finished {
                trace,
                record: Arc::clone(&self.record),
                verb: self.verb,
                method: self.method.clone(),
                path: path.to_owned(),
                status,
                response_bytes: bytes as u64,
                attempts: self.attempts,
                request_id: request_id.map(str::to_owned),
                peer: Arc::clone(&self.peer),
                answered: self.answer.as_ref().map(|_| at),
                end: (end, SystemTime::now()),
            });
        }
    }
}

/// The beginning of a text, of so many bytes at most.
pub(super) fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_between_characters() {
        assert_eq!(beginning("aé", 3), "aé");
        assert_eq!(beginning("aé", 2), "a");
        assert_eq!(beginning("", 2), "");
    }
}
