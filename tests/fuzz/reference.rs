//! What a predict body means, said in the plainest way: a tree, then tensors by recursion.

use std::collections::HashMap;

use tfbridge::codec::MAX_RANK;
use tfbridge::codec::predict::{Format, Predict};
use tfbridge::codec::signature::{Input, Signature, Signatures};
use tfbridge::proto::tensorflow::tensor_shape_proto::Dim;
use tfbridge::proto::tensorflow::{DataType, TensorProto, TensorShapeProto};

use crate::json::Json;
use crate::short_float;

/// The dtypes that signatures of the targets have; the last two have no form in JSON.
pub const DTYPES: [DataType; 18] = [
    DataType::DtFloat,
    DataType::DtDouble,
    DataType::DtInt32,
    DataType::DtUint8,
    DataType::DtInt16,
    DataType::DtInt8,
    DataType::DtString,
    DataType::DtComplex64,
    DataType::DtInt64,
    DataType::DtBool,
    DataType::DtBfloat16,
    DataType::DtUint16,
    DataType::DtComplex128,
    DataType::DtHalf,
    DataType::DtUint32,
    DataType::DtUint64,
    DataType::DtResource,
    DataType::DtQint8,
];

/// Takes signatures off the front of a fuzzer's input: one to three inputs of any dtypes, and
/// under `other` a signature with the last of them alone.
pub fn signatures(data: &[u8]) -> Option<(Signatures, &[u8])> {
    let (&count, rest) = data.split_first()?;
    let (dtypes, rest) = rest.split_at_checked(usize::from(count % 3) + 1)?;
    let input = |(&dtype, name): (&u8, &str)| Input {
        name: name.to_owned(),
        dtype: DTYPES[usize::from(dtype) % DTYPES.len()],
        shape: None,
    };
    let inputs: Vec<Input> = dtypes.iter().zip(["x", "y", "z"]).map(input).collect();
    let last = Input { name: "x".to_owned(), ..inputs.last()?.clone() };
    let signatures = [("serving_default", Signature::new(inputs)), ("other", Signature::new(vec![last]))];
    Some((signatures.into_iter().map(|(name, signature)| (name.to_owned(), signature)).collect(), rest))
}

/// The meaning of a body; `None` if it has none.
pub fn predict(body: &Json, signatures: &Signatures) -> Option<Predict> {
    let Json::Object(members) = body else { return None };
    let signature_name = match body.get("signature_name") {
        None => String::new(),
        Some(Json::String(name)) => name.clone(),
        Some(_) => return None,
    };
    // An extension: the first one that is a list counts, what is none is ignored.
    let is_filter =
        |(name, value): &&(String, Json)| name == "output_filter" && matches!(value, Json::List(_));
    let output_filter = match members.iter().find(is_filter) {
        Some((_, Json::List(items))) => items.iter().map(string).collect::<Option<_>>()?,
        _ => Vec::new(),
    };
    // And another one: a whole number from 1.
    let top_k = match body.get("top_k") {
        None => None,
        Some(Json::Number(count)) => Some(count.parse().ok()?),
        Some(_) => return None,
    };
    let inputs = &signatures.get(&signature_name).ok()?.inputs;
    let (format, tensors) = match (body.get("instances"), body.get("inputs")) {
        (Some(Json::List(rows)), None) => (Format::Row, from_rows(rows, inputs)?),
        (None, Some(value)) => (Format::Columnar, from_columns(value, inputs)?),
        _ => return None,
    };
    Some(Predict { signature_name, format, inputs: tensors, output_filter, top_k })
}

fn string(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        _ => None,
    }
}

type Tensors = HashMap<String, TensorProto>;

fn from_rows(rows: &[Json], inputs: &[Input]) -> Option<Tensors> {
    if !is_object_of_inputs(rows.first()?) {
        let [input] = inputs else { return None };
        return Some(Tensors::from([(input.name.clone(), tensor_of_list(input.dtype, rows.iter())?)]));
    }
    for row in rows {
        let Json::Object(members) = row else { return None };
        let all = inputs.iter().all(|input| row.get(&input.name).is_some());
        if !is_object_of_inputs(row) || members.len() != inputs.len() || !all {
            return None;
        }
    }
    inputs
        .iter()
        .map(|input| {
            let column = rows.iter().filter_map(|row| row.get(&input.name));
            Some((input.name.clone(), tensor_of_list(input.dtype, column)?))
        })
        .collect()
}

fn from_columns(value: &Json, inputs: &[Input]) -> Option<Tensors> {
    if is_object_of_inputs(value) {
        let tensor =
            |input: &Input| Some((input.name.clone(), tensor(input.dtype, value.get(&input.name)?)?));
        return inputs.iter().map(tensor).collect();
    }
    let [input] = inputs else { return None };
    Some(Tensors::from([(input.name.clone(), tensor(input.dtype, value)?)]))
}

/// True for every object that is not one string in base64.
fn is_object_of_inputs(json: &Json) -> bool {
    matches!(json, Json::Object(_)) && base64_text(json).is_none()
}

fn base64_text(json: &Json) -> Option<&str> {
    match json {
        Json::Object(members) => match members.as_slice() {
            [(name, Json::String(text))] if name == "b64" => Some(text),
            _ => None,
        },
        _ => None,
    }
}

#[derive(Default)]
struct Elements {
    content: Vec<u8>,
    strings: Vec<bytes::Bytes>,
}

