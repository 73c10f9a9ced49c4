//! The end of a connection: what the client still sends is taken for a moment.
//!
//! A socket that is closed with bytes unread tells the client of an error, and that may cost it the last
//! response. There is no hurry about it: a client that has sent more than was wanted may wait, and floods
//! that are refused take little of the machine, however often they are begun again.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep_until};

use super::stream::Duplex;

/// How long a client may take to hang up.
const LONGEST: Duration = Duration::from_millis(500);

/// How long it is not told to while it goes on to send.
const UNSAID: Duration = Duration::from_millis(100);

/// How much of what it sends is taken at once, and how long it waits then.
const PIECE: usize = 16 << 10;
const PAUSE: Duration = Duration::from_millis(10);

/// How far the end has come.
#[derive(Debug)]
pub(super) struct Farewell {
    end: Pin<Box<Sleep>>,
    pause: Pin<Box<Sleep>>,
    /// How much may be taken before the next pause.
    piece: usize,
    /// When the client is told that nothing more is sent, and whether it has been.
    say_at: Instant,
    is_said: bool,
}

impl Farewell {
    /// Starts the clock.
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        Self {
            end: Box::pin(sleep_until(now + LONGEST)),
            pause: Box::pin(sleep_until(now)),
            piece: PIECE,
            say_at: now + UNSAID,
            is_said: false,
        }
    }

    /// Shuts a socket down once all that has arrived is taken, and is done when the client has hung up or
    /// the time is over.
    pub(super) fn poll(
        &mut self,
        mut socket: Pin<&mut dyn Duplex>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        loop {
            if self.end.as_mut().poll(context).is_ready() {
                return if self.is_said { Poll::Ready(Ok(())) } else { socket.poll_shutdown(context) };
            }
            if self.piece == 0 {
                ready!(self.pause.as_mut().poll(context));
                self.piece = PIECE;
                if !self.is_said && Instant::now() >= self.say_at {
                    ready!(socket.as_mut().poll_shutdown(context))?;
                    self.is_said = true;
                }
            }
            let mut buffer = ReadBuf::new(&mut bytes);
            match socket.as_mut().poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.piece = self.piece.saturating_sub(buffer.filled().len());
                    if self.piece == 0 {
                        self.pause.as_mut().reset(Instant::now() + PAUSE);
                    }
                }
                Poll::Pending if self.is_said => return Poll::Pending,
                // All has been taken.
                Poll::Pending => {
                    ready!(socket.as_mut().poll_shutdown(context))?;
                    self.is_said = true;
                    return Poll::Pending;
                }
                Poll::Ready(_) if self.is_said => return Poll::Ready(Ok(())),
                Poll::Ready(_) => return socket.poll_shutdown(context),
            }
        }
    }
}
