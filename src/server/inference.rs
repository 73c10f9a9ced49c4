//! The gRPC port of the Open Inference Protocol: from a request to the bridge and back.
//!
//! It is gRPC as the protocol has it, on the same connections as everything else and within the same limits:
//! a request is known by its path, its message is read by the handler, and the answer is a message with a
//! status behind it, or a status alone. What those of the API port are about, an id, a token, the log, the
//! metrics, a trace and the headers that pass, is so here as well; a status counts there as the HTTP status that
//! the API port would give.
//!
//! | module | holds |
//! |---|---|
//! | `answer` | the body of a response, and its status |
//! | `stream` | a request of many messages |

mod answer;
mod stream;

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

pub(super) use answer::Body;
use answer::{failed, succeeded};

use super::auth::Caller;
use super::exchange::Exchange;
use super::front::{Front, State};
use super::request_id;
use super::response::error_response;
use super::service::{Client, Held, describe};
use crate::codec::inference::grpc;
use crate::error::{Error, Result};
use crate::handler::body;
use crate::handler::grpc::{CONTENT_TYPE as GRPC, frame};
use crate::handler::messages::Messages;
use crate::proto::inference::{
    ModelMetadataRequest, ModelReadyRequest, ModelReadyResponse, ServerLiveResponse, ServerReadyResponse,
};
use crate::upstream::Call;

/// The deadline as gRPC has it.
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rpc {
    ServerLive,
    ServerReady,
    ServerMetadata,
    ModelReady,
    ModelMetadata,
    ModelInfer,
    ModelStreamInfer,
    /// Of gRPC's own health service.
    HealthCheck,
}

impl Rpc {
    /// What a path means.
    ///
    /// # Errors
    ///
    /// `UNIMPLEMENTED` if it means nothing here.
    fn of(path: &str) -> Result<Self> {
        let rpc = match path.strip_prefix("/inference.GRPCInferenceService/") {
            Some("ServerLive") => Self::ServerLive,
            Some("ServerReady") => Self::ServerReady,
            Some("ServerMetadata") => Self::ServerMetadata,
            Some("ModelReady") => Self::ModelReady,
            Some("ModelMetadata") => Self::ModelMetadata,
            Some("ModelInfer") => Self::ModelInfer,
            Some("ModelStreamInfer") => Self::ModelStreamInfer,
            _ if path == "/grpc.health.v1.Health/Check" => Self::HealthCheck,
            _ => return Err(Error::unimplemented("There is no such method here")),
        };
        Ok(rpc)
    }

    /// The verb as logs and metrics name it.
    fn verb(self) -> &'static str {
        match self {
            Self::ServerLive => "server_live",
            Self::ServerReady | Self::HealthCheck => "server_ready",
            Self::ServerMetadata => "server_metadata",
            Self::ModelReady => "model_ready",
            Self::ModelMetadata => "model_metadata",
            Self::ModelInfer | Self::ModelStreamInfer => "infer",
        }
    }
}

/// Answers one request, whatever happens.
pub(super) async fn respond(
    front: &Arc<Front>,
    client: &Client,
    request: Request<Incoming>,
) -> Response<Body> {
    let state = front.state();
    let mut request = request;
    let mut exchange = Exchange::new(&state, &client.peer, &request);
    let id = request_id::take(request.headers_mut());
    exchange.request_id = Some(id.clone());
    exchange.begin_trace(state.tracer.as_ref(), request.headers_mut());
    if let Err(error) = check_protocol(&request) {
        let response = error_response(&error);
        body::discard(request).await;
        exchange.answered(response.status().as_u16(), response.body().len());
        let held = Held::new(exchange, None);
        return response.map(|bytes| Body::whole(client.owe(bytes, Some(held)), HeaderMap::new()));
    }
    let caller = state.access.authenticate(&mut request, false);
    let asked = caller.and_then(|caller| {
        exchange.token = caller.token().map(str::to_owned);
        Ok((Rpc::of(request.uri().path())?, caller))
    });
    let (rpc, caller) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            body::discard(request).await;
            return failed(&error, exchange, &id);
        }
    };
    exchange.verb = rpc.verb();
    if rpc == Rpc::ModelStreamInfer {
        return stream::begin(front, client, caller, exchange, request);
    }
    let call = match state.bridge.call(request.headers(), &exchange.record) {
        Ok(call) => call,
        Err(error) => {
            body::discard(request).await;
            return failed(&error, exchange, &id);
        }
    };
    let result = answer(rpc, &state, &caller, request, &call).await;
    exchange.attempts = call.attempts();
    let mut described = Response::new(());
    describe(&call, &state.bridge.api.return_headers, &mut described);
    exchange.request_id = Some(request_id::put(&id, described.headers_mut()));
    let mut response = match result {
        Ok(message) => succeeded(message, client, exchange, &call),
        Err(error) => failed(&error, exchange, &id),
    };
    response.headers_mut().extend(described.into_parts().0.headers);
    response
}

