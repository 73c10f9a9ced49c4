//! The fields of a message one by one, in the order in which they lie in it.

use std::fmt;

use bytes::{Buf, Bytes};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::error::Error;

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    /// What it holds, if that has a length of its own: strings, bytes, messages and packed numbers.
    pub(super) value: Option<Bytes>,
    /// Where it lies.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Why something is no message.
#[derive(Debug)]
pub(super) struct Broken(String);

impl Broken {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// The error for a body that is not this message.
    pub(super) fn error(&self, message: &str) -> Error {
        Error::invalid_argument(format!("The body is no {message}: {self}"))
    }
}

impl From<DecodeError> for Broken {
    fn from(error: DecodeError) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// All fields of a message; it ends with what is none.
pub(super) fn fields(message: &Bytes) -> impl Iterator<Item = Result<Field, Broken>> {
    let length = message.len();
    let mut rest = message.clone();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let start = length - rest.len();
        let field =
            next(&mut rest).map(|(number, value)| Field { number, value, start, end: length - rest.len() });
        if field.is_err() {
            rest.clear();
        }
        Some(field)
    })
}

fn next(rest: &mut Bytes) -> Result<(u32, Option<Bytes>), Broken> {
    let (number, wire_type) = decode_key(rest)?;
    if wire_type != WireType::LengthDelimited {
        skip_field(wire_type, number, rest, DecodeContext::default())?;
        return Ok((number, None));
    }
    let length = usize::try_from(decode_varint(rest)?).unwrap_or(usize::MAX);
    if length > rest.remaining() {
        return Err(Broken::new(format!(
            "field {number} says that it has {length} bytes, which are not there"
        )));
    }
    Ok((number, Some(rest.split_to(length))))
}
