//! How much memory reading a request's message takes, found out before it is taken.
//!
//! Two bytes of a message can stand for a structure of hundreds: an empty input, an empty output, an empty
//! string. So its fields are counted first, as deep as there are lists of them. Nothing here allocates, and
//! nothing is refused but what is no message and what has too many tensors.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::codec::inference::request::MOST_TENSORS;
use crate::error::{Error, Result};
use crate::proto::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::proto::inference::{InferParameter, InferTensorContents};

/// The field numbers of a `ModelInferRequest`.
const PARAMETERS: u32 = 4;
const INPUTS: u32 = 5;
const OUTPUTS: u32 = 6;
const RAW_INPUT_CONTENTS: u32 = 7;

/// Those of an input, and of an output that is asked for.
const SHAPE: u32 = 3;
const INPUT_PARAMETERS: u32 = 4;
const CONTENTS: u32 = 5;
const OUTPUT_PARAMETERS: u32 = 2;

/// Those of contents.
const BOOL_CONTENTS: u32 = 1;
const INT_CONTENTS: u32 = 2;
const UINT_CONTENTS: u32 = 4;
const FP32_CONTENTS: u32 = 6;
const FP64_CONTENTS: u32 = 7;
const BYTES_CONTENTS: u32 = 8;

/// A list that grows has up to twice the room that it needs, and while it moves half of that once more.
const GROWTH: usize = 3;

/// The most bytes that the widest number takes.
const WIDEST: usize = 8;

/// What an entry of a map takes besides its text, the room for others included.
const ENTRY: usize = GROWTH * (size_of::<String>() + size_of::<InferParameter>() + 16);

/// The most bytes of memory that a `ModelInferRequest` takes besides its message, which its bytes are part of.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if it is none, or has too many inputs or outputs.
pub fn room(message: &[u8]) -> Result<usize> {
    let (mut room, mut inputs, mut outputs) = (0_usize, 0, 0);
    fields(message, |number, field| {
        inputs += usize::from(number == INPUTS);
        outputs += usize::from(number == OUTPUTS);
        if inputs.max(outputs) > MOST_TENSORS {
            return Err(Error::invalid_argument("There are too many tensors"));
        }
        let size = match number {
            PARAMETERS => ENTRY + field.len(),
            INPUTS => GROWTH * size_of::<InferInputTensor>() + input(field)?,
            OUTPUTS => GROWTH * size_of::<InferRequestedOutputTensor>() + output(field)?,
            RAW_INPUT_CONTENTS => GROWTH * size_of::<bytes::Bytes>(),
            _ => field.len(),
        };
        room = room.saturating_add(size);
        Ok(())
    })?;
    Ok(room)
}

fn input(message: &[u8]) -> Result<usize> {
    let mut room = 0_usize;
    fields(message, |number, field| {
        let size = match number {
            SHAPE => GROWTH * (WIDEST + numbers(field, WIDEST)),
            INPUT_PARAMETERS => ENTRY + field.len(),
            CONTENTS => size_of::<InferTensorContents>() + contents(field)?,
            _ => field.len(),
        };
        room = room.saturating_add(size);
        Ok(())
    })?;
    Ok(room)
}

fn output(message: &[u8]) -> Result<usize> {
    let mut room = 0_usize;
    fields(message, |number, field| {
        let entry = if number == OUTPUT_PARAMETERS { ENTRY } else { 0 };
        room = room.saturating_add(entry + field.len());
        Ok(())
    })?;
    Ok(room)
}

fn contents(message: &[u8]) -> Result<usize> {
    let mut room = 0_usize;
    fields(message, |number, field| {
        let size = match number {
            BYTES_CONTENTS => size_of::<bytes::Bytes>(),
            // Those have a fixed width.
            FP32_CONTENTS | FP64_CONTENTS => field.len(),
            BOOL_CONTENTS => numbers(field, 1),
            INT_CONTENTS | UINT_CONTENTS => numbers(field, 4),
            _ => numbers(field, WIDEST),
        };
        // One that stands alone has no bytes of its own here.
        room = room.saturating_add(GROWTH * (WIDEST + size));
        Ok(())
    })?;
    Ok(room)
}

/// What the numbers of a list take, of which each has as many bytes as it needs.
fn numbers(field: &[u8], width: usize) -> usize {
    // The last byte of a number, and no other, is below 128.
    field.iter().filter(|byte| **byte < 0x80).count().saturating_mul(width)
}

/// Calls `look` with the number and the bytes of each field; those without a length of their own have none.
fn fields(message: &[u8], mut look: impl FnMut(u32, &[u8]) -> Result<()>) -> Result<()> {
    let broken = || Error::invalid_argument("The message is no ModelInferRequest");
    let mut rest = message;
    while rest.has_remaining() {
        let (number, wire_type) = decode_key(&mut rest).map_err(|_| broken())?;
        let field = if wire_type == WireType::LengthDelimited {
            let length = decode_varint(&mut rest).map_err(|_| broken())?;
            let length = usize::try_from(length).map_err(|_| broken())?;
            let (field, behind) = rest.split_at_checked(length).ok_or_else(broken)?;
            rest = behind;
            field
        } else {
            skip_field(wire_type, number, &mut rest, DecodeContext::default()).map_err(|_| broken())?;
            &[]
        };
        look(number, field)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::inference::ModelInferRequest;

    #[test]
    fn empty_fields_take_what_they_become() {
        let check = |field: [u8; 2], size: usize| {
            let message: Vec<u8> = field.repeat(1000);
            let room = room(&message).unwrap();
            assert!(room >= 1000 * size && room <= 3000 * size + 3000 * 64, "{field:?} {room}");
            assert!(ModelInferRequest::decode(&message[..]).is_ok());
        };
        check([0x2a, 0], size_of::<InferInputTensor>());
        check([0x32, 0], size_of::<InferRequestedOutputTensor>());
        check([0x3a, 0], size_of::<bytes::Bytes>());
    }

    #[test]
    fn lists_take_what_their_elements_do() {
        let with = |contents: InferTensorContents| {
            let input = InferInputTensor { contents: Some(contents), ..InferInputTensor::default() };
            let request = ModelInferRequest { inputs: vec![input], ..ModelInferRequest::default() };
            room(&request.encode_to_vec()).unwrap()
        };
        let ints = with(InferTensorContents { int64_contents: vec![1; 1000], ..Default::default() });
        assert!((8 * 1000..50 * 1000).contains(&ints), "{ints}");
        let strings = vec![bytes::Bytes::new(); 1000];
        let strings = with(InferTensorContents { bytes_contents: strings, ..Default::default() });
        assert!((32 * 1000..200 * 1000).contains(&strings), "{strings}");
        let raw = ModelInferRequest {
            raw_input_contents: vec![vec![0; 1 << 20].into()],
            ..ModelInferRequest::default()
        };
        assert!(room(&raw.encode_to_vec()).unwrap() < 1000);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for field in [[0x2a, 0], [0x32, 0]] {
            assert!(room(&field.repeat(MOST_TENSORS)).is_ok());
            let error = room(&field.repeat(MOST_TENSORS + 1)).unwrap_err();
            assert_eq!(error.message(), "There are too many tensors");
        }
        for broken in [&[0x2a][..], &[0x2a, 5, 0], &[0], &[0x2a, 2, 0x2a, 9], &[0xff; 12]] {
            assert!(room(broken).is_err(), "{broken:?}");
        }
    }
}
