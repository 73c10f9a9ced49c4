//! Messages as gRPC sends them: requests in pieces, so that no tensor is copied, and replies
//! read in place.
//!
//! A request is encoded once and can be sent many times: its pieces are shared by all attempts.
//! Nothing here knows connections. The framing is that of the gRPC protocol over HTTP/2: a byte
//! that says whether the message is compressed, its length in four bytes, the message.

use std::any::TypeId;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use prost::Message as _;
use prost::encoding::{
    WireType, bytes as bytes_field, encode_key, encode_varint, encoded_len_varint, key_len, message, string,
};

use crate::codec::protobuf::{self, Reply};
use crate::error::{Error, Result};
use crate::proto::tensorflow::TensorProto;
use crate::proto::tensorflow::serving::{ModelSpec, PredictRequest, PredictResponse};

/// gRPC's own limit on a message: lengths are signed 32-bit integers in TensorFlow Serving.
pub(super) const MAX_SIZE: usize = i32::MAX as usize;

/// The bytes in front of a message.
pub(super) const HEAD: usize = 5;

/// Values from this size on travel as pieces of their own; smaller ones are copied together.
const PIECE: usize = 8 * 1024;

/// The field numbers of `PredictRequest`, of a map's entries, and of `TensorProto`.
const MODEL_SPEC: u32 = 1;
const INPUTS: u32 = 2;
const MAP_KEY: u32 = 1;
const MAP_VALUE: u32 = 2;
const TENSOR_CONTENT: u32 = 4;
const STRING_VAL: u32 = 8;

/// A request's message, ready to be sent. Clones share its bytes.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    first: Bytes,
    more: Vec<Bytes>,
}

impl Message {
    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.more.iter().map(Bytes::len).sum::<usize>()
    }

    /// Any small message.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if it is larger than gRPC messages can be.
    pub(crate) fn new(message: &impl prost::Message) -> Result<Self> {
        let mut pieces = Pieces::new(message.encoded_len())?;
        message.encode_raw(&mut pieces.open);
        Ok(pieces.finish())
    }

    /// A predict request, its tensors shared rather than copied.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if it is larger than gRPC messages can be.
    pub(crate) fn predict(mut request: PredictRequest) -> Result<Self> {
        let inputs = std::mem::take(&mut request.inputs);
        let inputs: Vec<_> = inputs.into_iter().map(|(name, tensor)| Entry::new(name, tensor)).collect();
        let entries = inputs.iter().map(|entry| key_len(INPUTS) + delimited(entry.length)).sum::<usize>();
        let mut pieces = Pieces::new(request.encoded_len() + entries)?;
        request.encode_raw(&mut pieces.open);
        for entry in inputs {
            entry.encode(&mut pieces);
        }
        Ok(pieces.finish())
    }

    /// A predict request for this model whose other fields are there already, as the bytes that they are.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if it is larger than gRPC messages can be.
    pub(crate) fn passed(model_spec: &ModelSpec, fields: Vec<Bytes>) -> Result<Self> {
        let length = fields.iter().map(Bytes::len).fold(0, usize::saturating_add);
        let length = length.saturating_add(message::encoded_len(MODEL_SPEC, model_spec));
        let mut pieces = Pieces::new(length)?;
        message::encode(MODEL_SPEC, model_spec, &mut pieces.open);
        for part in fields {
            pieces.part(part);
        }
        Ok(pieces.finish())
    }
}

/// How many bytes a value and its length take.
fn delimited(length: usize) -> usize {
    encoded_len_varint(length as u64) + length
}

/// One named tensor of a predict request. The fields that may be large stand apart: fields may
/// come in any order, so that they can be written last.
struct Entry {
    name: String,
    /// The tensor without what stands apart.
    rest: TensorProto,
    content: Bytes,
    strings: Vec<Bytes>,
    tensor_length: usize,
    length: usize,
}

