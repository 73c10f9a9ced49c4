//! Who may call the API, from which pages, and how replies travel: as checked, before any use.
//!
//! Nothing here reads a file; whether an origin is allowed is decided by [`AllowedOrigin`] alone.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, Method, Uri};

/// Who may call the API and how replies travel.
#[derive(Debug, Clone)]
pub struct AccessConfig {
    /// The file with the hashes of the tokens that are let in; without it, everybody is.
    pub auth_file: Option<PathBuf>,
    /// The web pages that may call the API, beside TensorFlow Serving's own way.
    pub cors: Option<CorsConfig>,
    /// From how many bytes on a reply is compressed for clients that take it; `None` for never.
    pub compress_min_size: Option<usize>,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self { auth_file: None, cors: None, compress_min_size: Some(32 << 10) }
    }
}

/// What browsers are told about web pages of other origins.
#[derive(Debug, Clone)]
pub struct CorsConfig {
    /// The origins whose pages may call the API.
    pub origins: Vec<AllowedOrigin>,
    /// The methods that they may use.
    pub methods: Vec<Method>,
    /// The request headers that they may send.
    pub headers: Vec<HeaderName>,
    /// How long browsers may remember this.
    pub max_age: Duration,
}

impl CorsConfig {
    /// The defaults for pages of these origins.
    #[must_use]
    pub fn new(origins: Vec<AllowedOrigin>) -> Self {
        let headers = [
            "authorization",
            "content-encoding",
            "content-type",
            "grpc-timeout",
            "inference-header-content-length",
            "traceparent",
            "tracestate",
            "x-api-key",
            "x-request-id",
            "x-request-timeout",
        ];
        Self {
            origins,
            methods: vec![Method::GET, Method::HEAD, Method::POST],
            headers: headers.map(HeaderName::from_static).into(),
            max_age: Duration::from_secs(3600),
        }
    }
}

/// An origin, or many, whose pages are let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// Every page there is: `*`.
    Any,
    /// The pages of one origin, as browsers write it.
    Exact(String),
    /// The pages of all hosts below a name: `https://*.example.com`.
    Below {
        /// What the origin begins with: `https://`.
        start: String,
        /// What it ends with, and what stands in front of that is not empty: `.example.com`.
        end: String,
    },
}

impl AllowedOrigin {
    /// Whether pages of this origin are meant. Browsers write origins in lower case and without
    /// default ports.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => origin == exact,
            Self::Below { start, end } => {
                let labels =
                    origin.strip_prefix(start.as_str()).and_then(|rest| rest.strip_suffix(end.as_str()));
                // What the wildcard stands for is labels of a host and nothing else, so that no
                // port, path or user hides in it.
                labels.is_some_and(|labels| {
                    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                    labels.split('.').all(|label| !label.is_empty() && label.bytes().all(is_part))
                })
            }
        }
    }
}

impl FromStr for AllowedOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "*" => return Ok(Self::Any),
            "null" => {
                return Err("null is what pages without an origin have; only * lets them in".to_owned());
            }
            _ => {}
        }
        let (scheme, host) =
            text.split_once("://").ok_or("an origin such as https://example.com is expected, or *")?;
        let wildcard = host.strip_prefix("*.");
        let checked = wildcard.unwrap_or(host);
        // Without a path, the path of a URI is a slash, which must not be written either.
        let uri: Uri = format!("http://{checked}").parse().map_err(|error| format!("{error}"))?;
        let whole = uri.authority().is_some_and(|authority| authority.as_str() == checked);
        if !whole || checked.contains('@') || uri.host().is_none_or(str::is_empty) {
            return Err("an origin is a scheme, a host and maybe a port, without a path".to_owned());
        }
        if checked.contains('*') {
            return Err("a wildcard stands for the first label alone: https://*.example.com".to_owned());
        }
        if !scheme.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Err(format!("{scheme} is not a scheme"));
        }
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "\n",
        };
        let checked = checked.strip_suffix(default_port).unwrap_or(checked);
        Ok(match wildcard {
            Some(_) => Self::Below { start: format!("{scheme}://"), end: format!(".{checked}") },
            None => Self::Exact(format!("{scheme}://{checked}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_matched_whole() {
        let check = |pattern: &str, origin: &str, expected: bool| {
            let allowed: AllowedOrigin = pattern.parse().unwrap();
            assert_eq!(allowed.allows(origin), expected, "{pattern} {origin}");
        };
        check("*", "https://anything", true);
        check("*", "null", true);
        check("https://example.com", "https://example.com", true);
        check("https://Example.com:443", "https://example.com", true);
        check("http://localhost:3000", "http://localhost:3000", true);
        check("http://[::1]:3000", "http://[::1]:3000", true);
        check("https://example.com", "http://example.com", false);
        check("https://example.com", "https://example.com:8443", false);
        check("https://example.com", "https://example.com.evil.org", false);
        check("https://example.com", "null", false);
        check("https://*.example.com", "https://a.example.com", true);
        check("https://*.example.com", "https://a.b.example.com", true);
        check("https://*.example.com", "https://example.com", false);
        check("https://*.example.com", "https://.example.com", false);
        check("https://*.example.com", "https://evilexample.com", false);
        check("https://*.example.com", "https://evil.org/.example.com", false);
        check("https://*.example.com", "https://evil.org:1.example.com", false);
        check("https://*.example.com", "https://evil@a.example.com", false);
        check("https://*.example.com", "http://a.example.com", false);
        check("https://*.example.com:8443", "https://a.example.com:8443", true);
        check("https://*.example.com:8443", "https://a.example.com", false);
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "",
            "null",
            "example.com",
            "https://",
            "https://example.com/",
            "https://example.com/path",
            "https://user@example.com",
            "https://a.*.com",
            "https://*",
            "https://*.*.com",
            "://example.com",
            "https://a b",
        ] {
            assert!(bad.parse::<AllowedOrigin>().is_err(), "{bad}");
        }
    }
}
