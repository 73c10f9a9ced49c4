//! The story of a request, a function per verb: read the body, look the signatures up, decode,
//! call the backend, encode.
//!
//! Everything that goes wrong on the way is an [`Error`]; turning it into a response is the
//! server's work, and so are headers.

pub(crate) mod body;
mod context;
mod offload;
mod reload;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Body;
use prost::Message;
use tonic::Code;

use crate::codec::example::{self, MultiInference};
use crate::codec::model;
use crate::codec::predict::{self, Format, Predict};
use crate::codec::stream::Stream;
use crate::config::{ApiConfig, Config};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::proto::tensorflow::TensorProto;
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::proto::tensorflow::serving::{
    ClassificationRequest, GetModelMetadataRequest, GetModelStatusRequest, InferenceTask, ModelSpec,
    MultiInferenceRequest, PredictRequest, PredictResponse, RegressionRequest,
};
use crate::route::{Route, Target, Version};
use crate::signature::{Known, SignatureCache};
use crate::upstream::{Call, EndpointState, Upstream};
pub(crate) use offload::offload;

/// How many changes of a model one request goes along with, if its deadline allows it. They are
/// some milliseconds apart, so that this is for models that never come to rest.
const MOST_CHANGES: usize = 100;

/// Everything that requests need: one for the whole process.
#[derive(Debug)]
pub struct Bridge {
    /// How requests are read and replies written.
    pub api: ApiConfig,
    /// What has been counted.
    pub metrics: Metrics,
    upstream: Upstream,
    signatures: SignatureCache,
}

/// What a request is answered with.
#[derive(Debug, Default)]
pub struct Reply {
    /// The body: JSON, but for metrics.
    pub body: Bytes,
    /// The version of the model that answered, if the backend said.
    pub model_version: Option<i64>,
}

impl From<Vec<u8>> for Reply {
    fn from(body: Vec<u8>) -> Self {
        Self { body: body.into(), model_version: None }
    }
}