impl Entry {
    fn new(name: String, mut tensor: TensorProto) -> Self {
        let content = std::mem::take(&mut tensor.tensor_content);
        let strings = std::mem::take(&mut tensor.string_val);
        let tensor_length = tensor.encoded_len()
            + if content.is_empty() { 0 } else { bytes_field::encoded_len(TENSOR_CONTENT, &content) }
            + bytes_field::encoded_len_repeated(STRING_VAL, &strings);
        let length = string::encoded_len(MAP_KEY, &name) + key_len(MAP_VALUE) + delimited(tensor_length);
        Self { name, rest: tensor, content, strings, tensor_length, length }
    }

    fn encode(self, pieces: &mut Pieces) {
        let open = &mut pieces.open;
        encode_key(INPUTS, WireType::LengthDelimited, open);
        encode_varint(self.length as u64, open);
        string::encode(MAP_KEY, &self.name, open);
        encode_key(MAP_VALUE, WireType::LengthDelimited, open);
        encode_varint(self.tensor_length as u64, open);
        self.rest.encode_raw(open);
        if !self.content.is_empty() {
            pieces.value(TENSOR_CONTENT, self.content);
        }
        for string in self.strings {
            pieces.value(STRING_VAL, string);
        }
    }
}

/// A message under way: pieces that are done, and the one that is being written.
struct Pieces {
    done: Vec<Bytes>,
    open: BytesMut,
}

impl Pieces {
    /// Starts a message of this length.
    fn new(length: usize) -> Result<Self> {
        let announced = u32::try_from(length).ok().filter(|_| length <= MAX_SIZE).ok_or_else(|| {
            Error::invalid_argument(format!(
                "The request has {length} bytes as a protocol buffer; gRPC takes {MAX_SIZE} at most"
            ))
        })?;
        let mut open = BytesMut::with_capacity(HEAD + length.min(4 * PIECE));
        open.put_u8(0);
        open.put_u32(announced);
        Ok(Self { done: Vec::new(), open })
    }

    fn value(&mut self, field: u32, value: Bytes) {
        encode_key(field, WireType::LengthDelimited, &mut self.open);
        encode_varint(value.len() as u64, &mut self.open);
        self.part(value);
    }

    /// Any part of a message.
    fn part(&mut self, value: Bytes) {
        if value.len() < PIECE {
            self.open.put_slice(&value);
        } else {
            self.done.push(self.open.split().freeze());
            self.done.push(value);
        }
    }

    fn finish(mut self) -> Message {
        if self.done.is_empty() {
            return Message { first: self.open.freeze(), more: Vec::new() };
        }
        if !self.open.is_empty() {
            self.done.push(self.open.freeze());
        }
        let first = self.done.remove(0);
        Message { first, more: self.done }
    }
}

/// A message as the body of an HTTP request. It says that it has ended together with its last
/// piece, which saves a frame.
#[derive(Debug)]
pub(crate) struct MessageBody {
    next: Option<Bytes>,
    more: std::vec::IntoIter<Bytes>,
}

impl From<Message> for MessageBody {
    fn from(message: Message) -> Self {
        Self { next: Some(message.first), more: message.more.into_iter() }
    }
}

impl Body for MessageBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.next.take();
        self.next = self.more.next();
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // Unknown on purpose: gRPC servers do not expect a `content-length`.
        SizeHint::default()
    }
}

/// What the message of a reply is read as.
pub(crate) trait Receive: Sized + Send + 'static {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    fn receive(bytes: Bytes) -> Result<Self, String>;

    /// The most bytes of memory that this takes, besides those of the message.
    fn room(_: &Bytes) -> usize {
        0
    }
}

impl<M: prost::Message + Default + 'static> Receive for M {
    fn room(bytes: &Bytes) -> usize {
        // Of the others a model that is asked with few bytes sends few.
        if TypeId::of::<M>() == TypeId::of::<PredictResponse>() { protobuf::room_of_reply(bytes) } else { 0 }
    }

    fn receive(bytes: Bytes) -> Result<Self, String> {
        M::decode(bytes).map_err(|error| error.to_string())
    }
}

