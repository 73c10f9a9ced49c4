//! CORS with a list of origins: what browsers are told about pages that call the API.
//!
//! An origin that is not allowed learns nothing, not even the methods, and its preflight is
//! refused; this is why it is no layer of tower-http, which tells every page all but the origin,
//! and takes every `OPTIONS` for a preflight. Credentials of the browser are never allowed: tokens
//! travel in headers that the page sets. Nothing here decides about a request that is none of a
//! browser's.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderName,
    HeaderValue, ORIGIN,
};
use http::{HeaderMap, Method, Request, Response};

use super::access::add_vary;
use crate::config::{AllowedOrigin, CorsConfig};
use crate::error::Error;

/// The response headers that pages may read, beside those of the backend.
const EXPOSED: [&str; 5] =
    ["x-model-version", "x-attempts", "x-request-id", "retry-after", "inference-header-content-length"];

/// What is told to browsers, as it is written.
#[derive(Debug)]
pub(super) struct Cors {
    origins: Vec<AllowedOrigin>,
    methods: HeaderValue,
    headers: HeaderValue,
    exposed: HeaderValue,
    max_age: HeaderValue,
}

impl Cors {
    /// The headers for a configuration, with what else the backend's answers bring.
    pub(super) fn new(config: &CorsConfig, return_headers: &[HeaderName]) -> Self {
        let mut exposed = EXPOSED.to_vec();
        for name in return_headers.iter().map(HeaderName::as_str) {
            if !exposed.contains(&name) {
                exposed.push(name);
            }
        }
        Self {
            origins: config.origins.clone(),
            methods: list(config.methods.iter().map(Method::as_str)),
            headers: list(config.headers.iter().map(HeaderName::as_str)),
            exposed: list(exposed),
            max_age: config.max_age.as_secs().into(),
        }
    }

    /// The answer to a preflight, without the headers that every answer gets.
    ///
    /// # Errors
    ///
    /// `PERMISSION_DENIED` for an origin whose pages may not call the API.
    pub(super) fn preflight(&self, origin: &HeaderValue) -> Result<Response<Bytes>, Error> {
        if self.allow_origin(origin).is_none() {
            return Err(Error::permission_denied("Pages of this origin may not call the API"));
        }
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        Ok(response)
    }

    /// Adds what every answer tells, errors too, so that a page can read them.
    pub(super) fn describe(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if !self.allows_any() {
            // Also to requests without an origin: their answers must not be taken for those of others.
            add_vary(headers, ORIGIN.as_str());
        }
        if let Some(allowed) = origin.and_then(|origin| self.allow_origin(origin)) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.clone());
        }
    }

    fn allows_any(&self) -> bool {
        self.origins.contains(&AllowedOrigin::Any)
    }

    fn allow_origin(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.allows_any() {
            return Some(HeaderValue::from_static("*"));
        }
        let text = origin.to_str().ok()?;
        self.origins.iter().any(|allowed| allowed.allows(text)).then(|| origin.clone())
    }
}

/// The origin of a preflight: a question that browsers ask before a request, which never has a
/// token.
pub(super) fn preflight_origin<B>(request: &Request<B>) -> Option<&HeaderValue> {
    let asks =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    request.headers().get(ORIGIN).filter(|_| asks)
}

fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> HeaderValue {
    let text = items.into_iter().collect::<Vec<_>>().join(", ");
    // Names and methods are made of characters that values may have.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}
