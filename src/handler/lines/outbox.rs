//! The answers that wait for the client: who answers puts them in, the response takes them out.
//!
//! Each holds its memory until the connection has written it. How much may wait is a limit for those who read
//! the request, not for answers that are there.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::codec::lines::error_line;
use crate::error::{Error, Result};
use crate::upstream::{Account, offload};

/// How long the head of the response waits for the first answer. Until then what fails is an error as for any
/// other request.
const HEAD_PATIENCE: Duration = Duration::from_secs(1);

/// What a piece takes beside its text.
const PIECE: usize = 256;

/// How far the response is.
const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const FAILED: u8 = 2;

#[derive(Debug)]
pub(super) struct Shared {
    state: AtomicU8,
    /// How many bytes wait for the client, and how many may before no more of the request is read.
    queued: AtomicUsize,
    most: usize,
    has_gone: Notify,
    /// How many attempts at backends there have been.
    attempts: AtomicU32,
}

/// Where answers are put.
#[derive(Debug)]
pub(super) struct Outbox {
    sender: mpsc::UnboundedSender<Item>,
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
enum Item {
    Text(Piece),
    End,
    Failed(Error),
}

/// Answers that the client does not have yet.
#[derive(Debug)]
struct Piece {
    text: Vec<u8>,
    shared: Arc<Shared>,
    _memory: Arc<Account>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.shared.queued.fetch_sub(self.text.len() + PIECE, Ordering::Relaxed);
        self.shared.has_gone.notify_one();
    }
}

/// Answers as they come. The work on them ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Stream {
    receiver: mpsc::UnboundedReceiver<Item>,
    first: Option<Item>,
    shared: Arc<Shared>,
    is_over: bool,
    /// Here to be dropped.
    work: Option<Task<()>>,
}

/// An empty box, which is full with so many bytes.
pub(super) fn new(most: usize) -> (Outbox, Stream) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        state: AtomicU8::new(WAITING),
        queued: AtomicUsize::new(0),
        most,
        has_gone: Notify::new(),
        attempts: AtomicU32::new(0),
    });
    let outbox = Outbox { sender, shared: Arc::clone(&shared) };
    (outbox, Stream { receiver, first: None, shared, is_over: false, work: None })
}

impl Outbox {
    /// Puts in answers, and the account that holds their memory.
    pub(super) fn put(&self, text: Vec<u8>, memory: Arc<Account>) {
        if text.is_empty() {
            return;
        }
        self.shared.move_from_waiting(BEGUN);
        self.shared.queued.fetch_add(text.len() + PIECE, Ordering::Relaxed);
        // If nobody takes it, it is dropped here.
        let _ =
            self.sender.send(Item::Text(Piece { text, shared: Arc::clone(&self.shared), _memory: memory }));
    }

    /// There is nothing more.
    pub(super) fn end(self) {
        let _ = self.sender.send(Item::End);
    }

    /// There is nothing more because of this.
    pub(super) fn fail(self, error: Error) {
        self.shared.move_from_waiting(FAILED);
        let _ = self.sender.send(Item::Failed(error));
    }

    /// True if the response can still be an error, which it has to be from then on.
    pub(super) fn may_fail(&self) -> bool {
        self.shared.move_from_waiting(FAILED)
    }

    pub(super) fn has_room(&self) -> bool {
        self.shared.queued.load(Ordering::Relaxed) < self.shared.most
    }

    /// Waits until the client has taken something.
    pub(super) async fn has_gone(&self) {
        self.shared.has_gone.notified().await;
    }
}

impl Shared {
    /// Counts attempts at backends.
    pub(super) fn count_attempts(&self, attempts: u32) {
        self.attempts.fetch_add(attempts, Ordering::Relaxed);
    }

    fn move_from_waiting(&self, state: u8) -> bool {
        self.state.compare_exchange(WAITING, state, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Stream {
    /// The stream of this work, which begins now.
    pub(super) fn of(mut self, work: impl Future<Output = ()> + Send + 'static) -> Self {
        self.work = Some(Task::spawn(work));
        self
    }

    /// Waits until there is an answer, or for a time.
    ///
    /// # Errors
    ///
    /// Why there will be none.
    pub(super) async fn begin(&mut self) -> Result<()> {
        let first = match tokio::time::timeout(HEAD_PATIENCE, self.receiver.recv()).await {
            Err(_) if self.shared.move_from_waiting(BEGUN) => return Ok(()),
            // Something came just now.
            Err(_) => self.receiver.recv().await,
            Ok(first) => first,
        };
        match first {
            None => Err(Error::internal(offload::LOST)),
            Some(Item::Failed(error)) => Err(error),
            item => {
                self.first = item;
                Ok(())
            }
        }
    }

    /// The next answers.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let item = match self.first.take() {
            None => ready!(self.receiver.poll_recv(context)),
            item => item,
        };
        self.is_over = !matches!(item, Some(Item::Text(_)));
        Poll::Ready(match item {
            Some(Item::Text(piece)) => Some(Ok(Bytes::from_owner(piece))),
            Some(Item::End) => None,
            // The status has been sent; the last line says that it is not all.
            Some(Item::Failed(error)) => Some(Ok(error_line(error.message()).into())),
            None => Some(Err(Error::internal(offload::LOST))),
        })
    }

    /// How many attempts at backends there have been.
    pub(crate) fn attempts(&self) -> u32 {
        self.shared.attempts.load(Ordering::Relaxed)
    }
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(super) fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Waits for what comes of it.
    pub(super) async fn join(&mut self) -> Result<T> {
        (&mut self.0).await.map_err(|error| Error::internal(offload::LOST).with_source(error))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::upstream::Memory;

    fn account() -> Arc<Account> {
        Arc::new(Memory::new(1 << 20, &Arc::default()).account())
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_before_the_head_is_an_error_and_a_line_after_it() {
        let (outbox, mut stream) = new(10);
        outbox.fail(Error::unavailable("gone"));
        assert_eq!(stream.begin().await.unwrap_err().message(), "gone");

        let (outbox, mut stream) = new(10);
        stream.begin().await.unwrap();
        assert!(!outbox.may_fail());
        outbox.fail(Error::unavailable("gone"));
        let last = poll_fn(|context| stream.poll_next(context)).await.unwrap().unwrap();
        assert_eq!(last, "{\"error\":\"gone\"}\n");
        assert!(poll_fn(|context| stream.poll_next(context)).await.is_none());
    }

    #[tokio::test]
    async fn there_is_room_again_once_answers_have_gone() {
        let (outbox, mut stream) = new(2 * PIECE + 3);
        outbox.put(b"1\n".to_vec(), account());
        assert!(outbox.has_room());
        outbox.put(b"2\n".to_vec(), account());
        assert!(!outbox.has_room() && !outbox.may_fail());
        stream.begin().await.unwrap();
        let first = poll_fn(|context| stream.poll_next(context)).await.unwrap().unwrap();
        assert!(first == "1\n" && !outbox.has_room());
        drop(first);
        outbox.has_gone().await;
        assert!(outbox.has_room());
        // Nobody says that there is nothing more.
        drop(outbox);
        assert!(poll_fn(|context| stream.poll_next(context)).await.unwrap().is_ok());
        assert!(poll_fn(|context| stream.poll_next(context)).await.unwrap().is_err());
    }
}
