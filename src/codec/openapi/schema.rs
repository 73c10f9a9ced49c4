//! JSON Schema in small pieces.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::components::members;

/// Any of these; the one itself if there is only one.
pub(super) fn any_of(schemas: Vec<Value>) -> Value {
    choice("anyOf", schemas)
}

/// Exactly one of these; the one itself if there is only one.
pub(super) fn one_of(schemas: Vec<Value>) -> Value {
    choice("oneOf", schemas)
}

fn choice(keyword: &str, mut schemas: Vec<Value>) -> Value {
    // By their text: there may be thousands, of which each would be compared with all.
    let mut seen = HashSet::with_capacity(schemas.len());
    schemas.retain(|schema| seen.insert(schema.to_string()));
    if schemas.len() == 1 { schemas.swap_remove(0) } else { members([(keyword, Value::Array(schemas))]) }
}

/// An object with these members, all of which it must have.
pub(super) fn object(properties: Map<String, Value>) -> Value {
    let required: Vec<_> = properties.keys().cloned().collect();
    members([
        ("type", json!("object")),
        ("required", json!(required)),
        ("properties", Value::Object(properties)),
    ])
}

/// The same without any other members.
pub(super) fn closed(properties: Map<String, Value>) -> Value {
    let mut schema = object(properties);
    schema["additionalProperties"] = json!(false);
    schema
}

/// A list of such items: of this size if it is known, else of at least so many.
pub(super) fn list(items: &Value, size: Option<u64>, fewest: u64) -> Value {
    list_of(items.clone(), size, fewest)
}

/// The same of items that are for it alone: lists of hundreds of levels would be copied at each.
pub(super) fn list_of(items: Value, size: Option<u64>, fewest: u64) -> Value {
    let mut schema = members([("type", json!("array")), ("items", items)]);
    if let Some(size) = size {
        schema["maxItems"] = json!(size);
    }
    match size.unwrap_or(fewest) {
        0 => {}
        fewest => schema["minItems"] = json!(fewest),
    }
    schema
}

/// The sizes that are known of a shape.
pub(super) fn known(size: i64) -> Option<u64> {
    u64::try_from(size).ok()
}
