//! The socket of a connection, of whatever kind it is, and what was read ahead from it.
//!
//! It tells the connection's activity of what is read and written.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;

/// What every HTTP/2 connection starts with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// After so many bytes of a connection others get their turn: they may be thousands of frames, and the
/// server goes on for as long as there are any.
const TURN: usize = 8 << 10;

/// How long a client may take to hang up after the last response, and how much it may send meanwhile.
const FAREWELL: Duration = Duration::from_millis(500);
const FAREWELL_SIZE: usize = 1 << 20;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A socket by its kind.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The bytes of a connection, both ways.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Socket,
    /// What was read to tell the protocol.
    ahead: BytesMut,
    /// How much has been read since others had their turn.
    in_turn: usize,
    /// Set once nothing more is sent: how long the client may take to hang up, and how much it may send
    /// until then.
    farewell: Option<(Pin<Box<Sleep>>, usize)>,
    activity: Arc<Activity>,
}

impl Stream {
    pub(super) fn new(socket: Socket, activity: Arc<Activity>) -> Self {
        Self { socket, ahead: BytesMut::new(), in_turn: 0, farewell: None, activity }
    }

    /// Finds out what the client speaks: by its first bytes, or by what TLS has agreed on. Waits for
    /// them for ever.
    pub(super) async fn protocol(&mut self) -> io::Result<Protocol> {
        if let Socket::Tls(tls) = &self.socket {
            let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            return Ok(if is_http2 { Protocol::Http2 } else { Protocol::Http1 });
        }
        let mut start = [0; PREFACE.len()];
        let mut length = 0;
        while length < PREFACE.len() && PREFACE.starts_with(&start[..length]) {
            match self.read(&mut start[length..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => length += read,
            }
        }
        self.ahead.extend_from_slice(&start[..length]);
        Ok(if start == PREFACE { Protocol::Http2 } else { Protocol::Http1 })
    }

    /// The socket as something to poll.
    fn socket(&mut self) -> Pin<&mut dyn Duplex> {
        let socket: &mut dyn Duplex = match &mut self.socket {
            Socket::Tcp(stream) => stream,
            Socket::Unix(stream) => stream,
            Socket::Tls(stream) => &mut **stream,
        };
        Pin::new(socket)
    }

    /// Takes what a client still sends after the last response, for a moment: a socket that is closed with
    /// bytes unread tells the client of an error, and that may cost it the response.
    fn poll_farewell(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 4096];
        loop {
            let Some((time, most)) = &mut self.farewell else { return Poll::Ready(()) };
            if *most == 0 || time.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut bytes);
            match self.socket().poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let read = buffer.filled().len();
                    if let Some((_, most)) = &mut self.farewell {
                        *most = most.saturating_sub(read);
                    }
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn note_written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = result {
            self.activity.wrote(written);
        }
        result
    }
}

/// What goes both ways.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let length = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..length]);
            self.ahead.advance(length);
            return Poll::Ready(Ok(()));
        }
        if self.in_turn >= TURN {
            self.in_turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let result = self.socket().poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        self.in_turn = if result.is_pending() { 0 } else { self.in_turn + read };
        if read > 0 {
            self.activity.read();
        }
        result
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = self.socket().poll_write(context, bytes);
        self.note_written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = self.socket().poll_write_vectored(context, pieces);
        self.note_written(result)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Tcp(stream) => stream.is_write_vectored(),
            Socket::Unix(stream) => stream.is_write_vectored(),
            Socket::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.farewell.is_none() {
            ready!(self.socket().poll_shutdown(context))?;
            self.farewell = Some((Box::pin(tokio::time::sleep(FAREWELL)), FAREWELL_SIZE));
        }
        self.poll_farewell(context).map(Ok)
    }
}
