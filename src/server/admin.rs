//! The admin listener: what only those may see and do who run the bridge.
//!
//! It is a port of its own, so that nothing of this is ever within reach of the API's clients.
//!
//! | request | answer |
//! |---|---|
//! | `GET /livez` | 200 for as long as the process answers |
//! | `GET /readyz` | 200 if requests may come, 503 if not, with the reason |
//! | `GET /statusz` | version, uptime, the configuration, and every backend with its state |
//! | `GET /metrics` | metrics, also at TensorFlow Serving's own path |
//! | `POST /v1/config:reload` | passes a new model config to every backend; not for web pages |

use std::sync::Arc;

use bytes::Bytes;
use http::header::ORIGIN;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use super::front::Front;
use super::response::{error_response, new_response};
use super::status::status;
use crate::error::{Error, Result};
use crate::handler::{Bridge, body};
use crate::metrics::CONTENT_TYPE;
use crate::route::METRICS_PATH;

/// Answers one request, whatever happens.
pub(super) async fn respond(front: &Front, request: Request<Incoming>) -> Response<Bytes> {
    let state = front.state();
    let bridge = &state.bridge;
    let path = request.uri().path().to_owned();
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let answer = match (path.as_str(), request.method()) {
        ("/livez", _) if is_reading => Ok(json_response(&json!({ "status": "alive" }))),
        ("/readyz", _) if is_reading => Ok(readiness(bridge).await),
        ("/statusz", _) if is_reading => Ok(json_response(&status(front))),
        ("/metrics" | METRICS_PATH, _) if is_reading => metrics(bridge),
        // A browser of somebody who may reach this port would do so on behalf of any page.
        ("/v1/config:reload", &Method::POST) if request.headers().contains_key(ORIGIN) => {
            Err(Error::permission_denied("Web pages may not do this"))
        }
        ("/v1/config:reload", &Method::POST) => {
            return match reload(bridge, request).await {
                Ok(response) => response,
                Err(error) => error_response(&error),
            };
        }
        ("/livez" | "/readyz" | "/statusz" | "/metrics" | METRICS_PATH, method) => {
            Err(Error::method_not_allowed(format!("{path} cannot be asked to {method}"), "GET, HEAD"))
        }
        ("/v1/config:reload", method) => {
            Err(Error::method_not_allowed(format!("{path} cannot be asked to {method}"), "POST"))
        }
        _ => Err(Error::not_found(format!("There is nothing at {path}"))),
    };
    body::discard(request).await;
    answer.unwrap_or_else(|error| error_response(&error))
}

/// Whether requests may come.
async fn readiness(bridge: &Bridge) -> Response<Bytes> {
    let reasons = bridge.reasons_against().await;
    if reasons.is_empty() {
        return json_response(&json!({ "status": "ready" }));
    }
    tracing::debug!(?reasons, "not ready");
    let body = json!({ "error": reasons.join("; "), "reasons": reasons });
    let body = body.to_string().into_bytes().into();
    new_response(StatusCode::SERVICE_UNAVAILABLE, "application/json", body)
}

fn metrics(bridge: &Bridge) -> Result<Response<Bytes>> {
    let text = bridge.metrics_text()?;
    Ok(new_response(StatusCode::OK, CONTENT_TYPE, text.into_bytes().into()))
}

async fn reload(bridge: &Bridge, request: Request<Incoming>) -> Result<Response<Bytes>> {
    let call = bridge.call(request.headers(), &Arc::default())?;
    let reply = bridge.reload(request, &call).await?;
    Ok(new_response(reply.status(), "application/json", reply.to_json().into()))
}

fn json_response(value: &serde_json::Value) -> Response<Bytes> {
    new_response(StatusCode::OK, "application/json", value.to_string().into_bytes().into())
}
