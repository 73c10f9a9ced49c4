//! The story of a request, a function per verb: read the body, look the signatures up, decode,
//! call the backend, encode.
//!
//! Everything that goes wrong on the way is an [`crate::error::Error`]; turning it into a response is the
//! server's work, and so are headers.

mod admission;
mod attempts;
pub(crate) mod body;
mod catalog;
mod context;
mod custom;
pub(crate) mod grpc;
mod inference;
mod inflate;
mod lines;
pub(crate) mod memory;
pub(crate) mod messages;
mod openapi;
mod predict;
mod readiness;
mod reload;
mod sagemaker;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Body;
use prost::Message;

use crate::codec::Limits;
use crate::codec::body::Encoded;
use crate::codec::example::{self, MultiInference};
use crate::codec::media::MediaType;
use crate::codec::model;
use crate::codec::signature::DEFAULT_SIGNATURE;
use crate::config::{ApiConfig, Config, UpstreamConfig};
use crate::error::{Error, Result};
use crate::metrics::{Levels, Metrics};
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::proto::tensorflow::serving::{
    ClassificationRequest, GetModelStatusRequest, InferenceTask, ModelSpec, MultiInferenceRequest,
    RegressionRequest,
};
use crate::record::{Limit, Part, Record};
use crate::route::{Route, Target, Version};
use crate::signature::{Remembered, SignatureCache};
use crate::telemetry::PayloadLog;
pub(crate) use crate::upstream::offload::offload;
use crate::upstream::{Call, EndpointState, Memory, Upstream};
use admission::{Admission, Turn};
pub(crate) use catalog::Visible;
pub(crate) use lines::Stream;
pub(crate) use openapi::EntityTag;
use readiness::Readiness;

/// Everything that requests need: one for the whole process.
#[derive(Debug)]
pub struct Bridge {
    /// How requests are read and replies written.
    pub api: ApiConfig,
    /// What has been counted.
    pub metrics: Arc<Metrics>,
    /// Where requests are kept, if they are.
    pub payload_log: Option<Arc<PayloadLog>>,
    upstream: Upstream,
    upstream_config: UpstreamConfig,
    signatures: SignatureCache,
    memory: Memory,
    admission: Admission,
    readiness: Readiness,
    found: catalog::Found,
    made: openapi::Made,
    /// Whether requests need tokens, which the description of the API tells.
    has_tokens: bool,
}

/// What a request is answered with.
#[derive(Debug)]
pub struct Reply {
    /// The body.
    pub body: Bytes,
    /// Its type.
    pub content_type: &'static str,
    /// The version of the model that answered, if the backend said.
    pub model_version: Option<i64>,
    /// How long the JSON at the body's beginning is, if binary data follows it.
    pub json_length: Option<usize>,
    /// What follows the body as it comes to be.
    pub(crate) stream: Option<Stream>,
    /// By which a client knows again what it has kept.
    pub(crate) entity_tag: Option<EntityTag>,
}

impl Reply {
    /// A reply about no model in particular.
    fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            content_type,
            model_version: None,
            json_length: None,
            stream: None,
            entity_tag: None,
        }
    }
}