/// Sees that a request is one of gRPC.
fn check_protocol<B>(request: &Request<B>) -> Result<()> {
    if request.version() != Version::HTTP_2 {
        let error = Error::invalid_argument("This port speaks gRPC, which takes HTTP/2");
        return Err(error.with_status(StatusCode::HTTP_VERSION_NOT_SUPPORTED));
    }
    let content_type = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_grpc = content_type
        .strip_prefix(GRPC.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+proto") || rest.starts_with(b";"));
    if !is_grpc {
        return Err(Error::unsupported_media_type(format!(
            "This port speaks gRPC: bodies have the type {GRPC}"
        )));
    }
    if request.method() != Method::POST {
        return Err(Error::method_not_allowed(
            "This port speaks gRPC: requests are of the method POST",
            "POST",
        ));
    }
    Ok(())
}

/// The message that answers a request of one.
async fn answer(
    rpc: Rpc,
    state: &State,
    caller: &Caller,
    request: Request<Incoming>,
    call: &Call,
) -> Result<bytes::Bytes> {
    let bridge = &state.bridge;
    let (head, body) = request.into_parts();
    let mut messages = Messages::new(&head.headers, body)?;
    let message = messages.only((&bridge.api).into(), call).await?;
    let is_ready = async || bridge.reasons_against().await.is_empty();
    let framed = match rpc {
        Rpc::ModelInfer | Rpc::ModelStreamInfer => {
            let inference = bridge.read_inference(message, call).await?;
            caller.check_model(&inference.request.model_name)?;
            return bridge.infer_message(inference, false, call).await;
        }
        Rpc::ServerLive => frame(&ServerLiveResponse { live: true }, usize::MAX),
        Rpc::ServerReady => frame(&ServerReadyResponse { ready: is_ready().await }, usize::MAX),
        Rpc::ServerMetadata => frame(&grpc::server(), usize::MAX),
        Rpc::ModelReady => {
            let ModelReadyRequest { name, version } = read(message)?;
            caller.check_model(&name)?;
            let ready = bridge.is_model_ready(&name, &version, call).await?;
            frame(&ModelReadyResponse { ready }, usize::MAX)
        }
        Rpc::ModelMetadata => {
            let ModelMetadataRequest { name, version } = read(message)?;
            caller.check_model(&name)?;
            frame(&bridge.message_of_model(&name, &version, call).await?, bridge.api.max_response_size)
        }
        Rpc::HealthCheck => {
            let HealthCheckRequest { service } = read(message)?;
            if !matches!(service.as_str(), "" | "inference.GRPCInferenceService" | "grpc.health.v1.Health") {
                return Err(Error::not_found("There is no such service here"));
            }
            let status = if is_ready().await { ServingStatus::Serving } else { ServingStatus::NotServing };
            frame(&HealthCheckResponse { status: status.into() }, usize::MAX)
        }
    };
    framed?.ok_or_else(|| Error::internal("The reply is too large"))
}

/// Reads a message that has strings at most.
fn read<M: prost::Message + Default>(message: bytes::Bytes) -> Result<M> {
    M::decode(message)
        .map_err(|error| Error::invalid_argument("The message is not one of this method").with_source(error))
}
