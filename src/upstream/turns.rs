//! A socket whose task lets others run after so many bytes: all that a large message needs of a thread
//! it takes in pieces, between which small ones have their turn.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// How many bytes a task reads or writes before others have their turn. It takes some tens of microseconds, and lets a
/// batch of some hundred rows go at once: each further turn wakes the other side once more.
const TURN: usize = 128 << 10;

/// How many pieces are written at once.
const MOST_PIECES: usize = 64;

/// How much has been done since others had their turn.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    bytes: usize,
}

impl Turn {
    /// Is pending once after so many bytes, until others have run: those included that something has
    /// just come in for.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.bytes < TURN {
            return Poll::Ready(());
        }
        self.bytes = 0;
        wait(context)
    }

    /// Writes as much of these bytes as is for one turn.
    pub(crate) fn poll_write<W: AsyncWrite + ?Sized>(
        &mut self,
        socket: Pin<&mut W>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll(context));
        let result = socket.poll_write(context, within(bytes));
        self.note(&result, written(&result));
        result
    }

    /// Writes as much of these pieces as is for one turn.
    pub(crate) fn poll_write_vectored<W: AsyncWrite + ?Sized>(
        &mut self,
        socket: Pin<&mut W>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll(context));
        let result = write_vectored(socket, context, pieces);
        self.note(&result, written(&result));
        result
    }

    /// Notes what has come of an attempt to read or write; others run if it is pending.
    fn note<T>(&mut self, result: &Poll<T>, bytes: usize) {
        self.bytes = if result.is_pending() { 0 } else { self.bytes + bytes };
    }
}

/// Has the task woken after the others.
pub(crate) fn wait<T>(context: &mut Context<'_>) -> Poll<T> {
    // It is pending the first time, and the runtime wakes the task once it has looked at the sockets.
    let _ = pin!(tokio::task::yield_now()).poll(context);
    Poll::Pending
}

/// A socket that is used in turns.
#[derive(Debug)]
pub(crate) struct Turns<S> {
    socket: S,
    reads: Turn,
    writes: Turn,
}

impl<S> Turns<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self { socket, reads: Turn::default(), writes: Turn::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Turns<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.reads.poll(context));
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.socket).poll_read(context, buffer);
        self.reads.note(&result, buffer.filled().len() - before);
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Turns<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, writes, .. } = &mut *self;
        writes.poll_write(Pin::new(socket), context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, writes, .. } = &mut *self;
        writes.poll_write_vectored(Pin::new(socket), context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// What of these bytes is for one turn.
fn within(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(TURN)]
}

/// Writes what of these pieces is for one turn.
fn write_vectored<W: AsyncWrite + ?Sized>(
    socket: Pin<&mut W>,
    context: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    // Nearly all messages are for one turn as a whole.
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() <= TURN {
        return socket.poll_write_vectored(context, pieces);
    }
    write_part(socket, context, pieces)
}

/// Writes as much of these pieces as a turn has.
#[inline(never)]
fn write_part<W: AsyncWrite + ?Sized>(
    socket: Pin<&mut W>,
    context: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    // The last of them may be for this turn in part: what begins a message goes with it, and wakes nobody alone.
    let mut turn = [IoSlice::new(&[]); MOST_PIECES];
    let (mut count, mut left) = (0, TURN);
    for (slot, piece) in turn.iter_mut().zip(pieces.iter().filter(|piece| !piece.is_empty())) {
        let piece = &piece[..piece.len().min(left)];
        *slot = IoSlice::new(piece);
        left -= piece.len();
        count += 1;
        if left == 0 {
            break;
        }
    }
    socket.poll_write_vectored(context, &turn[..count])
}

/// How many bytes the socket has taken.
pub(crate) fn written(result: &Poll<io::Result<usize>>) -> usize {
    match result {
        Poll::Ready(Ok(written)) => *written,
        _ => 0,
    }
}

impl<S: Connected> Connected for Turns<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.socket.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Takes all that it is given, and remembers how much at once.
    #[derive(Debug, Default)]
    struct Taker(Vec<usize>);

    impl AsyncWrite for Taker {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
            self.poll_write(context, &all)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_begins_a_large_message_goes_with_it() {
        let (head, body) = ([1; 9], vec![2; 2 * TURN]);
        let mut socket = Turns::new(Taker::default());
        let pieces = [IoSlice::new(&[]), IoSlice::new(&head), IoSlice::new(&body)];
        assert_eq!(socket.write_vectored(&pieces).await.unwrap(), TURN);
        assert_eq!(socket.write_vectored(&[IoSlice::new(&head); 3]).await.unwrap(), 3 * head.len());
        let mut many = vec![IoSlice::new(&head); MOST_PIECES];
        assert_eq!(socket.write_vectored(&many).await.unwrap(), MOST_PIECES * head.len());
        // Of those that are too much for a turn so many are written at once.
        many.push(IoSlice::new(&body));
        assert_eq!(socket.write_vectored(&many).await.unwrap(), MOST_PIECES * head.len());
        assert_eq!(
            socket.socket.0,
            [TURN, 3 * head.len(), MOST_PIECES * head.len(), MOST_PIECES * head.len()]
        );
    }

    #[tokio::test]
    async fn others_run_between_the_pieces_of_a_large_message() {
        let size = 10 * TURN;
        let (near, far) = tokio::io::duplex(2 * size);
        let mut socket = Turns::new(near);
        let turns = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let other = std::sync::Arc::clone(&turns);
        let other = tokio::spawn(async move {
            loop {
                other.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        let count = || turns.load(std::sync::atomic::Ordering::Relaxed);
        socket.write_all(&vec![1; size]).await.unwrap();
        assert!(count() >= 4, "{}", count());
        drop(far);
        let (near, mut far) = tokio::io::duplex(2 * size);
        far.write_all(&vec![2; size]).await.unwrap();
        drop(far);
        let before = count();
        let mut read = Vec::new();
        Turns::new(near).read_to_end(&mut read).await.unwrap();
        assert_eq!(read.len(), size);
        assert!(count() - before >= 4, "{}", count() - before);
        other.abort();
    }
}
