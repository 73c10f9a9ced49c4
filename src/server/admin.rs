//! The admin listener: what only those may see and do who run the bridge.
//!
//! It is a port of its own, so that nothing of this is ever within reach of the API's clients.
//!
//! | request | answer |
//! |---|---|
//! | `GET /livez` | 200 for as long as the process answers |
//! | `GET /statusz` | version, uptime, and every backend with its state |
//! | `GET /metrics` | metrics, also at TensorFlow Serving's own path |
//! | `POST /v1/config:reload` | passes a new model config to every backend |

use std::sync::LazyLock;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;

use super::service::{error_response, new_response};
use crate::error::{Error, Result};
use crate::handler::{Bridge, body};
use crate::route::METRICS_PATH;

/// When the process started, as near as makes no difference.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Notes the time from which the uptime counts.
pub(super) fn start_clock() {
    LazyLock::force(&START);
}

/// Answers one request, whatever happens.
pub(super) async fn respond(bridge: &Bridge, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let answer = match (path.as_str(), request.method()) {
        ("/livez", _) if is_reading => Ok(json_response(&json!({ "status": "alive" }))),
        ("/statusz", _) if is_reading => Ok(json_response(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": START.elapsed().as_secs(),
            "backends": bridge.endpoints(),
        }))),
        ("/metrics" | METRICS_PATH, _) if is_reading => metrics(bridge),
        ("/v1/config:reload", &Method::POST) => {
            return match reload(bridge, request).await {
                Ok(response) => response,
                Err(error) => error_response(&error),
            };
        }
        ("/livez" | "/statusz" | "/metrics" | METRICS_PATH, method) => {
            Err(Error::method_not_allowed(format!("{path} cannot be asked to {method}"), "GET, HEAD"))
        }
        ("/v1/config:reload", method) => {
            Err(Error::method_not_allowed(format!("{path} cannot be asked to {method}"), "POST"))
        }
        _ => Err(Error::not_found(format!("There is nothing at {path}"))),
    };
    body::discard(&mut request.into_body()).await;
    answer.unwrap_or_else(|error| error_response(&error))
}

fn metrics(bridge: &Bridge) -> Result<Response<Full<Bytes>>> {
    let text = bridge.metrics.encode()?;
    Ok(new_response(StatusCode::OK, "text/plain; charset=utf-8", text.into_bytes().into()))
}

async fn reload(bridge: &Bridge, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let call = bridge.call(request.headers())?;
    let reply = bridge.reload(request, &call).await?;
    Ok(new_response(reply.status(), "application/json", reply.to_json().into()))
}

fn json_response(value: &serde_json::Value) -> Response<Full<Bytes>> {
    new_response(StatusCode::OK, "application/json", value.to_string().into_bytes().into())
}
