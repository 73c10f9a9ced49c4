//! What the server says of itself and its models, and whether they predict.

use std::cell::Cell;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use serde_json::Value;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use super::report::{Fault, Found, Not, Report};
use crate::cli::client::{Client, accepted, encoded};
use crate::cli::described::Described;
use crate::cli::grpc::Grpc;
use crate::error::{Error, Result, code_name};
use crate::proto::tensorflow::serving::{ModelSpec, PredictRequest};

/// How TensorFlow Serving begins its answer to a path that it does not know.
const MALFORMED: &str = "Malformed request";

/// The most models that are looked at where nobody names any.
const MOST_MODELS: usize = 32;

/// The way to the models.
pub(super) enum Way {
    Http(Box<Client>),
    Grpc(Grpc),
}

/// Looks at the health of the server, and at its models.
pub(super) async fn look(report: &mut Report, way: &Way, named: &[String], has_token: bool, limit: Duration) {
    let is_foreign = Cell::new(false);
    report.step("health", limit, health(way, has_token, &is_foreign)).await;
    if is_foreign.get() {
        report.skip("models", "not looked at: no gRPC is spoken");
        return;
    }
    let models = if named.is_empty() {
        let Some(models) = report.step("models", limit, list(way, has_token)).await else { return };
        models
    } else {
        named.to_vec()
    };
    for name in models {
        // Both of what is known of a model are asked for one after the other.
        let Some(described) = report.step("model", 2 * limit, describe(way, &name, has_token)).await else {
            report.skip("predict", &format!("{name}: it cannot be asked"));
            continue;
        };
        report.step("predict", limit, predict(way, &name, &described, has_token)).await;
    }
}

/// What the server says of itself, and whether it turns out to speak no gRPC.
async fn health(way: &Way, has_token: bool, is_foreign: &Cell<bool>) -> Result<Found<()>, Not> {
    let not_told = |what: &str| Not::Skipped(format!("the server does not tell: it has no {what}"));
    match way {
        Way::Grpc(grpc) => match grpc.health().await {
            Ok(ServingStatus::Serving) => Ok(Found::new((), "grpc.health.v1 says SERVING")),
            Ok(status) => Err(Not::Failed(Fault::new(
                format!("grpc.health.v1 says {}", status.as_str_name()),
                "The server is starting or stopping, or its models are not loaded.",
                "Wait a moment, and look into its log.",
            ))),
            Err(status) if status.code() == Code::Unimplemented => Err(not_told("grpc.health.v1")),
            // Another server of HTTP/2 answers with a text, whose first byte is none that a message has.
            Err(status) if status.message().contains("invalid compression flag") => {
                is_foreign.set(true);
                Err(Not::Failed(Fault::new(
                    "HTTP/2 is spoken, but no gRPC",
                    "This is another server of HTTP/2: a bridge, or a proxy.",
                    "TensorFlow Serving's gRPC port is 8500. Look at a bridge with --server in place of --backend.",
                )))
            }
            Err(status) => Err(explain(&status.into(), has_token).into()),
        },
        Way::Http(client) => {
            let response = client.exchange(Method::GET, "/v2/health/ready", &[], Bytes::new()).await;
            let response = response.map_err(|error| explain(&error, has_token))?;
            let status = response.status();
            match status {
                StatusCode::OK => Ok(Found::new((), "/v2/health/ready says that it is ready")),
                StatusCode::BAD_REQUEST
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_IMPLEMENTED => Err(not_told("/v2/health/ready")),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    let error = accepted(response).err().unwrap_or_else(|| Error::unavailable(""));
                    Err(explain(&error, has_token).into())
                }
                _ => Err(Not::Failed(Fault::new(
                    format!("/v2/health/ready says {status}"),
                    "The bridge runs but cannot answer requests: no backend can be reached, or a model that it \
                     requires is missing.",
                    "`curl http://HOST:8502/readyz` on its machine tells the reasons. Look at its backend from there: \
                     `tfbridge doctor --backend URL MODEL`.",
                ))),
            }
        }
    }
}

