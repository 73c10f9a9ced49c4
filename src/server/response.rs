//! How results become responses, and the one place that writes `{"error": ...}`.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::error::{Error, Result};
use crate::handler::{EntityTag, Reply};
use crate::route::Route;

/// The version of the model that answered.
const MODEL_VERSION: HeaderName = HeaderName::from_static("x-model-version");

/// How long the JSON of a reply is that has binary data behind it.
const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// The response to a route.
pub(super) fn route_response(
    route: &Route,
    result: Result<Reply>,
    origin: Option<&HeaderValue>,
) -> Response<Bytes> {
    let reply = match result {
        Ok(reply) => reply,
        Err(error) => return error_response(&error),
    };
    if matches!(route, Route::Preflight) {
        return preflight_response(origin);
    }
    let mut response = new_response(StatusCode::OK, reply.content_type, reply.body);
    if let Some(tag) = reply.entity_tag {
        put_tag(tag, &mut response);
    }
    if let Some(version) = reply.model_version {
        response.headers_mut().insert(MODEL_VERSION, version.into());
    }
    if let Some(length) = reply.json_length {
        response.headers_mut().insert(JSON_LENGTH, length.into());
    }
    response
}

/// Gives a response its tag, and takes from it what the client has.
pub(super) fn put_tag(tag: EntityTag, response: &mut Response<Bytes>) {
    response.headers_mut().insert(ETAG, tag.value);
    // It may be kept, but not used without asking whether it is still the same.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if tag.is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Bytes::new();
        response.headers_mut().remove(CONTENT_TYPE);
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
