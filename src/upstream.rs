//! Calls to the model servers over gRPC.
//!
//! Every call has a deadline. A call never outlives it, and a caller that goes away cancels
//! the call. What a backend answers with an error passes through with code and message.
//!
//! A call is an attempt at one endpoint of the pool. If the connection cannot be made, breaks
//! before the reply, or the backend is UNAVAILABLE, another endpoint is tried, as long as there
//! is time and budget: inference has no side effects.
//!
//! Requests go straight into hyper's HTTP/2 client, without tonic's channel between: a tensor
//! is never copied on its way, and a call takes one task and one frame less.
//!
//! | module | holds |
//! |---|---|
//! | `discovery` | which endpoints there are |
//! | `pool` | which of them the next attempt goes to |
//! | `endpoint` | one attempt at a call |
//! | `load`, `health` | what is known of an endpoint |
//! | `connection`, `tls`, `pem`, `stamp`, `address`, `turns` | connections, made when they are needed |
//! | `cancel` | calls that nobody waits for any more |
//! | `message`, `failure` | requests and replies as gRPC has them |
//! | `call`, `deadline` | what a request brings along |
//! | `memory` | how many bytes all requests hold |
//! | `offload` | work that takes long |
//! | `budget`, `hedge` | when there are further attempts |

mod address;
mod budget;
mod call;
mod cancel;
mod connection;
mod deadline;
mod discovery;
mod endpoint;
mod failure;
mod health;
mod hedge;
mod load;
mod memory;
mod message;
pub(crate) mod offload;
pub(crate) mod pem;
mod pool;
pub(crate) mod stamp;
mod tls;
pub(crate) mod turns;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::Code;

use crate::config::{UpstreamConfig, UpstreamTls};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::proto::tensorflow::serving::{
    ClassificationRequest, ClassificationResponse, GetModelMetadataRequest, GetModelMetadataResponse,
    GetModelStatusRequest, GetModelStatusResponse, ModelSpec, MultiInferenceRequest, MultiInferenceResponse,
    PredictRequest, PredictResponse, RegressionRequest, RegressionResponse, ReloadConfigRequest,
    ReloadConfigResponse,
};
use crate::record::{Part, Size};
use budget::Budget;
pub use call::Call;
pub use deadline::Deadline;
use discovery::Discovery;
use endpoint::{Answer, Endpoint};
use failure::{Failure, Kind};
use hedge::Hedge;
pub use memory::{Account, Memory};
use message::{Message, Receive};
use offload::offload;

/// The methods that are called.
mod method {
    pub(super) const PREDICT: &str = "/tensorflow.serving.PredictionService/Predict";
    pub(super) const CLASSIFY: &str = "/tensorflow.serving.PredictionService/Classify";
    pub(super) const REGRESS: &str = "/tensorflow.serving.PredictionService/Regress";
    pub(super) const MULTI_INFERENCE: &str = "/tensorflow.serving.PredictionService/MultiInference";
    pub(super) const METADATA: &str = "/tensorflow.serving.PredictionService/GetModelMetadata";
    pub(super) const STATUS: &str = "/tensorflow.serving.ModelService/GetModelStatus";
    pub(super) const RELOAD: &str = "/tensorflow.serving.ModelService/HandleReloadConfigRequest";
}

/// The model servers. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub struct Upstream {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    discovery: Arc<Discovery>,
    budget: Budget,
    hedge: Option<Hedge>,
    max_attempts: usize,
    connect_timeout: Duration,
    metrics: Arc<Metrics>,
}

/// What is known of one endpoint.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct EndpointState {
    /// Its address, as it is connected to.
    pub address: String,
    /// True while it gets no calls because it failed.
    pub ejected: bool,
    /// Calls that have not been answered.
    pub in_flight: usize,
    /// Milliseconds of a recent call; zero before the first one.
    pub latency_ms: f64,
}

