//! The requests of the Open Inference Protocol's gRPC service. What is the same for all protocols is where it
//! was; here are messages in place of bodies.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tonic::Code;

use super::attempts::Undecoded;
use super::{Bridge, memory, offload, version};
use crate::codec::Limits;
use crate::codec::body::{Decoded, Rules};
use crate::codec::inference::grpc::{self, Form};
use crate::codec::predict::Inputs;
use crate::codec::signature::Signatures;
use crate::codec::stream::Stream;
use crate::error::{Error, Result};
use crate::proto::inference::{ModelInferRequest, ModelMetadataResponse, ModelStreamInferResponse};
use crate::record::{Limit, Part};
use crate::route::{Target, Version};
use crate::upstream::Call;

/// The type of a body of gRPC messages.
pub(crate) const CONTENT_TYPE: &str = "application/grpc";

/// The bytes in front of a message.
const HEAD: usize = 5;

/// A request for an inference that has been read.
#[derive(Debug)]
pub(crate) struct Inference {
    pub(crate) request: ModelInferRequest,
    /// How many bytes its message has, and how many more it takes.
    size: usize,
    room: usize,
}

impl Undecoded for Inference {
    type Form = Form;

    fn size(&self) -> usize {
        self.size
    }

    fn most_memory(&self, _: usize, _: Option<&Signatures>, _: &Limits) -> usize {
        grpc::room_for_tensors(&self.request)
    }

    fn memory(&self, inputs: &Inputs) -> usize {
        self.size + self.room + inputs.values().map(memory::of_tensor).sum::<usize>()
    }

    fn decode(
        &self,
        signatures: Option<&Signatures>,
        rules: &Rules,
        _: Option<Stream>,
    ) -> Result<Decoded<Form>> {
        grpc::decode(&self.request, signatures, rules)
    }
}

impl Bridge {
    /// Reads the message of a request for an inference.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if it is none, and those of memory.
    pub(crate) async fn read_inference(&self, message: Bytes, call: &Call) -> Result<Inference> {
        let _timer = call.record.timer(Part::Decode);
        let (size, room) = (message.len(), grpc::room(&message)?);
        call.memory.hold(room)?;
        // What is raw is shared, and takes no time.
        let request = offload(room, &call.memory, move || grpc::read(message)).await?;
        Ok(Inference { request, size, room })
    }

    /// Runs a signature on the tensors of a request. What comes of it is a message with its head, one of a stream if
    /// the request is.
    ///
    /// # Errors
    ///
    /// Whatever the client or the backend did wrong.
    pub(crate) async fn infer_message(
        &self,
        inference: Inference,
        is_stream: bool,
        call: &Call,
    ) -> Result<Bytes> {
        let ModelInferRequest { model_name, model_version, .. } = &inference.request;
        let target = target(model_name, model_version)?;
        let target = self.meant(&target);
        let _permit = self.admission.enter(&call.record).await?;
        let known = call.record.measure(Part::Decode, self.signatures.get(&target, call)).await?;
        if let Some(version) = known.version {
            call.record.note_subject(&target.name, "", Some(version));
        }
        let (form, answer) = self.attempts(&target, inference, known, None, call).await?;
        let reply = answer.into_tensors()?;
        let model_version = version(reply.model_spec.as_ref());
        let limit = self.api.max_response_size;
        let form = Arc::new(form);
        let room = |reply: &_, size| memory::of_text(reply, size).saturating_add(form.memory(reply, size));
        let written = Arc::clone(&form);
        let encode = move |reply, _| {
            let mut response = grpc::encode(&written, &reply, model_version)?;
            if is_stream {
                grpc::mark_final(&mut response);
                let error_message = String::new();
                return frame(
                    &ModelStreamInferResponse { error_message, infer_response: Some(response) },
                    limit,
                );
            }
            frame(&response, limit)
        };
        self.encode(reply, call, room, encode).await?.ok_or_else(|| {
            call.record.hit(Limit::ResponseSize);
            Error::internal(format!("The reply is larger than {limit} bytes"))
        })
    }

    /// Whether a model, or the version that is meant, can be asked.
    ///
    /// # Errors
    ///
    /// Whatever else keeps the backend from saying so.
    pub(crate) async fn is_model_ready(&self, name: &str, version: &str, call: &Call) -> Result<bool> {
        let target = target(name, version)?;
        let target = self.meant(&target);
        let _permit = self.admission.enter(&call.record).await?;
        match self.check_ready(&target, call).await {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.code(), Code::NotFound | Code::Unavailable) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What a model takes and gives.
    ///
    /// # Errors
    ///
    /// Whatever the client or the backend did wrong.
    pub(crate) async fn message_of_model(
        &self,
        name: &str,
        version: &str,
        call: &Call,
    ) -> Result<ModelMetadataResponse> {
        let target = target(name, version)?;
        let target = self.meant(&target);
        let _permit = self.admission.enter(&call.record).await?;
        let (model, _) = self.describe(&target, "", call).await?;
        Ok(model.into())
    }
}

/// A message with its head, in one piece; `None` if it is larger than this.
pub(crate) fn frame(message: &impl Message, limit: usize) -> Result<Option<Bytes>> {
    let length = message.encoded_len();
    if length > limit {
        return Ok(None);
    }
    let announced = u32::try_from(length).map_err(|_| {
        Error::internal(format!("The reply has {length} bytes, which is more than gRPC messages can have"))
    })?;
    let mut framed = BytesMut::with_capacity(HEAD + length);
    framed.put_u8(0);
    framed.put_u32(announced);
    message.encode_raw(&mut framed);
    Ok(Some(framed.freeze()))
}

/// The model that a request names, and which of its versions: a number, or else a label.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if it names no model, or a number beyond all versions.
fn target(name: &str, version: &str) -> Result<Target> {
    if name.is_empty() {
        return Err(Error::invalid_argument("Missing model name in request."));
    }
    let version = if version.is_empty() {
        Version::Latest
    } else if version.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = version.parse().map_err(|_| {
            Error::invalid_argument(format!("Failed to convert version: {version} to numeric."))
        })?;
        Version::Number(number)
    } else {
        Version::Label(version.to_owned())
    };
    Ok(Target { name: name.to_owned(), version })
}
