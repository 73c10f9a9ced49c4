//! What stands between the port and the bridge: who may call, pages of which origins, and
//! compression of what goes out. One for the whole process.
//!
//! It looks at heads and never at the body of a request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, ORIGIN, VARY};
use http::{HeaderMap, Method, Request, Response};

use super::auth::{Caller, Keys};
use super::compression::{self, Coding};
use super::cors::{self, Cors};
use super::response;
use super::watch::{self, Noted, Watch};
use crate::config::AccessConfig;
use crate::error::Result;
use crate::route;
use crate::upstream::Account;

/// How often the file with the tokens is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The rules of access to the API.
#[derive(Debug)]
pub(crate) struct Access {
    keys: Option<Arc<Keys>>,
    cors: Option<Cors>,
    compress_min_size: Option<usize>,
    _watch: Option<Watch>,
}

/// What a response depends on of its request, beside the answer.
#[derive(Debug)]
pub(super) struct Asked {
    origin: Option<HeaderValue>,
    coding: Option<Coding>,
}

impl Access {
    /// Reads the tokens, and reads them again whenever their file changes. If it cannot be used, the
    /// tokens that were read from it `before` stay.
    pub(crate) fn start(
        config: &AccessConfig,
        return_headers: &[HeaderName],
        before: Option<&Self>,
    ) -> Arc<Self> {
        let keys = config.auth_file.clone().map(|path| {
            let known = before.and_then(|before| before.keys.clone()).filter(|keys| keys.path() == path);
            known.unwrap_or_else(|| Arc::new(Keys::new(path)))
        });
        let watch = keys.as_ref().map(|keys| {
            let watched = Arc::clone(keys);
            watch::spawn(Noted::now(vec![keys.path().to_owned()]), WATCH_INTERVAL, move || watched.reload())
        });
        let access = Self {
            keys,
            cors: config.cors.as_ref().map(|config| Cors::new(config, return_headers)),
            compress_min_size: config.compress_min_size,
            _watch: watch,
        };
        if let Some(keys) = &access.keys {
            keys.reload();
        }
        Arc::new(access)
    }

    /// What must be known of a request once it is answered.
    pub(super) fn asked<B>(&self, request: &Request<B>) -> Asked {
        let headers = request.headers();
        // Triton's client for asyncio accepts gzip with every request, and inflates only what infer answers.
        let is_plain = request.method() != Method::POST && route::is_inference(request.uri().path());
        let min_size = self.compress_min_size.filter(|_| !is_plain);
        Asked {
            origin: headers.get(ORIGIN).filter(|_| self.cors.is_some()).cloned(),
            coding: min_size.and_then(|_| compression::accepted(headers)),
        }
    }

    /// Answers a preflight, if it is one and there is a list of origins.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Bytes>> {
        let (cors, origin) = (self.cors.as_ref()?, cors::preflight_origin(request)?);
        Some(cors.preflight(origin).unwrap_or_else(|error| response::error_response(&error)))
    }

    /// Who sends a request, to an API or not. The token is taken out of it, so that nobody else gets to see it.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` if the token is missing or unknown.
    pub(super) fn authenticate<B>(&self, request: &mut Request<B>, is_api: bool) -> Result<Caller> {
        match &self.keys {
            None => Ok(Caller::default()),
            // Browsers ask without a token, and what TensorFlow Serving answers them tells nothing.
            Some(_) if is_api && cors::preflight_origin(request).is_some() => Ok(Caller::default()),
            Some(keys) => keys.authenticate(request.headers_mut()),
        }
    }

    /// Makes an answer ready to leave, whatever it says. Without memory to hold it stays as it is: it
    /// is a short one then.
    pub(super) async fn finish(
        &self,
        asked: &Asked,
        response: Response<Bytes>,
        memory: Option<&Arc<Account>>,
    ) -> Response<Bytes> {
        let mut response = match (self.compress_min_size, memory) {
            (Some(min_size), Some(memory)) => {
                compression::compress(response, min_size, asked.coding, memory).await
            }
            _ => response,
        };
        if let Some(cors) = &self.cors {
            cors.describe(asked.origin.as_ref(), response.headers_mut());
        }
        response
    }
}

/// Adds a name to `Vary`, in one header for all of them.
pub(super) fn add_vary(headers: &mut HeaderMap, name: &str) {
    let mut names: Vec<&str> = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok()).collect();
    names.push(name);
    if let Ok(value) = HeaderValue::try_from(names.join(", ")) {
        headers.insert(VARY, value);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::server::auth::{file, hash};

    #[tokio::test]
    async fn tokens_outlive_a_configuration_that_comes_with_a_broken_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let sha256 = file::to_hex(&hash(b"one"));
        fs::write(path("tokens"), format!("[[token]]\nname = 'one'\nsha256 = '{sha256}'\n")).unwrap();
        let config = |name| AccessConfig { auth_file: Some(path(name)), ..AccessConfig::default() };
        let lets_in = |access: &Access| {
            let request = Request::builder().header("x-api-key", "one").body(());
            access.authenticate(&mut request.unwrap(), true).is_ok()
        };
        let first = Access::start(&config("tokens"), &[], None);
        assert!(lets_in(&first));
        fs::write(path("tokens"), "[[tok").unwrap();
        let second = Access::start(&config("tokens"), &[], Some(&first));
        drop(first);
        assert!(lets_in(&second));
        assert!(!lets_in(&Access::start(&config("other"), &[], Some(&second))));
    }
}
