//! The gRPC messages of the protocol: a request to tensors, and tensors to a response.
//!
//! Raw elements are shared with the message and not copied; those in typed fields are put in a row. A response
//! has raw elements only, as those of Triton have, so that every dtype has a place.

mod room;
mod typed;

use std::collections::HashSet;
use std::num::NonZeroUsize;

use bytes::Bytes;
use prost::Message;

use super::metadata::{EXTENSIONS, Model, SERVER, Tensor};
use super::request::check_inputs;
use super::{dtype, raw};
use crate::codec::body::{Decoded, Rules};
use crate::codec::dense::{Dense, Elements};
use crate::codec::limits::Limits;
use crate::codec::predict::{Inputs, check_input_shapes, check_surplus};
use crate::codec::signature::Signatures;
use crate::codec::tensor::Printer;
use crate::codec::top_k;
use crate::codec::writer::NanStyle;
use crate::error::{Error, Result};
use crate::proto::inference::infer_parameter::ParameterChoice;
use crate::proto::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::proto::inference::model_infer_response::InferOutputTensor;
use crate::proto::inference::model_metadata_response::TensorMetadata;
use crate::proto::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataResponse,
    ServerMetadataResponse,
};
use crate::proto::tensorflow::TensorProto;
use crate::proto::tensorflow::serving::PredictResponse;

pub use room::room;

/// The parameter of a request that names the signature to run.
const SIGNATURE_NAME: &str = "signature_name";

/// The one that says how many of the best scores are wanted.
const TOP_K: &str = "top_k";

/// The parameter of a response that says that it is the last one of its request.
const FINAL_RESPONSE: &str = "triton_final_response";

/// How many characters of a wrong datatype a message shows.
const MOST_NAME: usize = 64;

/// What a response must have of its request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// The model's name.
    pub model_name: String,
    /// The id that the client chose.
    pub id: String,
    /// The outputs that it wants, in that order; empty for all.
    pub outputs: Vec<String>,
    /// How many of the best scores are wanted in place of all.
    pub top_k: Option<NonZeroUsize>,
}

impl Form {
    /// How many bytes choosing the best scores of a reply of `size` bytes takes at the most.
    #[must_use]
    pub fn memory(&self, reply: &PredictResponse, size: usize) -> usize {
        self.top_k.map_or(0, |count| top_k::memory(reply, count.get(), size))
    }

    /// The form for a reply that has places and scores where some of the outputs were.
    fn of_chosen(&self, chosen: &PredictResponse) -> Self {
        let is_only = self.outputs.len() == 1;
        let outputs = self.outputs.iter().flat_map(|name| top_k::names_in(chosen, name, is_only));
        Self { outputs: outputs.collect(), top_k: None, ..self.clone() }
    }
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
/// `INVALID_ARGUMENT` with the input and the reason.
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
        let name = &input.name;
        let place = |reason: String| Error::invalid_argument(format!("inputs[{index}] {name:?}: {reason}"));
        let raw = request.raw_input_contents.get(index);
        let tensor = self::input(input, raw, &rules.limits).map_err(place)?;
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(place("an input of this name stands before it".to_owned()));
        }
    }
    if let Some(signature) = signature {
        check_inputs(&tensors, signature)?;
        if rules.check_shapes {
            check_input_shapes(&tensors, signature)?;
        }
    }
    let mut outputs = request.outputs.iter().enumerate().map(output).collect::<Result<Vec<_>>>()?;
    // A response must not become many times what the model gives.
    let mut seen = HashSet::new();
    outputs.retain(|name| seen.insert(name.clone()));
    Ok(Decoded {
        signature_name,
        inputs: tensors,
        output_filter: outputs.clone(),
        form: Form {
            model_name: request.model_name.clone(),
            id: request.id.clone(),
            outputs,
            top_k: top_k(request)?,
        },
    })
}

