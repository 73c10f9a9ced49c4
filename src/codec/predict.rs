//! Predict: a JSON body to tensors, and tensors to the JSON reply.
//!
//! A body is an object with exactly one of
//!
//! - `instances`, the row format: a list with one entry per row of the batch, each a value for
//!   the only input or an object with a value for every input;
//! - `inputs`, the columnar format: a value for the only input, or an object of them;
//! - `examples`, rows as well: objects of features, which become the strings of the only input, with
//!   `example_format` and `context` as `example::serialized` has them;
//!
//! and optionally `signature_name`, `output_filter` and `top_k`; other members are ignored. The values
//! are decoded in the same pass that finds the members, with the signature named so far: only
//! a `signature_name` that follows the values makes it read them again.
//!
//! Where nobody knows the signatures, [`decode_guessed`] takes the same bodies and finds the
//! inputs and their dtypes in them.

mod columnar;
mod examples;
mod guess;
mod reply;
mod room;
mod row;
mod shapes;

use std::collections::HashMap;
use std::num::NonZeroUsize;

use bytes::Bytes;

use super::document::{self, SignatureName};
use super::example::serialized;
use super::fault::{Fault, Value};
use super::limits::Limits;
use super::reader::Reader;
use super::signature::{Signature, Signatures};
use super::stream::Stream;
use crate::error::{Error, Result};
use crate::proto::tensorflow::TensorProto;
pub use guess::decode_guessed;
pub(super) use guess::decode_guessed_named;
pub use reply::encode;
pub(super) use reply::{Named, prepare, write_columns, write_only_row, write_rows};
pub(crate) use reply::{check_surplus, encode_lines};
pub(crate) use room::{escapes, names};
pub(crate) use row::{Rows, decode_rows};
pub(crate) use shapes::check_input_shapes;
pub use shapes::check_shapes;
pub(super) use shapes::check_shapes_at;

/// How a predict body is laid out, and so its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `instances` in, `predictions` out.
    Row,
    /// `inputs` in, `outputs` out.
    Columnar,
}

impl Format {
    /// The member of a body that has the values.
    fn key(self) -> &'static str {
        match self {
            Self::Row => "instances",
            Self::Columnar => "inputs",
        }
    }
}

/// A decoded predict body.
#[derive(Debug, Clone, PartialEq)]
pub struct Predict {
    /// As the body gives it; empty for the default.
    pub signature_name: String,
    /// The format of the body.
    pub format: Format,
    /// A tensor for every input of the signature.
    pub inputs: HashMap<String, TensorProto>,
    /// The outputs that the client wants; empty for all.
    pub output_filter: Vec<String>,
    /// How many of the best scores it wants in place of all.
    pub top_k: Option<NonZeroUsize>,
}

/// Decodes a predict body with the signatures of the model that it is for.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the place and the reason, `UNIMPLEMENTED` for a dtype that JSON
/// cannot carry (in the columnar format, as the original has it).
pub fn decode(body: &Bytes, signatures: &Signatures, limits: &Limits) -> Result<Predict> {
    decode_after(body, signatures, limits, None)
}

/// Decodes a body of which a [`Stream`] may have decoded the values already.
///
/// # Errors
///
/// As from [`decode`].
pub fn decode_after(
    body: &Bytes,
    signatures: &Signatures,
    limits: &Limits,
    stream: Option<Stream>,
) -> Result<Predict> {
    decode_named(body, signatures, limits, stream, "")
}

/// The same for this signature, where the body names none.
pub(super) fn decode_named(
    body: &Bytes,
    signatures: &Signatures,
    limits: &Limits,
    stream: Option<Stream>,
    signature_name: &str,
) -> Result<Predict> {
    let mut stream = stream;
    let mut members = Members { signature_name: SignatureName::or(signature_name), ..Members::default() };
    let mut attempt: Option<(String, Result<Inputs, Fault>)> = None;
    members
        .read(body, limits, |reader, format, name| {
            let start = reader.clone();
            if let Some((end, inputs)) = stream.take().and_then(|stream| stream.finish(body, start.at, name))
            {
                reader.at = end;
                attempt = Some((name.to_owned(), Ok(inputs)));
                return Ok(());
            }
            // Without its signature the value cannot be decoded, only checked.
            let Ok(signature) = signatures.get(name) else { return reader.skip_value() };
            let result = decode_values(reader, body, format, signature, format.key());
            if let Err(fault) = &result {
                // What is no JSON further on comes first.
                if fault.ends_text() {
                    return result.map(drop);
                }
                *reader = start;
                reader.skip_value()?;
            }
            attempt = Some((name.to_owned(), result));
            Ok(())
        })
        .map_err(|fault| fault.into_error(body))?;

    let signature_name = members.signature_name.take().map_err(|fault| fault.into_error(body))?;
    let signature = signatures.get(&signature_name)?;
    let (format, start) = match (members.instances, members.inputs) {
        (None, None) if members.examples.examples().is_some() => {
            let inputs = examples::decode(&members.examples, body, signature, limits)?;
            let format = Format::Row;
            let (output_filter, top_k) = members.wishes(body)?;
            return Ok(Predict { signature_name, format, inputs, output_filter, top_k });
        }
        _ if members.examples.examples().is_some() => {
            return Err(Error::invalid_argument(
                "Not formatted correctly expecting only one of 'inputs', 'instances' or 'examples' keys to exist",
            ));
        }
        (Some(start), None) => (Format::Row, start),
        (None, Some(start)) => (Format::Columnar, start),
        (None, None) => return Err(Error::invalid_argument("Missing 'inputs' or 'instances' key")),
        (Some(_), Some(_)) => {
            return Err(Error::invalid_argument(
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist",
            ));
        }
    };
    let (output_filter, top_k) = members.wishes(body)?;
    let inputs = match attempt {
        Some((name, result)) if name == signature_name => result,
        _ => {
            let mut reader = Reader::inside(body, start, 1, limits);
            decode_values(&mut reader, body, format, signature, format.key())
        }
    };
    match inputs {
        Ok(inputs) => Ok(Predict { signature_name, format, inputs, output_filter, top_k }),
        Err(fault) => Err(values_error(fault, body, format)),
    }
}

