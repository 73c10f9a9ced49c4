//! A body of the protocol to tensors.
//!
//! ```text
//! {"id": "1", "parameters": {"signature_name": "s", "binary_data_output": true, "top_k": 5},
//!  "inputs": [{"name": "x", "shape": [2, 1], "datatype": "FP32", "data": [1.0, 2.0]},
//!             {"name": "y", "shape": [2], "datatype": "INT8", "parameters": {"binary_data_size": 2}}],
//!  "outputs": [{"name": "z", "parameters": {"binary_data": false}}]}
//! ```
//!
//! The binary data of the inputs follows the JSON, whose length is told beside the body. Lists of `data` are
//! flat, or nested as the shape says. The signature does not decide how values are read, since a body says
//! that itself; what it says must be what the signature wants. Members and parameters that are not listed here
//! are ignored, as the protocol has it, unless to ignore them would change what the answer means.

mod input;
mod members;

use std::collections::HashSet;
use std::num::NonZeroUsize;

use bytes::Bytes;

use self::input::Input;
use self::members::{boolean, integer, is_null, list, object, string};
use super::dtype;
use crate::codec::body::{Decoded, Rules};
use crate::codec::fault::Fault;
use crate::codec::limits::Limits;
use crate::codec::parameters::Parameters;
use crate::codec::predict::{Inputs, check_input_shapes};
use crate::codec::reader::Reader;
use crate::codec::signature::{Signature, Signatures};
use crate::codec::top_k;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::PredictResponse;

/// The most inputs, or outputs, that a body may name.
pub(super) const MOST_TENSORS: usize = 4096;

/// What the writer of the reply must know of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Form {
    /// What the client calls the request.
    pub id: Option<String>,
    /// The outputs in the order in which they are wanted; empty for all.
    pub outputs: Vec<Output>,
    /// Whether outputs are binary that say nothing of it.
    pub binary: bool,
    /// How many of the best scores are wanted in place of all.
    pub top_k: Option<NonZeroUsize>,
}

/// An output that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its alias in the signature.
    pub name: String,
    /// Whether it is to be binary.
    pub binary: Option<bool>,
}

impl Form {
    /// The form of a reply to a request that is none of the protocol, for these outputs.
    #[must_use]
    pub fn of(outputs: &[String]) -> Self {
        let output = |name: &String| Output { name: name.clone(), binary: None };
        Self { outputs: outputs.iter().map(output).collect(), ..Self::default() }
    }

    /// The same with so many of the best scores, if a number is given.
    #[must_use]
    pub fn top(self, top_k: Option<NonZeroUsize>) -> Self {
        Self { top_k, ..self }
    }

    /// How many bytes the text takes at the most while the JSON of a reply of `size` bytes is written.
    #[must_use]
    pub fn memory(&self, reply: &PredictResponse, size: usize) -> usize {
        self.top_k.map_or(0, |count| top_k::memory(reply, count.get(), size))
    }

    /// The form for a reply that has places and scores where the outputs were that it names.
    pub(super) fn of_chosen(&self, chosen: &PredictResponse) -> Self {
        let outputs = self.outputs.iter().flat_map(|Output { name, binary }| {
            let names = top_k::names_in(chosen, name, self.outputs.len() == 1);
            names.into_iter().map(|name| Output { name, binary: *binary })
        });
        Self { outputs: outputs.collect(), top_k: None, ..self.clone() }
    }
}

/// Whether the values of a body are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    Read,
    Skip,
}

