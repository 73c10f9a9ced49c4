//! Requests that are kept: a sample of those that models have answered, in a file that TensorFlow Serving
//! takes to warm a model up.
//!
//! One thread writes. Requests wait for it in a queue of bounded length and size, and what finds that full is
//! not kept; no request ever waits. At its largest size the file stays as it is, and the log says so.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};

use super::record_file::RecordFile;
use crate::config::PayloadLogConfig;
use crate::error::{Error, Result};
use crate::proto::tensorflow::TensorProto;
use crate::proto::tensorflow::serving::prediction_log::LogType;
use crate::proto::tensorflow::serving::{PredictLog, PredictRequest, PredictionLog};

/// How many requests may wait to be written, and how many bytes of them.
const QUEUE: usize = 256;
const QUEUE_BYTES: usize = 64 << 20;

/// Keeps requests.
#[derive(Debug)]
pub struct PayloadLog {
    config: Arc<PayloadLogConfig>,
    writer: Arc<Writer>,
}

/// The way to the thread that writes, which ends when this is dropped.
#[derive(Debug)]
struct Writer {
    path: PathBuf,
    queue: mpsc::Sender<Item>,
    state: Arc<State>,
}

/// What both sides know.
#[derive(Debug, Default)]
struct State {
    /// How many bytes wait.
    held: AtomicUsize,
    dropped: AtomicU64,
    /// Nothing more can be written.
    has_stopped: AtomicBool,
}

#[derive(Debug)]
enum Item {
    Request(Box<Entry>),
    /// Everything before this is to be in the file.
    Flush(oneshot::Sender<()>),
}

/// A request that will be kept if it is answered.
#[derive(Debug)]
pub struct Entry {
    request: PredictRequest,
    config: Arc<PayloadLogConfig>,
    queue: mpsc::Sender<Item>,
    held: Held,
}