/// Checks what can be checked of a body without a signature: that it is a JSON object and that
/// its `signature_name` is a string. These faults come before those of looking the model up.
///
/// # Errors
///
/// `INVALID_ARGUMENT` as from [`decode`].
pub fn check(body: &[u8], limits: &Limits) -> Result<()> {
    let mut members = Members::default();
    members
        .read(body, limits, |reader, _, _| reader.skip_value())
        .and_then(|()| members.signature_name.finish())
        .map(drop)
        .map_err(|fault| fault.into_error(body))
}

/// The tensors of a request by the names of their inputs.
pub(crate) type Inputs = HashMap<String, TensorProto>;

/// Decodes the values at the reader's position, which messages call `key`.
pub(super) fn decode_values(
    reader: &mut Reader<'_>,
    body: &Bytes,
    format: Format,
    signature: &Signature,
    key: &str,
) -> Result<Inputs, Fault> {
    match format {
        Format::Row => row::decode(reader, body, signature, key),
        Format::Columnar => columnar::decode(reader, body, signature, key),
    }
}

/// A dtype that JSON cannot carry is UNIMPLEMENTED, but the row format knows one code only.
fn values_error(fault: Fault, body: &[u8], format: Format) -> Error {
    let error = fault.into_error(body);
    match format {
        Format::Row => Error::invalid_argument(error.message()),
        Format::Columnar => error,
    }
}

/// The members of a predict body; of each name the first one counts.
#[derive(Default)]
struct Members {
    signature_name: SignatureName,
    /// Where the value of `instances` starts.
    instances: Option<usize>,
    /// Where the value of `inputs` starts.
    inputs: Option<usize>,
    examples: serialized::Places,
    output_filter: Option<Result<Vec<String>, Fault>>,
    top_k: Option<Result<NonZeroUsize, Fault>>,
}

impl Members {
    /// Reads all members. `values` reads the first value of `instances` or `inputs`, given the
    /// signature name so far.
    fn read<'a>(
        &mut self,
        body: &'a [u8],
        limits: &'a Limits,
        mut values: impl FnMut(&mut Reader<'a>, Format, &str) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        document::members(body, limits, |reader, key| {
            let (place, format) = match key {
                b"instances" => (&mut self.instances, Format::Row),
                b"inputs" => (&mut self.inputs, Format::Columnar),
                b"signature_name" => return self.signature_name.read(reader),
                b"output_filter" => return self.read_output_filter(reader),
                b"top_k" => return self.read_top_k(reader),
                _ => {
                    self.examples.see(key, reader.at);
                    return reader.skip_value();
                }
            };
            if place.is_some() {
                return reader.skip_value();
            }
            *place = Some(reader.at);
            match (self.instances, self.inputs) {
                (Some(_), Some(_)) => reader.skip_value(),
                _ => values(reader, format, self.signature_name.so_far()),
            }
        })
    }

    /// What is said of the reply.
    fn wishes(self, body: &[u8]) -> Result<(Vec<String>, Option<NonZeroUsize>)> {
        let output_filter = self.output_filter.transpose().map_err(|fault| fault.into_error(body))?;
        let top_k = self.top_k.transpose().map_err(|fault| fault.into_error(body))?;
        Ok((output_filter.unwrap_or_default(), top_k))
    }

    fn read_output_filter(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        if self.output_filter.is_some() {
            return reader.skip_value();
        }
        match document::string_list(reader, "output_filter") {
            Err(fault) if fault.ends_text() => return Err(fault),
            result => self.output_filter = result.transpose(),
        }
        Ok(())
    }

    fn read_top_k(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let start = reader.at;
        reader.skip_value()?;
        let text = reader.bytes.get(start..reader.at).and_then(|text| std::str::from_utf8(text).ok());
        let count = text.and_then(|text| text.parse().ok());
        let count = count.ok_or_else(|| {
            let value = Value::at(reader.bytes, start).text;
            Fault::text(start, format!("JSON Value: {value} must be a whole number from 1"))
        });
        self.top_k.get_or_insert(count);
        Ok(())
    }
}