impl Bridge {
    /// A bridge to the backend of the configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let metrics = Arc::default();
        let upstream = Upstream::new(&config.upstream, &metrics);
        Self {
            api: config.api.clone(),
            payload_log: None,
            signatures: SignatureCache::new(upstream.clone(), &config.upstream, &metrics),
            upstream,
            upstream_config: config.upstream.clone(),
            memory: Memory::new(config.api.max_memory, &metrics),
            admission: Admission::new(&config.api, &metrics),
            readiness: Readiness::new(config, &metrics),
            found: catalog::Found::default(),
            made: openapi::Made::default(),
            has_tokens: config.access.auth_file.is_some(),
            metrics,
        }
    }

    /// The same bridge with another configuration. What has been counted stays, and so do the
    /// connections and the signatures if nothing about the backends has changed.
    #[must_use]
    pub fn renewed(&self, config: &Config) -> Self {
        let metrics = &self.metrics;
        let is_same = self.upstream_config == config.upstream;
        let upstream = if is_same { self.upstream.clone() } else { Upstream::new(&config.upstream, metrics) };
        let signatures = if is_same {
            self.signatures.clone()
        } else {
            SignatureCache::new(upstream.clone(), &config.upstream, metrics)
        };
        let is_same = self.api.max_memory == config.api.max_memory;
        let memory = if is_same { self.memory.clone() } else { Memory::new(config.api.max_memory, metrics) };
        Self {
            api: config.api.clone(),
            metrics: Arc::clone(metrics),
            payload_log: self.payload_log.clone(),
            signatures,
            upstream,
            upstream_config: config.upstream.clone(),
            memory,
            admission: Admission::new(&config.api, metrics),
            readiness: self.readiness.renewed(config, metrics),
            found: catalog::Found::default(),
            made: openapi::Made::default(),
            has_tokens: config.access.auth_file.is_some(),
        }
    }

    /// What the calls for a request with these headers have in common, and what is learnt on the way.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a deadline that cannot be read.
    pub fn call(&self, headers: &HeaderMap, record: &Arc<Record>) -> Result<Call> {
        context::call(headers, record, &self.api, &self.memory)
    }

    /// How many bytes all requests and replies hold now.
    #[must_use]
    pub fn memory_held(&self) -> usize {
        self.memory.held()
    }

    /// What has been counted, and how things are now, as text.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if it cannot be written.
    pub fn metrics_text(&self) -> Result<String> {
        let endpoints = self.endpoints();
        let backends_ejected = endpoints.iter().filter(|endpoint| endpoint.ejected).count();
        let backends_ready = endpoints.len() - backends_ejected;
        let levels = Levels { memory_held: self.memory_held(), backends_ready, backends_ejected };
        self.metrics.encode(levels)
    }

    /// Of how many models and versions the signatures are known, and a number of them at most.
    #[must_use]
    pub fn known_signatures(&self, most: usize) -> (usize, Vec<Remembered>) {
        self.signatures.remembered(most)
    }

    /// The endpoints of the pool and how they do.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointState> {
        self.upstream.endpoints()
    }

    /// Answers a request whose route has been found.
    ///
    /// # Errors
    ///
    /// Whatever the client or the backend did wrong.
    pub async fn handle<B>(self: &Arc<Self>, route: &Route, request: Request<B>, call: &Call) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin + Send + 'static,
    {
        let request = if route.takes_body() { request } else { body::without(request).await };
        match route {
            Route::Predict(target) => self.predict(&self.meant(target), request, call).await,
            Route::Classify(target) => self.classify(&self.meant(target), request, call).await,
            Route::Regress(target) => self.regress(&self.meant(target), request, call).await,
            Route::MultiInference(target) => self.multi_inference(&self.meant(target), request, call).await,
            Route::Status(target) => self.status(&self.meant(target), call).await,
            Route::Metadata(target) => self.metadata(&self.meant(target), call).await,
            Route::Infer(target) => self.infer(&self.meant(target), request, call).await,
            Route::ModelMetadata(target) => self.model_metadata(&self.meant(target), &request, call).await,
            Route::ModelReady(target) => self.model_ready(&self.meant(target), call).await,
            Route::ServerMetadata => Ok(inference::server_metadata()),
            Route::ServerLive => Ok(inference::server_live()),
            Route::ServerReady => self.server_ready().await,
            Route::Models => self.models(&request, call).await,
            Route::OpenApi(target) => self.openapi(target.as_ref(), &request, call).await,
            Route::Metrics => self.metrics_text().map(|text| Reply::new("text/plain; charset=utf-8", text)),
            Route::Ping => self.ping().await,
            Route::Custom(route) => self.custom(route, request, call).await,
            Route::Invoke(invocation) => self.invoke(invocation, request, call).await,
            Route::Preflight => Ok(Reply::new("", Bytes::new())),
        }
    }

    /// The target that a client means: some write version 0 for the latest.
    fn meant<'a>(&self, target: &'a Target) -> Cow<'a, Target> {
        if self.api.version_zero_is_latest && target.version == Version::Number(0) {
            return Cow::Owned(Target { version: Version::Latest, ..target.clone() });
        }
        Cow::Borrowed(target)
    }

    async fn classify<B>(&self, target: &Target, request: Request<B>, call: &Call) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let decode = |body: &Bytes, limits: &Limits| example::decode(body, "classify", limits);
        let (_turn, examples) = self.examples(request, call, decode).await?;
        let request = ClassificationRequest {
            model_spec: Some(target.to_spec(&examples.signature_name)),
            input: Some(examples.input),
        };
        let reply = self.upstream.classify(request, call).await?;
        let (model_version, nan) = (version(reply.model_spec.as_ref()), self.api.nan);
        call.record.note_subject(&target.name, signature_or_default(&examples.signature_name), model_version);
        let result = reply.result.unwrap_or_default();
        let encode = offload(result.encoded_len(), &call.memory, move || {
            example::encode_classifications(&result, nan)
        });
        let body = call.record.measure(Part::Encode, encode).await?;
        self.reply(body, model_version, call)
    }

    async fn regress<B>(&self, target: &Target, request: Request<B>, call: &Call) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let decode = |body: &Bytes, limits: &Limits| example::decode(body, "regress", limits);
        let (_turn, examples) = self.examples(request, call, decode).await?;
        let request = RegressionRequest {
            model_spec: Some(target.to_spec(&examples.signature_name)),
            input: Some(examples.input),
        };
        let reply = self.upstream.regress(request, call).await?;
        let (model_version, nan) = (version(reply.model_spec.as_ref()), self.api.nan);
        call.record.note_subject(&target.name, signature_or_default(&examples.signature_name), model_version);
        let result = reply.result.unwrap_or_default();
        let encode =
            offload(result.encoded_len(), &call.memory, move || example::encode_regressions(&result, nan));
        let body = call.record.measure(Part::Encode, encode).await?;
        self.reply(body, model_version, call)
    }

    async fn multi_inference<B>(&self, target: &Target, request: Request<B>, call: &Call) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let decode =
            |body: &Bytes, limits: &Limits| example::decode_multi_inference(body, "multi_inference", limits);
        let (_turn, MultiInference { tasks, input }) = self.examples(request, call, decode).await?;
        let task = |(signature_name, method_name): (String, _)| InferenceTask {
            model_spec: Some(target.to_spec(&signature_name)),
            method_name,
        };
        let request =
            MultiInferenceRequest { tasks: tasks.into_iter().map(task).collect(), input: Some(input) };
        let reply = self.upstream.multi_inference(request, call).await?;
        let model_version = reply.results.first().and_then(|result| version(result.model_spec.as_ref()));
        // Its tasks may have a signature each.
        call.record.note_subject(&target.name, "", model_version);
        let nan = self.api.nan;
        let size = reply.encoded_len();
        let encode = move || example::encode_multi_inference(&reply, nan);
        let body = call.record.measure(Part::Encode, offload(size, &call.memory, encode)).await?;
        self.reply(body, model_version, call)
    }

    /// What a body with examples is decoded to, once it is the request's turn.
    async fn examples<B, T>(
        &self,
        request: Request<B>,
        call: &Call,
        decode: impl FnOnce(&Bytes, &Limits) -> Result<T> + Send + 'static,
    ) -> Result<(Turn<'_>, T)>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
        T: Send + 'static,
    {
        let (body, _) = body::read(request, (&self.api).into(), call, None).await?;
        let turn = self.admission.enter(&call.record).await?;
        call.memory.hold(memory::of_examples(&body))?;
        let (size, limits) = (body.len(), self.api.limits);
        let decode = offload(size, &call.memory, move || decode(&body, &limits));
        Ok((turn, call.record.measure(Part::Decode, decode).await?))
    }

    /// A reply with this JSON, if it is not too large.
    fn reply(&self, body: Vec<u8>, model_version: Option<i64>, call: &Call) -> Result<Reply> {
        self.reply_of(
            Encoded { body: body.into(), content_type: MediaType::Json.name() },
            model_version,
            call,
        )
    }

    /// A reply with this body, if it is not too large.
    fn reply_of(&self, encoded: Encoded, model_version: Option<i64>, call: &Call) -> Result<Reply> {
        let Encoded { body, content_type } = encoded;
        let limit = self.api.max_response_size;
        if body.len() > limit {
            call.record.hit(Limit::ResponseSize);
            return Err(Error::internal(format!("The reply is larger than {limit} bytes")));
        }
        Ok(Reply { body, content_type, model_version, json_length: None, stream: None, entity_tag: None })
    }

    async fn status(&self, target: &Target, call: &Call) -> Result<Reply> {
        // The original ignores a label here, and so does the backend.
        let _permit = self.admission.enter(&call.record).await?;
        let request = GetModelStatusRequest { model_spec: Some(target.to_spec("")) };
        let reply = self.upstream.status(request, call).await?;
        call.record.note_subject(&target.name, "", None);
        self.reply(model::encode_status(&reply)?, None, call)
    }

    async fn metadata(&self, target: &Target, call: &Call) -> Result<Reply> {
        let _permit = self.admission.enter(&call.record).await?;
        let request = model::metadata_request(target.to_spec(""));
        let reply = self.upstream.metadata(request, call).await?;
        let model_version = version(reply.model_spec.as_ref());
        call.record.note_subject(&target.name, "", model_version);
        self.reply(model::encode_metadata(&reply)?, model_version, call)
    }
}

/// The signature that is meant where none is named.
fn signature_or_default(name: &str) -> &str {
    if name.is_empty() { DEFAULT_SIGNATURE } else { name }
}

fn version(spec: Option<&ModelSpec>) -> Option<i64> {
    match spec?.version_choice {
        Some(VersionChoice::Version(version)) => Some(version),
        _ => None,
    }
}
