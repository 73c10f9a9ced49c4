//! The Predict call: which inputs are taken, which outputs are given, and what is refused.
//!
//! The order of the checks is TensorFlow Serving's: model, signature, number of inputs, each input
//! in the order of aliases, outputs asked for, and then the run.

use std::collections::{BTreeSet, HashMap};

use tonic::Code;

use super::graph;
use super::models::Models;
use super::signature::effective;
use super::tensor::Tensor;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::proto::tensorflow::serving::{ModelSpec, PredictRequest, PredictResponse};
use crate::proto::tensorflow::{SignatureDef, TensorInfo, TensorProto};

/// Runs a signature of a model.
pub(super) fn predict(models: &Models, request: &PredictRequest) -> Result<PredictResponse> {
    let spec = request.model_spec.as_ref().ok_or_else(missing_spec)?;
    let servable = models.find(spec)?;
    let name = effective(&spec.signature_name);
    let signature = servable.program.signatures.get(name).ok_or_else(|| {
        Error::new(Code::FailedPrecondition, format!("Serving signature key \"{name}\" not found."))
    })?;
    check_input_count(signature, &request.inputs)?;
    let feeds = read_inputs(signature, &request.inputs)?;
    let (aliases, fetches) = choose_outputs(signature, &request.output_filter)?;
    let tensors = graph::run(servable.program.graph.as_ref(), feeds, &fetches)?;
    let as_content = models.replies_as_content();
    let protos = tensors.iter().map(|tensor| tensor.to_proto(as_content));
    Ok(PredictResponse {
        model_spec: Some(served_spec(&spec.name, name, servable.version)),
        outputs: aliases.into_iter().cloned().zip(protos).collect(),
    })
}

/// The refusal of a request that names no model at all.
pub(super) fn missing_spec() -> Error {
    Error::invalid_argument("Missing ModelSpec")
}

/// Which model, version and signature answered.
pub(super) fn served_spec(name: &str, signature_name: &str, version: i64) -> ModelSpec {
    ModelSpec {
        name: name.to_owned(),
        signature_name: signature_name.to_owned(),
        version_choice: Some(VersionChoice::Version(version)),
    }
}

fn check_input_count(signature: &SignatureDef, inputs: &HashMap<String, TensorProto>) -> Result<()> {
    if inputs.len() == signature.inputs.len() {
        return Ok(());
    }
    let (given, wanted) = (aliases(inputs), aliases(&signature.inputs));
    Err(Error::invalid_argument(format!(
        "input size does not match signature: {}!={} len({{{}}}) != len({{{}}}). Sent extra: {{{}}}. \
         Missing but required: {{{}}}.",
        given.len(),
        wanted.len(),
        joined(&given),
        joined(&wanted),
        joined(given.difference(&wanted)),
        joined(wanted.difference(&given)),
    )))
}

fn read_inputs<'a>(
    signature: &'a SignatureDef,
    inputs: &HashMap<String, TensorProto>,
) -> Result<Vec<(&'a TensorInfo, Tensor)>> {
    // The numbers agree, so each wrong alias leaves one of the signature's without a tensor.
    let mut feeds = Vec::with_capacity(inputs.len());
    for alias in aliases(&signature.inputs) {
        let info = &signature.inputs[alias];
        let proto = inputs.get(alias).ok_or_else(|| {
            let (feed, given) = (graph::tensor_name(info), joined(&aliases(inputs)));
            Error::invalid_argument(format!(
                "Signature input alias: {alias}(feed name: {feed}) not found in request and no default \
                 value provided. Inputs expected to be in the request {{{given}}}, or default input alias \
                 set: "
            ))
        })?;
        feeds.push((info, Tensor::from_proto(alias, proto)?));
    }
    Ok(feeds)
}

/// The outputs asked for, or all.
fn choose_outputs<'a>(
    signature: &'a SignatureDef,
    filter: &[String],
) -> Result<(Vec<&'a String>, Vec<&'a TensorInfo>)> {
    let mut chosen = Vec::new();
    let mut seen = BTreeSet::new();
    for alias in filter {
        let Some(output) = signature.outputs.get_key_value(alias) else {
            let known = joined(&aliases(&signature.outputs));
            return Err(Error::invalid_argument(format!(
                "output tensor alias not found in signature: {alias} Outputs expected to be in the set \
                 {{{known}}}."
            )));
        };
        if !seen.insert(alias) {
            return Err(Error::invalid_argument(format!("duplicate output tensor alias: {alias}")));
        }
        chosen.push(output);
    }
    if chosen.is_empty() {
        chosen = signature.outputs.iter().collect();
    }
    Ok(chosen.into_iter().unzip())
}

/// The aliases in the order in which TensorFlow's ordered sets print them.
fn aliases<T>(map: &HashMap<String, T>) -> BTreeSet<&String> {
    map.keys().collect()
}

fn joined<'a>(aliases: impl IntoIterator<Item = &'a &'a String>) -> String {
    aliases.into_iter().map(|alias| alias.as_str()).collect::<Vec<_>>().join(",")
}
