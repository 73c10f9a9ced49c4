//! The tower service of a connection: from an HTTP request to the bridge and back.
//!
//! Every request has an `Exchange` here, which counts and logs it.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder, service_fn};
use tower_http::catch_panic::CatchPanicLayer;

use super::activity::{self, Activity, Patience};
use super::auth::Caller;
use super::drain::{Drain, Phase};
use super::exchange::Exchange;
use super::front::{Front, State};
use super::request_id;
use super::response::{error_response, route_response};
use super::slow_start::SlowStart;
use super::streamed::Streamed;
use super::{Face, admin, docs, inference};
use crate::codec::media::MediaType;
use crate::codec::pretty;
use crate::error::{Error, Result};
use crate::handler::{self, Reply, body, memory, offload};
use crate::route::{self, Route, sagemaker};
use crate::upstream::{Account, Call};

/// How many attempts it took to get an answer from the backends.
const ATTEMPTS: HeaderName = HeaderName::from_static("x-attempts");

/// The body of a response once it has been through the layers.
type ResponseBody = tower_http::body::UnsyncBoxBody<Bytes, tower::BoxError>;

/// The client of a connection, as far as the service has to do with it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) activity: Arc<Activity>,
    pub(super) patience: Patience,
    pub(super) drain: Drain,
    pub(super) slow_start: Arc<SlowStart>,
    /// Who it is, for people.
    pub(super) peer: Arc<str>,
}

/// The service of a connection.
pub(super) fn new(
    face: Face,
    front: Arc<Front>,
    client: Client,
) -> impl Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    ServiceBuilder::new()
        // A panic costs its own request an answer of 500, and no other request anything.
        .layer(CatchPanicLayer::custom(panic_response))
        .service(service_fn(move |request: Request<Incoming>| {
            let (front, client) = (Arc::clone(&front), client.clone());
            async move {
                let begun_request = client.activity.request();
                let version = request.version();
                // Those of HTTP/1 come one after the other.
                let begun = match version {
                    Version::HTTP_2 => Some(client.slow_start.begin().await),
                    _ => None,
                };
                let response = match face {
                    Face::Api => {
                        let (response, held) = respond(&front.state(), &client.peer, request).await;
                        client.finish(version, response, Some(held), begun_request).map(Either::Left)
                    }
                    Face::Admin => {
                        let response = admin::respond(&front, request).await;
                        client.finish(version, response, None, begun_request).map(Either::Left)
                    }
                    Face::Inference => inference::respond(&front, &client, request).await.map(Either::Right),
                };
                if let Some(begun) = begun {
                    begun.answered();
                }
                Ok::<_, Infallible>(response)
            }
        }))
}

