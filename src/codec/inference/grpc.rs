//! The gRPC messages of the protocol: a request to tensors, and tensors to a response.
//!
//! Raw elements are shared with the message and not copied; those in typed fields are put in a row. A response
//! has raw elements only, as those of Triton have, so that every dtype has a place.

mod metadata;
mod raw;
mod room;

use std::convert::Infallible;

use bytes::Bytes;
use prost::Message;

use super::dtype;
use crate::codec::body::{Decoded, Rules};
use crate::codec::dense::{Dense, Elements};
use crate::codec::dtype as tensor_dtype;
use crate::codec::limits::Limits;
use crate::codec::predict::{Inputs, check_input_shapes};
use crate::codec::signature::{Signature, Signatures};
use crate::error::{Error, Result};
use crate::proto::inference::infer_parameter::ParameterChoice;
use crate::proto::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::proto::inference::model_infer_response::InferOutputTensor;
use crate::proto::inference::{InferTensorContents, ModelInferRequest, ModelInferResponse};
use crate::proto::tensorflow::DataType;
use crate::proto::tensorflow::serving::PredictResponse;

pub use metadata::metadata;
pub use room::room;

/// The parameter of a request that names the signature to run.
const SIGNATURE_NAME: &str = "signature_name";

/// Parameters of a tensor that change what it is, and that only a server on the same machine or one with
/// labels of its own can do something about.
const UNSUPPORTED: [&str; 2] = ["shared_memory_region", "classification"];

/// What a response must have of its request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// The model's name.
    pub model_name: String,
    /// The id that the client chose.
    pub id: String,
    /// The outputs that it wants, in that order; empty for all.
    pub outputs: Vec<String>,
}

/// Reads the message of a request. Its bytes are shared.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if it is none.
pub fn read(message: Bytes) -> Result<ModelInferRequest> {
    ModelInferRequest::decode(message)
        .map_err(|error| Error::invalid_argument("The message is no ModelInferRequest").with_source(error))
}

/// Makes tensors of a request. Without `signatures` nobody knows what the model takes.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with the input and the reason, `UNIMPLEMENTED` for what only other servers can do.
pub fn decode(
    request: &ModelInferRequest,
    signatures: Option<&Signatures>,
    rules: &Rules,
) -> Result<Decoded<Form>> {
    let signature_name = signature_name(request)?;
    let signature = signatures.map(|signatures| signatures.get(&signature_name)).transpose()?;
    let is_raw = !request.raw_input_contents.is_empty();
    if is_raw && request.raw_input_contents.len() != request.inputs.len() {
        let (raw, inputs) = (request.raw_input_contents.len(), request.inputs.len());
        return Err(Error::invalid_argument(format!(
            "There are {raw} raw_input_contents for {inputs} inputs; each input needs its own"
        )));
    }
    let mut tensors = Inputs::with_capacity(request.inputs.len());
    for (index, input) in request.inputs.iter().enumerate() {
        let raw = request.raw_input_contents.get(index);
        let tensor = self::input(input, raw, signature, &rules.limits).map_err(|error| {
            Error::new(error.code(), format!("The input {:?} {}", input.name, error.message()))
        })?;
        if tensors.insert(input.name.clone(), tensor.into_proto()).is_some() {
            return Err(Error::invalid_argument(format!("The input {:?} is there twice", input.name)));
        }
    }
    if let Some(signature) = signature.filter(|_| rules.check_shapes) {
        check_input_shapes(&tensors, signature)?;
    }
    let outputs = request.outputs.iter().map(output).collect::<Result<Vec<_>>>()?;
    Ok(Decoded {
        signature_name,
        inputs: tensors,
        output_filter: outputs.clone(),
        form: Form { model_name: request.model_name.clone(), id: request.id.clone(), outputs },
    })
}

/// The most bytes of memory that [`decode`] takes beside what the request shares with its message.
#[must_use]
pub fn room_for_tensors(request: &ModelInferRequest) -> usize {
    let raw = request.inputs.iter().zip(&request.raw_input_contents).map(|(input, raw)| {
        // Each string has its length before it.
        if input.datatype == "BYTES" { raw.len() / raw::LENGTH * size_of::<Bytes>() } else { 0 }
    });
    let typed = request.inputs.iter().filter_map(|input| input.contents.as_ref()).map(size_of_contents);
    raw.chain(typed).fold(0, usize::saturating_add)
}

fn size_of_contents(contents: &InferTensorContents) -> usize {
    let InferTensorContents { bool_contents, int_contents, int64_contents, .. } = contents;
    let InferTensorContents { uint_contents, uint64_contents, fp32_contents, .. } = contents;
    bool_contents.len()
        + 4 * (int_contents.len() + uint_contents.len() + fp32_contents.len())
        + 8 * (int64_contents.len() + uint64_contents.len() + contents.fp64_contents.len())
        + contents.bytes_contents.len() * size_of::<Bytes>()
}

