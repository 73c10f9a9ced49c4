//! The bodies of infer, and of its replies: those of the protocol, and of every other type that predict knows.

use bytes::Bytes;
use http::{HeaderMap, Request};

use crate::codec::body::{self, Decoded, Encoded, Rules};
use crate::codec::inference::{reply, request};
use crate::codec::media::{Agreement, MediaType};
use crate::codec::parameters::Parameters;
use crate::codec::predict::{Format, Inputs};
use crate::codec::signature::Signatures;
use crate::codec::stream::Stream;
use crate::codec::{Limits, NanStyle, protobuf};
use crate::error::{Error, Result};
use crate::handler::attempts::Undecoded;
use crate::handler::memory;
use crate::handler::predict::agree;
use crate::proto::tensorflow::TensorProto;
use crate::proto::tensorflow::serving::PredictResponse;

/// How long the JSON at the beginning of a body is.
const JSON_LENGTH: &str = "inference-header-content-length";

/// What a reply with binary data is.
const BINARY: &str = "application/octet-stream";

/// What a request's head says.
pub(super) struct Asked {
    /// How long the JSON is, if there may be something behind it.
    json_length: Option<usize>,
    /// With JSON for what the protocol has.
    agreement: Agreement,
}

impl Asked {
    /// Reads the head of a request. Clients of the protocol name types without a thought, such as bytes for
    /// JSON with binary data, so that only one that means something else is taken for that.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a length or parameters that cannot be read.
    pub(super) fn new<B>(request: &Request<B>) -> Result<Self> {
        let json_length = json_length(request.headers())?;
        let parameters = Parameters::parse(request.uri().query().unwrap_or_default())?;
        let plain = |reply, has_names| Agreement {
            request: MediaType::Json,
            content_type: String::new(),
            reply,
            has_names,
            parameters: parameters.clone(),
        };
        let agreement = match agree(request) {
            Ok(agreement) => {
                let is_protocol = matches!(agreement.request, MediaType::Json | MediaType::Octets);
                if is_protocol || json_length.is_some() {
                    plain(agreement.reply, agreement.has_names)
                } else {
                    agreement
                }
            }
            Err(_) => plain(MediaType::Json, None),
        };
        Ok(Self { json_length, agreement })
    }

    fn is_protocol(&self) -> bool {
        self.agreement.request == MediaType::Json
    }
}

/// A body that has been read.
pub(super) struct Inference {
    pub(super) asked: Asked,
    pub(super) body: Bytes,
}

impl Undecoded for Inference {
    type Form = Form;

    fn size(&self) -> usize {
        self.body.len()
    }

    /// To decode binary data takes next to no time.
    fn left(&self, _: Option<&Stream>) -> usize {
        self.asked.json_length.map_or(self.body.len(), |length| length.min(self.body.len()))
    }

    fn most_memory(&self, left: usize, signatures: Option<&Signatures>, limits: &Limits) -> usize {
        if !self.asked.is_protocol() {
            let agreement = &self.asked.agreement;
            // A message is read here, where predict passes it on.
            let message =
                if agreement.request == MediaType::Protobuf { protobuf::room(&self.body) } else { 0 };
            return memory::of_tensors(agreement.request, &self.body, signatures, limits)
                .saturating_add(body::memory(agreement, &self.body, signatures))
                .saturating_add(message);
        }
        // The body says itself of which dtype its numbers are.
        let json = memory::of_tensors(MediaType::Json, &self.body.slice(..left), None, limits);
        let has_strings = signatures.is_none_or(Signatures::has_strings);
        let strings = match self.asked.json_length {
            Some(length) if has_strings => request::most_strings(&self.body, length, limits),
            _ => 0,
        };
        json.saturating_add(memory::of_strings(strings))
    }

    fn memory(&self, inputs: &Inputs) -> usize {
        // Binary numbers are sent out of the body; a string is there and in the message.
        let shared = self.body.as_ptr_range();
        let size = |tensor: &TensorProto| {
            let content = &tensor.tensor_content;
            let own = if shared.contains(&content.as_ptr()) { 0 } else { content.len() };
            let strings = tensor.string_val.iter().map(|string| string.len() + size_of::<Bytes>());
            own + strings.sum::<usize>() + memory::of_typed(tensor)
        };
        self.body.len() + inputs.values().map(size).sum::<usize>()
    }

    fn decode(
        &self,
        signatures: Option<&Signatures>,
        rules: &Rules,
        _: Option<Stream>,
    ) -> Result<Decoded<Form>> {
        let Asked { json_length, agreement } = &self.asked;
        let is_json = agreement.reply == MediaType::Json;
        if self.asked.is_protocol() {
            let decoded =
                request::decode(&self.body, *json_length, &agreement.parameters, signatures, rules)?;
            return Ok(decoded.map(|form, _| {
                if is_json {
                    Form::Protocol(form)
                } else {
                    let form = body::form(agreement.reply, Format::Columnar).named(agreement.has_names);
                    Form::Other(form.top(agreement.parameters.top_k))
                }
            }));
        }
        let decoded = body::decode(agreement, &self.body, signatures, rules, None)?;
        Ok(decoded.map(|form, outputs| {
            if is_json {
                Form::Protocol(request::Form::of(outputs).top(agreement.parameters.top_k))
            } else {
                Form::Other(form)
            }
        }))
    }
}

/// How a reply is written.
pub(super) enum Form {
    Protocol(request::Form),
    Other(body::Form),
}

impl Form {
    /// How many bytes writing a reply of this many takes at the most.
    pub(super) fn memory(&self, reply: &PredictResponse, size: usize) -> usize {
        let text = memory::of_text(reply, size);
        match self {
            Self::Protocol(form) => text.saturating_add(form.memory(reply, size)),
            Self::Other(form) => text.max(form.memory(reply, size)),
        }
    }

    /// Writes a reply; with the length of its JSON if binary data follows it.
    ///
    /// # Errors
    ///
    /// As those of the codecs.
    pub(super) fn encode(
        &self,
        model_name: &str,
        reply: &PredictResponse,
        nan: NanStyle,
    ) -> Result<(Encoded, Option<usize>)> {
        match self {
            Self::Protocol(form) => {
                let reply::Encoded { body, json_length } = reply::encode(form, model_name, reply, nan)?;
                let content_type = if json_length.is_some() { BINARY } else { MediaType::Json.name() };
                Ok((Encoded { body: body.into(), content_type }, json_length))
            }
            Self::Other(form) => Ok((body::encode(form, reply, nan)?, None)),
        }
    }
}

/// The length of the JSON, if the client tells it.
fn json_length(headers: &HeaderMap) -> Result<Option<usize>> {
    let Some(value) = headers.get(JSON_LENGTH) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok());
    length
        .map(Some)
        .ok_or_else(|| Error::invalid_argument("Inference-Header-Content-Length must be a number of bytes"))
}