/// The models that the server lists.
async fn list(way: &Way, has_token: bool) -> Result<Found<Vec<String>>, Not> {
    let Way::Http(client) = way else {
        return Err(Not::Skipped(
            "a model server cannot be asked for the names of its models: name them, as in `tfbridge doctor --backend \
             URL MODEL`"
                .to_owned(),
        ));
    };
    let response = client.exchange(Method::GET, "/v1/models", &[], Bytes::new()).await;
    let response = response.map_err(|error| explain(&error, has_token))?;
    let status = response.status();
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED) {
        let said = accepted(response).err().unwrap_or_else(|| Error::unavailable(""));
        if !said.message().starts_with(MALFORMED) {
            return Err(Not::Failed(Fault::new(
                format!("/v1/models is not there: {status}"),
                "This is another server of HTTP: the admin port of a bridge, a web server or a proxy.",
                "The API of a bridge, and that of TensorFlow Serving, is at port 8501. Name a model if it is one that \
                 does not list them, as in `tfbridge doctor MODEL`.",
            )));
        }
        return Err(Not::Skipped(
            "the server does not list its models: name them, as in `tfbridge doctor MODEL`".to_owned(),
        ));
    }
    let response = accepted(response).map_err(|error| explain(&error, has_token))?;
    let list: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let names = list["models"].as_array().into_iter().flatten().filter_map(|model| model["name"].as_str());
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Not::Skipped(
            "the bridge knows no model yet: name one, as in `tfbridge doctor MODEL`, or tell the bridge with --model"
                .to_owned(),
        ));
    }
    let count = names.len();
    names.truncate(MOST_MODELS);
    let mut detail = names.join(", ");
    if count > names.len() {
        detail = format!("{detail} and {} more, which are not looked at", count - names.len());
    }
    Ok(Found::new(names, detail))
}

async fn describe(way: &Way, name: &str, has_token: bool) -> Result<Found<Described>, Not> {
    let described = match way {
        Way::Http(client) => Described::over_http(client, name).await,
        Way::Grpc(grpc) => Described::over_grpc(grpc, name).await,
    };
    let described = described.map_err(|error| explain(&error.about(name), has_token))?;
    let version = described.version().map_or_else(String::new, |version| format!(" version {version},"));
    let state = described.state();
    let signatures = described.names().join(", ");
    let detail = format!("{name}:{version} {state}, signatures {signatures}");
    if !described.is_available() {
        return Err(Not::Failed(Fault::new(
            detail,
            "The model server is loading the model, is about to unload it, or has failed to load it.",
            "Wait a moment; its log says why it does not come.",
        )));
    }
    Ok(Found::new(described, detail))
}

/// Has a model predict from values that are made up.
async fn predict(way: &Way, name: &str, described: &Described, has_token: bool) -> Result<Found<()>, Not> {
    let chosen = described.signature(None).and_then(|(signature_name, signature)| {
        let body = described.sample(signature_name, 1, None)?;
        Ok((signature_name, signature, Bytes::from(body.to_string())))
    });
    let (signature_name, signature, body) =
        chosen.map_err(|error| Not::Skipped(format!("{name}: {}", error.message())))?;
    let has_strings =
        signature.inputs.values().any(|tensor| tensor.dtype == crate::proto::tensorflow::DataType::DtString);
    let start = Instant::now();
    let answer = send(way, name, described, body).await;
    let time = start.elapsed().as_secs_f64() * 1e3;
    match answer {
        Ok(()) => Ok(Found::new((), format!("{name}: {signature_name} answers in {time:.1} ms"))),
        // What is in a string nobody can make up.
        Err(error) if has_strings && error.status() == StatusCode::BAD_REQUEST => Err(Not::Skipped(format!(
            "{name}: {signature_name} answers, but not to made-up strings: {}",
            error.message()
        ))),
        Err(error) => Err(explain(&error.about(&format!("{name}: {signature_name}")), has_token).into()),
    }
}