/// Makes the response of a backend's reply, whose version it names.
///
/// # Errors
///
/// `UNIMPLEMENTED` for an output of a dtype that the protocol does not know, `INTERNAL` if a tensor
/// contradicts itself or one is missing.
pub fn encode(form: Form, reply: &PredictResponse, version: Option<i64>) -> Result<ModelInferResponse> {
    let names = if form.outputs.is_empty() {
        let mut names: Vec<_> = reply.outputs.keys().cloned().collect();
        names.sort_unstable();
        names
    } else {
        form.outputs
    };
    let mut response = ModelInferResponse {
        model_name: form.model_name,
        model_version: version.map(|version| version.to_string()).unwrap_or_default(),
        id: form.id,
        ..ModelInferResponse::default()
    };
    for name in names {
        let tensor = reply
            .outputs
            .get(&name)
            .ok_or_else(|| Error::internal(format!("The backend's reply has no output {name}")))?;
        let Dense { dtype, dimensions, elements } = Dense::new(&name, tensor)?;
        let datatype = dtype::name(dtype).ok_or_else(|| {
            let dtype = tensor_dtype::name(dtype);
            Error::unimplemented(format!(
                "The output {name} is of type {dtype}, which the Open Inference Protocol does not have"
            ))
        })?;
        let shape = dimensions.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
        response.outputs.push(InferOutputTensor {
            name,
            datatype: datatype.to_owned(),
            shape,
            ..InferOutputTensor::default()
        });
        response.raw_output_contents.push(match elements {
            Elements::Numbers(bytes) => bytes,
            Elements::Strings(strings) => raw::from_strings(&strings)?,
        });
    }
    Ok(response)
}

/// The signature that a request's parameters name; empty for the default.
fn signature_name(request: &ModelInferRequest) -> Result<String> {
    let Some(parameter) = request.parameters.get(SIGNATURE_NAME) else { return Ok(String::new()) };
    match &parameter.parameter_choice {
        Some(ParameterChoice::StringParam(name)) => Ok(name.clone()),
        _ => Err(Error::invalid_argument("The parameter signature_name is no string")),
    }
}

/// Makes a tensor of an input. Errors are the ends of sentences about it.
fn input(
    input: &InferInputTensor,
    raw: Option<&Bytes>,
    signature: Option<&Signature>,
    limits: &Limits,
) -> Result<Dense> {
    if let Some(name) = UNSUPPORTED.iter().find(|name| input.parameters.contains_key(**name)) {
        let text = format!("has the parameter {name}, which is not supported");
        return Err(Error::unimplemented(text));
    }
    let datatype = &input.datatype;
    let dtype = dtype::from_name(datatype)
        .ok_or_else(|| Error::invalid_argument(format!("is of datatype {datatype:?}, which there is not")))?;
    if let Some(signature) = signature {
        check(&input.name, dtype, signature)?;
    }
    let (dimensions, count) = dimensions(&input.shape, limits)?;
    let elements = match (raw, &input.contents) {
        (Some(_), Some(contents)) if *contents != InferTensorContents::default() => {
            return Err(Error::invalid_argument("has contents beside its raw_input_contents"));
        }
        (Some(raw), _) => raw::elements(raw, dtype, datatype, count, limits)?,
        (None, Some(contents)) => typed(contents, dtype, datatype, count, limits)?,
        (None, None) if count == 0 => raw::elements(&Bytes::new(), dtype, datatype, count, limits)?,
        (None, None) => return Err(Error::invalid_argument("has neither contents nor raw_input_contents")),
    };
    Ok(Dense { dtype, dimensions, elements })
}

/// Sees that the model takes an input of this name and dtype.
fn check(name: &str, dtype: DataType, signature: &Signature) -> Result<()> {
    let Some(known) = signature.inputs.iter().find(|known| known.name == name) else {
        let names: Vec<_> = signature.inputs.iter().map(|known| known.name.as_str()).collect();
        return Err(Error::invalid_argument(format!(
            "is not in the signature; it has: {}",
            names.join(", ")
        )));
    };
    if known.dtype == dtype {
        return Ok(());
    }
    let wanted = dtype::name(known.dtype).map_or_else(|| tensor_dtype::name(known.dtype), str::to_owned);
    let given = dtype::name(dtype).unwrap_or_default();
    Err(Error::invalid_argument(format!("is of datatype {given}, but the model takes {wanted}")))
}

