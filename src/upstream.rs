//! Calls to the model server over gRPC.
//!
//! Every call has a deadline. A call never outlives it, and a caller that goes away cancels
//! the call. What the backend answers with an error passes through with code and message.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::config::UpstreamConfig;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::model_service_client::ModelServiceClient;
use crate::proto::tensorflow::serving::prediction_service_client::PredictionServiceClient;
use crate::proto::tensorflow::serving::{
    ClassificationRequest, ClassificationResponse, GetModelMetadataRequest, GetModelMetadataResponse,
    GetModelStatusRequest, GetModelStatusResponse, PredictRequest, PredictResponse, RegressionRequest,
    RegressionResponse,
};

/// gRPC's own limit on a message: lengths are signed 32-bit integers in TensorFlow Serving.
const MAX_MESSAGE_SIZE: usize = i32::MAX as usize;

/// HTTP/2 windows that let a large tensor through without waiting for updates.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// The model server. Cheap to clone; all clones share its connections.
#[derive(Debug, Clone)]
pub struct Upstream {
    connections: Arc<[Channel]>,
    next: Arc<AtomicUsize>,
}

/// The moment by which a request must be answered; `None` for no limit.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// The deadline that lies this far ahead; a zero duration means none.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self((!timeout.is_zero()).then(|| Instant::now() + timeout))
    }

    /// Waits for the future, but not beyond the deadline.
    ///
    /// # Errors
    ///
    /// `DEADLINE_EXCEEDED` once the time is up; `doing` says what was going on.
    pub async fn limit<T>(self, doing: &str, future: impl Future<Output = T>) -> Result<T> {
        let Some(at) = self.0 else { return Ok(future.await) };
        tokio::time::timeout_at(at, future)
            .await
            .map_err(|_| Error::deadline_exceeded(format!("The deadline passed while {doing}")))
    }

    fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

impl Upstream {
    /// The server of the configuration. Connections are made when they are needed.
    #[must_use]
    pub fn new(config: &UpstreamConfig) -> Self {
        let endpoint = Endpoint::from(config.backend.clone())
            .connect_timeout(config.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // Of the system, not of HTTP/2: gRPC servers end connections that ping too often.
            .tcp_keepalive(Some(Duration::from_secs(60)))
            .user_agent(concat!("tfbridge/", env!("CARGO_PKG_VERSION")))
            .unwrap_or_else(|_| Endpoint::from(config.backend.clone()));
        let connections = (0..config.connections.max(1)).map(|_| endpoint.connect_lazy()).collect();
        Self { connections, next: Arc::default() }
    }

    /// Runs a signature on tensors.
    ///
    /// # Errors
    ///
    /// Like all calls here: what the backend says, `UNAVAILABLE` if it cannot be reached,
    /// `DEADLINE_EXCEEDED` if it takes too long.
    pub async fn predict(&self, request: PredictRequest, deadline: Deadline) -> Result<PredictResponse> {
        let mut client = self.prediction_service();
        call(request, deadline, async |request| client.predict(request).await).await
    }

    /// Runs a signature on examples, for labels and scores.
    ///
    /// # Errors
    ///
    /// As [`Upstream::predict`].
    pub async fn classify(
        &self,
        request: ClassificationRequest,
        deadline: Deadline,
    ) -> Result<ClassificationResponse> {
        let mut client = self.prediction_service();
        call(request, deadline, async |request| client.classify(request).await).await
    }

    /// Runs a signature on examples, for numbers.
    ///
    /// # Errors
    ///
    /// As [`Upstream::predict`].
    pub async fn regress(
        &self,
        request: RegressionRequest,
        deadline: Deadline,
    ) -> Result<RegressionResponse> {
        let mut client = self.prediction_service();
        call(request, deadline, async |request| client.regress(request).await).await
    }

    /// Asks for the signatures of a model.
    ///
    /// # Errors
    ///
    /// As [`Upstream::predict`].
    pub async fn metadata(
        &self,
        request: GetModelMetadataRequest,
        deadline: Deadline,
    ) -> Result<GetModelMetadataResponse> {
        let mut client = self.prediction_service();
        call(request, deadline, async |request| client.get_model_metadata(request).await).await
    }

    /// Asks for the states of a model's versions.
    ///
    /// # Errors
    ///
    /// As [`Upstream::predict`].
    pub async fn status(
        &self,
        request: GetModelStatusRequest,
        deadline: Deadline,
    ) -> Result<GetModelStatusResponse> {
        let mut client = ModelServiceClient::new(self.connection())
            .max_decoding_message_size(MAX_MESSAGE_SIZE)
            .max_encoding_message_size(MAX_MESSAGE_SIZE);
        call(request, deadline, async |request| client.get_model_status(request).await).await
    }

    fn prediction_service(&self) -> PredictionServiceClient<Channel> {
        PredictionServiceClient::new(self.connection())
            .max_decoding_message_size(MAX_MESSAGE_SIZE)
            .max_encoding_message_size(MAX_MESSAGE_SIZE)
    }

    /// The connections take turns: one HTTP/2 connection alone would cap the throughput.
    fn connection(&self) -> Channel {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.connections[turn % self.connections.len()].clone()
    }
}

/// Makes a call that ends by the deadline, here and on the backend.
async fn call<M, R>(
    message: M,
    deadline: Deadline,
    send: impl AsyncFnOnce(Request<M>) -> Result<Response<R>, Status>,
) -> Result<R> {
    let mut request = Request::new(message);
    if let Some(remaining) = deadline.remaining() {
        // The backend stops at the same time. The local end of this timeout is of no use: it
        // covers the headers only and comes with another code.
        request.set_timeout(remaining);
    }
    let response = deadline.limit("waiting for the backend", send(request)).await?;
    response.map(Response::into_inner).map_err(|status| error(status, deadline))
}

fn error(status: Status, deadline: Deadline) -> Error {
    // An error with a source came from our side of the connection, not from the backend.
    let is_local = std::error::Error::source(&status).is_some();
    match status.code() {
        // The two ways in which the transport reports its own copy of the timeout.
        Code::Cancelled | Code::DeadlineExceeded
            if deadline.remaining().is_some_and(|left| left.is_zero()) =>
        {
            Error::deadline_exceeded("The deadline passed while waiting for the backend")
        }
        _ if is_local => Error::unavailable("The backend cannot be reached").with_source(status),
        _ => status.into(),
    }
}
