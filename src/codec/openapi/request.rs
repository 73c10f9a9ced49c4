//! The schemas of predict bodies in JSON: rows or columns for each signature.

use serde_json::{Map, Value, json};

use super::components::Components;
use super::schema::{any_of, closed, list, object, one_of};
use super::tensor::{Way, has_rows, is_known, row, whole};
use crate::codec::catalog::{Signature, Tensor};
use crate::codec::sample::is_float;
use crate::codec::signature::DEFAULT_SIGNATURE;

/// A signature that can be called, by its name.
pub(super) type Named<'a> = (&'a str, &'a Signature);

/// Whether all inputs and outputs can be written as JSON.
pub(super) fn is_callable(signature: &Signature) -> bool {
    !signature.inputs.is_empty() && signature.inputs.values().chain(signature.outputs.values()).all(is_known)
}

/// How many rows a batch has, where its size is fixed; `Err` if there can be no rows.
fn batch(signature: &Signature) -> Result<Option<u64>, ()> {
    if !signature.inputs.values().chain(signature.outputs.values()).all(has_rows) {
        return Err(());
    }
    let sizes = signature.inputs.values().filter_map(|tensor| tensor.shape.as_ref()?.first().copied());
    let mut batch = None;
    for size in sizes.filter_map(super::schema::known) {
        if size == 0 || *batch.get_or_insert(size) != size {
            return Err(());
        }
    }
    Ok(batch)
}

/// Whether bodies may be rows.
pub(super) fn has_batch(signature: &Signature) -> bool {
    batch(signature).is_ok()
}

/// A body for one of these signatures, each in rows or columns.
pub(super) fn body(name: &str, signatures: &[Named<'_>], components: &mut Components) -> Value {
    let mut forms = Vec::new();
    for (signature_name, signature) in signatures {
        let name = format!("{name}{}", super::names::pascal(signature_name));
        if let Some(rows) = rows(signature, components) {
            let schema = form(signature_name, signature, "instances", rows, true);
            let name = components.name(&format!("{name}Rows"));
            forms.push(components.schema(&name, || schema));
        }
        let columns = columns(signature, components);
        let schema = form(signature_name, signature, "inputs", columns, false);
        let name = components.name(&format!("{name}Columns"));
        forms.push(components.schema(&name, || schema));
    }
    one_of(forms)
}

/// The object around the values of a body.
fn form(signature_name: &str, signature: &Signature, key: &str, values: Value, is_row: bool) -> Value {
    let is_default = signature_name == DEFAULT_SIGNATURE;
    let names = if is_default { json!([signature_name, ""]) } else { json!([signature_name]) };
    let mut properties = Map::new();
    properties.insert(key.to_owned(), values);
    properties.insert("signature_name".to_owned(), json!({"type": "string", "enum": names}));
    let names: Vec<_> = signature.outputs.keys().collect();
    let filter = json!({
        "description": "The outputs that are wanted, a list of names; without it, all of them. What is no list is ignored.",
        "items": {"type": "string", "enum": names},
        "uniqueItems": true,
    });
    properties.insert("output_filter".to_owned(), filter);
    let least = if is_row { 2 } else { 1 };
    let is_score = |tensor: &Tensor| {
        is_float(tensor.dtype) && tensor.shape.as_ref().is_some_and(|shape| shape.len() >= least)
    };
    if signature.outputs.values().any(is_score) {
        let top = json!({
            "type": "integer",
            "description": "How many of the best scores are wanted, with their places, in place of all of them.",
            "minimum": 1,
            "maximum": u64::MAX,
        });
        properties.insert("top_k".to_owned(), top);
    }
    let required = if is_default { json!([key]) } else { json!([key, "signature_name"]) };
    let others: Vec<_> = ["instances", "inputs", "examples"]
        .iter()
        .filter(|other| **other != key)
        .map(|other| json!({"required": [other]}))
        .collect();
    json!({
        "type": "object",
        "required": required,
        "properties": properties,
        "not": {"anyOf": others},
    })
}

/// The value of `instances`.
pub(super) fn rows(signature: &Signature, components: &mut Components) -> Option<Value> {
    let size = batch(signature).ok()?;
    let inputs = signature.inputs.iter();
    let values: Map<_, _> =
        inputs.map(|(name, tensor)| (name.clone(), row(name, tensor, Way::In, components))).collect();
    let mut forms = Vec::new();
    if values.len() == 1 {
        forms.extend(values.values().map(|value| list(value, size, 1)));
    }
    forms.push(list(&closed(values), size, 1));
    Some(any_of(forms))
}

/// The value of `inputs`.
pub(super) fn columns(signature: &Signature, components: &mut Components) -> Value {
    let inputs = signature.inputs.iter();
    let values: Map<_, _> =
        inputs.map(|(name, tensor)| (name.clone(), whole(name, tensor, Way::In, components))).collect();
    let mut forms = Vec::new();
    if values.len() == 1 {
        forms.extend(values.values().cloned());
    }
    forms.push(object(values));
    any_of(forms)
}

/// One row alone, as a route of one's own has it: the value of the only input, or an object that may have more than
/// the inputs.
pub(super) fn entry(signature: &Signature, components: &mut Components) -> Value {
    let inputs = signature.inputs.iter();
    let values: Map<_, _> =
        inputs.map(|(name, tensor)| (name.clone(), row(name, tensor, Way::In, components))).collect();
    let only = values.values().next().filter(|_| values.len() == 1).cloned();
    any_of(only.into_iter().chain([object(values)]).collect())
}