/// Decodes a body, of which the first `json_length` bytes are JSON; all of it without.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the place and the reason.
pub fn decode(
    body: &Bytes,
    json_length: Option<usize>,
    parameters: &Parameters,
    signatures: Option<&Signatures>,
    rules: &Rules,
) -> Result<Decoded<Form>> {
    let (json, mut binary) = split(body, json_length)?;
    let request =
        Request::read(&json, &rules.limits, Values::Read).map_err(|fault| fault.into_error(&json))?;
    if request.end < json.len() {
        let (end, size) = (request.end, json.len());
        return Err(Error::invalid_argument(match json_length {
            Some(_) => format!("The JSON ends after {end} bytes and not after {size}, as its header says"),
            None => format!(
                "There are {} bytes behind the JSON; binary data needs the header \
                 Inference-Header-Content-Length",
                size - end
            ),
        }));
    }
    let Request { id, signature_name, inputs: read, .. } = request;
    let mut inputs = Inputs::with_capacity(read.len());
    for (index, input) in read.into_iter().enumerate() {
        let name = input.name.clone();
        let place = |reason: String| Error::invalid_argument(format!("inputs[{index}] {name:?}: {reason}"));
        let tensor = input.into_tensor(&mut binary, &rules.limits).map_err(place)?;
        if inputs.insert(name.clone(), tensor).is_some() {
            return Err(place("an input of this name stands before it".to_owned()));
        }
    }
    if !binary.is_empty() {
        return Err(Error::invalid_argument(format!(
            "{} bytes of binary data are left behind those of all inputs",
            binary.len()
        )));
    }
    let signature_name = signature_name.or_else(|| parameters.signature_name.clone()).unwrap_or_default();
    if let Some(signatures) = signatures {
        let signature = signatures.get(&signature_name)?;
        check_inputs(&inputs, signature)?;
        if rules.check_shapes {
            check_input_shapes(&inputs, signature)?;
        }
    }
    let mut outputs = request.outputs;
    if outputs.is_empty() {
        let wanted = parameters.outputs.iter();
        outputs = wanted.map(|name| Output { name: name.clone(), binary: None }).collect();
    }
    let mut seen = HashSet::new();
    outputs.retain(|output| seen.insert(output.name.clone()));
    let output_filter = outputs.iter().map(|output| output.name.clone()).collect();
    let top_k = request.top_k.or(parameters.top_k);
    let form = Form { id, outputs, binary: request.binary, top_k };
    Ok(Decoded { signature_name, inputs, output_filter, form })
}

/// How many strings the binary data of a body may be: more never come of it.
#[must_use]
pub fn most_strings(body: &Bytes, json_length: usize, limits: &Limits) -> usize {
    let Ok((json, binary)) = split(body, Some(json_length)) else { return 0 };
    // What is wrong with it, decoding finds out.
    let Ok(request) = Request::read(&json, limits, Values::Skip) else { return 0 };
    let strings = request.inputs.iter().map(Input::strings).fold(0, usize::saturating_add);
    strings.min(binary.len() / size_of::<u32>())
}

/// The JSON of a body and what follows it.
fn split(body: &Bytes, json_length: Option<usize>) -> Result<(Bytes, Bytes)> {
    let length = json_length.unwrap_or(body.len());
    if length > body.len() {
        return Err(Error::invalid_argument(format!(
            "Inference-Header-Content-Length is {length}, but the body has {} bytes",
            body.len()
        )));
    }
    Ok((body.slice(..length), body.slice(length..)))
}

/// Checks that there is what the signature wants, and nothing else.
pub(super) fn check_inputs(inputs: &Inputs, signature: &Signature) -> Result<()> {
    let wanted = &signature.inputs;
    let names: HashSet<&str> = wanted.iter().map(|input| input.name.as_str()).collect();
    if let Some(other) = inputs.keys().filter(|name| !names.contains(name.as_str())).min() {
        let names = wanted.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::invalid_argument(format!(
            "There is no input {other:?} in the signature; it has: {names}"
        )));
    }
    for input in wanted {
        let name = &input.name;
        let Some(tensor) = inputs.get(name) else {
            return Err(Error::invalid_argument(format!("Missing named input: {name} in 'inputs'.")));
        };
        if tensor.dtype() != input.dtype {
            let datatype = |dtype| {
                dtype::name(dtype).map_or_else(|| crate::codec::dtype::name(dtype), ToOwned::to_owned)
            };
            return Err(Error::invalid_argument(format!(
                "The input {name:?} is of datatype {}, but the signature wants {}",
                datatype(tensor.dtype()),
                datatype(input.dtype)
            )));
        }
    }
    Ok(())
}