/// The sizes of a shape and how many elements it has.
fn dimensions(shape: &[i64], limits: &Limits) -> Result<(Vec<usize>, usize)> {
    let most = limits.most_dimensions();
    if shape.len() > most {
        return Err(Error::invalid_argument(format!("has {} dimensions, more than {most}", shape.len())));
    }
    let sizes: Option<Vec<_>> = shape.iter().map(|size| usize::try_from(*size).ok()).collect();
    let sizes =
        sizes.ok_or_else(|| Error::invalid_argument(format!("has the shape {shape:?}, which is no size")))?;
    let count = if sizes.contains(&0) {
        Some(0)
    } else {
        sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(*size))
    };
    match count.filter(|count| *count <= limits.elements) {
        Some(count) => Ok((sizes, count)),
        None => Err(Error::invalid_argument(format!("has more than {} elements", limits.elements))),
    }
}

/// The elements in the typed field of a datatype.
fn typed(
    contents: &InferTensorContents,
    dtype: DataType,
    datatype: &str,
    count: usize,
    limits: &Limits,
) -> Result<Elements> {
    let there = |field: &str, found: usize| {
        if found == count {
            return Ok(());
        }
        Err(Error::invalid_argument(format!("has {found} elements in {field}, but {count} by its shape")))
    };
    let out_of_range = |value: &dyn std::fmt::Display| {
        Error::invalid_argument(format!("has the element {value}, which is out of the range of {datatype}"))
    };
    let row = match dtype {
        DataType::DtString => {
            there("bytes_contents", contents.bytes_contents.len())?;
            let strings = contents.bytes_contents.iter();
            return strings
                .map(|string| raw::check_string(string.len(), limits).map(|()| string.clone()))
                .collect::<Result<_, _>>()
                .map(Elements::Strings);
        }
        DataType::DtHalf | DataType::DtBfloat16 => {
            return Err(Error::invalid_argument(format!(
                "is of datatype {datatype}, which needs raw_input_contents"
            )));
        }
        DataType::DtBool => {
            there("bool_contents", contents.bool_contents.len())?;
            contents.bool_contents.iter().map(|value| u8::from(*value)).collect()
        }
        DataType::DtInt8 | DataType::DtInt16 | DataType::DtInt32 => {
            there("int_contents", contents.int_contents.len())?;
            let values = &contents.int_contents;
            match dtype {
                DataType::DtInt8 => row(values, |value| i8::try_from(value).map(i8::to_le_bytes)),
                DataType::DtInt16 => row(values, |value| i16::try_from(value).map(i16::to_le_bytes)),
                _ => row(values, |value| Ok::<_, Infallible>(value.to_le_bytes())),
            }
            .map_err(|value| out_of_range(&value))?
        }
        DataType::DtUint8 | DataType::DtUint16 | DataType::DtUint32 => {
            there("uint_contents", contents.uint_contents.len())?;
            let values = &contents.uint_contents;
            match dtype {
                DataType::DtUint8 => row(values, |value| u8::try_from(value).map(u8::to_le_bytes)),
                DataType::DtUint16 => row(values, |value| u16::try_from(value).map(u16::to_le_bytes)),
                _ => row(values, |value| Ok::<_, Infallible>(value.to_le_bytes())),
            }
            .map_err(|value| out_of_range(&value))?
        }
        DataType::DtInt64 => {
            there("int64_contents", contents.int64_contents.len())?;
            contents.int64_contents.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        DataType::DtUint64 => {
            there("uint64_contents", contents.uint64_contents.len())?;
            contents.uint64_contents.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        DataType::DtFloat => {
            there("fp32_contents", contents.fp32_contents.len())?;
            contents.fp32_contents.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        _ => {
            there("fp64_contents", contents.fp64_contents.len())?;
            contents.fp64_contents.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()
        }
    };
    Ok(Elements::Numbers(row.into()))
}

/// Numbers of another width in a row; an error is the first that does not fit.
fn row<T: Copy, E, const WIDTH: usize>(
    values: &[T],
    to_bytes: impl Fn(T) -> Result<[u8; WIDTH], E>,
) -> Result<Vec<u8>, T> {
    let mut row = Vec::with_capacity(values.len() * WIDTH);
    for value in values {
        row.extend_from_slice(&to_bytes(*value).map_err(|_| *value)?);
    }
    Ok(row)
}

fn output(output: &InferRequestedOutputTensor) -> Result<String> {
    match UNSUPPORTED.iter().find(|name| output.parameters.contains_key(**name)) {
        None => Ok(output.name.clone()),
        Some(name) => Err(Error::unimplemented(format!(
            "The output {:?} has the parameter {name}, which is not supported",
            output.name
        ))),
    }
}

#[cfg(test)]
mod tests;