async fn send(way: &Way, name: &str, described: &Described, body: Bytes) -> Result<()> {
    match way {
        Way::Http(client) => {
            let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            let path = format!("/v1/models/{}:predict", encoded(name));
            accepted(client.exchange(Method::POST, &path, &headers, body).await?).map(drop)
        }
        Way::Grpc(grpc) => {
            let (signature_name, inputs) = described.tensors(&body)?;
            let model_spec = ModelSpec { name: name.to_owned(), signature_name, ..ModelSpec::default() };
            let request =
                PredictRequest { model_spec: Some(model_spec), inputs, ..PredictRequest::default() };
            Ok(grpc.predict(request).await.map(drop)?)
        }
    }
}

/// The likely cause of an error that a server has answered with, or that kept it from answering.
fn explain(error: &Error, has_token: bool) -> Fault {
    let (cause, advice) = match error.status() {
        StatusCode::UNAUTHORIZED if has_token => (
            "The server does not know the token: it is misspelt, has expired, or was taken back.",
            "Give the token that was shown when it was made, whole, with --token or TFBRIDGE_TOKEN.",
        ),
        StatusCode::UNAUTHORIZED => (
            "The server wants to know who asks, and no token was sent.",
            "Give one with --token or TFBRIDGE_TOKEN; `tfbridge token` makes them.",
        ),
        StatusCode::FORBIDDEN => (
            "The token is known, but not meant for this.",
            "Its entry in the bridge's --auth-file lists the models that it is for.",
        ),
        StatusCode::NOT_FOUND => (
            "The server has no model, or no version, of that name.",
            "Compare the name, upper and lower case count; `tfbridge models` lists those that a bridge knows.",
        ),
        StatusCode::BAD_REQUEST => (
            "The server refuses the request: values that fit the signature may still mean nothing to the model.",
            "Send a request of your own.",
        ),
        StatusCode::GATEWAY_TIMEOUT => (
            "The server is busy, or the model takes longer than the time limit.",
            "Try a longer --timeout, and look at the load of the model server.",
        ),
        StatusCode::NOT_IMPLEMENTED => (
            "The server does not have this call: it is no TensorFlow Serving, or one that does not tell the signatures. A \
             bridge speaks the Open Inference Protocol over gRPC, and nothing else.",
            "Look at a bridge with --server in place of --backend.",
        ),
        StatusCode::TOO_MANY_REQUESTS => (
            "The server has more to do than it takes on, or a reply is larger than it may be.",
            "Try again later.",
        ),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => (
            "The server, or the model server behind it, cannot answer now.",
            "Look at the model server from the machine of the bridge: `tfbridge doctor --backend URL MODEL`.",
        ),
        _ => ("Something has gone wrong in the server.", "Its log says more."),
    };
    let mut detail = error.message().to_owned();
    if detail.is_empty() {
        code_name(error.code()).clone_into(&mut detail);
    }
    Fault::new(detail, cause, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_likely_causes() {
        let check = |error: Error, has_token: bool, cause: &str, advice: &str| {
            let fault = explain(&error, has_token);
            assert!(fault.cause.contains(cause) && fault.advice.contains(advice), "{fault:?}");
        };
        check(Error::unauthenticated("x"), false, "no token was sent", "--token");
        check(Error::unauthenticated("x"), true, "does not know the token", "whole");
        check(Error::permission_denied("x"), true, "not meant for this", "--auth-file");
        check(Error::not_found("x"), false, "no model", "upper and lower case");
        check(Error::unimplemented(""), false, "no TensorFlow Serving", "--server");
        assert_eq!(explain(&Error::unimplemented(""), false).detail, "UNIMPLEMENTED");
    }
}
