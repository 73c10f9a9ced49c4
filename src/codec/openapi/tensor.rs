//! The schemas of tensors: of their elements by dtype, of their lists by shape.

use serde_json::{Value, json};

use super::components::Components;
use super::schema::{any_of, known, list, list_of};
use crate::codec::catalog::Tensor;
use crate::codec::sample::is_float;
use crate::codec::writer::NanStyle;
use crate::codec::{MAX_RANK, dtype};
use crate::proto::tensorflow::DataType;

/// What base64 may be, as the codec reads it: white space anywhere, padding right or absent.
const BASE64: &str = "^(?:(?:[ \\t\\n\\f\\r]*[A-Za-z0-9+/]){4})*(?:(?:[ \\t\\n\\f\\r]*[A-Za-z0-9+/]){2}(?:[ \\t\\n\\f\\r]*=[ \\t\\n\\f\\r]*=)?|(?:[ \\t\\n\\f\\r]*[A-Za-z0-9+/]){3}(?:[ \\t\\n\\f\\r]*=)?)?[ \\t\\n\\f\\r]*$";

/// How many levels of lists are told of a tensor of any rank.
const TOLD_DEPTH: usize = 5;

/// Which way a tensor goes, for the two are not written quite alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the model.
    In,
    /// From the model, with this form of what is no number.
    Out(NanStyle),
}

/// A dtype that JSON can carry.
pub(super) fn is_known(tensor: &Tensor) -> bool {
    tensor.dtype == DataType::DtString || dtype::width(tensor.dtype).is_some()
}

/// Whether a tensor has a dimension to be cut into rows, as far as is known.
pub(super) fn has_rows(tensor: &Tensor) -> bool {
    tensor.shape.as_ref().is_none_or(|shape| !shape.is_empty())
}

/// An element of a tensor.
fn element(name: &str, dtype: DataType, way: Way, components: &mut Components) -> Value {
    use DataType::{
        DtBool, DtComplex64, DtComplex128, DtInt8, DtInt16, DtInt32, DtInt64, DtString, DtUint8, DtUint16,
        DtUint32, DtUint64,
    };
    match dtype {
        DtBool => json!({"type": "boolean"}),
        DtInt8 => json!({"type": "integer", "minimum": i8::MIN, "maximum": i8::MAX}),
        DtInt16 => json!({"type": "integer", "minimum": i16::MIN, "maximum": i16::MAX}),
        DtInt32 => json!({"type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX}),
        DtInt64 => json!({"type": "integer", "format": "int64", "minimum": i64::MIN, "maximum": i64::MAX}),
        DtUint8 => json!({"type": "integer", "minimum": 0, "maximum": u8::MAX}),
        DtUint16 => json!({"type": "integer", "minimum": 0, "maximum": u16::MAX}),
        DtUint32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        DtUint64 => json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}),
        DtComplex64 | DtComplex128 => list(&number(dtype, way), Some(2), 0),
        DtString if way == Way::In => {
            let base64 = base64(components);
            components.schema("Text", || {
                json!({
                    "description": "A string, or any bytes as base64.",
                    "anyOf": [{"type": "string"}, base64],
                })
            })
        }
        DtString if name.ends_with("_bytes") => base64(components),
        DtString => json!({"type": "string"}),
        _ => number(dtype, way),
    }
}

fn number(dtype: DataType, way: Way) -> Value {
    let format = match dtype {
        DataType::DtFloat | DataType::DtComplex64 => Some("float"),
        DataType::DtDouble | DataType::DtComplex128 => Some("double"),
        _ => None,
    };
    let mut number = json!({"type": "number"});
    if let Some(format) = format {
        number["format"] = json!(format);
    }
    match way {
        Way::Out(NanStyle::Null) => json!({"anyOf": [number, {"type": "null"}]}),
        Way::Out(NanStyle::String) => {
            json!({"anyOf": [number, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]})
        }
        Way::In | Way::Out(NanStyle::Literal | NanStyle::Error) => number,
    }
}