impl Upstream {
    /// The servers of the configuration. Connections are made when they are needed, names are
    /// looked up from now on; so this takes a runtime.
    #[must_use]
    pub fn new(config: &UpstreamConfig, metrics: &Arc<Metrics>) -> Self {
        let shared = Shared {
            discovery: Discovery::start(config),
            budget: Budget::new(config.retry_budget),
            hedge: config.hedge_percentile.map(Hedge::new),
            max_attempts: config.max_attempts.max(1),
            connect_timeout: config.connect_timeout,
            metrics: Arc::clone(metrics),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Runs a signature on tensors.
    ///
    /// # Errors
    ///
    /// Like all calls here: what the backend says, `UNAVAILABLE` if none can be reached,
    /// `DEADLINE_EXCEEDED` if it takes too long.
    pub async fn predict(&self, request: PredictRequest, call: &Call) -> Result<PredictResponse> {
        self.predict_as(request, call).await
    }

    /// The same, with the reply read as what is needed of it.
    ///
    /// # Errors
    ///
    /// As [`Upstream::predict`].
    pub(crate) async fn predict_as<R: Receive>(&self, request: PredictRequest, call: &Call) -> Result<R> {
        let strings = request.inputs.values().map(|tensor| tensor.string_val.len()).sum::<usize>();
        let message =
            offload(strings * size_of::<Bytes>(), &call.memory, move || Message::predict(request)).await?;
        self.call(method::PREDICT, message, call).await
    }

    /// Runs a signature of this model as a message says whose other fields are given.
    ///
    /// # Errors
    ///
    /// As [`Upstream::predict`].
    pub(crate) async fn pass<R: Receive>(
        &self,
        model_spec: &ModelSpec,
        fields: Vec<Bytes>,
        call: &Call,
    ) -> Result<R> {
        self.call(method::PREDICT, Message::passed(model_spec, fields)?, call).await
    }

    /// Runs a signature on examples, for labels and scores.
    ///
    /// # Errors
    ///
    /// As [`Upstream::predict`].
    pub async fn classify(
        &self,
        request: ClassificationRequest,
        call: &Call,
    ) -> Result<ClassificationResponse> {
        self.call(method::CLASSIFY, Message::new(&request)?, call).await
    }

    /// Runs a signature on examples, for numbers.
    ///
    /// # Errors
    ///
    /// As [`Upstream::predict`].
    pub async fn regress(&self, request: RegressionRequest, call: &Call) -> Result<RegressionResponse> {
        self.call(method::REGRESS, Message::new(&request)?, call).await
    }

    /// Runs several signatures on the same examples.
    ///
    /// # Errors
    ///
    /// As [`Upstream::predict`].
    pub async fn multi_inference(
        &self,
        request: MultiInferenceRequest,
        call: &Call,
    ) -> Result<MultiInferenceResponse> {
        self.call(method::MULTI_INFERENCE, Message::new(&request)?, call).await
    }

    /// Asks for the signatures of a model, which is not an attempt at what the client wants.
    ///
    /// # Errors
    ///
    /// As [`Upstream::predict`].
    pub async fn metadata(
        &self,
        request: GetModelMetadataRequest,
        call: &Call,
    ) -> Result<GetModelMetadataResponse> {
        self.call(method::METADATA, Message::new(&request)?, call).await
    }

    /// Asks for the states of a model's versions.
    ///
    /// # Errors
    ///
    /// As [`Upstream::predict`].
    pub async fn status(
        &self,
        request: GetModelStatusRequest,
        call: &Call,
    ) -> Result<GetModelStatusResponse> {
        self.call(method::STATUS, Message::new(&request)?, call).await
    }

    /// Tells every backend which models to serve, and what each of them says to it.
    ///
    /// There is one attempt at each: this does have side effects.
    ///
    /// # Errors
    ///
    /// `UNAVAILABLE` if no backend is known.
    pub async fn reload(
        &self,
        request: &ReloadConfigRequest,
        call: &Call,
    ) -> Result<Vec<(String, Result<ReloadConfigResponse>)>> {
        let message = Message::new(request)?;
        let endpoints = self.shared.discovery.pool.endpoints();
        if endpoints.is_empty() {
            return Err(none_found());
        }
        let mut answers = Vec::new();
        for endpoint in endpoints.iter() {
            let attempt = self.shared.attempt(endpoint, method::RELOAD, message.clone(), call);
            let answer = call.deadline.limit("reloading the models", attempt).await;
            let answer = answer.and_then(|answer| answer.map_err(|failure| failure.error));
            answers.push((endpoint.address().to_string(), answer.map(|answer| answer.message)));
        }
        Ok(answers)
    }

    /// Finds out whether a backend can be reached, which takes a connection and an answer. As long as none
    /// answers, all are tried, some at a time.
    ///
    /// # Errors
    ///
    /// Why the last one could not be, for those who run the bridge.
    pub async fn reach(&self) -> Result<(), String> {
        const AT_ONCE: usize = 4;
        let mut reason = match self.shared.pick(&[]).await {
            Ok(_) => String::new(),
            Err(error) => return Err(error.message().to_owned()),
        };
        let mut tried: Vec<Arc<Endpoint>> = Vec::new();
        loop {
            let mut checks = JoinSet::new();
            for _ in 0..AT_ONCE {
                let next = self.shared.discovery.pool.pick(&tried);
                let is_new = |next: &Arc<Endpoint>| !tried.iter().any(|tried| Arc::ptr_eq(tried, next));
                let Some(endpoint) = next.filter(is_new) else { break };
                tried.push(Arc::clone(&endpoint));
                checks.spawn(async move { endpoint.check().await });
            }
            if checks.is_empty() {
                return Err(reason);
            }
            while let Some(checked) = checks.join_next().await {
                match checked {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(error)) => {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        reason = cause.map_or_else(
                            || error.message().to_owned(),
                            |cause| format!("{}: {cause}", error.message()),
                        );
                    }
                    Err(lost) => reason = lost.to_string(),
                }
            }
        }
    }

    /// Takes a further attempt out of the budget; false if there is none left.
    #[must_use]
    pub fn may_try_again(&self) -> bool {
        self.shared.budget.withdraw()
    }

    /// The endpoints there are now, and how each of them does.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointState> {
        let now = Instant::now();
        let state = |endpoint: &Arc<Endpoint>| {
            let load = endpoint.load.snapshot(now);
            EndpointState {
                address: endpoint.address().to_string(),
                ejected: endpoint.health.is_ejected(),
                in_flight: load.in_flight,
                latency_ms: load.latency * 1e3,
            }
        };
        self.shared.discovery.pool.endpoints().iter().map(state).collect()
    }

