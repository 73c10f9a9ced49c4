//! The story of a request, a function per verb: read the body, look the signatures up, decode,
//! call the backend, encode.
//!
//! Everything that goes wrong on the way is an [`Error`]; turning it into a response is the
//! server's work, and so are headers.

pub(crate) mod body;

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body::Body;
use prost::Message;
use tonic::Code;

use crate::codec::predict::{self, Format, Predict};
use crate::codec::stream::Stream;
use crate::codec::{example, model};
use crate::config::{ApiConfig, Config};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::proto::tensorflow::TensorProto;
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::proto::tensorflow::serving::{
    ClassificationRequest, GetModelMetadataRequest, GetModelStatusRequest, ModelSpec, PredictRequest,
    PredictResponse, RegressionRequest,
};
use crate::route::{Route, Target};
use crate::signature::{Known, SignatureCache};
use crate::upstream::{Deadline, Upstream};

/// A body above this size is decoded, and a reply above it encoded, off the async workers, so
/// that small requests need not wait for it.
const OFFLOAD_SIZE: usize = 1 << 20;

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
            signatures: SignatureCache::new(upstream.clone(), config.upstream.signature_ttl),
            upstream,
        }
    }

    /// Answers a request whose route has been found.
    ///
    /// # Errors
    ///
    /// Whatever the client or the backend did wrong.
    pub async fn handle<B>(&self, route: &Route, request: Request<B>) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let deadline = Deadline::after(self.api.timeout);
        match route {
            Route::Predict(target) => self.predict(target, request, deadline).await,
            Route::Classify(target) => self.classify(target, request, deadline).await,
            Route::Regress(target) => self.regress(target, request, deadline).await,
            Route::Status(target) => self.status(target, deadline).await,
            Route::Metadata(target) => self.metadata(target, deadline).await,
            Route::Metrics => self.metrics.encode().map(|text| text.into_bytes().into()),
            Route::Preflight => Ok(Reply::default()),
        }
    }

    async fn predict<B>(&self, target: &Target, request: Request<B>, deadline: Deadline) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        // The signatures come first, so that numbers are decoded while the body arrives.
        let known = self.signatures.get(target, deadline).await;
        let signatures = known.as_ref().ok().map(|known| &known.signatures);
        let (body, stream) = body::read(request, self.api.max_body_size, deadline, signatures).await?;
        let known = match known {
            Ok(known) => known,
            Err(error) => {
                let checked = offload(body.len(), move || predict::check(&body)).await;
                return Err(checked.err().unwrap_or(error));
            }
        };
        let (known, format, reply) = match self.attempt(target, &body, &known, stream, deadline).await {
            // Rejected, here or by the backend: the model may have changed since we learnt of it.
            Err(error) if may_be_outdated(&error) => {
                let newer = self.signatures.refresh(target, &known, deadline).await.ok_or(error)?;
                let (format, reply) = self.attempt(target, &body, &newer, None, deadline).await?;
                (newer, format, reply)
            }
            result => result.map(|(format, reply)| (known, format, reply))?,
        };
        drop(body);
        let model_version = version(reply.model_spec.as_ref());
        self.signatures.check_version(target, &known, model_version);
        let nan = self.api.nan;
        let body = offload(reply_size(&reply), move || predict::encode(&reply.outputs, format, nan)).await?;
        Ok(Reply { body: body.into(), model_version })
    }

    /// Decodes a body with these signatures and calls the backend.
    async fn attempt(
        &self,
        target: &Target,
        body: &Bytes,
        known: &Arc<Known>,
        stream: Option<Stream>,
        deadline: Deadline,
    ) -> Result<(Format, PredictResponse)> {
        let decoded = decode(body, known, stream).await?;
        let format = decoded.format;
        Ok((format, self.call(target, decoded, deadline).await?))
    }

    async fn call(&self, target: &Target, decoded: Predict, deadline: Deadline) -> Result<PredictResponse> {
        let request = PredictRequest {
            model_spec: Some(target.to_spec(&decoded.signature_name)),
            inputs: decoded.inputs,
            output_filter: decoded.output_filter,
            ..PredictRequest::default()
        };
        self.upstream.predict(request, deadline).await
    }

    async fn classify<B>(&self, target: &Target, request: Request<B>, deadline: Deadline) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let (body, _) = body::read(request, self.api.max_body_size, deadline, None).await?;
        let examples = offload(body.len(), move || example::decode(&body, "classify")).await?;
        let request = ClassificationRequest {
            model_spec: Some(target.to_spec(&examples.signature_name)),
            input: Some(examples.input),
        };
        let reply = self.upstream.classify(request, deadline).await?;
        let (model_version, nan) = (version(reply.model_spec.as_ref()), self.api.nan);
        let result = reply.result.unwrap_or_default();
        let body =
            offload(result.encoded_len(), move || example::encode_classifications(&result, nan)).await?;
        Ok(Reply { body: body.into(), model_version })
    }

    async fn regress<B>(&self, target: &Target, request: Request<B>, deadline: Deadline) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let (body, _) = body::read(request, self.api.max_body_size, deadline, None).await?;
        let examples = offload(body.len(), move || example::decode(&body, "regress")).await?;
        let request = RegressionRequest {
            model_spec: Some(target.to_spec(&examples.signature_name)),
            input: Some(examples.input),
        };
        let reply = self.upstream.regress(request, deadline).await?;
        let (model_version, nan) = (version(reply.model_spec.as_ref()), self.api.nan);
        let result = reply.result.unwrap_or_default();
        let body = offload(result.encoded_len(), move || example::encode_regressions(&result, nan)).await?;
        Ok(Reply { body: body.into(), model_version })
    }

    async fn status(&self, target: &Target, deadline: Deadline) -> Result<Reply> {
        // The original ignores a label here, and so does the backend.
        let request = GetModelStatusRequest { model_spec: Some(target.to_spec("")) };
        let reply = self.upstream.status(request, deadline).await?;
        Ok(model::encode_status(&reply)?.into())
    }

    async fn metadata(&self, target: &Target, deadline: Deadline) -> Result<Reply> {
        let request = GetModelMetadataRequest {
            model_spec: Some(target.to_spec("")),
            metadata_field: vec![model::SIGNATURE_DEF.to_owned()],
        };
        let reply = self.upstream.metadata(request, deadline).await?;
        let model_version = version(reply.model_spec.as_ref());
        Ok(Reply { body: model::encode_metadata(&reply)?.into(), model_version })
    }
}

async fn decode(body: &Bytes, known: &Arc<Known>, stream: Option<Stream>) -> Result<Predict> {
    // What a stream has decoded already takes no time any more.
    let size = stream.as_ref().map_or(body.len(), |stream| stream.remaining(body));
    let (body, known) = (body.clone(), Arc::clone(known));
    offload(size, move || predict::decode_after(&body, &known.signatures, stream)).await
}

/// Runs work on the codec where it disturbs nobody: here if it is small, else on a thread of
/// its own.
pub(crate) async fn offload<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if size < OFFLOAD_SIZE {
        return work();
    }
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::internal("The request could not be processed").with_source(error)))
}

/// The codes of requests that may fit another version of the model.
fn may_be_outdated(error: &Error) -> bool {
    matches!(error.code(), Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented)
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