fn tensor(dtype: DataType, json: &Json) -> Option<TensorProto> {
    let mut elements = Elements::default();
    let shape = flatten(dtype, json, &mut elements)?;
    to_proto(dtype, &shape, elements)
}

fn tensor_of_list<'a>(dtype: DataType, items: impl Iterator<Item = &'a Json>) -> Option<TensorProto> {
    let mut elements = Elements::default();
    let shape = flatten_list(dtype, items, &mut elements)?;
    to_proto(dtype, &shape, elements)
}

fn to_proto(dtype: DataType, shape: &[i64], elements: Elements) -> Option<TensorProto> {
    let dim = shape.iter().map(|&size| Dim { size, ..Dim::default() }).collect();
    (shape.len() <= MAX_RANK).then(|| TensorProto {
        dtype: dtype.into(),
        tensor_shape: Some(TensorShapeProto { dim, unknown_rank: false }),
        tensor_content: elements.content.into(),
        string_val: elements.strings,
        ..TensorProto::default()
    })
}

/// Collects the elements and finds the shape: that of every item after the number of items.
fn flatten(dtype: DataType, json: &Json, elements: &mut Elements) -> Option<Vec<i64>> {
    match json {
        Json::List(items) if !is_complex(dtype, items) => flatten_list(dtype, items.iter(), elements),
        _ => element(dtype, json, elements).map(|()| Vec::new()),
    }
}

fn flatten_list<'a>(
    dtype: DataType,
    items: impl Iterator<Item = &'a Json>,
    elements: &mut Elements,
) -> Option<Vec<i64>> {
    let mut shapes = items.map(|item| flatten(dtype, item, elements));
    let Some(first) = shapes.next() else { return Some(vec![0]) };
    let first = first?;
    let mut count = 1;
    for shape in shapes {
        if shape? != first {
            return None;
        }
        count += 1;
    }
    Some([vec![count], first].concat())
}

/// True if a list is meant as one complex number: it has items, and the first is no list.
fn is_complex(dtype: DataType, items: &[Json]) -> bool {
    matches!(dtype, DataType::DtComplex64 | DataType::DtComplex128)
        && items.first().is_some_and(|first| !matches!(first, Json::List(_)))
}

fn element(dtype: DataType, json: &Json, elements: &mut Elements) -> Option<()> {
    let out = &mut elements.content;
    match dtype {
        DataType::DtFloat => out.extend((float(json)? as f32).to_le_bytes()),
        DataType::DtDouble => out.extend(float(json)?.to_le_bytes()),
        DataType::DtHalf => out.extend(short_float::round(float(json)?, short_float::HALF).to_le_bytes()),
        DataType::DtBfloat16 => {
            out.extend(short_float::round(float(json)?, short_float::BFLOAT16).to_le_bytes())
        }
        DataType::DtInt8 => out.extend(integer::<i8>(json)?.to_le_bytes()),
        DataType::DtInt16 => out.extend(integer::<i16>(json)?.to_le_bytes()),
        DataType::DtInt32 => out.extend(integer::<i32>(json)?.to_le_bytes()),
        DataType::DtInt64 => out.extend(integer::<i64>(json)?.to_le_bytes()),
        DataType::DtUint8 => out.extend(integer::<u8>(json)?.to_le_bytes()),
        DataType::DtUint16 => out.extend(integer::<u16>(json)?.to_le_bytes()),
        DataType::DtUint32 => out.extend(integer::<u32>(json)?.to_le_bytes()),
        DataType::DtUint64 => out.extend(integer::<u64>(json)?.to_le_bytes()),
        DataType::DtBool => match json {
            Json::Bool(value) => out.push(u8::from(*value)),
            _ => return None,
        },
        DataType::DtComplex64 | DataType::DtComplex128 => {
            let Json::List(parts) = json else { return None };
            let [real, imaginary] = parts.as_slice() else { return None };
            let part = if dtype == DataType::DtComplex64 { DataType::DtFloat } else { DataType::DtDouble };
            element(part, real, elements)?;
            element(part, imaginary, elements)?;
        }
        DataType::DtString => {
            let value = match (json, base64_text(json)) {
                (Json::String(text), _) => text.clone().into_bytes(),
                (_, Some(text)) => base64(text)?,
                _ => return None,
            };
            elements.strings.push(value.into());
        }
        _ => return None,
    }
    Some(())
}

fn float(json: &Json) -> Option<f64> {
    match json {
        Json::Number(token) => token.parse().ok(),
        _ => None,
    }
}

fn integer<T: TryFrom<i128>>(json: &Json) -> Option<T> {
    match json {
        Json::Number(token) => token.parse::<i128>().ok()?.try_into().ok(),
        _ => None,
    }
}

/// Base64 as the web's `atob` forgives it: white space anywhere, padding complete or absent,
/// leftover bits ignored.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut digits: Vec<u8> =
        text.bytes().filter(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | 0x0C | b'\r')).collect();
    if digits.len() % 4 == 0 {
        for _ in 0..2 {
            digits.pop_if(|last| *last == b'=');
        }
    }
    if digits.len() % 4 == 1 {
        return None;
    }
    let (mut bits, mut length, mut bytes) = (0_u32, 0, Vec::new());
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        length += 6;
        if length >= 8 {
            length -= 8;
            bytes.push((bits >> length) as u8);
        }
    }
    Some(bytes)
}