/// The most bytes of memory that [`decode`] takes beside what the request shares with its message.
#[must_use]
pub fn room_for_tensors(request: &ModelInferRequest) -> usize {
    let raw = request.inputs.iter().zip(&request.raw_input_contents).map(|(input, raw)| {
        // Each string has its length before it.
        if input.datatype == "BYTES" { raw.len() / size_of::<u32>() * size_of::<Bytes>() } else { 0 }
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
/// `INVALID_ARGUMENT` if the best scores are wanted where there are none, and for a dtype that the protocol does
/// not know, `INTERNAL` if a tensor contradicts itself or
/// an output is missing.
pub fn encode(form: &Form, reply: &PredictResponse, version: Option<i64>) -> Result<ModelInferResponse> {
    match form.top_k {
        Some(count) => {
            let chosen = top_k::select(reply, count.get(), 0)?;
            write(&form.of_chosen(&chosen), &chosen, version)
        }
        None => write(form, reply, version),
    }
}

fn write(form: &Form, reply: &PredictResponse, version: Option<i64>) -> Result<ModelInferResponse> {
    let mut names = form.outputs.clone();
    if names.is_empty() {
        names.extend(reply.outputs.keys().cloned());
        names.sort_unstable();
    }
    let mut response = ModelInferResponse {
        model_name: form.model_name.clone(),
        model_version: version.map(|version| version.to_string()).unwrap_or_default(),
        id: form.id.clone(),
        ..ModelInferResponse::default()
    };
    let mut surplus = 0_usize;
    for name in names {
        let tensor = reply
            .outputs
            .get(&name)
            .ok_or_else(|| Error::internal(format!("The backend has left out the output {name:?}")))?;
        let datatype = dtype::name(tensor.dtype()).ok_or_else(|| {
            let dtype = crate::codec::dtype::name(crate::codec::dtype::from_wire(tensor.dtype));
            Error::invalid_argument(format!(
                "The output {name:?} is of type {dtype}, for which the protocol has no datatype"
            ))
        })?;
        // It measures what an output may grow to before that is made.
        surplus = surplus.saturating_add(Printer::new(&name, tensor, NanStyle::Literal)?.surplus());
        check_surplus(surplus)?;
        let dense = Dense::new(&name, tensor)?;
        let contents = contents(&dense)
            .ok_or_else(|| Error::internal(format!("The output {name:?} has a string beyond 4 GiB")))?;
        let shape = dense.dimensions.iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
        let datatype = datatype.to_owned();
        response.outputs.push(InferOutputTensor { name, datatype, shape, ..InferOutputTensor::default() });
        response.raw_output_contents.push(contents);
    }
    Ok(response)
}

/// Says that no other response to the same request comes, as Triton does in streams: clients there wait for it.
pub fn mark_final(response: &mut ModelInferResponse) {
    let is_final = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
    response.parameters.insert(FINAL_RESPONSE.to_owned(), is_final);
}

/// The raw contents of a tensor; numbers share the bytes of the reply.
fn contents(dense: &Dense) -> Option<Bytes> {
    if let Elements::Numbers(numbers) = &dense.elements {
        return Some(numbers.clone());
    }
    let mut contents = Vec::with_capacity(raw::size(dense)?);
    raw::append(dense, &mut contents);
    Some(contents.into())
}

/// What this server is.
#[must_use]
pub fn server() -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: SERVER.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // The one that there is besides is about bodies of HTTP.
        extensions: EXTENSIONS
            .iter()
            .filter(|name| **name != "binary_tensor_data")
            .map(ToString::to_string)
            .collect(),
    }
}

impl From<Model> for ModelMetadataResponse {
    fn from(model: Model) -> Self {
        let tensors = |tensors: Vec<Tensor>| {
            let tensor = |Tensor { name, datatype, shape }| TensorMetadata { name, datatype, shape };
            tensors.into_iter().map(tensor).collect()
        };
        Self {
            name: model.name,
            versions: model.versions,
            platform: model.platform.to_owned(),
            inputs: tensors(model.inputs),
            outputs: tensors(model.outputs),
        }
    }
}

/// The signature that a request's parameters name; empty for the default.
fn signature_name(request: &ModelInferRequest) -> Result<String> {
    let Some(parameter) = request.parameters.get(SIGNATURE_NAME) else { return Ok(String::new()) };
    match &parameter.parameter_choice {
        Some(ParameterChoice::StringParam(name)) => Ok(name.clone()),
        _ => Err(Error::invalid_argument("The parameter signature_name is no string")),
    }
}

/// How many of the best scores a request's parameters want.
fn top_k(request: &ModelInferRequest) -> Result<Option<NonZeroUsize>> {
    let Some(parameter) = request.parameters.get(TOP_K) else { return Ok(None) };
    let count = match parameter.parameter_choice {
        Some(ParameterChoice::Int64Param(count)) => usize::try_from(count).ok(),
        Some(ParameterChoice::Uint64Param(count)) => usize::try_from(count).ok(),
        _ => None,
    };
    match count.and_then(NonZeroUsize::new) {
        Some(count) => Ok(Some(count)),
        None => Err(Error::invalid_argument("The parameter top_k must be a whole number from 1")),
    }
}

/// Makes a tensor of an input.
///
/// # Errors
///
/// What is wrong, without its place.
fn input(input: &InferInputTensor, raw: Option<&Bytes>, limits: &Limits) -> Result<TensorProto, String> {
    if input.parameters.contains_key("shared_memory_region") {
        return Err("Shared memory is not supported".to_owned());
    }
    let dtype = dtype::from_name(&input.datatype).ok_or_else(|| {
        let name: String = input.datatype.chars().take(MOST_NAME).collect();
        format!("{name:?} is no datatype; these are: {}", dtype::names().join(", "))
    })?;
    let (dimensions, count) = raw::shape(&input.shape, limits)?;
    match (raw, &input.contents) {
        (Some(_), Some(contents)) if *contents != InferTensorContents::default() => {
            Err("there are both contents and raw_input_contents".to_owned())
        }
        (Some(raw), _) => raw::tensor(dtype, dimensions, count, raw, limits),
        (None, Some(contents)) => typed::tensor(contents, dtype, dimensions, count, limits),
        (None, None) if count == 0 => raw::tensor(dtype, dimensions, count, &Bytes::new(), limits),
        (None, None) => Err("there are neither contents nor raw_input_contents".to_owned()),
    }
}

/// The name of an output that is asked for.
fn output((index, output): (usize, &InferRequestedOutputTensor)) -> Result<String> {
    let unsupported = ["classification", "shared_memory_region"];
    match unsupported.iter().find(|name| output.parameters.contains_key(**name)) {
        None => Ok(output.name.clone()),
        Some(key) => {
            let name = &output.name;
            Err(Error::invalid_argument(format!(
                "outputs[{index}] {name:?}: The parameter {key} is not supported"
            )))
        }
    }
}

#[cfg(test)]
mod tests;