/// The room that a request takes until it has been written.
#[derive(Debug)]
struct Held {
    state: Arc<State>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.state.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl PayloadLog {
    /// Keeps requests as the configuration has it from now on. If the file is the one that was written
    /// `before`, the same thread goes on.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a file that cannot be used.
    pub fn start(config: &PayloadLogConfig, before: Option<&Self>) -> Result<Self> {
        let same = before.filter(|before| before.writer.path == config.path);
        let writer = match same {
            Some(before) => Arc::clone(&before.writer),
            None => Arc::new(Writer::start(config).map_err(|error| {
                Error::invalid_argument(format!("The payload log {}: {error}", config.path.display()))
            })?),
        };
        // What stopped it may be over.
        writer.state.has_stopped.store(false, Ordering::Relaxed);
        Ok(Self { config: Arc::new(config.clone()), writer })
    }

    /// Takes a copy of a request if chance will have it and there is room. `body` is the length of the text
    /// that strings are parts of.
    #[must_use]
    pub fn sample(&self, request: &PredictRequest, body: usize) -> Option<Box<Entry>> {
        if self.is_due(body) { self.entry(request, body) } else { None }
    }

    /// Whether chance will have the next request kept, of a body of this length, and there is room for that; for
    /// those who have to make the request first.
    #[must_use]
    pub fn is_due(&self, body: usize) -> bool {
        let state = &self.writer.state;
        if fastrand::f64() >= self.config.sample || state.has_stopped.load(Ordering::Relaxed) {
            return false;
        }
        let has_room = state.held.load(Ordering::Relaxed).saturating_add(body) <= QUEUE_BYTES;
        if !has_room {
            state.dropped.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    /// Takes a copy of a request that is due, if there is room.
    #[must_use]
    pub fn entry(&self, request: &PredictRequest, body: usize) -> Option<Box<Entry>> {
        let state = &self.writer.state;
        let strings: usize = request.inputs.values().map(|tensor| tensor.string_val.len()).sum();
        let bytes = body + request.encoded_len() + strings * size_of::<Bytes>();
        let before = state.held.fetch_add(bytes, Ordering::Relaxed);
        let held = Held { state: Arc::clone(state), bytes };
        if before.saturating_add(bytes) > QUEUE_BYTES {
            state.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let (config, queue) = (Arc::clone(&self.config), self.writer.queue.clone());
        Some(Box::new(Entry { request: request.clone(), config, queue, held }))
    }

    /// Writes what waits, as far as this time allows.
    pub async fn flush(&self, patience: Duration) {
        let (done, written) = oneshot::channel();
        let flush = async {
            if self.writer.queue.send(Item::Flush(done)).await.is_ok() {
                // It only fails if the thread has ended, and then there is nothing to wait for.
                let _ = written.await;
            }
        };
        if tokio::time::timeout(patience, flush).await.is_err() {
            tracing::warn!("the end of the payload log could not be written");
        }
    }
}

impl Entry {
    /// The request has been answered.
    pub fn keep(self: Box<Self>) {
        let (queue, state) = (self.queue.clone(), Arc::clone(&self.held.state));
        if queue.try_send(Item::Request(self)).is_err() {
            state.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Writer {
    fn start(config: &PayloadLogConfig) -> io::Result<Self> {
        let file = RecordFile::open(&config.path)?;
        let (queue, items) = mpsc::channel(QUEUE);
        let state = Arc::new(State::default());
        let (path, shared) = (config.path.clone(), Arc::clone(&state));
        thread::Builder::new().name("payload log".to_owned()).spawn(move || write(file, items, &shared))?;
        Ok(Self { path, queue, state })
    }
}

/// Writes requests until nobody has any more.
fn write(mut file: RecordFile, mut items: mpsc::Receiver<Item>, state: &State) {
    while let Some(item) = items.blocking_recv() {
        match item {
            Item::Request(entry) if !state.has_stopped.load(Ordering::Relaxed) => {
                let path = entry.config.path.display();
                match append(&mut file, &entry) {
                    Ok(true) => {}
                    Ok(false) => {
                        state.has_stopped.store(true, Ordering::Relaxed);
                        tracing::warn!(%path, "the payload log has its largest size: no more requests are kept");
                    }
                    Err(error) => return stop(state, &error),
                }
            }
            Item::Request(_) => {}
            Item::Flush(done) => {
                // Who does not wait any more need not know.
                let _ = file.flush().map(|()| done.send(()));
            }
        }
        if items.is_empty() {
            if let Err(error) = file.flush() {
                return stop(state, &error);
            }
            let dropped = state.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::warn!(requests = dropped, "requests came too fast for the payload log");
            }
        }
    }
}

/// Gives up. Whoever opens the file again removes what is not whole.
fn stop(state: &State, error: &io::Error) {
    state.has_stopped.store(true, Ordering::Relaxed);
    tracing::error!(%error, "the payload log cannot be written: no more requests are kept");
}

/// Appends a request, if there is room for it.
fn append(file: &mut RecordFile, entry: &Entry) -> io::Result<bool> {
    let mut request = entry.request.clone();
    for name in &entry.config.redact {
        if let Some(tensor) = request.inputs.get_mut(name) {
            redact(tensor);
        }
    }
    let log = PredictLog { request: Some(request), response: None };
    let data = PredictionLog { log_type: Some(LogType::PredictLog(log)) }.encode_to_vec();
    if file.length_with(data.len()) > entry.config.max_size {
        return Ok(false);
    }
    file.append(&data).map(|()| true)
}

/// Puts zeros and empty strings in the place of all values.
fn redact(tensor: &mut TensorProto) {
    tensor.tensor_content = vec![0; tensor.tensor_content.len()].into();
    tensor.string_val.fill(Bytes::new());
    tensor.half_val.fill(0);
    tensor.float_val.fill(0.0);
    tensor.double_val.fill(0.0);
    tensor.int_val.fill(0);
    tensor.int64_val.fill(0);
    tensor.uint32_val.fill(0);
    tensor.uint64_val.fill(0);
    tensor.bool_val.fill(false);
    tensor.scomplex_val.fill(0.0);
    tensor.dcomplex_val.fill(0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(strings: usize) -> PredictRequest {
        let tensor =
            TensorProto { string_val: vec![Bytes::from_static(b"x"); strings], ..TensorProto::default() };
        PredictRequest { inputs: [("x".to_owned(), tensor)].into(), ..PredictRequest::default() }
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_what_is_not_answered_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("requests");
        let config = PayloadLogConfig { sample: 1.0, ..PayloadLogConfig::new(path.clone()) };
        let log = PayloadLog::start(&config, None).unwrap();
        assert!(log.sample(&request(1), QUEUE_BYTES).is_none());
        let first = log.sample(&request(1), QUEUE_BYTES / 2).unwrap();
        assert!(log.sample(&request(1), QUEUE_BYTES / 2).is_none());
        drop(first);
        log.sample(&request(1), QUEUE_BYTES / 2).unwrap().keep();
        log.flush(Duration::from_secs(10)).await;
        assert_eq!(log.writer.state.held.load(Ordering::Relaxed), 0);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 16 + size(1));

        let none = PayloadLog::start(&PayloadLogConfig { sample: 0.0, ..config }, Some(&log)).unwrap();
        assert!(none.sample(&request(1), 0).is_none());
    }

    #[tokio::test]
    async fn the_file_stops_at_its_largest_size_and_goes_on_when_that_is_raised() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("requests");
        let one = 16 + size(10);
        let config =
            PayloadLogConfig { sample: 1.0, max_size: 2 * one, ..PayloadLogConfig::new(path.clone()) };
        let log = PayloadLog::start(&config, None).unwrap();
        let keep = async |log: &PayloadLog| {
            if let Some(entry) = log.sample(&request(10), 0) {
                entry.keep();
            }
            log.flush(Duration::from_secs(10)).await;
            std::fs::metadata(&path).unwrap().len()
        };
        assert_eq!((keep(&log).await, keep(&log).await, keep(&log).await), (one, 2 * one, 2 * one));
        assert!(log.sample(&request(1), 0).is_none());
        let more = PayloadLogConfig { max_size: 3 * one, ..config };
        let log = PayloadLog::start(&more, Some(&log)).unwrap();
        assert_eq!(keep(&log).await, 3 * one);
        // Another process finds what is there.
        let log = PayloadLog::start(&PayloadLogConfig { max_size: 4 * one, ..more }, None).unwrap();
        assert_eq!((keep(&log).await, keep(&log).await), (4 * one, 4 * one));
    }

    fn size(strings: usize) -> u64 {
        let log = PredictLog { request: Some(request(strings)), response: None };
        PredictionLog { log_type: Some(LogType::PredictLog(log)) }.encoded_len() as u64
    }
}
