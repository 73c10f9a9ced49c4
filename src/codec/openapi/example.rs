//! Requests that a model is likely to take, as examples. Large ones are left out: nobody reads them.

use serde_json::{Map, Value, json};

use super::request::{Named, has_batch};
use crate::codec::catalog::Signature;
use crate::codec::inference::dtype;
use crate::codec::sample;
use crate::codec::signature::DEFAULT_SIGNATURE;
use crate::proto::tensorflow::DataType;

/// The most elements of an example.
pub(super) const MOST: usize = 2000;

/// Whether a signature has a sample that is worth to be shown. What looks like a serialized message has none:
/// nobody knows what is in it.
fn is_shown(signature: &Signature) -> bool {
    let is_message = signature.inputs.iter().any(|(name, tensor)| {
        let name = name.to_ascii_lowercase();
        tensor.dtype == DataType::DtString && (name.contains("example") || name.contains("serialized"))
    });
    !is_message && sample::elements(signature).is_some_and(|elements| elements <= MOST)
}

/// The same body with the name of its signature, if that is needed.
fn named(name: &str, mut body: Value) -> Value {
    if name != DEFAULT_SIGNATURE {
        body["signature_name"] = json!(name);
    }
    body
}

/// Predict bodies in rows and columns.
pub(super) fn bodies(signatures: &[Named<'_>]) -> Value {
    let mut examples = Map::new();
    for (name, signature) in signatures.iter().filter(|(_, signature)| is_shown(signature)) {
        if let Some(row) = sample::row(signature).filter(|_| has_batch(signature)) {
            let value = json!({"summary": format!("{name}, a row"), "value": named(name, row)});
            examples.insert(format!("{}_row", key(name)), value);
        }
        if let Some(columns) = sample::columnar(signature) {
            let value = json!({"summary": format!("{name}, columns"), "value": named(name, columns)});
            examples.insert(format!("{}_columns", key(name)), value);
        }
    }
    Value::Object(examples)
}

/// The keys of examples are made of few characters.
pub(super) fn key(name: &str) -> String {
    name.chars().map(|it| if it.is_ascii_alphanumeric() || it == '_' { it } else { '-' }).collect()
}

/// Lines for the default signature.
pub(super) fn lines(signatures: &[Named<'_>]) -> Option<Value> {
    let (_, signature) = signatures.iter().find(|(name, _)| *name == DEFAULT_SIGNATURE)?;
    // What is not shown is not made: it may be large.
    let row =
        if is_shown(signature) && has_batch(signature) { sample::row(signature)? } else { return None };
    let lines: Vec<_> = row["instances"].as_array()?.iter().map(|line| format!("{line}\n")).collect();
    Some(json!(lines.concat()))
}

/// A body of examples, if some signature takes its inputs one by one in columns: these may be the features.
pub(super) fn features(signatures: &[Named<'_>]) -> Option<Value> {
    let is_column = |shape: &Option<Vec<i64>>| matches!(shape.as_deref(), Some([-1] | [-1, 1]));
    let are_features = |signature: &Signature| signature.inputs.values().all(|input| is_column(&input.shape));
    let (_, signature) = signatures.iter().find(|(name, _)| *name == DEFAULT_SIGNATURE)?;
    if are_features(signature) { sample::examples(signature) } else { None }
}

/// A body of the Open Inference Protocol. Outputs that are no text are left out: its JSON has no place for them.
pub(super) fn inference(name: &str, signature: &Signature) -> Option<Value> {
    let columns = if is_shown(signature) { sample::columnar(signature)? } else { return None };
    let inputs = signature.inputs.iter().map(|(name, tensor)| {
        let shape = sample::shape(tensor);
        let datatype = dtype::name(tensor.dtype)?;
        let data = columns["inputs"].get(name)?;
        // A single value has no list around it.
        let data = if shape.is_empty() { json!([data]) } else { data.clone() };
        Some(json!({"name": name, "shape": shape, "datatype": datatype, "data": data}))
    });
    let mut body = json!({"inputs": inputs.collect::<Option<Vec<_>>>()?});
    let is_text = |name: &&String| !name.ends_with("_bytes");
    let outputs: Vec<_> =
        signature.outputs.keys().filter(is_text).map(|name| json!({"name": name})).collect();
    if outputs.is_empty() {
        return None;
    }
    if outputs.len() < signature.outputs.len() {
        body["outputs"] = json!(outputs);
    }
    if name != DEFAULT_SIGNATURE {
        body["parameters"] = json!({"signature_name": name});
    }
    Some(body)
}
