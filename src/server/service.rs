//! The tower service of a connection: from an HTTP request to the bridge and back.
//!
//! This is the one place where an error becomes a response, is logged and is counted.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder, service_fn};
use tower_http::catch_panic::CatchPanicLayer;

use super::{Face, admin};
use crate::codec::pretty;
use crate::error::{Error, Result};
use crate::handler::{Bridge, Reply, body, offload};
use crate::route::{self, Route};
use crate::upstream::Call;

/// The version of the model that answered.
const MODEL_VERSION: HeaderName = HeaderName::from_static("x-model-version");

/// How many attempts it took to get an answer from the backends.
const ATTEMPTS: HeaderName = HeaderName::from_static("x-attempts");

/// The body of a response once it has been through the layers.
type ResponseBody = tower_http::body::UnsyncBoxBody<Bytes, tower::BoxError>;

/// The service of a connection.
pub(super) fn new(
    face: Face,
    bridge: Arc<Bridge>,
) -> impl Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    ServiceBuilder::new()
        // A panic costs its own request an answer of 500, and no other request anything.
        .layer(CatchPanicLayer::custom(panic_response))
        .service(service_fn(move |request| {
            let bridge = Arc::clone(&bridge);
            async move {
                Ok::<_, Infallible>(match face {
                    Face::Api => respond(&bridge, request).await,
                    Face::Admin => admin::respond(&bridge, request).await,
                })
            }
        }))
}

/// Answers one request, whatever happens.
async fn respond(bridge: &Bridge, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let start = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let target = uri.path_and_query().map_or_else(|| uri.path(), http::uri::PathAndQuery::as_str);
    let (verb, response) = match route::parse(&method, uri.path(), target) {
        Ok(route) => {
            let origin = request.headers().get(ORIGIN).cloned();
            let pretty = bridge.api.pretty || wants_pretty(uri.query());
            let (call, mut result) = match bridge.call(request.headers()) {
                Ok(call) => {
                    let result = bridge.handle(&route, request, &call).await;
                    (Some(call), result)
                }
                Err(error) => {
                    body::discard(&mut request.into_body()).await;
                    (None, Err(error))
                }
            };
            if pretty && !matches!(route, Route::Metrics) {
                result = indent(result).await;
            }
            let mut response = response(&route, result, origin.as_ref());
            if let Some(call) = call {
                describe(&call, &bridge.api.return_headers, &mut response);
            }
            (route.verb(), response)
        }
        Err(error) => {
            body::discard(&mut request.into_body()).await;
            ("none", error_response(&error))
        }
    };
    let mut response = response;
    if bridge.api.cors && is_api(uri.path()) {
        allow_every_origin(response.headers_mut());
    }
    let status = response.status().as_u16();
    bridge.metrics.answered(verb, status, start.elapsed());
    tracing::debug!(%method, path = uri.path(), verb, status, elapsed = ?start.elapsed(), "request");
    response
}

/// Tells the client of the calls to the backend.
fn describe<B>(call: &Call, return_headers: &[HeaderName], response: &mut Response<B>) {
    if call.attempts() > 0 {
        response.headers_mut().insert(ATTEMPTS, call.attempts().into());
        call.copy_returned(return_headers, response);
    }
}

async fn indent(result: Result<Reply>) -> Result<Reply> {
    let Reply { body, model_version } = result?;
    let body = offload(body.len(), move || Ok(pretty::indent(&body).into())).await?;
    Ok(Reply { body, model_version })
}

fn response(route: &Route, result: Result<Reply>, origin: Option<&HeaderValue>) -> Response<Full<Bytes>> {
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
pub(super) fn error_response(error: &Error) -> Response<Full<Bytes>> {
    let status = error.status();
    if status.is_server_error() {
        tracing::warn!(%error, source = ?std::error::Error::source(error), "request failed");
    } else {
        tracing::debug!(%error, "request refused");
    }
    let mut response = new_response(status, "application/json", error.to_json().into());
    if let Some(allow) = error.allow() {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}

fn panic_response(_: Box<dyn Any + Send + 'static>) -> Response<Full<Bytes>> {
    error_response(&Error::internal("The request met a bug in tfbridge"))
}

pub(super) fn new_response(
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Like the original, answers without a body: 200 if the origin is a web page, else 400.
fn preflight_response(origin: Option<&HeaderValue>) -> Response<Full<Bytes>> {
    let is_page = origin
        .and_then(|origin| origin.to_str().ok())
        .is_some_and(|origin| origin.contains("http://") || origin.contains("https://"));
    let mut response = Response::new(Full::default());
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