impl Client {
    /// What a connection does with every response: its bytes are owed from now on, and before the
    /// process ends the client is told not to use the connection again.
    fn finish(
        &self,
        version: Version,
        response: Response<Bytes>,
        held: Option<Held>,
        request: activity::Request,
    ) -> Response<Either<Full<Bytes>, Streamed>> {
        let mut held = held;
        let stream = held.as_mut().and_then(|held| held.stream.take());
        let mut response = response.map(|bytes| match (stream, held) {
            (Some(stream), Some(Held { exchange, .. })) => {
                Either::Right(Streamed::new(stream, exchange, self, request))
            }
            (_, held) => Either::Left(Full::new(self.owe(bytes, held))),
        });
        if self.drain.phase() > Phase::Serving && version < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The bytes of a response, which are owed from now on, with what lasts until the client has them.
    pub(super) fn owe(&self, bytes: Bytes, held: Option<Held>) -> Bytes {
        if let Some(Held { memory: Some(memory), .. }) = &held {
            memory.settle(bytes.len());
        }
        let owed = self.activity.reply(bytes.len(), self.patience);
        Bytes::from_owner(Body { bytes, _owed: owed, _held: held })
    }
}

/// The body of a response, and what lasts until the client has it.
struct Body {
    bytes: Bytes,
    _owed: activity::Reply,
    _held: Option<Held>,
}

/// What a request holds until the client has its response.
pub(super) struct Held {
    exchange: Exchange,
    memory: Option<Arc<Account>>,
    /// What follows the body.
    stream: Option<handler::Stream>,
}

impl Held {
    pub(super) fn new(exchange: Exchange, memory: Option<Arc<Account>>) -> Self {
        Self { exchange, memory, stream: None }
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Answers one request, whatever happens; with what is held until the client has the answer.
async fn respond(state: &State, peer: &Arc<str>, request: Request<Incoming>) -> (Response<Bytes>, Held) {
    let (bridge, access) = (&state.bridge, &state.access);
    let mut request = request;
    let mut exchange = Exchange::new(state, peer, &request);
    let id = request_id::take(request.headers_mut());
    exchange.request_id = Some(id.clone());
    exchange.begin_trace(state.tracer.as_ref(), request.headers_mut());
    let path = request.uri().path();
    let is_api = route::is_api(path) || bridge.api.routes.get(path).is_some();
    let asked = access.asked(&request);
    // Neither takes a token.
    let preflight = access.preflight(&request);
    let file = if bridge.api.docs { docs::respond(&request) } else { None };
    let (mut response, memory, stream) = match (preflight, file) {
        (Some(response), _) => {
            exchange.verb = "preflight";
            body::discard(request).await;
            (response, None, None)
        }
        (None, Some(file)) => {
            exchange.verb = "docs";
            let response = match file {
                Ok(response) => {
                    body::discard(request).await;
                    response
                }
                Err(error) => refuse(request, &error).await,
            };
            (response, None, None)
        }
        (None, None) => {
            let caller = access.authenticate(&mut request, is_api);
            answer(state, caller, request, &mut exchange).await
        }
    };
    if bridge.api.cors && is_api {
        allow_every_origin(response.headers_mut());
    }
    let mut response = access.finish(&asked, response, memory.as_ref()).await;
    exchange.request_id = Some(request_id::put(&id, response.headers_mut()));
    exchange.answered(response.status().as_u16(), response.body().len());
    (response, Held { exchange, memory, stream })
}

/// Answers one request of a caller, with the memory that is held for the answer, and what follows it.
async fn answer(
    state: &State,
    caller: Result<Caller>,
    request: Request<Incoming>,
    exchange: &mut Exchange,
) -> (Response<Bytes>, Option<Arc<Account>>, Option<handler::Stream>) {
    let bridge = &state.bridge;
    let mut request = request;
    let (method, uri) = (request.method(), request.uri().clone());
    let target = uri.path_and_query().map_or_else(|| uri.path(), http::uri::PathAndQuery::as_str);
    let sagemaker = bridge.api.sagemaker.as_ref();
    let attributes = request.headers().get(sagemaker::ATTRIBUTES).and_then(|value| value.to_str().ok());
    let find = || {
        if let Some(route) = bridge.api.routes.route(method, uri.path())? {
            return Ok(route);
        }
        match sagemaker.map_or(Ok(None), |it| it.route(method, uri.path(), attributes))? {
            Some(route) => Ok(route),
            None => route::parse(method, uri.path(), target),
        }
    };
    let advised = |error| if bridge.api.docs { docs::advised(error, uri.path()) } else { error };
    let find = || find().map_err(advised);
    let mut visible = None;
    let route = match (caller, sagemaker.map(|_| find())) {
        // SageMaker has no token when it asks.
        (_, Some(Ok(Route::Ping))) => Ok(Route::Ping),
        (caller, found) => caller.and_then(|caller| {
            exchange.token = caller.token().map(str::to_owned);
            let route = found.unwrap_or_else(find)?;
            caller.check(&route)?;
            visible = caller.visible(&route);
            Ok(route)
        }),
    };
    let route = match route {
        Ok(route) => route,
        Err(error) => return (refuse(request, &error).await, None, None),
    };
    exchange.verb = route.verb();
    let call = match bridge.call(request.headers(), &exchange.record) {
        Ok(call) => call,
        Err(error) => return (refuse(request, &error).await, None, None),
    };
    let origin = request.headers().get(ORIGIN).cloned();
    let pretty = bridge.api.pretty || wants_pretty(uri.query());
    if let Some(is_visible) = visible {
        request.extensions_mut().insert(is_visible);
    }
    let mut result = bridge.handle(&route, request, &call).await;
    exchange.attempts = call.attempts();
    if pretty {
        result = indent(result, &call).await;
    }
    let stream = result.as_mut().ok().and_then(|reply| reply.stream.take());
    let mut response = route_response(&route, result, origin.as_ref());
    describe(&call, &bridge.api.return_headers, &mut response);
    (response, Some(call.memory), stream)
}

/// Answers with an error before the body has been read. A client that waits for permission to
/// send it gets none: that would be given by reading. HTTP/2 knows no such permission here.
async fn refuse(request: Request<Incoming>, error: &Error) -> Response<Bytes> {
    let waits = body::waits(&request);
    let mut response = error_response(error);
    if error.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if waits {
        // Nobody can tell whether the client sends the body now.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    body::discard(request).await;
    response
}

/// Tells the client of the calls to the backend.
pub(super) fn describe<B>(call: &Call, return_headers: &[HeaderName], response: &mut Response<B>) {
    if call.attempts() > 0 {
        response.headers_mut().insert(ATTEMPTS, call.attempts().into());
        call.copy_returned(return_headers, response);
    }
}

async fn indent(result: Result<Reply>, call: &Call) -> Result<Reply> {
    let reply = result?;
    if reply.content_type != MediaType::Json.name() {
        return Ok(reply);
    }
    let plain = reply.body.clone();
    call.memory.hold(memory::of_indented(&plain))?;
    let body = offload(plain.len(), &call.memory, move || Ok(pretty::indent(&plain).into())).await?;
    Ok(Reply { body, ..reply })
}

fn panic_response(_: Box<dyn Any + Send + 'static>) -> Response<Full<Bytes>> {
    error_response(&Error::internal("The request met a bug in tfbridge")).map(Full::new)
}

/// TensorFlow Serving's three CORS headers.
fn allow_every_origin(headers: &mut HeaderMap) {
    use http::header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type"));
}

/// Whether the query asks for indented JSON: `pretty` alone or with any value but a no.
fn wants_pretty(query: Option<&str>) -> bool {
    query.unwrap_or_default().split('&').any(|pair| match pair.split_once('=') {
        Some(("pretty", value)) => !matches!(value, "false" | "0" | "no"),
        _ => pair == "pretty",
    })
}
