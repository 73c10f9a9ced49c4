//! The Open Inference Protocol: its bodies, whose inputs are those of the signatures, and its replies.

use serde_json::{Map, Value, json};

use super::components::{Components, json_content, reference};
use super::example;
use super::request::Named;
use super::schema::{any_of, known, list, one_of};
use super::tensor::{Way, any_rank};
use crate::codec::catalog::{Signature, Tensor};
use crate::codec::inference::dtype;
use crate::codec::signature::DEFAULT_SIGNATURE;

/// The signatures that the protocol has datatypes for.
pub(super) fn callable<'a>(signatures: &[Named<'a>]) -> Vec<Named<'a>> {
    let is_known = |tensor: &Tensor| dtype::name(tensor.dtype).is_some();
    let is_callable =
        |signature: &Signature| signature.inputs.values().chain(signature.outputs.values()).all(is_known);
    signatures.iter().filter(|(_, signature)| is_callable(signature)).copied().collect()
}

/// The body of a request to infer.
pub(super) fn content(name: &str, signatures: &[Named<'_>], components: &mut Components) -> Value {
    let mut forms = Vec::new();
    let mut examples = Map::new();
    for (signature_name, signature) in signatures {
        let schema = request(signature_name, signature, components);
        let name = components.name(&format!("{name}{}Infer", super::names::pascal(signature_name)));
        forms.push(components.schema(&name, || schema));
        if let Some(value) = example::inference(signature_name, signature) {
            examples.insert(example::key(signature_name), json!({"summary": signature_name, "value": value}));
        }
    }
    let mut content = json_content(one_of(forms));
    content["application/json"]["examples"] = Value::Object(examples);
    content
}

fn request(signature_name: &str, signature: &Signature, components: &mut Components) -> Value {
    let inputs: Vec<_> =
        signature.inputs.iter().map(|(name, tensor)| input(name, tensor, components)).collect();
    let size = u64::try_from(inputs.len()).ok();
    let names: Vec<_> = signature.outputs.keys().collect();
    let output = json!({
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "enum": names}},
    });
    let is_default = signature_name == DEFAULT_SIGNATURE;
    let (names, required, kind) = if is_default {
        (json!([signature_name, ""]), json!(["inputs"]), json!(["object", "null"]))
    } else {
        (json!([signature_name]), json!(["inputs", "parameters"]), json!("object"))
    };
    let mut parameters = json!({
        "type": kind,
        "properties": {"signature_name": {"type": "string", "enum": names}},
    });
    if !is_default {
        parameters["required"] = json!(["signature_name"]);
    }
    json!({
        "type": "object",
        "required": required,
        "properties": {
            "id": {"type": ["string", "null"], "description": "What the client calls the request."},
            "parameters": parameters,
            "inputs": list(&any_of(inputs), size, 0),
            "outputs": {
                "type": ["array", "null"],
                "description": "The outputs that are wanted; without it, all of them.",
                "items": output,
            },
        },
    })
}

fn input(name: &str, tensor: &Tensor, components: &mut Components) -> Value {
    let size = json!({"type": "integer", "minimum": 0, "maximum": i64::MAX});
    let rank = tensor.shape.as_ref().map(|shape| shape.len() as u64);
    let sizes: Vec<_> = tensor.shape.iter().flatten().map(|size| known(*size)).collect();
    let mut shape = list(&size, rank, 0);
    if sizes.iter().any(Option::is_some) {
        let open = |known: &Option<u64>| {
            known.map_or_else(|| size.clone(), |it| json!({"type": "integer", "const": it}))
        };
        shape["prefixItems"] = sizes.iter().map(open).collect();
    }
    let mut data = any_rank(name, tensor.dtype, Way::In, components);
    data["description"] = json!("The elements in a flat list, or in lists as the shape says.");
    json!({
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"type": "string", "const": name},
            "shape": shape,
            "datatype": {"type": "string", "const": dtype::name(tensor.dtype)},
            "data": data,
        },
    })
}

/// The reply to a request to infer.
pub(super) fn reply(components: &mut Components) -> Value {
    let schema = components.schema("InferReply", || {
        json!({
            "type": "object",
            "required": ["model_name", "outputs"],
            "properties": {
                "id": {"type": "string"},
                "model_name": {"type": "string"},
                "model_version": {"type": "string"},
                "outputs": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "shape", "datatype"],
                        "properties": {
                            "name": {"type": "string"},
                            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                            "datatype": {"type": "string", "enum": dtype::names()},
                            "data": {
                                "description": "All elements, in a flat list.",
                                "type": "array",
                                "items": {"type": ["number", "string", "boolean", "null"]},
                            },
                        },
                    },
                },
            },
        })
    });
    json_content(schema)
}

/// What a model is.
pub(super) fn metadata(components: &mut Components) -> Value {
    let tensor = components.schema("InferTensor", || {
        json!({
            "type": "object",
            "required": ["name", "datatype", "shape"],
            "properties": {
                "name": {"type": "string"},
                "datatype": {"type": "string"},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
            },
        })
    });
    let schema = components.schema("InferModel", || {
        json!({
            "type": "object",
            "required": ["name", "versions", "platform", "inputs", "outputs"],
            "properties": {
                "name": {"type": "string"},
                "versions": {"type": "array", "items": {"type": "string"}},
                "platform": {"type": "string"},
                "inputs": list(&tensor, None, 0),
                "outputs": list(&tensor, None, 0),
            },
        })
    });
    json_content(schema)
}

/// Whether a model can be used.
pub(super) fn ready(components: &mut Components) -> Value {
    components.schema("InferModelReady", || {
        json!({
            "type": "object",
            "required": ["name", "ready"],
            "properties": {"name": {"type": "string"}, "ready": {"type": "boolean"}},
        })
    });
    json_content(reference("schemas", "InferModelReady"))
}