impl Bridge {
    /// A bridge to the backend of the configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let upstream = Upstream::new(&config.upstream);
        Self {
            api: config.api.clone(),
            metrics: Metrics::new(),
            signatures: SignatureCache::new(upstream.clone(), &config.upstream),
            upstream,
        }
    }

    /// What the calls for a request with these headers have in common.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a deadline that cannot be read.
    pub fn call(&self, headers: &HeaderMap) -> Result<Call> {
        context::call(headers, &self.api)
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
    pub async fn handle<B>(&self, route: &Route, request: Request<B>, call: &Call) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        match route {
            Route::Predict(target) => self.predict(&self.meant(target), request, call).await,
            Route::Classify(target) => self.classify(&self.meant(target), request, call).await,
            Route::Regress(target) => self.regress(&self.meant(target), request, call).await,
            Route::MultiInference(target) => self.multi_inference(&self.meant(target), request, call).await,
            Route::Status(target) => self.status(&self.meant(target), call).await,
            Route::Metadata(target) => self.metadata(&self.meant(target), call).await,
            Route::Metrics => self.metrics.encode().map(|text| text.into_bytes().into()),
            Route::Preflight => Ok(Reply::default()),
        }
    }

    /// The target that a client means: some write version 0 for the latest.
    fn meant<'a>(&self, target: &'a Target) -> Cow<'a, Target> {
        if self.api.version_zero_is_latest && target.version == Version::Number(0) {
            return Cow::Owned(Target { version: Version::Latest, ..target.clone() });
        }
        Cow::Borrowed(target)
    }

    async fn predict<B>(&self, target: &Target, request: Request<B>, call: &Call) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        // The signatures come first, so that numbers are decoded while the body arrives.
        let known = self.signatures.get(target, call).await;
        let signatures = known.as_ref().ok().map(Arc::clone);
        let (body, stream) = body::read(request, self.api.max_body_size, call.deadline, signatures).await?;
        let known = match known {
            Ok(known) => known,
            Err(error) => {
                let checked = offload(body.len(), move || predict::check(&body)).await;
                return Err(checked.err().unwrap_or(error));
            }
        };
        let (known, format, reply) = self.attempts(target, body, known, stream, call).await?;
        let model_version = version(reply.model_spec.as_ref());
        self.signatures.check_version(target, &known, model_version);
        let nan = self.api.nan;
        let body = offload(reply_size(&reply), move || predict::encode(&reply.outputs, format, nan)).await?;
        Ok(Reply { body: body.into(), model_version })
    }

    /// Decodes a body and calls the backend, again if the model has changed in the meantime.
    async fn attempts(
        &self,
        target: &Target,
        body: Bytes,
        known: Arc<Known>,
        stream: Option<Stream>,
        call: &Call,
    ) -> Result<(Arc<Known>, Format, PredictResponse)> {
        let mut known = known;
        let mut result = self.attempt(target, &body, &known, stream, call).await;
        let mut is_pinned = false;
        for _ in 0..MOST_CHANGES {
            // Rejected, here or by the backend: the model may have changed since we learnt of it.
            let error = match result {
                Err(error) if may_be_outdated(&error) => error,
                result => return result.map(|(format, reply)| (known, format, reply)),
            };
            let Ok(newer) = self.signatures.refresh(target, &known, call).await else { return Err(error) };
            let is_gone = is_pinned && error.code() == Code::NotFound;
            if !is_gone && newer.signatures == known.signatures && newer.version == known.version {
                // It was rejected for what it is, unless the model has changed twice.
                let may_have_changed = !is_pinned
                    && (call.attempts() > 0 && newer.version.is_some())
                    && (self.signatures.has_changed_lately() || self.upstream.may_try_again());
                if !may_have_changed {
                    return Err(error);
                }
            }
            known = newer;
            // From now on the version is the one that the signatures belong to: if it goes away, the
            // backend says so, whatever the next one would make of the body.
            is_pinned = known.version.is_some();
            let target = known.version.map_or_else(|| target.clone(), |version| target.at(version));
            result = self.attempt(&target, &body, &known, None, call).await;
        }
        result.map(|(format, reply)| (known, format, reply))
    }

    /// Decodes a body with these signatures and calls the backend.
    async fn attempt(
        &self,
        target: &Target,
        body: &Bytes,
        known: &Arc<Known>,
        stream: Option<Stream>,
        call: &Call,
    ) -> Result<(Format, PredictResponse)> {
        let Predict { signature_name, format, inputs, output_filter } = decode(body, known, stream).await?;
        let request = PredictRequest {
            model_spec: Some(target.to_spec(&signature_name)),
            inputs,
            output_filter,
            ..PredictRequest::default()
        };
        Ok((format, self.upstream.predict(request, call).await?))
    }

    async fn classify<B>(&self, target: &Target, request: Request<B>, call: &Call) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let (body, _) = body::read(request, self.api.max_body_size, call.deadline, None).await?;
        let examples = offload(body.len(), move || example::decode(&body, "classify")).await?;
        let request = ClassificationRequest {
            model_spec: Some(target.to_spec(&examples.signature_name)),
            input: Some(examples.input),
        };
        let reply = self.upstream.classify(request, call).await?;
        let (model_version, nan) = (version(reply.model_spec.as_ref()), self.api.nan);
        let result = reply.result.unwrap_or_default();
        let body =
            offload(result.encoded_len(), move || example::encode_classifications(&result, nan)).await?;
        Ok(Reply { body: body.into(), model_version })
    }

    async fn regress<B>(&self, target: &Target, request: Request<B>, call: &Call) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let (body, _) = body::read(request, self.api.max_body_size, call.deadline, None).await?;
        let examples = offload(body.len(), move || example::decode(&body, "regress")).await?;
        let request = RegressionRequest {
            model_spec: Some(target.to_spec(&examples.signature_name)),
            input: Some(examples.input),
        };
        let reply = self.upstream.regress(request, call).await?;
        let (model_version, nan) = (version(reply.model_spec.as_ref()), self.api.nan);
        let result = reply.result.unwrap_or_default();
        let body = offload(result.encoded_len(), move || example::encode_regressions(&result, nan)).await?;
        Ok(Reply { body: body.into(), model_version })
    }

    async fn multi_inference<B>(&self, target: &Target, request: Request<B>, call: &Call) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let (body, _) = body::read(request, self.api.max_body_size, call.deadline, None).await?;
        let size = body.len();
        let decode = move || example::decode_multi_inference(&body, "multi_inference");
        let MultiInference { tasks, input } = offload(size, decode).await?;
        let task = |(signature_name, method_name): (String, _)| InferenceTask {
            model_spec: Some(target.to_spec(&signature_name)),
            method_name,
        };
        let request =
            MultiInferenceRequest { tasks: tasks.into_iter().map(task).collect(), input: Some(input) };
        let reply = self.upstream.multi_inference(request, call).await?;
        let model_version = reply.results.first().and_then(|result| version(result.model_spec.as_ref()));
        let nan = self.api.nan;
        let size = reply.encoded_len();
        let encode = move || example::encode_multi_inference(&reply, nan);
        let body = offload(size, encode).await?;
        Ok(Reply { body: body.into(), model_version })
    }

    async fn status(&self, target: &Target, call: &Call) -> Result<Reply> {
        // The original ignores a label here, and so does the backend.
        let request = GetModelStatusRequest { model_spec: Some(target.to_spec("")) };
        let reply = self.upstream.status(request, call).await?;
        Ok(model::encode_status(&reply)?.into())
    }

    async fn metadata(&self, target: &Target, call: &Call) -> Result<Reply> {
        let request = GetModelMetadataRequest {
            model_spec: Some(target.to_spec("")),
            metadata_field: vec![model::SIGNATURE_DEF.to_owned()],
        };
        let reply = self.upstream.metadata(request, call).await?;
        let model_version = version(reply.model_spec.as_ref());
        Ok(Reply { body: model::encode_metadata(&reply)?.into(), model_version })
    }
}

async fn decode(body: &Bytes, known: &Arc<Known>, stream: Option<Stream>) -> Result<Predict> {
    // What a stream has decoded already takes no time any more.
    let size = stream.as_ref().map_or(body.len(), |stream| stream.remaining(body));
    let (body, known) = (body.clone(), Arc::clone(known));
    offload(size, move || match &known.signatures {
        Some(signatures) => predict::decode_after(&body, signatures, stream),
        None => predict::decode_guessed(&body),
    })
    .await
}

/// The codes of requests that may fit another version of the model.
fn may_be_outdated(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented | Code::NotFound
    )
}

/// About how many bytes a reply's tensors have, in whatever form they came.
fn reply_size(reply: &PredictResponse) -> usize {
    let elements = |tensor: &TensorProto| {
        let dimensions = tensor.tensor_shape.iter().flat_map(|shape| &shape.dim);
        dimensions.fold(8, |size: usize, dim| size.saturating_mul(usize::try_from(dim.size).unwrap_or(0)))
    };
    reply.outputs.values().map(elements).fold(0, usize::saturating_add)
}

fn version(spec: Option<&ModelSpec>) -> Option<i64> {
    match spec?.version_choice {
        Some(VersionChoice::Version(version)) => Some(version),
        _ => None,
    }
}