impl Receive for Reply {
    fn receive(bytes: Bytes) -> Result<Self, String> {
        Self::read(bytes)
    }
}

/// The message of a reply while it arrives.
#[derive(Debug, Default)]
pub(super) struct Received {
    first: Bytes,
    /// Taken into use when a message does not arrive in one piece.
    rest: BytesMut,
}

/// The most bytes that are set aside for a message because of the length that it announces.
const MAX_RESERVED: usize = 16 << 20;

impl Received {
    /// How many bytes it takes up once it has these bytes, too.
    pub(super) fn room_with(&self, data: &Bytes) -> usize {
        let length = self.len() + data.len();
        let so_far = match (self.first.is_empty(), self.rest.is_empty()) {
            (true, true) => data,
            (false, _) => &self.first,
            (true, false) => return length.max(self.rest.capacity()),
        };
        (HEAD + announced(so_far).unwrap_or_default()).min(MAX_RESERVED).max(length)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// What is wrong with them: the message is larger than `limit`, or more than one.
    pub(super) fn push(&mut self, data: Bytes, limit: usize) -> Result<(), String> {
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = data;
        } else {
            if self.rest.is_empty() {
                let announced = announced(&self.first).unwrap_or_default();
                self.rest.reserve((HEAD + announced).min(MAX_RESERVED).max(self.first.len() + data.len()));
                self.rest.extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.rest.extend_from_slice(&data);
        }
        let so_far: &[u8] = if self.rest.is_empty() { &self.first } else { &self.rest };
        match announced(so_far) {
            Some(length) if length > limit => {
                Err(format!("its reply has {length} bytes, more than the {limit} that are allowed"))
            }
            Some(length) if so_far.len() > HEAD + length => Err("it sent more than one reply".to_owned()),
            _ => Ok(()),
        }
    }

    /// Whether it says that it is larger than this.
    pub(super) fn is_beyond(&self, limit: usize) -> bool {
        let so_far: &[u8] = if self.rest.is_empty() { &self.first } else { &self.rest };
        announced(so_far).is_some_and(|length| length > limit)
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.first.len().max(self.rest.len())
    }

    /// The message, once all of it is there; `hold` makes sure of the memory that its values take.
    ///
    /// # Errors
    ///
    /// What is wrong with it: it is not whole, compressed, or no message of this type. Or that of `hold`.
    pub(super) fn decode_within<M: Receive>(
        self,
        hold: impl FnOnce(usize) -> Result<()>,
    ) -> Result<Result<M, String>> {
        let bytes = if self.rest.is_empty() { self.first } else { self.rest.freeze() };
        hold(M::room(&bytes.slice(HEAD.min(bytes.len())..)))?;
        Ok(Self { first: bytes, rest: BytesMut::new() }.decode())
    }

    /// The message, once all of it is there.
    ///
    /// # Errors
    ///
    /// What is wrong with it: it is not whole, compressed, or no message of this type.
    pub(super) fn decode<M: Receive>(self) -> Result<M, String> {
        let mut bytes = if self.rest.is_empty() { self.first } else { self.rest.freeze() };
        match (announced(&bytes), bytes.first()) {
            (Some(length), Some(0)) if bytes.len() == HEAD + length => {
                bytes.advance(HEAD);
                M::receive(bytes).map_err(|error| format!("its reply cannot be read: {error}"))
            }
            (Some(_), Some(1..)) => Err("its reply is compressed, which nobody asked for".to_owned()),
            (None, None) => Err("it sent no reply".to_owned()),
            _ => Err("its reply is not complete".to_owned()),
        }
    }
}

/// The length of the message that starts here, if enough of it is there to tell.
fn announced(bytes: &[u8]) -> Option<usize> {
    let &[_, a, b, c, d] = bytes.first_chunk::<HEAD>()?;
    usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::proto::tensorflow::serving::ModelSpec;
    use crate::proto::tensorflow::{DataType, TensorShapeProto};

    fn bytes_of(message: Message) -> Vec<u8> {
        let mut body = MessageBody::from(message);
        let mut bytes = Vec::new();
        while let Some(piece) = body.next.take() {
            assert!(!piece.is_empty());
            bytes.extend_from_slice(&piece);
            body.next = body.more.next();
        }
        bytes
    }

    #[test]
    fn predict_requests_arrive_as_they_were() {
        let tensor = |content: usize, strings: &[usize]| TensorProto {
            dtype: DataType::DtFloat.into(),
            tensor_shape: Some(TensorShapeProto::default()),
            tensor_content: vec![7; content].into(),
            string_val: strings.iter().map(|&length| vec![8; length].into()).collect(),
            ..TensorProto::default()
        };
        let check = |tensors: &[TensorProto]| {
            let names = (0..).map(|index| format!("input {index}"));
            let request = PredictRequest {
                model_spec: Some(ModelSpec { name: "model".to_owned(), ..ModelSpec::default() }),
                inputs: names.zip(tensors.iter().cloned()).collect::<HashMap<_, _>>(),
                output_filter: vec!["output".to_owned()],
                ..PredictRequest::default()
            };
            let message = Message::predict(request.clone()).unwrap();
            let mut received = Received::default();
            for piece in bytes_of(message).chunks(1000) {
                received.push(Bytes::copy_from_slice(piece), MAX_SIZE).unwrap();
            }
            assert_eq!(received.decode::<PredictRequest>().unwrap(), request);
        };
        check(&[]);
        check(&[TensorProto::default()]);
        check(&[tensor(12, &[])]);
        check(&[tensor(PIECE, &[0, 1]), tensor(0, &[])]);
        check(&[tensor(3 * PIECE, &[PIECE, 3, 2 * PIECE]), tensor(100, &[5, PIECE])]);
    }

    #[test]
    fn what_is_passed_on_is_for_another_model() {
        let model = |name: &str| Some(ModelSpec { name: name.to_owned(), ..ModelSpec::default() });
        let tensor = TensorProto { tensor_content: vec![7; 3 * PIECE].into(), ..TensorProto::default() };
        let request = |model_spec| PredictRequest {
            model_spec,
            inputs: [("x".to_owned(), tensor.clone())].into(),
            ..PredictRequest::default()
        };
        let rest = Bytes::from(request(None).encode_to_vec());
        let fields = vec![rest.slice(..5), rest.slice(5..)];
        let mut received = Received::default();
        let message = Message::passed(&model("ours").unwrap(), fields).unwrap();
        assert_eq!(message.more.last().unwrap().as_ptr(), rest[5..].as_ptr(), "the body has been copied");
        received.push(bytes_of(message).into(), MAX_SIZE).unwrap();
        assert_eq!(received.decode::<PredictRequest>().unwrap(), request(model("ours")));
    }

    #[test]
    fn what_is_no_reply_is_named() {
        let check = |pieces: &[&'static [u8]], expected: &str| {
            let mut received = Received::default();
            let pushed = pieces.iter().try_for_each(|piece| received.push(Bytes::from_static(piece), 1000));
            let error = pushed.and_then(|()| received.decode::<ModelSpec>().map(drop)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(&[], "no reply");
        check(&[&[0, 0]], "not complete");
        check(&[&[0, 0, 0, 0, 2, 1]], "not complete");
        check(&[&[1, 0, 0, 0, 1, 1]], "compressed");
        check(&[&[0, 0, 0, 0, 1], &[0xFF]], "cannot be read");
        check(&[&[0, 0, 0, 0], &[1, 1, 1]], "more than one");
        check(&[&[0, 0xFF, 0xFF, 0xFF, 0xFF]], "more than the 1000");
    }
}
