//! Who may call the API: tokens by their hashes, from a file that may change at any time.
//!
//! A plain, fast hash is right for these tokens: they are random, of 128 bits or more, as
//! `tfbridge token` makes them, so that nobody finds one by trying, however fast. Slow hashes are
//! for passwords that people choose, and would let strangers keep the machine busy.
//!
//! A token is hashed and compared with every entry in constant time, so that the time an answer
//! takes says nothing of what is in the file. It is never logged, and taken out of the request
//! before anybody else sees it.

pub(crate) mod file;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};
use ring::digest;
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use crate::error::{Error, Result};
use crate::handler::Visible;
use crate::route::Route;

/// The other header that tokens come in.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The SHA-256 of a token.
pub(crate) type Digest = [u8; digest::SHA256_OUTPUT_LEN];

/// A token that is let in.
#[derive(Debug)]
pub(crate) struct Key {
    name: String,
    digest: Digest,
    /// The models that it may call; all of them without.
    models: Option<Vec<Pattern>>,
}

/// The name of a model, or the beginning of many.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Prefix(String),
}

impl Pattern {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => name == exact,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

/// The tokens of a file, as it was when it could be used last.
#[derive(Debug)]
pub(crate) struct Keys {
    path: PathBuf,
    keys: ArcSwap<Vec<Arc<Key>>>,
}

/// Who sends a request.
#[derive(Debug, Default)]
pub(crate) struct Caller(Option<Arc<Key>>);

impl Keys {
    /// The tokens of a file that has not been read: nobody is let in before it is.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, keys: ArcSwap::default() }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file. If it cannot be used, the tokens that there are stay, and the log says why.
    pub(crate) fn reload(&self) {
        match file::read(&self.path) {
            Ok(keys) => {
                tracing::info!(path = %self.path.display(), tokens = keys.len(), "tokens have been read");
                self.keys.store(Arc::new(keys.into_iter().map(Arc::new).collect()));
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), error, "the file of tokens cannot be used");
            }
        }
    }

    /// Finds out who sends a request with these headers, and removes the headers with the token.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` if there is no token, or none that is known.
    pub(crate) fn authenticate(&self, headers: &mut HeaderMap) -> Result<Caller> {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        let digest = bearer.or_else(|| Some(headers.get(API_KEY)?.as_bytes())).map(hash);
        headers.remove(AUTHORIZATION);
        headers.remove(API_KEY);
        let digest = digest.ok_or_else(|| {
            Error::unauthenticated("A token is needed: Authorization: Bearer TOKEN, or X-API-Key: TOKEN")
        })?;
        let keys = self.keys.load();
        find(&keys, &digest)
            .map(|key| Caller(Some(Arc::clone(key))))
            .ok_or_else(|| Error::unauthenticated("The token is not known"))
    }
}

impl Caller {
    /// The name of the caller's token, for the log.
    pub(crate) fn token(&self) -> Option<&str> {
        self.0.as_ref().map(|key| key.name.as_str())
    }

    /// Whether the caller may ask for this.
    ///
    /// # Errors
    ///
    /// `PERMISSION_DENIED` for a model that is not among those of the token.
    pub(crate) fn check(&self, route: &Route) -> Result<()> {
        route.target().map_or(Ok(()), |target| self.check_model(&target.name))
    }

    /// The models that the caller may see, where the answer is about several and not all are for it.
    pub(crate) fn visible(&self, route: &Route) -> Option<Visible> {
        let is_listing = matches!(route, Route::Models | Route::OpenApi(None));
        let key = self.0.as_ref().filter(|key| is_listing && key.models.is_some())?;
        let caller = Self(Some(Arc::clone(key)));
        Some(Visible(Arc::new(move |name| caller.check_model(name).is_ok())))
    }

    /// Whether the caller may call a model.
    ///
    /// # Errors
    ///
    /// `PERMISSION_DENIED` if it is not among those of the token.
    pub(crate) fn check_model(&self, name: &str) -> Result<()> {
        let Some(models) = self.0.as_ref().and_then(|key| key.models.as_ref()) else { return Ok(()) };
        if models.iter().any(|pattern| pattern.matches(name)) {
            return Ok(());
        }
        Err(Error::permission_denied(format!("The token may not call the model {name}")))
    }
}

/// The hash of a token.
pub(crate) fn hash(token: &[u8]) -> Digest {
    let mut hash = Digest::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
    hash
}

/// Compares with every key, whichever it is.
fn find<'a>(keys: &'a [Arc<Key>], digest: &Digest) -> Option<&'a Arc<Key>> {
    let mut found = u64::MAX;
    for (index, key) in (0..).zip(keys) {
        found.conditional_assign(&index, key.digest.ct_eq(digest));
    }
    keys.get(usize::try_from(found).ok()?)
}