/// Bytes as an object.
pub(super) fn base64(components: &mut Components) -> Value {
    components.schema("Base64", || {
        json!({
            "type": "object",
            "description": "Bytes that need not be text.",
            "required": ["b64"],
            "properties": {"b64": {"type": "string", "contentEncoding": "base64", "pattern": BASE64}},
            "additionalProperties": false,
        })
    })
}

/// A whole tensor.
pub(super) fn whole(name: &str, tensor: &Tensor, way: Way, components: &mut Components) -> Value {
    match &tensor.shape {
        Some(shape) => nested(name, tensor.dtype, shape, way, components),
        None => any_rank(name, tensor.dtype, way, components),
    }
}

/// A row of a tensor: what one of a batch has.
pub(super) fn row(name: &str, tensor: &Tensor, way: Way, components: &mut Components) -> Value {
    match &tensor.shape {
        Some(shape) => nested(name, tensor.dtype, shape.get(1..).unwrap_or_default(), way, components),
        None => any_rank(name, tensor.dtype, way, components),
    }
}

/// Lists in lists of these sizes.
fn nested(name: &str, dtype: DataType, shape: &[i64], way: Way, components: &mut Components) -> Value {
    if shape.len() > MAX_RANK {
        return json!({});
    }
    let mut schema = element(name, dtype, way, components);
    for (depth, size) in shape.iter().rev().enumerate() {
        // In a list without any elements nobody could see how large these would be.
        let fewest = u64::from(way == Way::In && depth > 0);
        schema = list_of(schema, known(*size), fewest);
    }
    schema
}

/// An element, or lists of any depth: JSON Schema cannot say that they have the same size at each level.
///
/// It could refer to itself, but makers of clients cannot follow that; so deep lists have anything in them.
pub(super) fn any_rank(name: &str, dtype: DataType, way: Way, components: &mut Components) -> Value {
    let is_bytes = way != Way::In && dtype == DataType::DtString && name.ends_with("_bytes");
    let element = element(name, dtype, way, components);
    let word = if is_bytes { "Bytes".to_owned() } else { super::names::pascal(&dtype::name(dtype)) };
    // Numbers of the two ways differ only in what is none.
    let is_same = matches!(way, Way::In | Way::Out(NanStyle::Literal | NanStyle::Error));
    let suffix = if (is_same && dtype != DataType::DtString) || way == Way::In { "" } else { "Out" };
    components.schema(&format!("{word}Tensor{suffix}"), || {
        let mut schema = json!({});
        for _ in 0..TOLD_DEPTH {
            schema = json!({"anyOf": [element, {"type": "array", "items": schema}]});
        }
        schema["description"] =
            json!("A value, or lists of values of any depth, of the same size at each level.");
        schema
    })
}

/// What `top_k` makes of scores: their places, and the best of them. `None` if it leaves the tensor as it is.
pub(super) fn best(
    tensor: &Tensor,
    is_row: bool,
    way: Way,
    components: &mut Components,
) -> Option<[Value; 2]> {
    let mut sizes = tensor.shape.clone()?;
    let last = sizes.last_mut().filter(|_| is_float(tensor.dtype))?;
    *last = -1;
    if is_row && sizes.len() < 2 {
        return None;
    }
    let scores = Tensor { dtype: tensor.dtype, shape: Some(sizes.clone()) };
    let indices = Tensor { dtype: DataType::DtInt32, shape: Some(sizes) };
    let mut schema = |tensor: &Tensor| {
        if is_row { row("", tensor, way, components) } else { whole("", tensor, way, components) }
    };
    Some([schema(&indices), schema(&scores)])
}

/// Any of several tensors, such as the one output that a filter leaves.
pub(super) fn any_value(values: impl IntoIterator<Item = Value>) -> Value {
    any_of(values.into_iter().collect())
}
