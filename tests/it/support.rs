//! What several tests need: vector files as values, tensors from them, JSON compared by value.

use std::fs;

use serde_json::{Map, Value, json};
use tfbridge::proto::tensorflow::serving::{
    Class, ClassificationResult, Classifications, GetModelStatusResponse, Input, ModelVersionStatus,
    Regression, RegressionResult, StatusProto, input, model_version_status,
};
use tfbridge::proto::tensorflow::tensor_shape_proto::Dim;
use tfbridge::proto::tensorflow::{DataType, Example, TensorProto, TensorShapeProto, error, feature};

/// The cases of a vector file.
pub fn cases(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(format!("tests/fixtures/vectors/{file}")).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub fn dtype(name: &Value) -> DataType {
    DataType::from_str_name(name.as_str().unwrap()).unwrap()
}

pub fn shape(sizes: &[i64]) -> TensorShapeProto {
    let dim = sizes.iter().map(|&size| Dim { size, name: String::new() }).collect();
    TensorShapeProto { dim, unknown_rank: false }
}

/// The float of a JSON value in which infinities and NaN are strings.
pub fn float(value: &Value) -> f64 {
    match value.as_str() {
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        _ => value.as_f64().unwrap(),
    }
}

/// The bytes of a string, or of a base64 object.
fn bytes(value: &Value) -> Vec<u8> {
    match value.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => base64_simd::STANDARD.decode_to_vec(value["b64"].as_str().unwrap()).unwrap(),
    }
}

fn integer(value: &Value) -> i128 {
    value.as_i64().map(i128::from).or(value.as_u64().map(i128::from)).unwrap()
}

/// A tensor of a vector file, its numbers as `tensor_content`.
pub fn tensor(case: &Value) -> TensorProto {
    let dtype = dtype(&case["dtype"]);
    let sizes =
        case["shape"].as_array().map(|sizes| sizes.iter().map(|size| size.as_i64().unwrap()).collect());
    let values = case["values"].as_array().cloned().unwrap_or_default();
    let mut tensor = TensorProto {
        dtype: dtype.into(),
        tensor_shape: sizes.map(|sizes: Vec<i64>| shape(&sizes)),
        ..TensorProto::default()
    };
    if dtype == DataType::DtString {
        tensor.string_val = values.iter().map(|value| bytes(value).into()).collect();
        return tensor;
    }
    let content: Vec<u8> = values
        .iter()
        .flat_map(|value| match dtype {
            DataType::DtFloat => (float(value) as f32).to_le_bytes().to_vec(),
            DataType::DtDouble => float(value).to_le_bytes().to_vec(),
            DataType::DtBool => vec![u8::from(value.as_bool().unwrap())],
            // Halves and complex numbers occur as placeholders only: what counts is the dtype.
            dtype if value.is_array() || value.is_object() || value.is_string() => {
                vec![0; tfbridge::codec::dtype::width(dtype).unwrap()]
            }
            dtype => {
                let width = tfbridge::codec::dtype::width(dtype).unwrap();
                let mut bytes = value
                    .as_f64()
                    .filter(|_| !value.is_i64() && !value.is_u64())
                    .map_or_else(|| integer(value), |float| float as i128)
                    .to_le_bytes()
                    .to_vec();
                bytes.resize(width, 0);
                bytes
            }
        })
        .collect();
    tensor.tensor_content = content.into();
    tensor
}

/// The same tensor with its elements in the typed field of the dtype.
pub fn typed(tensor: &TensorProto) -> TensorProto {
    let content = tensor.tensor_content.clone();
    let mut typed = TensorProto { tensor_content: bytes::Bytes::new(), ..tensor.clone() };
    macro_rules! fill {
        ($field:ident, $integer:ty) => {
            typed.$field = content
                .chunks_exact(size_of::<$integer>())
                .map(|chunk| <$integer>::from_le_bytes(chunk.try_into().unwrap()).into())
                .collect()
        };
    }
    match tensor.dtype() {
        DataType::DtFloat => fill!(float_val, f32),
        DataType::DtDouble => fill!(double_val, f64),
        DataType::DtInt32 => fill!(int_val, i32),
        DataType::DtInt16 => fill!(int_val, i16),
        DataType::DtInt8 => fill!(int_val, i8),
        DataType::DtUint8 => fill!(int_val, u8),
        DataType::DtUint16 => fill!(int_val, u16),
        DataType::DtHalf | DataType::DtBfloat16 => fill!(half_val, u16),
        DataType::DtInt64 => fill!(int64_val, i64),
        DataType::DtUint32 => fill!(uint32_val, u32),
        DataType::DtUint64 => fill!(uint64_val, u64),
        DataType::DtComplex64 => fill!(scomplex_val, f32),
        DataType::DtComplex128 => fill!(dcomplex_val, f64),
        DataType::DtBool => typed.bool_val = content.iter().map(|&byte| byte != 0).collect(),
        _ => {}
    }
    typed
}