    /// Makes a call that ends by the deadline, here and on the backend.
    async fn call<M: Receive>(&self, method: &'static str, message: Message, call: &Call) -> Result<M> {
        call.record.note(Size::Request, message.len());
        let _timer = call.record.timer(Part::Backend);
        // Pinned where it is made: a future that is passed on is in this one twice.
        let attempts = pin!(self.shared.attempts(method, message, call));
        let answer = match call.deadline.limit("waiting for the backend", attempts).await? {
            // The backend was told of the same deadline and may say so first: tonic's servers by
            // cancelling the call.
            Err(error)
                if matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled)
                    && call.deadline.is_near() =>
            {
                return Err(Error::deadline_exceeded("The deadline passed while waiting for the backend"));
            }
            answer => answer?,
        };
        call.keep_returned(answer.metadata);
        Ok(answer.message)
    }
}

impl Shared {
    /// Tries one endpoint after the other.
    async fn attempts<M: Receive>(
        &self,
        method: &'static str,
        message: Message,
        call: &Call,
    ) -> Result<Answer<M>> {
        self.budget.deposit();
        let mut tried = Vec::new();
        loop {
            let endpoint = self.pick(&tried).await?;
            let Failure { error, kind } =
                match self.hedged_attempt(&endpoint, method, &message, &tried, call).await {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => failure,
                };
            let again = kind != Kind::Answer && tried.len() + 1 < self.max_attempts;
            if !again || !self.budget.withdraw() {
                return Err(error);
            }
            self.metrics.retried();
            tracing::debug!(endpoint = %endpoint.address(), %error, "another attempt follows");
            if tried.iter().any(|tried| Arc::ptr_eq(tried, &endpoint)) {
                // There is no other: a moment may help.
                tokio::time::sleep(Duration::from_millis(fastrand::u64(5..25))).await;
            }
            tried.push(endpoint);
        }
    }

