//! Predict: decode for the signature, call, encode, and again if the model has changed meanwhile.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body::Body;
use prost::Message as _;
use tonic::Code;

use super::body::{BodyLimits, Decoding, discard, read};
use super::inflate::by_ratio;
use super::{Bridge, Reply, memory, offload, signature_or_default, version};
use crate::codec;
use crate::codec::body::{self, Decoded, Encoded, Form, Rules};
use crate::codec::media::{Agreement, MediaType};
use crate::codec::protobuf::{self, Passed};
use crate::codec::stream::Stream;
use crate::codec::{Limits, predict};
use crate::error::{Error, Result};
use crate::proto::tensorflow::TensorProto;
use crate::proto::tensorflow::serving::{ModelSpec, PredictRequest, PredictResponse};
use crate::record::Part;
use crate::route::Target;
use crate::signature::Known;
use crate::telemetry::Entry;
use crate::upstream::Call;

/// How many changes of a model one request goes along with, if its deadline allows it. They are
/// some milliseconds apart, so that this is for models that never come to rest.
const MOST_CHANGES: usize = 100;

impl Bridge {
    /// Runs a signature on tensors.
    pub(super) async fn predict<B>(&self, target: &Target, request: Request<B>, call: &Call) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let agreement = match agree(&request) {
            Ok(agreement) => Arc::new(agreement),
            Err(error) => {
                discard(request).await;
                return Err(error);
            }
        };
        // The signatures come first, so that numbers are decoded while the body arrives.
        let known = call.record.measure(Part::Decode, self.signatures.get(target, call)).await;
        if let Ok(Known { version: Some(version), .. }) = known.as_deref() {
            call.record.note_subject(&target.name, "", Some(*version));
        }
        let is_json = agreement.request == MediaType::Json;
        let decoding = known.as_ref().ok().filter(|_| is_json);
        let decoding = decoding.map(|known| Decoding::new(known, self.api.limits));
        let (body, stream) = read(request, (&self.api).into(), call, decoding).await?;
        let _permit = self.admission.enter(&call.record).await?;
        let known = match known {
            Ok(known) => known,
            Err(error) if !is_json => return Err(error),
            Err(error) => {
                let limits = self.api.limits;
                let checked = offload(body.len(), &call.memory, move || predict::check(&body, &limits)).await;
                return Err(checked.err().unwrap_or(error));
            }
        };
        let (known, form, reply) = self.attempts(target, &agreement, body, known, stream, call).await?;
        let model_version = version(reply.model_spec());
        self.signatures.check_version(target, &known, model_version, call);
        let reply = match reply {
            Answer::Tensors(reply) => reply,
            Answer::Message(protobuf::Reply { bytes, .. }) => {
                call.memory.settle(bytes.len());
                let encoded = Encoded { body: bytes, content_type: MediaType::Protobuf.name() };
                return self.reply_of(encoded, model_version, call);
            }
        };
        let nan = self.api.nan;
        let size = reply_size(&reply);
        // The body and its tensors have gone.
        call.memory.settle(size);
        call.memory.hold(form.memory(&reply, size))?;
        let encode = offload(size, &call.memory, move || body::encode(&form, &reply, nan));
        let encoded = call.record.measure(Part::Encode, encode).await?;
        self.reply_of(encoded, model_version, call)
    }

    /// Decodes a body and calls the backend, again if the model has changed in the meantime.
    async fn attempts(
        &self,
        target: &Target,
        agreement: &Arc<Agreement>,
        body: Bytes,
        known: Arc<Known>,
        stream: Option<Stream>,
        call: &Call,
    ) -> Result<(Arc<Known>, Form, Answer)> {
        let mut known = known;
        let mut result = self.attempt(target, agreement, &body, &known, stream, call).await;
        let mut is_pinned = false;
        for _ in 0..MOST_CHANGES {
            // Rejected, here or by the backend: the model may have changed since we learnt of it.
            let error = match result {
                Err(error) if may_be_outdated(&error) => error,
                result => return result.map(|(form, reply)| (known, form, reply)),
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
            result = self.attempt(&target, agreement, &body, &known, None, call).await;
        }
        result.map(|(form, reply)| (known, form, reply))
    }

    /// Decodes a body with these signatures and calls the backend.
    async fn attempt(
        &self,
        target: &Target,
        agreement: &Arc<Agreement>,
        body: &Bytes,
        known: &Arc<Known>,
        stream: Option<Stream>,
        call: &Call,
    ) -> Result<(Form, Answer)> {
        let decode = pin!(self.request(target, agreement, body, known, stream, call));
        let (request, form) = call.deadline.limit("decoding the body", decode).await??;
        let signature = signature_or_default(request.signature_name()).to_owned();
        if known.version.is_some() {
            call.record.note_subject(&target.name, &signature, known.version);
        }
        let entry = self.sample(&request, body.len());
        // A reply that goes on as it is need not be read.
        let answer = match (request, form == Form::Protobuf) {
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
    async fn request(
        &self,
        target: &Target,
        agreement: &Arc<Agreement>,
        body: &Bytes,
        known: &Arc<Known>,
        stream: Option<Stream>,
        call: &Call,
    ) -> Result<(Outgoing, Form)> {
        if agreement.request == MediaType::Protobuf {
            let _timer = call.record.timer(Part::Decode);
            let (agreed, bytes, known) = (Arc::clone(agreement), body.clone(), Arc::clone(known));
            let rules = self.rules(body.len());
            let pass = move || protobuf::pass(&agreed, &bytes, known.signatures.as_ref(), &rules);
            let Passed { signature_name, fields } = offload(body.len(), &call.memory, pass).await?;
            let form = body::form(agreement.reply, predict::Format::Columnar).top(agreement.parameters.top_k);
            return Ok((Outgoing::Message(target.to_spec(&signature_name), fields), form));
        }
        let Decoded { signature_name, inputs, output_filter, form } =
            self.decode(agreement, body, known, stream, call).await?;
        let request = PredictRequest {
            model_spec: Some(target.to_spec(&signature_name)),
            inputs,
            output_filter,
            ..PredictRequest::default()
        };
        Ok((Outgoing::Tensors(request), form))
    }

    /// Takes a copy for the payload log, if it keeps this request.
    fn sample(&self, request: &Outgoing, size: usize) -> Option<Box<Entry>> {
        let log = self.payload_log.as_ref()?;
        match request {
            Outgoing::Tensors(request) => log.sample(request, size),
            Outgoing::Message(model_spec, fields) if log.is_due() => {
                let mut request = PredictRequest::decode(Bytes::from(fields.concat())).ok()?;
                request.model_spec = Some(model_spec.clone());
                log.entry(&request, size)
            }
            Outgoing::Message(..) => None,
        }
    }

    /// How a body of this size is read.
    fn rules(&self, size: usize) -> Rules {
        let BodyLimits { size: most, ratio, .. } = (&self.api).into();
        let inflated = most.min(by_ratio(size, ratio));
        Rules { limits: Limits { inflated, ..self.api.limits }, check_shapes: self.api.check_shapes }
    }

    async fn decode(
        &self,
        agreement: &Arc<Agreement>,
        body: &Bytes,
        known: &Arc<Known>,
        stream: Option<Stream>,
        call: &Call,
    ) -> Result<Decoded> {
        let _timer = call.record.timer(Part::Decode);
        // What a stream has decoded already takes no time any more, and no more memory.
        let size = stream.as_ref().map_or(body.len(), |stream| stream.remaining(body));
        let rest = body.slice(body.len() - size..);
        let rules = self.rules(body.len());
        let room = memory::of_tensors(agreement.request, &rest, known.signatures.as_ref(), &rules.limits);
        call.memory.hold(room)?;
        let (agreement, bytes, known) = (Arc::clone(agreement), body.clone(), Arc::clone(known));
        let decoded = offload(size, &call.memory, move || {
            body::decode(&agreement, &bytes, known.signatures.as_ref(), &rules, stream)
        })
        .await?;
        // A string is in the body and in the message to the backend, if it is not one of our own making.
        let strings: usize =
            decoded.inputs.values().flat_map(|tensor| &tensor.string_val).map(Bytes::len).sum();
        let tensors: usize = decoded.inputs.values().map(size_of_tensor).sum();
        call.memory.settle(2 * body.len().max(strings) + tensors);
        Ok(decoded)
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

/// What the backend has answered.
enum Answer {
    Tensors(PredictResponse),
    /// The message, for a client that wants just that.
    Message(protobuf::Reply),
}

impl Answer {
    fn model_spec(&self) -> Option<&ModelSpec> {
        match self {
            Self::Tensors(reply) => reply.model_spec.as_ref(),
            Self::Message(reply) => reply.model_spec.as_ref(),
        }
    }
}

/// What a request's head says about its body and its reply.
fn agree<B>(request: &Request<B>) -> Result<Agreement> {
    let headers = request.headers();
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    Agreement::new(content_type, accept, request.uri().query())
}

/// How many bytes a decoded tensor takes besides those that it shares with the body.
fn size_of_tensor(tensor: &TensorProto) -> usize {
    tensor.tensor_content.len() + tensor.string_val.len() * size_of::<Bytes>()
}

/// The codes of requests that may fit another version of the model.
fn may_be_outdated(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented | Code::NotFound
    )
}

/// About how many bytes the elements of a reply's tensors have, in whatever form they came: as many
/// as the shapes say, but not more than what is there can stand for. Strings and the brackets of lists
/// come on top.
fn reply_size(reply: &PredictResponse) -> usize {
    let size = |tensor: &TensorProto| {
        let strings = tensor.string_val.iter().map(Bytes::len).sum::<usize>();
        elements(tensor).saturating_mul(8).saturating_add(strings).saturating_add(2 * lists(tensor))
    };
    reply.outputs.values().map(size).fold(0, usize::saturating_add)
}

/// How many lists there are around the elements, up to more than are written.
fn lists(tensor: &TensorProto) -> usize {
    let (mut lists, mut product) = (0_usize, 1_usize);
    for dim in tensor.tensor_shape.iter().flat_map(|shape| &shape.dim) {
        lists = lists.saturating_add(product);
        product = product.saturating_mul(usize::try_from(dim.size).unwrap_or(0).max(1));
    }
    lists.min(codec::MAX_LISTS)
}

fn elements(tensor: &TensorProto) -> usize {
    let dimensions = tensor.tensor_shape.iter().flat_map(|shape| &shape.dim);
    let claimed =
        dimensions.fold(1, |size: usize, dim| size.saturating_mul(usize::try_from(dim.size).unwrap_or(0)));
    let typed = [
        tensor.half_val.len(),
        tensor.float_val.len(),
        tensor.double_val.len(),
        tensor.int_val.len(),
        tensor.string_val.len(),
        tensor.scomplex_val.len(),
        tensor.int64_val.len(),
        tensor.bool_val.len(),
        tensor.dcomplex_val.len(),
        tensor.uint32_val.len(),
        tensor.uint64_val.len(),
    ];
    // The last of the typed values may stand for more, up to a limit.
    let there = tensor.tensor_content.len() + typed.iter().sum::<usize>();
    claimed.min(there.max(codec::MAX_REPEATED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensorflow::TensorShapeProto;
    use crate::proto::tensorflow::tensor_shape_proto::Dim;

    #[test]
    fn replies_are_as_large_as_what_is_in_them() {
        let check = |shape: &[i64], tensor: TensorProto, expected: usize| {
            let dim = shape.iter().map(|&size| Dim { size, ..Dim::default() }).collect();
            let tensor_shape = Some(TensorShapeProto { dim, ..TensorShapeProto::default() });
            let tensor = TensorProto { tensor_shape, ..tensor };
            let outputs = [("output".to_owned(), tensor)].into();
            assert_eq!(reply_size(&PredictResponse { outputs, ..PredictResponse::default() }), expected);
        };
        let floats = |count| TensorProto { float_val: vec![1.0; count], ..TensorProto::default() };
        check(&[], floats(1), 8);
        check(&[4], floats(4), 4 * 8 + 2);
        check(&[4, 1, 1], floats(4), 4 * 8 + 2 * (1 + 4 + 4));
        check(&[-1], floats(4), 2);
        let far = codec::MAX_REPEATED * 8 + 2 * codec::MAX_LISTS;
        check(&[i64::MAX, i64::MAX], floats(1), far);
        let strings = vec![vec![b'x'; 1000].into(), Bytes::new()];
        check(&[2], TensorProto { string_val: strings, ..TensorProto::default() }, 2 * 8 + 1000 + 2);
    }
}
