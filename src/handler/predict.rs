//! Predict: a body of any type for a signature, and a reply of any type.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use http_body::Body;

use super::attempts::{Answer, Undecoded};
use super::body::{Decoding, discard, read};
use super::sagemaker::unwrapped;
use super::{Bridge, Reply, memory, offload, version};
use crate::codec::Limits;
use crate::codec::body::{self, Decoded, Encoded, Form, Rules};
use crate::codec::media::{Agreement, MediaType};
use crate::codec::predict::{self, Format, Inputs};
use crate::codec::protobuf::{self, Passed};
use crate::codec::signature::Signatures;
use crate::codec::stream::Stream;
use crate::error::Result;
use crate::record::Part;
use crate::route::Target;
use crate::signature::Known;
use crate::upstream::Call;

/// A body of the API of TensorFlow Serving.
struct Agreed {
    agreement: Agreement,
    body: Bytes,
}

impl Undecoded for Agreed {
    type Form = Form;

    fn size(&self) -> usize {
        self.body.len()
    }

    fn left(&self, stream: Option<&Stream>) -> usize {
        stream.map_or(self.body.len(), |stream| stream.remaining(&self.body))
    }

    fn most_memory(&self, left: usize, signatures: Option<&Signatures>, limits: &Limits) -> usize {
        let rest = self.body.slice(self.body.len() - left..);
        let tensors = memory::of_tensors(self.agreement.request, &rest, signatures, limits);
        tensors.saturating_add(body::memory(&self.agreement, &self.body, signatures))
    }

    fn memory(&self, inputs: &Inputs) -> usize {
        // A string is in the body and in the message to the backend, if it is not one of our own making.
        let strings: usize = inputs.values().flat_map(|tensor| &tensor.string_val).map(Bytes::len).sum();
        let tensors: usize = inputs.values().map(memory::of_tensor).sum();
        2 * self.body.len().max(strings) + tensors
    }

    fn decode(
        &self,
        signatures: Option<&Signatures>,
        rules: &Rules,
        stream: Option<Stream>,
    ) -> Result<Decoded> {
        body::decode(&self.agreement, &self.body, signatures, rules, stream)
    }

    fn pass(&self, signatures: Option<&Signatures>, rules: &Rules) -> Result<Option<(Passed, Form)>> {
        if self.agreement.request != MediaType::Protobuf {
            return Ok(None);
        }
        let passed = protobuf::pass(&self.agreement, &self.body, signatures, rules)?;
        let form = body::form(self.agreement.reply, Format::Columnar).top(self.agreement.parameters.top_k);
        Ok(Some((passed, form)))
    }

    fn wants_message(&self, form: &Form) -> bool {
        *form == Form::Protobuf
    }
}

impl Bridge {
    /// Runs a signature on tensors.
    pub(super) async fn predict<B>(
        self: &Arc<Self>,
        target: &Target,
        request: Request<B>,
        call: &Call,
    ) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin + Send + 'static,
    {
        let agreement = agree(&request);
        self.predict_as(target, request, agreement, Layout::Object, call).await
    }

    /// The same for a body of this type, laid out like this if it is JSON.
    pub(super) async fn predict_as<B>(
        self: &Arc<Self>,
        target: &Target,
        request: Request<B>,
        agreement: Result<Agreement>,
        layout: Layout,
        call: &Call,
    ) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin + Send + 'static,
    {
        let agreement = match agreement {
            Ok(agreement) => agreement,
            Err(error) => {
                discard(request).await;
                return Err(error);
            }
        };
        if (agreement.request, agreement.reply) == (MediaType::Lines, MediaType::Lines) {
            return self.stream(target, request, Arc::new(agreement), call).await;
        }
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
        let body = if is_json && layout == Layout::MayBeBare { unwrapped(body, call)? } else { body };
        let known = match known {
            Ok(known) => known,
            Err(error) if !is_json => return Err(error),
            Err(error) => {
                let limits = self.api.limits;
                let checked = offload(body.len(), &call.memory, move || predict::check(&body, &limits)).await;
                return Err(checked.err().unwrap_or(error));
            }
        };
        let (form, answer) = self.attempts(target, Agreed { agreement, body }, known, stream, call).await?;
        let model_version = version(answer.model_spec());
        let encoded = match answer {
            Answer::Tensors(reply) => {
                let room = |reply: &_, size| form.memory(reply, size);
                let form = form.clone();
                self.encode(reply, call, room, move |reply, nan| body::encode(&form, &reply, nan)).await?
            }
            Answer::Message(protobuf::Reply { bytes, .. }) => {
                call.memory.settle(bytes.len());
                Encoded { body: bytes, content_type: MediaType::Protobuf.name() }
            }
        };
        self.reply_of(encoded, model_version, call)
    }
}

/// How a JSON body may be laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// As the object that TensorFlow Serving takes.
    Object,
    /// Or as the list of its instances alone.
    MayBeBare,
}

/// What a request's head says about its body and its reply.
pub(super) fn agree<B>(request: &Request<B>) -> Result<Agreement> {
    let headers = request.headers();
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    Agreement::new(content_type, accept, request.uri().query())
}
