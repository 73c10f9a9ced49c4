//! The body of a gRPC response, and the status at its end.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::{Client, Exchange, GRPC, Held, request_id};
use crate::error::Error;
use crate::server::activity;
use crate::server::exchange::beginning;
use crate::upstream::Call;

/// The most bytes of a message about an error: it travels in a header.
const LONGEST_TEXT: usize = 2 << 10;

/// What comes next in a response.
#[derive(Debug)]
pub(super) enum Piece {
    Message(Bytes),
    /// The end, with its status.
    End(HeaderMap),
}

/// The body of a response.
#[derive(Debug)]
pub(in crate::server) struct Body {
    next: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// Where the rest comes from, and the request that is under way until it has come.
    more: Option<(mpsc::Receiver<Piece>, activity::Request)>,
}

impl Body {
    /// All at once; without trailers if there are none.
    pub(super) fn whole(bytes: Bytes, trailers: HeaderMap) -> Self {
        let next = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self { next, trailers: Some(trailers).filter(|trailers| !trailers.is_empty()), more: None }
    }

    /// Piece by piece.
    pub(super) fn stream(pieces: mpsc::Receiver<Piece>, request: activity::Request) -> Self {
        Self { next: None, trailers: None, more: Some((pieces, request)) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(bytes) = self.next.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let Some((pieces, _)) = &mut self.more {
            let piece = std::task::ready!(pieces.poll_recv(context));
            let trailers = match piece {
                Some(Piece::Message(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Piece::End(trailers)) => trailers,
                // Whoever writes them has panicked.
                None => status(&Error::internal("The request met a bug in tfbridge")),
            };
            self.more = None;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    /// Known where nothing follows: with a status behind it, a message has a length of its own.
    fn size_hint(&self) -> SizeHint {
        if self.trailers.is_some() || self.more.is_some() {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.next.as_ref().map_or(0, Bytes::len) as u64)
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.trailers.is_none() && self.more.is_none()
    }
}

/// The response to a request that went well.
pub(super) fn succeeded(
    message: Bytes,
    client: &Client,
    mut exchange: Exchange,
    call: &Call,
) -> Response<Body> {
    exchange.answered(200, message.len());
    let held = Held::new(exchange, Some(call.memory.clone()));
    response(Body::whole(client.owe(message, Some(held)), ok()))
}

/// The response to one that did not: its head has the status.
pub(super) fn failed(error: &Error, mut exchange: Exchange, id: &HeaderValue) -> Response<Body> {
    report(error);
    exchange.answered(error.status().as_u16(), 0);
    let mut response = response(Body::whole(Bytes::new(), HeaderMap::new()));
    response.headers_mut().extend(status(error));
    request_id::put(id, response.headers_mut());
    response
}

/// A response with this body.
pub(super) fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    response
}

/// Logs what went wrong, as it is logged on the API port.
pub(super) fn report(error: &Error) {
    if error.status().is_server_error() {
        tracing::warn!(%error, source = ?std::error::Error::source(error), "request failed");
    } else {
        tracing::debug!(%error, "request refused");
    }
}

/// The status of an error, as headers.
pub(super) fn status(error: &Error) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let status = Status::new(error.code(), beginning(error.message(), LONGEST_TEXT));
    // A text is escaped, so that it always can be a header.
    if status.add_header(&mut headers).is_err() {
        headers.insert("grpc-status", (Code::Internal as i32).into());
    }
    headers
}

/// The status of success.
pub(super) fn ok() -> HeaderMap {
    [(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_statuses() {
        let headers = status(&Error::invalid_argument("The input \"é\" is 100% wrong"));
        assert_eq!(headers["grpc-status"], "3");
        assert_eq!(headers["grpc-message"], "The%20input%20%22%C3%A9%22%20is%20100%25%20wrong");
        let long = status(&Error::not_found("é".repeat(LONGEST_TEXT)));
        assert_eq!(long["grpc-message"].len(), 3 * LONGEST_TEXT);
        assert_eq!(ok()["grpc-status"], "0");
    }
}
