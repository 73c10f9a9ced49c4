//! From a body that has been read to the backend's answer: decode for the signature, call, and again if the
//! model has changed meanwhile. It is the same for every API; each says how its bodies are decoded.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;
use tonic::Code;

use super::body::BodyLimits;
use super::inflate::by_ratio;
use super::{Bridge, memory, offload, signature_or_default, version};
use crate::codec::body::{Decoded, Rules};
use crate::codec::predict::Inputs;
use crate::codec::protobuf::{self, Passed};
use crate::codec::signature::Signatures;
use crate::codec::stream::Stream;
use crate::codec::{Limits, NanStyle};
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::{ModelSpec, PredictRequest, PredictResponse};
use crate::record::{Part, Size};
use crate::route::Target;
use crate::signature::Known;
use crate::telemetry::Entry;
use crate::upstream::Call;

/// How many changes of a model one request goes along with, if its deadline allows it. They are
/// some milliseconds apart, so that this is for models that never come to rest.
const MOST_CHANGES: usize = 100;

/// How many bytes are taken for as much work as a byte of text is.
const MEMORY_PER_WORK: usize = 16;

/// A request whose body has been read. It is decoded with signatures that may turn out to be outdated, and
/// then once more.
pub(crate) trait Undecoded: Send + Sync + 'static {
    /// What the writer of the reply must know.
    type Form: Send + 'static;

    /// How many bytes the body has.
    fn size(&self) -> usize;

    /// How many of them are left to decode, if a stream has decoded some.
    fn left(&self, stream: Option<&Stream>) -> usize {
        stream.map_or(self.size(), |_| 0)
    }

    /// The most bytes of memory that decoding so many bytes at the end of the body takes.
    fn most_memory(&self, left: usize, signatures: Option<&Signatures>, limits: &Limits) -> usize;

    /// How many bytes of memory the body, its tensors and the message to the backend take.
    fn memory(&self, inputs: &Inputs) -> usize;

    /// Makes tensors of it.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it, or does not fit the signatures.
    fn decode(
        &self,
        signatures: Option<&Signatures>,
        rules: &Rules,
        stream: Option<Stream>,
    ) -> Result<Decoded<Self::Form>>;

    /// Passes it on as it is instead, if it is a message for the backend.
    ///
    /// # Errors
    ///
    /// As [`Undecoded::decode`].
    fn pass(&self, _: Option<&Signatures>, _: &Rules) -> Result<Option<(Passed, Self::Form)>> {
        Ok(None)
    }

    /// Whether the client gets the backend's message as it is.
    fn wants_message(&self, _: &Self::Form) -> bool {
        false
    }
}

/// What the backend has answered.
pub(super) enum Answer {
    Tensors(PredictResponse),
    /// The message, for a client that wants just that.
    Message(protobuf::Reply),
}

impl Answer {
    /// The tensors of the answer.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if the message has none that can be read.
    pub(super) fn into_tensors(self) -> Result<PredictResponse> {
        match self {
            Self::Tensors(reply) => Ok(reply),
            Self::Message(reply) => PredictResponse::decode(reply.bytes)
                .map_err(|error| Error::internal("The backend's reply cannot be read").with_source(error)),
        }
    }

    /// The model that has answered.
    pub(super) fn model_spec(&self) -> Option<&ModelSpec> {
        match self {
            Self::Tensors(reply) => reply.model_spec.as_ref(),
            Self::Message(reply) => reply.model_spec.as_ref(),
        }
    }
}

/// A request to the backend.
#[expect(clippy::large_enum_variant, reason = "there is one, and it is on its way")]
enum Outgoing {
    Tensors(PredictRequest),
    /// The model, and the other fields of a message as they came.
    Message(ModelSpec, Vec<Bytes>),
}

impl Outgoing {
    fn signature_name(&self) -> &str {
        let model_spec = match self {
            Self::Tensors(request) => request.model_spec.as_ref(),
            Self::Message(model_spec, _) => Some(model_spec),
        };
        model_spec.map_or("", |model_spec| &model_spec.signature_name)
    }
}

impl Bridge {
    /// Decodes a body and calls the backend, again if the model has changed in the meantime.
    pub(super) async fn attempts<B: Undecoded>(
        &self,
        target: &Target,
        body: B,
        known: Arc<Known>,
        stream: Option<Stream>,
        call: &Call,
    ) -> Result<(B::Form, Answer)> {
        let (known, form, answer) = self.answered(target, body, known, stream, call).await?;
        self.signatures.check_version(target, &known, version(answer.model_spec()), call);
        Ok((form, answer))
    }

