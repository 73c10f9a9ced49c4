//! The body of a response that comes to be while it is sent.
//!
//! What the connection takes of it is owed to the client until it has been written, as any other reply is;
//! between two pieces nobody owes anything. Dropped before its end, it ends the work on what is to follow.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::activity::{self, Activity, Patience};
use super::exchange::Exchange;
use super::service::Client;
use crate::error::Error;
use crate::handler::Stream;

/// A response on its way, and its request, which is not over before.
pub(super) struct Streamed {
    stream: Stream,
    exchange: Exchange,
    activity: Arc<Activity>,
    patience: Patience,
    _request: activity::Request,
}

/// Bytes that are owed to the client until they are dropped.
struct Piece {
    bytes: Bytes,
    _owed: activity::Reply,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Streamed {
    pub(super) fn new(
        stream: Stream,
        exchange: Exchange,
        client: &Client,
        request: activity::Request,
    ) -> Self {
        let (activity, patience) = (Arc::clone(&client.activity), client.patience);
        Self { stream, exchange, activity, patience, _request: request }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let next = ready!(self.stream.poll_next(context));
        Poll::Ready(next.map(|bytes| {
            let bytes = bytes?;
            self.exchange.sent(bytes.len());
            let owed = self.activity.reply(bytes.len(), self.patience);
            Ok(Frame::data(Bytes::from_owner(Piece { bytes, _owed: owed })))
        }))
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.exchange.attempts = self.stream.attempts();
    }
}
