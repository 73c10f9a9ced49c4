//! The socket of a connection, of whatever kind it is, and what was read ahead from it.
//!
//! It tells the connection's activity of what is read and written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::farewell::Farewell;
use crate::upstream::turns::{self, Turn};

/// What every HTTP/2 connection starts with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// After so many bytes of a connection others get their turn: they may be thousands of frames, and the
/// server goes on for as long as there are any.
const TURN: usize = 8 << 10;

/// The same while requests of HTTP/2 come in: there may be one in every few bytes, and all that have been
/// read are begun.
const TURN_OF_HEADS: usize = 2 << 10;

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
    is_http2: bool,
    /// How much may be read, and has been, before others have their turn; and how many requests had been
    /// begun before.
    turn: usize,
    in_turn: usize,
    begun: usize,
    writes: Turn,
    /// Set once there is nothing more to be sent.
    farewell: Option<Farewell>,
    activity: Arc<Activity>,
}

impl Stream {
    pub(super) fn new(socket: Socket, activity: Arc<Activity>) -> Self {
        Self {
            socket,
            ahead: BytesMut::new(),
            is_http2: false,
            turn: TURN,
            in_turn: 0,
            begun: 0,
            writes: Turn::default(),
            farewell: None,
            activity,
        }
    }

    /// Finds out what the client speaks: by its first bytes, or by what TLS has agreed on. Waits for
    /// them for ever.
    pub(super) async fn protocol(&mut self) -> io::Result<Protocol> {
        if let Socket::Tls(tls) = &self.socket {
            let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
            return Ok(self.speaks(is_http2));
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
        Ok(self.speaks(start == PREFACE))
    }

    fn speaks(&mut self, is_http2: bool) -> Protocol {
        if is_http2 {
            (self.is_http2, self.turn) = (true, TURN_OF_HEADS);
        }
        if is_http2 { Protocol::Http2 } else { Protocol::Http1 }
    }

    /// The socket as something to poll.
    fn socket(&mut self) -> Pin<&mut dyn Duplex> {
        self.socket.as_duplex()
    }

    fn end_turn(&mut self) {
        let begun = self.activity.begun();
        self.turn = if self.is_http2 && begun != self.begun { TURN_OF_HEADS } else { TURN };
        (self.in_turn, self.begun) = (0, begun);
    }

    /// Lets all others run first, those included that something has just come in for.
    fn let_others<T>(&mut self, context: &mut Context<'_>) -> Poll<T> {
        self.end_turn();
        turns::wait(context)
    }

    fn note_written(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.wrote(turns::written(&result));
        result
    }
}

impl Socket {
    fn as_duplex(&mut self) -> Pin<&mut dyn Duplex> {
        let socket: &mut dyn Duplex = match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
            Self::Tls(stream) => &mut **stream,
        };
        Pin::new(socket)
    }
}

/// What goes both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin {}

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
        if self.in_turn >= self.turn {
            return self.let_others(context);
        }
        let before = buffer.filled().len();
        let result = if self.turn == TURN_OF_HEADS {
            let length = TURN_OF_HEADS.min(buffer.remaining());
            let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(length));
            let result = self.socket().poll_read(context, &mut piece);
            let read = piece.filled().len();
            buffer.advance(read);
            result
        } else {
            self.socket().poll_read(context, buffer)
        };
        let read = buffer.filled().len() - before;
        self.in_turn += read;
        if result.is_pending() {
            self.end_turn();
        }
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
        let Self { socket, writes, .. } = &mut *self;
        let result = writes.poll_write(socket.as_duplex(), context, bytes);
        self.note_written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, writes, .. } = &mut *self;
        let result = writes.poll_write_vectored(socket.as_duplex(), context, pieces);
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
        let Self { socket, farewell, .. } = &mut *self;
        farewell.get_or_insert_with(Farewell::begin).poll(socket.as_duplex(), context)
    }
}
