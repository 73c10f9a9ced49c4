//! The Predict call: which inputs are taken, which outputs are given, and what is refused.
//!
//! The order of the checks is TensorFlow Serving's: model, signature, number of inputs, each input
//! in the order of aliases, outputs asked for, and then the run.

use std::collections::{BTreeSet, HashMap};

use tonic::Code;

use super::graph::{self, Feed, Fetch};
use super::models::Models;
use super::signature::{CLASSIFY, PREDICT, REGRESS, effective};
use super::tensor::Tensor;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::proto::tensorflow::serving::{ModelSpec, PredictRequest, PredictResponse};
use crate::proto::tensorflow::{SignatureDef, TensorProto};

/// Runs a signature of a model.
pub(super) fn predict(models: &Models, request: &PredictRequest) -> Result<PredictResponse> {
    let spec = request.model_spec.as_ref().ok_or_else(missing_spec)?;
    let servable = models.find(spec)?;
    let name = effective(&spec.signature_name);
    let signature = servable.program.signatures.get(name).ok_or_else(|| {
        Error::new(Code::FailedPrecondition, format!("Serving signature key \"{name}\" not found."))
    })?;
    check_method(signature)?;
    check_input_count(signature, &request.inputs)?;
    let feeds = read_inputs(signature, &request.inputs)?;
    let fetches = choose_outputs(signature, &request.output_filter)?;
    let tensors = servable.program.run(name, feeds, &fetches)?;
    let as_content = models.replies_as_content();
    let protos = tensors.iter().map(|tensor| tensor.to_proto(as_content));
    Ok(PredictResponse {
        model_spec: Some(served_spec(&spec.name, name, servable.version)),
        outputs: fetches.iter().map(|fetch| fetch.alias.to_owned()).zip(protos).collect(),
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

fn check_method(signature: &SignatureDef) -> Result<()> {
    let method = signature.method_name.as_str();
    if [PREDICT, CLASSIFY, REGRESS].contains(&method) {
        return Ok(());
    }
    Err(Error::internal(format!(
        "Expected prediction signature method_name to be one of {{{PREDICT}, {CLASSIFY}, {REGRESS}}}. Was: \
         {method}"
    )))
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
) -> Result<Vec<Feed<'a>>> {
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
        feeds.push(Feed { alias, info, tensor: Tensor::from_proto(alias, proto)? });
    }
    Ok(feeds)
}

/// The outputs asked for, or all.
fn choose_outputs<'a>(signature: &'a SignatureDef, filter: &[String]) -> Result<Vec<Fetch<'a>>> {
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
    Ok(chosen.into_iter().map(|(alias, info)| Fetch { alias, info }).collect())
}

/// The aliases in the order in which TensorFlow's ordered sets print them.
fn aliases<T>(map: &HashMap<String, T>) -> BTreeSet<&String> {
    map.keys().collect()
}

