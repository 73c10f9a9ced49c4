//! Calls of commands to a model server over gRPC, with no bridge between.
//!
//! Every call has a time limit, which the server is told of. A call is made once.

use std::time::{Duration, Instant};

use http::{HeaderValue, Uri};
use hyper_util::rt::TokioIo;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::dial::Dial;
use crate::codec::model;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::model_service_client::ModelServiceClient;
use crate::proto::tensorflow::serving::prediction_service_client::PredictionServiceClient;
use crate::proto::tensorflow::serving::{
    GetModelMetadataResponse, GetModelStatusRequest, GetModelStatusResponse, ModelSpec, PredictRequest,
    PredictResponse,
};

/// The most bytes of a reply.
const LONGEST: usize = 1 << 30;

/// The way to a model server: one connection, made when it is needed.
#[derive(Debug, Clone)]
pub(super) struct Grpc {
    channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

impl Grpc {
    /// A way over connections that are made like this, with a header that tells who asks.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a header that gRPC does not carry.
    pub(super) fn new(dial: Dial, authorization: Option<&HeaderValue>, timeout: Duration) -> Result<Self> {
        let authorization = authorization
            .map(|value| MetadataValue::try_from(value.as_bytes()))
            .transpose()
            .map_err(|_| Error::invalid_argument("A token has visible ASCII characters only"))?;
        // The connector knows where to go. Servers see the scheme only.
        let origin = Uri::from_static(if dial.tls.is_some() { "https://backend" } else { "http://backend" });
        let endpoint = Endpoint::from_static("http://backend").origin(origin).connect_timeout(timeout);
        let channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let dial = dial.clone();
            async move { dial.connect().await.map(TokioIo::new) }
        }));
        Ok(Self { channel, authorization, timeout })
    }

    /// What the server says of itself.
    pub(super) async fn health(&self) -> Result<ServingStatus, Status> {
        let mut client = HealthClient::new(self.channel.clone());
        let call = client.check(self.request(HealthCheckRequest::default()));
        Ok(self.limit(call).await?.status())
    }

    /// The states of a model's versions.
    pub(super) async fn status(&self, model: &str) -> Result<GetModelStatusResponse, Status> {
        let mut client = ModelServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST);
        let call =
            client.get_model_status(self.request(GetModelStatusRequest { model_spec: Some(spec(model)) }));
        self.limit(call).await
    }

    /// The signatures of a model.
    pub(super) async fn metadata(&self, model: &str) -> Result<GetModelMetadataResponse, Status> {
        let request = model::metadata_request(spec(model));
        let mut client =
            PredictionServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST);
        let call = client.get_model_metadata(self.request(request));
        self.limit(call).await
    }

    /// Runs a signature.
    pub(super) async fn predict(&self, request: PredictRequest) -> Result<PredictResponse, Status> {
        let mut client =
            PredictionServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST);
        let call = client.predict(self.request(request));
        self.limit(call).await
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }

    async fn limit<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
        let start = Instant::now();
        let answer = tokio::time::timeout(self.timeout, call).await;
        let is_late = start.elapsed() >= self.timeout.mul_f64(NEARLY);
        match answer {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            // The server was told of the limit, too, and may be the first to say so.
            Ok(Err(status)) if !is_late || !is_end(status.code()) => Err(status),
            Ok(Err(_)) | Err(_) => {
                let limit = humantime::format_duration(self.timeout);
                Err(Status::deadline_exceeded(format!("No answer within {limit}")))
            }
        }
    }
}

/// The part of the time limit after which a call has ended because of it.
const NEARLY: f64 = 0.9;

/// Whether a call may have ended like this because of its time limit.
fn is_end(code: Code) -> bool {
    matches!(code, Code::Cancelled | Code::DeadlineExceeded)
}

fn spec(model: &str) -> ModelSpec {
    ModelSpec { name: model.to_owned(), ..ModelSpec::default() }
}