/// The JSON of a request.
#[derive(Default)]
struct Request {
    id: Option<String>,
    signature_name: Option<String>,
    binary: bool,
    top_k: Option<NonZeroUsize>,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    /// Where the JSON ends, and white space behind it.
    end: usize,
}

impl Request {
    fn read(json: &Bytes, limits: &Limits, values: Values) -> Result<Self, Fault> {
        let mut reader = Reader::new(json, limits);
        reader.peek();
        if reader.at >= json.len() {
            return reader.fault("The document is empty.");
        }
        let mut request = Self::default();
        let mut has_inputs = false;
        object(&mut reader, "The body", |reader, key| {
            match key {
                b"id" if !is_null(reader) => request.id = Some(string(reader, "The id")?),
                b"parameters" if !is_null(reader) => request.read_parameters(reader)?,
                b"inputs" => {
                    has_inputs = true;
                    list(reader, "'inputs'", |reader| {
                        check_count(reader, request.inputs.len())?;
                        request.inputs.push(Input::read(reader, json, values)?);
                        Ok(())
                    })?;
                }
                b"outputs" if !is_null(reader) => list(reader, "'outputs'", |reader| {
                    check_count(reader, request.outputs.len())?;
                    request.outputs.push(Output::read(reader)?);
                    Ok(())
                })?,
                _ => reader.skip_value()?,
            }
            Ok(())
        })?;
        if !has_inputs {
            return Err(Fault::text(0, "Missing 'inputs' key"));
        }
        reader.peek();
        request.end = reader.at;
        Ok(request)
    }

    fn read_parameters(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        object(reader, "'parameters'", |reader, key| {
            match key {
                b"signature_name" => {
                    self.signature_name = Some(string(reader, "The signature's name")?);
                }
                b"binary_data_output" => self.binary = boolean(reader)?,
                b"top_k" => self.top_k = Some(count(reader)?),
                _ => reader.skip_value()?,
            }
            Ok(())
        })
    }
}

/// How many scores are wanted.
fn count(reader: &mut Reader<'_>) -> Result<NonZeroUsize, Fault> {
    reader.peek();
    let start = reader.at;
    let count = integer(reader, "The parameter top_k")?;
    let count = usize::try_from(count).ok().and_then(NonZeroUsize::new);
    count.ok_or_else(|| Fault::text(start, "The parameter top_k must be a whole number from 1"))
}

fn check_count(reader: &Reader<'_>, count: usize) -> Result<(), Fault> {
    if count < MOST_TENSORS { Ok(()) } else { Err(Fault::text(reader.at, "There are too many tensors")) }
}

impl Output {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let start = reader.at;
        let (mut name, mut binary) = (None, None);
        object(reader, "An output", |reader, key| {
            match key {
                b"name" => name = Some(string(reader, "The output's name")?),
                b"parameters" if !is_null(reader) => object(reader, "'parameters'", |reader, key| {
                    let at = reader.at;
                    match key {
                        b"binary_data" => binary = Some(boolean(reader)?),
                        b"classification" | b"shared_memory_region" => {
                            reader.skip_value()?;
                            let key = String::from_utf8_lossy(key);
                            return Err(Fault::text(at, format!("The parameter {key} is not supported")));
                        }
                        _ => reader.skip_value()?,
                    }
                    Ok(())
                })?,
                _ => reader.skip_value()?,
            }
            Ok(())
        })?;
        match name {
            Some(name) => Ok(Self { name, binary }),
            None => Err(Fault::text(start, "An output has no name")),
        }
    }
}

#[cfg(test)]
mod tests;
