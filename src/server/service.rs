//! The tower service of a connection: from an HTTP request to the bridge and back.
//!
//! This is the one place where an error becomes a response, is logged and is counted.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder, service_fn};
use tower_http::catch_panic::CatchPanicLayer;

use super::activity::{self, Activity, Patience};
use super::drain::{Drain, Phase};
use super::front::{Front, State};
use super::{Face, admin};
use crate::codec::pretty;
use crate::error::{Error, Result};
use crate::handler::{Reply, body, memory, offload};
use crate::route::{self, Route};
use crate::upstream::{Account, Call};

/// The version of the model that answered.
const MODEL_VERSION: HeaderName = HeaderName::from_static("x-model-version");

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
                let _request = client.activity.request();
                let version = request.version();
                let (response, memory) = match face {
                    Face::Api => respond(&front.state(), request).await,
                    Face::Admin => (admin::respond(&front, request).await, None),
                };
                Ok::<_, Infallible>(client.finish(version, response, memory))
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
        memory: Option<Arc<Account>>,
    ) -> Response<Full<Bytes>> {
        let mut response = response.map(|bytes| {
            if let Some(memory) = &memory {
                memory.settle(bytes.len());
            }
            let owed = self.activity.reply(bytes.len(), self.patience);
            Full::new(Bytes::from_owner(Body { bytes, _owed: owed, _memory: memory }))
        });
        if self.drain.phase() > Phase::Serving && version < Version::HTTP_2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The body of a response, and what lasts until the client has it.
struct Body {
    bytes: Bytes,
    _owed: activity::Reply,
    _memory: Option<Arc<Account>>,
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Answers one request, whatever happens.
async fn respond(state: &State, request: Request<Incoming>) -> (Response<Bytes>, Option<Arc<Account>>) {
    let bridge = &state.bridge;
    let start = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let target = uri.path_and_query().map_or_else(|| uri.path(), http::uri::PathAndQuery::as_str);
    let mut memory = None;
    let (verb, mut response) = match route::parse(&method, uri.path(), target) {
        Ok(route) => {
            let origin = request.headers().get(ORIGIN).cloned();
            let pretty = bridge.api.pretty || wants_pretty(uri.query());
            let (call, mut result) = match bridge.call(request.headers()) {
                Ok(call) => {
                    let result = admit(state, &route, request, &call).await;
                    (Some(call), result)
                }
                Err(error) => {
                    body::discard(request).await;
                    (None, Err(error))
                }
            };
            if pretty
                && !matches!(route, Route::Metrics)
                && let Some(call) = &call
            {
                result = indent(result, call).await;
            }
            let mut response = response(&route, result, origin.as_ref());
            if let Some(call) = call {
                describe(&call, &bridge.api.return_headers, &mut response);
                memory = Some(call.memory);
            }
            (route.verb(), response)
        }
        Err(error) => {
            body::discard(request).await;
            ("none", error_response(&error))
        }
    };
    if bridge.api.cors && is_api(uri.path()) {
        allow_every_origin(response.headers_mut());
    }
    let status = response.status().as_u16();
    bridge.metrics.answered(verb, status, start.elapsed());
    tracing::debug!(%method, path = uri.path(), verb, status, elapsed = ?start.elapsed(), "request");
    (response, memory)
}

/// Waits for a request's turn and has it answered.
async fn admit(state: &State, route: &Route, request: Request<Incoming>, call: &Call) -> Result<Reply> {
    if matches!(route, Route::Preflight | Route::Metrics) {
        return state.bridge.handle(route, request, call).await;
    }
    match state.admission.enter().await {
        Ok(_permit) => state.bridge.handle(route, request, call).await,
        Err(error) => {
            body::discard(request).await;
            Err(error)
        }
    }
}

/// Tells the client of the calls to the backend.
fn describe<B>(call: &Call, return_headers: &[HeaderName], response: &mut Response<B>) {
    if call.attempts() > 0 {
        response.headers_mut().insert(ATTEMPTS, call.attempts().into());
        call.copy_returned(return_headers, response);
    }
}

async fn indent(result: Result<Reply>, call: &Call) -> Result<Reply> {
    let Reply { body, model_version } = result?;
    call.memory.hold(memory::of_indented(&body))?;
    let body = offload(body.len(), move || Ok(pretty::indent(&body).into())).await?;
    Ok(Reply { body, model_version })
}

fn response(route: &Route, result: Result<Reply>, origin: Option<&HeaderValue>) -> Response<Bytes> {
    let reply = match result {
        Ok(reply) => reply,
        Err(error) => return error_response(&error),
    };
    match route {
        Route::Preflight => preflight_response(origin),
        Route::Metrics => new_response(StatusCode::OK, "text/plain; charset=utf-8", reply.body),
        _ => {
            let mut response = new_response(StatusCode::OK, "application/json", reply.body);
            if let Some(version) = reply.model_version {
                response.headers_mut().insert(MODEL_VERSION, version.into());
            }
            response
        }
    }
}

/// The one place that writes `{"error": ...}`.
pub(super) fn error_response(error: &Error) -> Response<Bytes> {
    let status = error.status();
    if status.is_server_error() {
        tracing::warn!(%error, source = ?std::error::Error::source(error), "request failed");
    } else {
        tracing::debug!(%error, "request refused");
    }
    let mut response = new_response(status, "application/json", error.to_json().into());
    if error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Some(allow) = error.allow() {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}

fn panic_response(_: Box<dyn Any + Send + 'static>) -> Response<Full<Bytes>> {
    error_response(&Error::internal("The request met a bug in tfbridge")).map(Full::new)
}

pub(super) fn new_response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Like the original, answers without a body: 200 if the origin is a web page, else 400.
fn preflight_response(origin: Option<&HeaderValue>) -> Response<Bytes> {
    let is_page = origin
        .and_then(|origin| origin.to_str().ok())
        .is_some_and(|origin| origin.contains("http://") || origin.contains("https://"));
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = if is_page { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    response
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

fn is_api(path: &str) -> bool {
    path.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("/v1/"))
}

/// Whether the query asks for indented JSON: `pretty` alone or with any value but a no.
fn wants_pretty(query: Option<&str>) -> bool {
    query.unwrap_or_default().split('&').any(|pair| match pair.split_once('=') {
        Some(("pretty", value)) => !matches!(value, "false" | "0" | "no"),
        _ => pair == "pretty",
    })
}