    /// An attempt, and a second one beside it if it takes longer than most.
    async fn hedged_attempt<M: Receive>(
        &self,
        endpoint: &Arc<Endpoint>,
        method: &'static str,
        message: &Message,
        tried: &[Arc<Endpoint>],
        call: &Call,
    ) -> Result<Answer<M>, Failure> {
        let mut first = pin!(self.attempt(endpoint, method, message.clone(), call));
        let Some(delay) = self.hedge.as_ref().and_then(Hedge::delay) else { return first.await };
        if let Ok(answer) = tokio::time::timeout(delay, &mut first).await {
            return answer;
        }
        let tried: Vec<_> = tried.iter().chain([endpoint]).cloned().collect();
        let other = self.discovery.pool.pick(&tried);
        let other = other.filter(|other| !tried.iter().any(|tried| Arc::ptr_eq(tried, other)));
        let Some(other) = other.filter(|_| self.budget.withdraw()) else { return first.await };
        self.metrics.hedged();
        // Boxed, since most requests have none.
        let mut second = Box::pin(self.attempt(&other, method, message.clone(), call));
        let is_final = |answer: &Result<_, Failure>| {
            answer.as_ref().err().is_none_or(|failure| failure.kind == Kind::Answer)
        };
        tokio::select! {
            answer = &mut first => if is_final(&answer) { answer } else { second.await },
            answer = &mut second => if is_final(&answer) { answer } else { first.await },
        }
    }

    /// One attempt at one endpoint, whose load and health it tells of.
    async fn attempt<M: Receive>(
        &self,
        endpoint: &Arc<Endpoint>,
        method: &'static str,
        message: Message,
        call: &Call,
    ) -> Result<Answer<M>, Failure> {
        if method != method::METADATA {
            call.count_attempt();
        }
        let start = Instant::now();
        let deadline = call.deadline.remaining().and_then(|remaining| start.checked_add(remaining));
        let counted = self.metrics.backend_call(deadline);
        let answer = endpoint.call(method, message, call).await;
        counted.ended(answer.as_ref().err().map_or(Code::Ok, |failure| failure.error.code()));
        let kind = answer.as_ref().err().map(|failure| failure.kind);
        if let (None | Some(Kind::Answer), Some(hedge)) = (kind, &self.hedge) {
            hedge.observe(start.elapsed());
        }
        if self.discovery.pool.report(endpoint, kind) {
            self.metrics.ejected();
        }
        answer
    }

    /// The endpoint for the next attempt; waits for names that have not been looked up.
    async fn pick(&self, tried: &[Arc<Endpoint>]) -> Result<Arc<Endpoint>> {
        let pool = &self.discovery.pool;
        if let Some(endpoint) = pool.pick(tried) {
            return Ok(endpoint);
        }
        let mut lookups = self.discovery.lookups();
        if pool.pick(tried).is_none() {
            let _ = tokio::time::timeout(self.connect_timeout, lookups.changed()).await;
        }
        pool.pick(tried).ok_or_else(none_found)
    }
}

fn none_found() -> Error {
    Error::unavailable("The backend cannot be reached: its name has no addresses")
}

/// Reads the files of TLS to the backends, to find out whether they can be used.
///
/// # Errors
///
/// What cannot be read or used, with the name of the file.
pub fn check_tls(files: &UpstreamTls) -> std::io::Result<()> {
    tls::load(files).map(drop)
}

/// The settings with which a client of any protocol trusts the certificates of these files and shows ours.
///
/// # Errors
///
/// What cannot be read or used, with the name of the file.
pub(crate) fn client_tls(files: &UpstreamTls) -> std::io::Result<rustls::ClientConfig> {
    let mut config = tls::load(files)?;
    config.alpn_protocols.clear();
    Ok(config)
}

/// The authorities that such a client trusts.
///
/// # Errors
///
/// What cannot be read or used, with the name of the file.
pub(crate) fn trusted(files: &UpstreamTls) -> std::io::Result<rustls::RootCertStore> {
    tls::roots(files)
}
