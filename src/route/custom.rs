//! The paths of routes of one's own: which there may be, and which request is for which.
//!
//! A path is compared as it is sent, byte by byte: there are no parameters in it, and nothing is decoded.

use http::Method;

use super::Route;
use crate::config::CustomRoutes;
use crate::error::{Error, Result};

/// What the bridge's own paths begin with, in lower case.
const TAKEN: [&str; 7] = ["v1", "v2", "docs", "openapi.json", "ping", "invocations", "monitoring"];

/// The most bytes of a path.
const MOST: usize = 1024;

impl CustomRoutes {
    /// Finds out what is asked for; `None` if the path is none of these.
    ///
    /// # Errors
    ///
    /// 405 with another method than POST.
    pub fn route(&self, method: &Method, path: &str) -> Result<Option<Route>> {
        let Some(route) = self.get(path) else { return Ok(None) };
        match *method {
            Method::POST => Ok(Some(Route::Custom(route.clone()))),
            Method::OPTIONS => Ok(Some(Route::Preflight)),
            _ => Err(Error::method_not_allowed(
                format!("{path} takes POST requests only, not {method}"),
                "POST",
            )),
        }
    }
}

/// Checks that a path may be one of a route of one's own.
///
/// # Errors
///
/// Why it may not.
pub fn check_path(path: &str) -> Result<(), String> {
    let Some(rest) = path.strip_prefix('/') else { return Err("a path begins with a slash".to_owned()) };
    if path.len() > MOST {
        return Err(format!("a path has at most {MOST} bytes"));
    }
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/".contains(character);
    if let Some(other) = path.chars().find(|character| !is_plain(*character)) {
        return Err(format!("{other:?} cannot be in a path, which is compared as clients send it"));
    }
    let mut segments = rest.split('/');
    if segments.clone().any(|segment| matches!(segment, "." | "..")) {
        return Err("clients leave out the segments . and ..".to_owned());
    }
    let first = segments.next().unwrap_or_default().to_ascii_lowercase();
    if TAKEN.contains(&first.as_str()) {
        return Err(format!("the bridge has /{first} itself"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::custom::Mapping;
    use crate::config::CustomRoute;
    use crate::route::{Target, Version, parse};

    #[test]
    fn paths_are_plain_and_not_taken() {
        for good in ["/", "/predict", "/api/v1/score:run", "/a/", "/v3", "/v1beta", "/docs.html", "/~a/b,c"] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        let long = format!("/{}", "a".repeat(MOST));
        for (bad, expected) in [
            ("", "a path begins with a slash"),
            ("predict", "a path begins with a slash"),
            (&long, "a path has at most 1024 bytes"),
            ("/a b", "' ' cannot be in a path, which is compared as clients send it"),
            ("/a?b", "'?' cannot be in a path, which is compared as clients send it"),
            ("/a%20b", "'%' cannot be in a path, which is compared as clients send it"),
            ("/{name}", "'{' cannot be in a path, which is compared as clients send it"),
            ("/ä", "'ä' cannot be in a path, which is compared as clients send it"),
            ("/a/../b", "clients leave out the segments . and .."),
            ("/v1", "the bridge has /v1 itself"),
            ("/V1/models/m:predict", "the bridge has /v1 itself"),
            ("/v2/health", "the bridge has /v2 itself"),
            ("/docs/app.js", "the bridge has /docs itself"),
            ("/openapi.json", "the bridge has /openapi.json itself"),
            ("/ping", "the bridge has /ping itself"),
            ("/invocations", "the bridge has /invocations itself"),
            ("/monitoring/prometheus/metrics", "the bridge has /monitoring itself"),
        ] {
            assert_eq!(check_path(bad), Err(expected.to_owned()), "{bad}");
        }
    }

    #[test]
    fn requests_find_their_route_to_the_letter() {
        let target = Target { name: "m".to_owned(), version: Version::Latest };
        let route = |path: &str| CustomRoute {
            path: path.to_owned(),
            target: target.clone(),
            mapping: Mapping::default(),
        };
        let routes: CustomRoutes = [route("/predict"), route("/a/b")].into_iter().collect();
        let found = |method: Method, path: &str| routes.route(&method, path);
        assert_eq!(found(Method::POST, "/a/b").unwrap(), Some(Route::Custom(route("/a/b").into())));
        assert_eq!(found(Method::OPTIONS, "/predict").unwrap(), Some(Route::Preflight));
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::from_bytes(b"BREW").unwrap()] {
            let error = found(method, "/predict").unwrap_err();
            assert_eq!((error.status().as_u16(), error.allow()), (405, Some("POST")));
        }
        for other in ["/Predict", "/predict/", "/%70redict", "/a", "/v1/models/m:predict"] {
            assert_eq!(found(Method::POST, other).unwrap(), None, "{other}");
        }
        assert_eq!(CustomRoutes::default().route(&Method::POST, "/predict").unwrap(), None);
        // What is reserved is what there is.
        assert!(parse(&Method::GET, "/v2", "/v2").is_ok());
        assert!(parse(&Method::POST, "/v1/models/m:predict", "").is_ok());
        assert!(parse(&Method::GET, "/v3", "/v3").is_err());
    }
}
