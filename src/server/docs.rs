//! The page at `/docs`, where people look at the models and try them: files that are part of the program.
//!
//! They say nothing of this bridge, so that everybody gets them, also where tokens are needed; what the page shows it
//! asks for itself, through the API. Nothing is ever loaded from elsewhere: the headers forbid it.

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::response::{new_response, put_tag};
use crate::error::{Error, Result};
use crate::handler::EntityTag;

/// The page itself.
const PAGE: &str = "/docs";

/// What the page may do: run its own scripts, and talk to its own bridge.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
     form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
);

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// A file of the page.
struct File {
    /// What follows [`PAGE`] and a slash; nothing for the page itself.
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

/// A script of the page.
macro_rules! script {
    ($name:literal) => {
        File { name: $name, content_type: SCRIPT, content: include_str!(concat!("../docs/", $name)) }
    };
}

/// All files.
static FILES: [File; 16] = [
    File { name: "", content_type: HTML, content: include_str!("../docs/index.html") },
    File { name: "style.css", content_type: STYLE, content: include_str!("../docs/style.css") },
    File { name: "icon.svg", content_type: "image/svg+xml", content: include_str!("../docs/icon.svg") },
    script!("api.js"),
    script!("app.js"),
    script!("charts.js"),
    script!("code.js"),
    script!("dom.js"),
    script!("files.js"),
    script!("json.js"),
    script!("model.js"),
    script!("picture.js"),
    script!("reply.js"),
    script!("routes.js"),
    script!("sample.js"),
    script!("try.js"),
];

/// Answers a request for a file of the page; `None` for one of anything else.
///
/// # Errors
///
/// 405 for a method that does not read.
pub(super) fn respond<B>(request: &Request<B>) -> Option<Result<Response<Bytes>>> {
    let path = request.uri().path();
    let rest = path.strip_prefix(PAGE)?;
    let file = FILES.iter().find(|file| rest.strip_prefix('/').unwrap_or(rest) == file.name)?;
    // Files have the slash, the page has none: what it names is found from there.
    let is_page = file.name.is_empty();
    if !is_page && !rest.starts_with('/') {
        return None;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let message = format!("Malformed request: {} {path}", request.method());
        return Some(Err(Error::method_not_allowed(message, "GET, HEAD")));
    }
    if is_page && !rest.is_empty() {
        return Some(Ok(redirect()));
    }
    Some(Ok(content(file, request.headers())))
}

/// An error with the way to the page, where somebody has begun at the root who may be looking for one.
pub(super) fn advised(error: Error, path: &str) -> Error {
    if path != "/" || error.status() != StatusCode::NOT_FOUND {
        return error;
    }
    Error::not_found(format!("{}, and a page for people at {PAGE}", error.message()))
}

/// To the page, from where somebody has put a slash behind it. A proxy may have taken away what came before it, so
/// that the way is a relative one.
fn redirect() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("../docs"));
    response
}

/// A file, or that the client has it.
fn content(file: &File, headers: &HeaderMap) -> Response<Bytes> {
    let content = Bytes::from_static(file.content.as_bytes());
    let tag = EntityTag::new(&content, headers);
    let mut response = new_response(StatusCode::OK, file.content_type, content);
    if let Some(tag) = tag {
        put_tag(tag, &mut response);
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
