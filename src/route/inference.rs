//! The paths of the Open Inference Protocol.
//!
//! ```text
//! GET  /v2
//! GET  /v2/health/(live|ready)
//! GET  /v2/models/NAME[/versions/DIGITS | /labels/LABEL][/ready]
//! POST /v2/models/NAME[/versions/DIGITS | /labels/LABEL]/infer
//! ```
//!
//! Labels are ours; the protocol knows numbers alone.

use http::Method;

use super::{Route, shown, target};
use crate::error::{Error, Result};

/// Whether a path is one of the protocol.
pub(super) fn is_inside(path: &str) -> bool {
    path.get(..3).is_some_and(|prefix| prefix.eq_ignore_ascii_case("/v2"))
        && matches!(path.as_bytes().get(3), None | Some(b'/'))
}

/// Finds out what is asked for under such a path.
///
/// # Errors
///
/// 404 for a path that means nothing, 405 for one that means something with another method.
pub(super) fn parse(method: &Method, path: &str, whole: &str) -> Result<Route> {
    if method == Method::OPTIONS {
        return Ok(Route::Preflight);
    }
    let segments: Vec<&str> = path.split('/').skip(2).collect();
    let Some(route) = find(&segments)? else {
        return Err(Error::not_found(format!("There is nothing at {}", shown(path))));
    };
    let (is_meant, allow) = match route {
        Route::Infer(_) => (method == Method::POST, "POST"),
        _ => (method == Method::GET || method == Method::HEAD, "GET, HEAD"),
    };
    if is_meant {
        return Ok(route);
    }
    Err(Error::method_not_allowed(format!("Malformed request: {method} {}", shown(whole)), allow))
}

fn find(segments: &[&str]) -> Result<Option<Route>> {
    let is = |segment: &str, keyword: &str| segment.eq_ignore_ascii_case(keyword);
    Ok(match segments {
        [] | [""] => Some(Route::ServerMetadata),
        [health, live] if is(health, "health") && is(live, "live") => Some(Route::ServerLive),
        [health, ready] if is(health, "health") && is(ready, "ready") => Some(Route::ServerReady),
        [models, name, rest @ ..] if is(models, "models") => {
            if let Some(target) = target(name, rest)? {
                return Ok(Some(Route::ModelMetadata(target)));
            }
            let [version @ .., last] = rest else { return Ok(None) };
            let route = if is(last, "infer") {
                Route::Infer
            } else if is(last, "ready") {
                Route::ModelReady
            } else {
                return Ok(None);
            };
            target(name, version)?.map(route)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Target, Version, parse};

    fn check(method: &str, path: &str, expected: &Result<Route, u16>) {
        let route = parse(&method.parse().unwrap(), path, path);
        assert_eq!(route.map_err(|error| error.status().as_u16()), *expected, "{method} {path}");
    }

    #[test]
    fn both_apis_are_known() {
        let check = |path: &str, expected| assert_eq!(crate::route::is_api(path), expected, "{path}");
        check("/v1/", true);
        check("/V2", true);
        check("/v2/anything", true);
        check("/v2x", false);
        check("/v1", false);
        check("/livez", false);
    }

    #[test]
    fn paths_are_those_of_the_protocol() {
        let target = |version| Target { name: "m n".to_owned(), version };
        let (latest, second) = (target(Version::Latest), target(Version::Number(2)));
        let label = target(Version::Label("stable".to_owned()));
        check("GET", "/v2", &Ok(Route::ServerMetadata));
        check("HEAD", "/v2/", &Ok(Route::ServerMetadata));
        check("GET", "/v2/health/live", &Ok(Route::ServerLive));
        check("GET", "/v2/health/ready", &Ok(Route::ServerReady));
        check("GET", "/v2/models/m%20n", &Ok(Route::ModelMetadata(latest.clone())));
        check("GET", "/v2/models/m%20n/versions/2", &Ok(Route::ModelMetadata(second.clone())));
        check("GET", "/v2/models/m%20n/ready", &Ok(Route::ModelReady(latest.clone())));
        check("GET", "/v2/models/m%20n/labels/stable/ready", &Ok(Route::ModelReady(label)));
        check("POST", "/v2/models/m%20n/infer", &Ok(Route::Infer(latest)));
        check("POST", "/V2/Models/m%20n/Versions/2/Infer", &Ok(Route::Infer(second)));
        check("OPTIONS", "/v2/models/m/infer", &Ok(Route::Preflight));
        check("GET", "/v2/models/m/infer", &Err(405));
        check("POST", "/v2/models/m", &Err(405));
        check("POST", "/v2/health/live", &Err(405));
        check("BREW", "/v2", &Err(501));
        for nothing in [
            "/v2x",
            "/v2/health",
            "/v2/models",
            "/v2/models/",
            "/v2/models//infer",
            "/v2/models/m/versions/x/infer",
            "/v2/models/m/stats",
            "/v2/models/m/versions/2/ready/now",
            "/v2/repository/index",
        ] {
            check("GET", nothing, &Err(404));
        }
        check("GET", "/v2/models/m/versions/99999999999999999999", &Err(400));
    }
}