fn joined<'a>(aliases: impl IntoIterator<Item = &'a &'a String>) -> String {
    aliases.into_iter().map(|alias| alias.as_str()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensorflow::DataType;

    fn tensor(dtype: DataType) -> TensorProto {
        let mut proto = TensorProto { dtype: dtype.into(), ..TensorProto::default() };
        match dtype {
            DataType::DtFloat => proto.float_val.push(4.0),
            DataType::DtInt64 => proto.int64_val.push(-5),
            DataType::DtString => proto.string_val.push("é".into()),
            _ => {}
        }
        proto
    }

    fn request(model: &str, signature: &str, inputs: &[(&str, DataType)], filter: &[&str]) -> PredictRequest {
        PredictRequest {
            model_spec: Some(ModelSpec {
                name: model.to_owned(),
                signature_name: signature.to_owned(),
                version_choice: None,
            }),
            inputs: inputs.iter().map(|&(alias, dtype)| (alias.to_owned(), tensor(dtype))).collect(),
            output_filter: filter.iter().map(ToString::to_string).collect(),
            ..PredictRequest::default()
        }
    }

    #[test]
    fn the_reply_says_what_answered() {
        let x = [("x", DataType::DtFloat)];
        let reply = predict(&Models::builtin(), &request("half_plus_three", "", &x, &[])).unwrap();
        let version_choice = Some(VersionChoice::Version(124));
        let signature_name = "serving_default".to_owned();
        let expected = ModelSpec { name: "half_plus_three".to_owned(), signature_name, version_choice };
        assert_eq!(reply.model_spec, Some(expected));
        assert_eq!(reply.outputs["y"].float_val, [5.0]);
        // Scalars have a shape that is there, without dimensions.
        assert_eq!(reply.outputs["y"].tensor_shape.as_ref().unwrap().dim, []);
        let x2 = [("inputs", DataType::DtFloat)];
        let reply = predict(&Models::builtin(), &request("half_plus_two", "regress_x2_to_y3", &x2, &[]));
        assert_eq!(reply.unwrap().outputs["outputs"].float_val, [5.0]);
    }

    #[test]
    fn outputs_are_chosen_and_written_as_asked() {
        let inputs = [("a", DataType::DtFloat), ("b", DataType::DtInt64), ("s", DataType::DtString)];
        let all = request("echo", "mixed", &inputs, &[]);
        let reply = predict(&Models::builtin(), &all).unwrap();
        assert_eq!(reply.outputs.len(), 3);
        assert_eq!(reply.outputs["b"].int64_val, [-5]);
        assert_eq!(reply.outputs["s"].string_val, ["é"]);
        let some = request("echo", "mixed", &inputs, &["s", "a"]);
        let reply = predict(&Models::builtin().tensor_content(true), &some).unwrap();
        assert_eq!(reply.outputs.len(), 2);
        assert_eq!(reply.outputs["s"].tensor_content, "\u{2}é");
        assert_eq!(reply.outputs["a"].tensor_content, &b"\0\0\x80\x40"[..]);
    }

    #[test]
    fn every_dtype_is_echoed() {
        let models = Models::builtin();
        for (name, signature) in &models.find(&served_spec("echo", "", 1)).unwrap().program.signatures {
            let inputs: Vec<_> =
                signature.inputs.iter().map(|(alias, info)| (alias.as_str(), info.dtype())).collect();
            let reply = predict(&models, &request("echo", name, &inputs, &[])).unwrap();
            assert_eq!(reply.outputs.len(), inputs.len(), "{name}");
            for output in reply.outputs.values() {
                assert!(inputs.iter().any(|(_, dtype)| *dtype == output.dtype()), "{name}");
            }
        }
    }

    #[test]
    fn refusals_have_the_codes_and_texts_of_tensorflow_serving() {
        const FLOAT: DataType = DataType::DtFloat;
        let check = |request: &PredictRequest, expected: &str| {
            assert_eq!(predict(&Models::builtin(), request).unwrap_err().to_string(), expected);
        };
        check(&PredictRequest::default(), "INVALID_ARGUMENT: Missing ModelSpec");
        let two = |inputs: &[(&str, DataType)], filter: &[&str]| request("half_plus_two", "", inputs, filter);
        check(
            &request("half_plus_two", "s", &[], &[]),
            "FAILED_PRECONDITION: Serving signature key \"s\" not found.",
        );
        check(
            &two(&[("x", FLOAT), ("z", FLOAT)], &[]),
            "INVALID_ARGUMENT: input size does not match signature: 2!=1 len({x,z}) != len({x}). \
             Sent extra: {z}. Missing but required: {}.",
        );
        check(
            &request("echo", "mixed", &[("a", FLOAT)], &[]),
            "INVALID_ARGUMENT: input size does not match signature: 1!=3 len({a}) != len({a,b,s}). \
             Sent extra: {}. Missing but required: {b,s}.",
        );
        check(
            &two(&[("z", FLOAT)], &[]),
            "INVALID_ARGUMENT: Signature input alias: x(feed name: x:0) not found in request and no default \
             value provided. Inputs expected to be in the request {z}, or default input alias set: ",
        );
        let x = [("x", FLOAT)];
        check(
            &two(&x, &["q"]),
            "INVALID_ARGUMENT: output tensor alias not found in signature: q Outputs expected to be in the \
             set {y}.",
        );
        check(&two(&x, &["y", "y"]), "INVALID_ARGUMENT: duplicate output tensor alias: y");
        check(
            &two(&[("x", DataType::DtInt32)], &[]),
            "INVALID_ARGUMENT: Expects arg[0] to be float but int32 is provided",
        );
        check(&two(&[("x", DataType::DtInvalid)], &[]), "INVALID_ARGUMENT: tensor parsing error: x");
    }
}
