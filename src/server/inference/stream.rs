//! A stream of inferences: each message of the request is answered by one, in their order.
//!
//! The next message is read when the one before has been answered. Each is a request of its own to those who
//! count and log. What is wrong with one is told in its answer, and the stream goes on; it ends with the
//! request, with what is no message, when the process does, or when nothing has come for the time that a
//! connection may be idle.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, request};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::drain::Phase;
use super::answer::{Body, Piece, failed, ok, report, response, status};
use super::{Caller, Client, Exchange, Front, GRPC_TIMEOUT, Held, Messages, request_id};
use crate::error::{Error, Result};
use crate::handler::grpc::frame;
use crate::proto::inference::{ModelInferResponse, ModelStreamInferResponse};
use crate::upstream::Call;

/// The head of a response begins at once, and a task writes the rest.
pub(super) fn begin(
    front: &Arc<Front>,
    client: &Client,
    caller: Caller,
    exchange: Exchange,
    request: Request<Incoming>,
) -> Response<Body> {
    let (mut head, body) = request.into_parts();
    let id = request_id::take(&mut head.headers);
    let messages = match Messages::new(&head.headers, body) {
        Ok(messages) => messages,
        Err(error) => return failed(&error, exchange, &id),
    };
    let call = match front.state().bridge.call(&head.headers, &exchange.record) {
        Ok(call) => call,
        Err(error) => return failed(&error, exchange, &id),
    };
    // It is not the stream that is counted.
    exchange.forget();
    // A client that sets a time for all of the stream ends it itself.
    head.headers.remove(GRPC_TIMEOUT);
    let (sender, pieces) = mpsc::channel(1);
    let stream =
        Stream { front: Arc::clone(front), client: client.clone(), caller, head, messages, _call: call };
    tokio::spawn(async move {
        tokio::select! {
            end = stream.run(&sender) => {
                let _ = sender.send(Piece::End(end.map_or_else(|error| status(&error), |()| ok()))).await;
            }
            // The client has gone.
            () = sender.closed() => {}
        }
    });
    let mut response = response(Body::stream(pieces, client.activity.request()));
    request_id::put(&id, response.headers_mut());
    response
}

/// A stream that is under way.
struct Stream {
    front: Arc<Front>,
    client: Client,
    caller: Caller,
    head: request::Parts,
    messages: Messages<Incoming>,
    /// Holds the memory for what a stream takes while it waits.
    _call: Call,
}

impl Stream {
    /// Answers its messages until there are no more.
    async fn run(mut self, sender: &mpsc::Sender<Piece>) -> Result<()> {
        let drain = self.client.drain.clone();
        loop {
            let server = self.front.state().server.clone();
            let begins = tokio::select! {
                begins = timeout(server.idle_timeout, self.messages.begins()) => begins,
                () = drain.reaches(Phase::Draining, Duration::ZERO) => {
                    return Err(Error::unavailable("The bridge is about to end"));
                }
            };
            let begins =
                begins.map_err(|_| Error::deadline_exceeded("The stream has been idle for too long"))?;
            if !begins? {
                return Ok(());
            }
            let answer = self.next().await?;
            let send = sender.send(Piece::Message(answer));
            if timeout(server.write_timeout, send).await.is_err() {
                return Err(Error::deadline_exceeded("The answers of the stream are read too slowly"));
            }
        }
    }

    /// Answers the message that has begun.
    ///
    /// # Errors
    ///
    /// What ends the stream.
    async fn next(&mut self) -> Result<Bytes> {
        let state = self.front.state();
        let request = Request::from_parts(self.head.clone(), ());
        let mut exchange = Exchange::new(&state, &self.client.peer, &request);
        exchange.verb = "infer";
        exchange.token = self.caller.token().map(str::to_owned);
        exchange.request_id = request.headers().get(&request_id::REQUEST_ID).cloned();
        let mut headers: HeaderMap = request.headers().clone();
        exchange.begin_trace(state.tracer.as_ref(), &mut headers);
        let result = match state.bridge.call(&headers, &exchange.record) {
            Ok(call) => self.answer(&call).await.map(|(status, answer)| (status, answer, Some(call))),
            Err(error) => Err(error),
        };
        match result {
            Ok((status, answer, call)) => {
                exchange.attempts = call.as_ref().map_or(0, Call::attempts);
                exchange.answered(status, answer.len());
                let held = Held::new(exchange, call.map(|call| Arc::clone(&call.memory)));
                Ok(self.client.owe(answer, Some(held)))
            }
            Err(error) => {
                report(&error);
                exchange.answered(error.status().as_u16(), 0);
                Err(error)
            }
        }
    }

    /// The answer to a message, and the HTTP status that it counts as.
    async fn answer(&mut self, call: &Call) -> Result<(u16, Bytes)> {
        let state = self.front.state();
        let bridge = &state.bridge;
        let message = self.messages.next((&bridge.api).into(), call).await?;
        let message = message.ok_or_else(|| Error::invalid_argument("The body ends within a message"))?;
        let mut id = String::new();
        let result = async {
            let inference = bridge.read_inference(message, call).await?;
            id.clone_from(&inference.request.id);
            self.caller.check_model(&inference.request.model_name)?;
            bridge.infer_message(inference, true, call).await
        };
        match result.await {
            Ok(answer) => Ok((200, answer)),
            Err(error) => {
                report(&error);
                let infer_response = Some(ModelInferResponse { id, ..ModelInferResponse::default() });
                let error_message = error.message().to_owned();
                let answer = frame(&ModelStreamInferResponse { error_message, infer_response }, usize::MAX)?;
                Ok((error.status().as_u16(), answer.unwrap_or_default()))
            }
        }
    }
}