/// JSON in which numbers that are floats are rounded to float32 and non-finite tokens are
/// strings, so that equality means equality by value.
pub fn json_by_value(text: &str) -> Value {
    let mut quoted = String::new();
    let mut in_string = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let token =
            ["-Infinity", "Infinity", "NaN"].into_iter().find(|token| !in_string && rest.starts_with(token));
        if let Some(token) = token {
            quoted.push_str(&format!("\"{token}\""));
            rest = &rest[token.len()..];
            continue;
        }
        let mut length = first.len_utf8();
        if in_string && first == '\\' {
            length += rest[length..].chars().next().map_or(0, char::len_utf8);
        } else if first == '"' {
            in_string = !in_string;
        }
        quoted.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    let value = serde_json::from_str(&quoted).unwrap_or_else(|error| panic!("{error}\n{text}"));
    round(value)
}

fn round(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().unwrap() as f32;
            json!({ "float": float.to_bits() })
        }
        Value::Array(items) => items.into_iter().map(round).collect(),
        Value::Object(members) => Value::Object(
            members.into_iter().map(|(name, value)| (name, round(value))).collect::<Map<_, _>>(),
        ),
        other => other,
    }
}

/// The JSON that the vectors use for an `Input`.
pub fn input_to_json(input: &Input) -> Value {
    match input.kind.as_ref().unwrap() {
        input::Kind::ExampleList(list) => {
            json!({"example_list": {"examples": list.examples.iter().map(example).collect::<Vec<_>>()}})
        }
        input::Kind::ExampleListWithContext(list) => json!({"example_list_with_context": {
            "context": example(list.context.as_ref().unwrap()),
            "examples": list.examples.iter().map(example).collect::<Vec<_>>(),
        }}),
    }
}

fn example(example: &Example) -> Value {
    let features = example.features.as_ref().unwrap();
    let feature: Map<String, Value> = features
        .feature
        .iter()
        .map(|(name, feature)| {
            let kind = match &feature.kind {
                None => json!({}),
                Some(feature::Kind::BytesList(list)) => {
                    let values: Vec<_> =
                        list.value.iter().map(|value| String::from_utf8_lossy(value)).collect();
                    json!({"bytes_list": {"value": values}})
                }
                Some(feature::Kind::FloatList(list)) => {
                    let values: Vec<_> = list.value.iter().map(|&value| float_to_json(value)).collect();
                    json!({"float_list": {"value": values}})
                }
                Some(feature::Kind::Int64List(list)) => json!({"int64_list": {"value": list.value}}),
            };
            (name.clone(), kind)
        })
        .collect();
    json!({"features": {"feature": feature}})
}

fn float_to_json(value: f32) -> Value {
    if value.is_nan() {
        json!("NaN")
    } else if value.is_infinite() {
        json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        json!(f64::from(value))
    }
}

pub fn classification_result(case: &Value) -> ClassificationResult {
    let class = |class: &Value| Class {
        label: class["label"].as_str().unwrap_or_default().to_owned(),
        score: class.get("score").map_or(0.0, |score| float(score) as f32),
    };
    let classes = |case: &Value| Classifications {
        classes: case["classes"].as_array().unwrap().iter().map(class).collect(),
    };
    ClassificationResult {
        classifications: case["classifications"].as_array().unwrap().iter().map(classes).collect(),
    }
}

pub fn regression_result(case: &Value) -> RegressionResult {
    let regression = |case: &Value| Regression { value: float(&case["value"]) as f32 };
    RegressionResult { regressions: case["regressions"].as_array().unwrap().iter().map(regression).collect() }
}

pub fn status_response(case: &Value) -> GetModelStatusResponse {
    let version = |case: &Value| ModelVersionStatus {
        version: case["version"].as_i64().unwrap(),
        state: model_version_status::State::from_str_name(case["state"].as_str().unwrap()).unwrap().into(),
        status: Some(StatusProto {
            error_code: error::Code::from_str_name(case["status"]["error_code"].as_str().unwrap())
                .unwrap()
                .into(),
            error_message: case["status"]["error_message"].as_str().unwrap().to_owned(),
        }),
    };
    let versions = case["model_version_status"].as_array().unwrap();
    GetModelStatusResponse { model_version_status: versions.iter().map(version).collect() }
}

/// Dtype, bits and recorded text of a case of `float_format.json`.
pub fn float_case(case: &Map<String, Value>) -> (DataType, u64, &str) {
    let bits = u64::from_str_radix(case["bits_hex"].as_str().unwrap(), 16).unwrap();
    (dtype(&case["dtype"]), bits, case["text"].as_str().unwrap())
}
