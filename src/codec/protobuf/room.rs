//! How much memory the tensors of a message take that are read: two bytes of it may be an element of many.

use bytes::Bytes;

use super::fields::{Broken, Field, fields};
use super::number;
use crate::proto::tensorflow::TensorProto;
use crate::proto::tensorflow::tensor_shape_proto::Dim;

/// While a list grows there are the old one and the new one.
const GROWTH: usize = 2;

/// What the tensors of a message take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// The most bytes, besides those that they share with the message.
    pub(super) bytes: usize,
    /// Whether there are handles or variants among them, which hold messages of their own.
    pub(super) has_handles: bool,
}

/// What the inputs and the names of outputs of a `PredictRequest` take.
///
/// # Errors
///
/// Why it is no message.
pub(super) fn of_request(body: &Bytes) -> Result<Room, Broken> {
    let mut room = Room::default();
    for field in fields(body) {
        match field? {
            Field { number: number::REQUEST_INPUTS, value: Some(entry), .. } => room.add_entry(&entry)?,
            Field { number: number::REQUEST_OUTPUT_FILTER, value: Some(name), .. } => {
                room.add(GROWTH * size_of::<String>() + name.len());
            }
            _ => {}
        }
    }
    Ok(room)
}

/// What the outputs of a `PredictResponse` take.
///
/// # Errors
///
/// Why it is no message.
pub(super) fn of_reply(message: &Bytes) -> Result<Room, Broken> {
    let mut room = Room::default();
    for field in fields(message) {
        if let Field { number: number::RESPONSE_OUTPUTS, value: Some(entry), .. } = field? {
            room.add_entry(&entry)?;
        }
    }
    Ok(room)
}

impl Room {
    fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// A named tensor.
    fn add_entry(&mut self, entry: &Bytes) -> Result<(), Broken> {
        self.add(GROWTH * size_of::<(String, TensorProto)>());
        for field in fields(entry) {
            match field? {
                Field { number: number::MAP_KEY, value: Some(name), .. } => self.add(name.len()),
                Field { number: number::MAP_VALUE, value: Some(tensor), .. } => {
                    for field in fields(&tensor) {
                        self.add_values(field?)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A field of a tensor. Numbers come one by one, or packed.
    fn add_values(&mut self, Field { number, value, .. }: Field) -> Result<(), Broken> {
        // How many bytes a number takes here, and in the message at the least.
        let (own, least) = match number {
            number::TENSOR_SHAPE => {
                let value = value.unwrap_or_default();
                for field in fields(&value) {
                    if field?.number == number::SHAPE_DIM {
                        self.add(GROWTH * size_of::<Dim>());
                    }
                }
                self.add(value.len());
                return Ok(());
            }
            number::TENSOR_STRING => (size_of::<Bytes>(), usize::MAX),
            number::TENSOR_RESOURCE | number::TENSOR_VARIANT => {
                self.has_handles = true;
                // They may hold tensors, each of which may have no more than two bytes.
                let most = value.map_or(0, |value| value.len() / 2) + 1;
                self.add(most.saturating_mul(GROWTH * size_of::<TensorProto>()));
                return Ok(());
            }
            number::TENSOR_FLOAT | number::TENSOR_COMPLEX64 => (size_of::<f32>(), size_of::<f32>()),
            number::TENSOR_DOUBLE | number::TENSOR_COMPLEX128 => (size_of::<f64>(), size_of::<f64>()),
            number::TENSOR_INT | number::TENSOR_HALF | number::TENSOR_UINT32 => (size_of::<i32>(), 1),
            number::TENSOR_INT64 | number::TENSOR_UINT64 => (size_of::<i64>(), 1),
            number::TENSOR_BOOL => (size_of::<bool>(), 1),
            _ => return Ok(()),
        };
        let count = value.map_or(1, |packed| (packed.len() / least).max(1));
        self.add(count.saturating_mul(GROWTH * own));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use prost::Message as _;

    use super::*;
    use crate::codec::dense::shape;
    use crate::proto::tensorflow::serving::{PredictRequest, PredictResponse};

    fn room_of(tensor: TensorProto) -> usize {
        let inputs: HashMap<_, _> = [("x".to_owned(), tensor)].into();
        let reply = PredictResponse { outputs: inputs.clone(), ..PredictResponse::default() };
        let request = PredictRequest { inputs, ..PredictRequest::default() };
        let of = of_request(&request.encode_to_vec().into()).unwrap();
        assert_eq!(of_reply(&reply.encode_to_vec().into()).unwrap(), of);
        assert!(!of.has_handles);
        of.bytes
    }

    #[test]
    fn elements_take_what_they_take_here_and_not_in_the_message() {
        let empty = room_of(TensorProto::default());
        let check = |tensor: TensorProto, expected: usize| {
            assert_eq!(room_of(tensor.clone()) - empty, expected, "{tensor:?}");
        };
        let strings = vec![Bytes::new(); 1000];
        check(TensorProto { string_val: strings, ..TensorProto::default() }, 2 * 1000 * size_of::<Bytes>());
        check(TensorProto { int64_val: vec![1; 1000], ..TensorProto::default() }, 2 * 8000);
        check(TensorProto { half_val: vec![1; 1000], ..TensorProto::default() }, 2 * 4000);
        check(TensorProto { float_val: vec![1.0; 1000], ..TensorProto::default() }, 2 * 4000);
        check(TensorProto { bool_val: vec![true; 1000], ..TensorProto::default() }, 2 * 1000);
        check(TensorProto { tensor_content: vec![1; 1000].into(), ..TensorProto::default() }, 0);
        let tensor = TensorProto { tensor_shape: Some(shape(&[0; 100])), ..TensorProto::default() };
        check(tensor, 2 * 100 * size_of::<Dim>() + 200);
        // Numbers that are not packed.
        let one = [0x12, 4, 0x12, 2, 0x50, 1];
        assert_eq!(
            of_request(&Bytes::copy_from_slice(&one.repeat(1000))).unwrap().bytes,
            1000 * (empty - 1 + 16)
        );
        let names = vec![String::new(); 1000];
        let request = PredictRequest { output_filter: names, ..PredictRequest::default() };
        assert_eq!(
            of_request(&request.encode_to_vec().into()).unwrap().bytes,
            2 * 1000 * size_of::<String>()
        );
    }

    #[test]
    fn handles_may_hold_many_tensors() {
        for number in [14, 15] {
            let handle = [&[0x12, 104, 0x12, 102, number << 3 | 2, 100][..], &[0x12, 0].repeat(50)].concat();
            let room = of_request(&handle.into()).unwrap();
            assert!(room.has_handles && room.bytes > 100 * size_of::<TensorProto>(), "{room:?}");
        }
    }
}