    /// The same, with the signatures that did.
    async fn answered<B: Undecoded>(
        &self,
        target: &Target,
        body: B,
        known: Arc<Known>,
        stream: Option<Stream>,
        call: &Call,
    ) -> Result<(Arc<Known>, B::Form, Answer)> {
        let (mut known, body) = (known, Arc::new(body));
        let mut result = self.attempt(target, &body, &known, stream, call).await;
        let mut is_pinned = false;
        for _ in 0..MOST_CHANGES {
            // Rejected, here or by the backend: the model may have changed since we learnt of it.
            let error = match result {
                Err(error) if may_be_outdated(&error) => error,
                result => return result.map(|(form, answer)| (known, form, answer)),
            };
            let Ok(newer) = self.signatures.refresh(target, &known, call).await else { return Err(error) };
            let is_gone = is_pinned && is_about_model(&error);
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
        result.map(|(form, answer)| (known, form, answer))
    }

    /// Decodes a body with these signatures and calls the backend.
    async fn attempt<B: Undecoded>(
        &self,
        target: &Target,
        body: &Arc<B>,
        known: &Arc<Known>,
        stream: Option<Stream>,
        call: &Call,
    ) -> Result<(B::Form, Answer)> {
        let decode = pin!(self.request(target, body, known, stream, call));
        let (request, form) = call.deadline.limit("decoding the body", decode).await??;
        let signature = signature_or_default(request.signature_name()).to_owned();
        if known.version.is_some() {
            call.record.note_subject(&target.name, &signature, known.version);
        }
        let entry = self.sample(&request, body.size(), call);
        // A reply that goes on as it is need not be read.
        let answer = match (request, body.wants_message(&form)) {
            (Outgoing::Tensors(request), false) => {
                Answer::Tensors(self.upstream.predict(request, call).await?)
            }
            (Outgoing::Tensors(request), true) => {
                Answer::Message(self.upstream.predict_as(request, call).await?)
            }
            (Outgoing::Message(spec, fields), false) => {
                Answer::Tensors(self.upstream.pass(&spec, fields, call).await?)
            }
            (Outgoing::Message(spec, fields), true) => {
                Answer::Message(self.upstream.pass(&spec, fields, call).await?)
            }
        };
        if let Some(entry) = entry {
            entry.keep();
        }
        call.record.note_subject(&target.name, &signature, version(answer.model_spec()));
        Ok((form, answer))
    }

    /// Makes a body the request to the backend.
    async fn request<B: Undecoded>(
        &self,
        target: &Target,
        body: &Arc<B>,
        known: &Arc<Known>,
        stream: Option<Stream>,
        call: &Call,
    ) -> Result<(Outgoing, B::Form)> {
        let _timer = call.record.timer(Part::Decode);
        let rules = self.rules(body.size(), call);
        // What a stream has decoded already takes no time any more, and no more memory.
        let left = body.left(stream.as_ref());
        let room = body.most_memory(left, known.signatures.as_ref(), &rules.limits);
        call.memory.hold(room)?;
        // A small file may be a large picture, and as much work.
        let work = left.max(room / MEMORY_PER_WORK);
        let (undecoded, known, target) = (Arc::clone(body), Arc::clone(known), target.clone());
        let (request, form) = offload(work, &call.memory, move || {
            let signatures = known.signatures.as_ref();
            if let Some((Passed { signature_name, fields }, form)) = undecoded.pass(signatures, &rules)? {
                return Ok((Outgoing::Message(target.to_spec(&signature_name), fields), form));
            }
            let decoded = undecoded.decode(signatures, &rules, stream)?;
            let request = PredictRequest {
                model_spec: Some(target.to_spec(&decoded.signature_name)),
                inputs: decoded.inputs,
                output_filter: decoded.output_filter,
                ..PredictRequest::default()
            };
            Ok((Outgoing::Tensors(request), decoded.form))
        })
        .await?;
        if let Outgoing::Tensors(request) = &request {
            call.memory.settle(body.memory(&request.inputs));
        }
        Ok((request, form))
    }

    /// How a body of this size is read.
    fn rules(&self, size: usize, call: &Call) -> Rules {
        let BodyLimits { size: most, ratio, .. } = (&self.api).into();
        // What was compressed as a whole already has no second ratio for what is compressed inside of it.
        let sent = usize::try_from(call.record.size(Size::Body)).unwrap_or(size);
        let sent = if sent == 0 { size } else { sent.min(size) };
        let inflated = most.min(by_ratio(sent, ratio));
        Rules { limits: Limits { inflated, ..self.api.limits }, check_shapes: self.api.check_shapes }
    }

    /// Takes a copy for the payload log, if it keeps this request.
    fn sample(&self, request: &Outgoing, size: usize, call: &Call) -> Option<Box<Entry>> {
        let log = self.payload_log.as_ref()?;
        match request {
            Outgoing::Tensors(request) => log.sample(request, size),
            Outgoing::Message(model_spec, fields) if log.is_due(size) => {
                // It is read for the log alone, and left out where there is no memory for that.
                call.memory.hold(size).ok()?;
                let message = Bytes::from(fields.concat());
                let room = protobuf::room(&message);
                let entry = call.memory.hold(room).ok().and_then(|()| {
                    let entry = protobuf::passed(&message).and_then(|request| {
                        let request = PredictRequest { model_spec: Some(model_spec.clone()), ..request };
                        log.entry(&request, size.saturating_add(room))
                    });
                    call.memory.release(room);
                    entry
                });
                call.memory.release(size);
                entry
            }
            Outgoing::Message(..) => None,
        }
    }

    /// Writes a reply, whose request and its tensors have gone. `room` says how much memory that takes, given
    /// the reply's size.
    pub(super) async fn encode<T: Send + 'static>(
        &self,
        reply: PredictResponse,
        call: &Call,
        room: impl FnOnce(&PredictResponse, usize) -> usize,
        encode: impl FnOnce(PredictResponse, NanStyle) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let nan = self.api.nan;
        let size = memory::of_reply(&reply);
        call.memory.settle(size.saturating_add(memory::of_list(&reply)));
        call.memory.hold(room(&reply, size))?;
        let encode = offload(size, &call.memory, move || encode(reply, nan));
        call.record.measure(Part::Encode, encode).await
    }
}

/// Whether it is the model that is not found, by the words that TensorFlow Serving has for it: operations of a
/// model may miss something, too, such as a file, and will do so again.
pub(super) fn is_about_model(error: &Error) -> bool {
    error.code() == Code::NotFound && error.message().starts_with("Servable not found for request")
}

/// The codes of requests that may fit another version of the model.
pub(super) fn may_be_outdated(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented | Code::NotFound
    )
}