/// The token of an `Authorization` header, if that is its scheme.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::route;

    fn keys(text: &str) -> Keys {
        let keys = file::parse(text).unwrap().into_iter().map(Arc::new).collect();
        Keys { path: PathBuf::new(), keys: ArcSwap::from_pointee(keys) }
    }

    fn entry(name: &str, models: &str) -> String {
        let sha256 = file::to_hex(&hash(name.as_bytes()));
        format!("[[token]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\n{models}\n")
    }

    #[test]
    fn tokens_come_in_two_headers() {
        let keys = keys(&(entry("one", "") + &entry("two", "")));
        let check = |headers: &[(&str, &str)], expected: Option<&str>| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
            }
            let caller = keys.authenticate(&mut map);
            assert_eq!(caller.as_ref().ok().and_then(Caller::token), expected, "{headers:?}");
            assert!(map.is_empty(), "{map:?}");
            if let Err(error) = caller {
                assert_eq!(error.status(), 401);
            }
        };
        check(&[("authorization", "Bearer one")], Some("one"));
        check(&[("authorization", "bEARER   two ")], Some("two"));
        check(&[("x-api-key", "one")], Some("one"));
        check(&[("authorization", "Basic abc"), ("x-api-key", "one")], Some("one"));
        check(&[], None);
        check(&[("authorization", "one")], None);
        check(&[("authorization", "Bearer")], None);
        check(&[("authorization", "Bearer ")], None);
        check(&[("authorization", "Bearer three")], None);
        check(&[("authorization", "Bearer onetwo")], None);
        check(&[("authorization", "Basic one")], None);
        check(&[("x-api-key", "")], None);
    }

    #[test]
    fn tokens_are_for_models() {
        let check = |models: &str, path: &str, is_allowed: bool| {
            let keys = keys(&entry("one", models));
            let mut headers = HeaderMap::new();
            headers.insert(API_KEY, "one".parse().unwrap());
            let caller = keys.authenticate(&mut headers).unwrap();
            let is_post = path.contains(':') || path.ends_with("/infer");
            let method = if is_post { http::Method::POST } else { http::Method::GET };
            let result = caller.check(&route::parse(&method, path, path).unwrap());
            assert_eq!(result.is_ok(), is_allowed, "{models} {path}");
            if let Err(error) = result {
                assert_eq!(error.status(), 403);
            }
        };
        const SOME: &str = "models = [\"resnet\", \"text-*\"]";
        check("", "/v1/models/any:predict", true);
        check("models = []", "/v1/models/any:predict", false);
        check("models = [\"*\"]", "/v1/models/any:predict", true);
        check("models = []", "/monitoring/prometheus/metrics", true);
        for verb in ["predict", "classify", "regress", "multi_inference"] {
            check(SOME, &format!("/v1/models/resnet:{verb}"), true);
            check(SOME, &format!("/v1/models/resnet2/versions/1:{verb}"), false);
        }
        check(SOME, "/v1/models/resnet/labels/stable", true);
        check(SOME, "/v1/models/resnet/metadata", true);
        check(SOME, "/v1/models/other", false);
        check(SOME, "/v1/models/other/metadata", false);
        check(SOME, "/v1/models/text-en:predict", true);
        check(SOME, "/v1/models/text-:predict", true);
        check(SOME, "/v1/models/text:predict", false);
        check(SOME, "/v1/models/a-text-en:predict", false);
        check(SOME, "/v1/models/Resnet:predict", false);
        for path in ["infer", "ready", "versions/1/infer", "versions/1"] {
            check(SOME, &format!("/v2/models/resnet/{path}"), true);
            check(SOME, &format!("/v2/models/other/{path}"), false);
        }
        check("models = []", "/v2/health/ready", true);
        check("models = []", "/openapi.json", true);
        check(SOME, "/v1/models/resnet/openapi.json", true);
        check(SOME, "/v1/models/other/openapi.json", false);
        // What the backend gets is the decoded name.
        check(SOME, "/v1/models/%72esnet:predict", true);
        check(SOME, "/v1/models/resnet%2Fother:predict", false);
    }

    #[test]
    fn a_bad_file_leaves_the_tokens_that_there_are() {
        let directory = tempfile::tempdir().unwrap();
        let keys = Keys::new(directory.path().join("tokens"));
        let is_known = |token: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(API_KEY, token.parse().unwrap());
            keys.authenticate(&mut headers).is_ok()
        };
        keys.reload();
        assert!(!is_known("one"), "nobody is let in without the file");
        std::fs::write(keys.path(), entry("one", "")).unwrap();
        keys.reload();
        assert!(is_known("one"));
        for bad in ["", "[[token]]", "\u{0}"] {
            std::fs::write(keys.path(), bad).unwrap();
            keys.reload();
            assert!(is_known("one"), "{bad}");
        }
        std::fs::remove_file(keys.path()).unwrap();
        keys.reload();
        assert!(is_known("one"));
        std::fs::write(keys.path(), entry("two", "")).unwrap();
        keys.reload();
        assert!(is_known("two") && !is_known("one"));
    }

    /// `cargo test --release --lib -- --ignored --nocapture cost_of_many_tokens`
    #[test]
    #[ignore = "a measurement"]
    fn cost_of_many_tokens() {
        let text: String = (0..file::MOST).map(|index| entry(&index.to_string(), "")).collect();
        let keys = keys(&text);
        let digest = hash(b"9999");
        let (start, rounds) = (Instant::now(), 100);
        for _ in 0..rounds {
            assert_eq!(find(&keys.keys.load(), &digest).unwrap().name, "9999");
        }
        eprintln!("{:?} for {} tokens", start.elapsed() / rounds, file::MOST);
    }
}
