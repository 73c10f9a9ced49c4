//! What all calls for one request share: its deadline, and the headers that pass through.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Response};

use super::deadline::Deadline;
use super::memory::Account;
use crate::record::Record;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// One request, as far as the calls for it are concerned.
#[derive(Debug)]
pub struct Call {
    /// When it must be answered.
    pub deadline: Deadline,
    /// The memory that it holds.
    pub memory: Arc<Account>,
    /// What is learnt of the request on its way.
    pub record: Arc<Record>,
    /// The most bytes of a reply.
    pub max_response_size: usize,
    /// The headers that pass to the backend as metadata.
    metadata: HeaderMap,
    /// How many attempts at calls there have been.
    attempts: AtomicU32,
    /// What came with the last answer: headers before it and behind it.
    returned: Mutex<[HeaderMap; 2]>,
}

impl Call {
    /// A request with this deadline and metadata, and these limits.
    #[must_use]
    pub fn new(
        deadline: Deadline,
        metadata: HeaderMap,
        memory: Account,
        record: Arc<Record>,
        max_response_size: usize,
    ) -> Self {
        Self {
            deadline,
            memory: Arc::new(memory),
            record,
            max_response_size,
            metadata,
            attempts: AtomicU32::new(0),
            returned: Mutex::default(),
        }
    }

    /// A call for the same client that is not bound to the request: it has a deadline of its own.
    #[must_use]
    pub fn detached(&self, deadline: Deadline) -> Self {
        let memory = self.memory.another();
        Self::new(deadline, self.metadata.clone(), memory, Arc::default(), self.max_response_size)
    }

    /// How many attempts at its main call there have been, looking up signatures not included.
    pub fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Copies those of the listed headers that the backend sent with its answer.
    pub fn copy_returned<B>(&self, names: &[HeaderName], response: &mut Response<B>) {
        let returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            for value in returned.iter().flat_map(|headers| headers.get_all(name)) {
                response.headers_mut().append(name, value.clone());
            }
        }
    }

    pub(super) fn count_attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn keep_returned(&self, returned: [HeaderMap; 2]) {
        *self.returned.lock().unwrap_or_else(PoisonError::into_inner) = returned;
    }

    /// The headers of an attempt that starts now.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = self.metadata.clone();
        if let Some(remaining) = self.deadline.remaining() {
            headers.insert(GRPC_TIMEOUT, grpc_timeout(remaining));
        }
        headers
    }
}

/// A duration as gRPC has it: at most eight digits and a unit.
fn grpc_timeout(time: Duration) -> HeaderValue {
    let text = [(time.as_micros(), 'u'), (time.as_millis(), 'm'), (u128::from(time.as_secs()), 'S')]
        .into_iter()
        .find(|(count, _)| *count < 100_000_000)
        .map(|(count, unit)| format!("{count}{unit}"));
    text.and_then(|text| text.try_into().ok()).unwrap_or_else(|| HeaderValue::from_static("99999999S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_eight_digits_at_most() {
        let check = |time, expected: &str| assert_eq!(grpc_timeout(time), expected, "{time:?}");
        check(Duration::ZERO, "0u");
        check(Duration::from_micros(99_999_999), "99999999u");
        check(Duration::from_secs(100), "100000m");
        check(Duration::from_secs(100_000), "100000S");
        check(Duration::MAX, "99999999S");
    }
}
