//! A file of signatures, for model servers that do not tell theirs.
//!
//! The file is a JSON object from names of models to their signatures, in either of two forms:
//!
//! - what `GET /v1/models/NAME/metadata` answers, here or at TensorFlow Serving:
//!   `{"model_spec": ..., "metadata": {"signature_def": {"signature_def": {...}}}}`;
//! - only what is needed of it:
//!   `{"serving_default": {"inputs": {"x": {"dtype": "DT_FLOAT", "shape": [-1, 100]}}}}`, where
//!   `shape` may be absent and the dtype be spelled in any way that
//!   [`from_name`](crate::codec::dtype::from_name) knows.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Input, Signature, Signatures};
use crate::codec::dtype;
use crate::proto::tensorflow::DataType;

/// Reads the signatures of the models in the file.
///
/// # Errors
///
/// The place in the file, by line or by the names of model, signature and input, and the reason.
pub fn parse(text: &[u8]) -> Result<BTreeMap<String, Signatures>, String> {
    let file: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let models = object(&file).map_err(|reason| format!("the file {reason}"))?;
    let read = |(name, value): (&String, &Value)| match signatures(value) {
        Ok(signatures) => Ok((name.clone(), signatures)),
        Err(reason) => Err(format!("model {name:?}{reason}")),
    };
    models.iter().map(read).collect()
}

/// The signatures of one model. As below, a reason starts with the rest of its place.
fn signatures(value: &Value) -> Result<Signatures, String> {
    let members = object(value).map_err(|reason| format!(" {reason}"))?;
    let definitions = match members.get("metadata") {
        // A signature of that name would have inputs.
        Some(metadata) if metadata.get("inputs").is_none() => metadata
            .get("signature_def")
            .and_then(|map| map.get("signature_def"))
            .ok_or(": \"metadata\" has no \"signature_def\" in a \"signature_def\"")?,
        _ => value,
    };
    let definitions =
        object(definitions).map_err(|reason| format!(": the inner \"signature_def\" {reason}"))?;
    let read = |(name, value): (&String, &Value)| match signature(value) {
        Ok(signature) => Ok((name.clone(), signature)),
        Err(reason) => Err(format!(", signature {name:?}{reason}")),
    };
    definitions.iter().map(read).collect()
}

fn signature(value: &Value) -> Result<Signature, String> {
    let members = object(value).map_err(|reason| format!(" {reason}"))?;
    let inputs = members.get("inputs").ok_or(" has no \"inputs\"")?;
    let inputs = object(inputs).map_err(|reason| format!(": \"inputs\" {reason}"))?;
    let read = |(name, value): (&String, &Value)| {
        input(name, value).map_err(|reason| format!(", input {name:?}{reason}"))
    };
    Ok(Signature::new(inputs.iter().map(read).collect::<Result<_, _>>()?))
}

/// The members of an input: ours, and those of TensorFlow that say no more.
const INPUT_MEMBERS: [&str; 6] = ["dtype", "shape", "tensor_shape", "name", "coo_sparse", "composite_tensor"];

fn input(name: &str, value: &Value) -> Result<Input, String> {
    let members = object(value).map_err(|reason| format!(" {reason}"))?;
    // A shape that is misspelled would be no shape at all.
    if let Some(unknown) = members.keys().find(|key| !INPUT_MEMBERS.contains(&key.as_str())) {
        return Err(format!(" has the unknown member {unknown:?}"));
    }
    let dtype = members.get("dtype").ok_or(" has no \"dtype\"")?;
    let dtype = read_dtype(dtype).ok_or_else(|| format!(": {dtype} is not a dtype, such as \"DT_FLOAT\""))?;
    Ok(Input { name: name.to_owned(), dtype, shape: shape(members)? })
}

/// The sizes, if they are told and the rank is not open.
fn shape(members: &Map<String, Value>) -> Result<Option<Vec<i64>>, String> {
    let told = |name| members.get(name).filter(|shape| !shape.is_null());
    let (sizes, shape, form) = match (told("shape"), told("tensor_shape")) {
        (None, None) => return Ok(None),
        (Some(shape), None) => (short_shape(shape), shape, "a list of sizes of which -1 is any"),
        (None, Some(shape)) if shape.get("unknown_rank") == Some(&Value::Bool(true)) => return Ok(None),
        (None, Some(shape)) => (tensor_shape(shape), shape, "an object as TensorFlow Serving writes it"),
        (Some(_), Some(_)) => return Err(" has both \"shape\" and \"tensor_shape\"".to_owned()),
    };
    sizes.map(Some).ok_or_else(|| format!(": {shape} is not a shape, {form}"))
}

fn read_dtype(value: &Value) -> Option<DataType> {
    match value {
        Value::String(name) => dtype::from_name(name),
        // What a server writes for a dtype newer than its protos.
        Value::Number(number) => Some(dtype::from_wire(number.as_i64()?.try_into().ok()?)),
        _ => None,
    }
}

fn short_shape(value: &Value) -> Option<Vec<i64>> {
    value.as_array()?.iter().map(size).collect()
}

/// The sizes in `{"dim": [{"size": "-1"}]}`.
fn tensor_shape(value: &Value) -> Option<Vec<i64>> {
    match value.as_object()?.get("dim") {
        Some(dim) => dim.as_array()?.iter().map(|dim| size(dim.get("size")?)).collect(),
        None => Some(Vec::new()),
    }
}

/// A size, which protobuf's JSON writes as a string.
fn size(value: &Value) -> Option<i64> {
    let size = match value {
        Value::String(digits) => digits.parse().ok()?,
        value => value.as_i64()?,
    };
    (size >= -1).then_some(size)
}

fn object(value: &Value) -> Result<&Map<String, Value>, &'static str> {
    value.as_object().ok_or("must be an object")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use prost::Message as _;
    use prost_types::Any;
    use serde_json::json;

    use super::*;
    use crate::codec::model;
    use crate::proto::tensorflow::serving::{GetModelMetadataResponse, SignatureDefMap};
    use crate::proto::tensorflow::tensor_shape_proto::Dim;
    use crate::proto::tensorflow::{SignatureDef, TensorInfo, TensorShapeProto};

    fn info(dtype: i32, sizes: Option<&[i64]>) -> TensorInfo {
        let dim = |&size: &i64| Dim { size, ..Dim::default() };
        let shape = |sizes: &[i64]| TensorShapeProto {
            dim: sizes.iter().map(dim).collect(),
            ..TensorShapeProto::default()
        };
        TensorInfo { dtype, tensor_shape: sizes.map(shape), ..TensorInfo::default() }
    }

    #[test]
    fn a_metadata_reply_reads_back() {
        let any_rank = TensorShapeProto { unknown_rank: true, ..TensorShapeProto::default() };
        let inputs = HashMap::from([
            ("a".to_owned(), info(DataType::DtFloat.into(), Some(&[-1, 100]))),
            ("b".to_owned(), info(DataType::DtString.into(), Some(&[]))),
            ("c".to_owned(), info(DataType::DtUint16.into(), None)),
            ("d".to_owned(), TensorInfo { tensor_shape: Some(any_rank), ..info(9, None) }),
            ("of \"tomorrow\"".to_owned(), info(99, None)),
            ("invalid".to_owned(), info(0, None)),
        ]);
        let map = SignatureDefMap {
            signature_def: HashMap::from([
                ("serving_default".to_owned(), SignatureDef { inputs, ..SignatureDef::default() }),
                ("__saved_model_init_op".to_owned(), SignatureDef::default()),
            ]),
        };
        let packed = Any {
            type_url: "type.googleapis.com/tensorflow.serving.SignatureDefMap".to_owned(),
            value: map.encode_to_vec(),
        };
        let reply = GetModelMetadataResponse {
            metadata: HashMap::from([("signature_def".to_owned(), packed)]),
            ..GetModelMetadataResponse::default()
        };
        let text = String::from_utf8(model::encode_metadata(&reply).unwrap()).unwrap();
        let models = parse(format!(r#"{{"m": {text}, "n": {{}}}}"#).as_bytes()).unwrap();
        let expected = [("m".to_owned(), Signatures::from(&map)), ("n".to_owned(), Signatures::default())];
        assert_eq!(models, BTreeMap::from(expected));
    }

    #[test]
    fn the_short_form_says_only_what_is_needed() {
        let text = br#"{"m": {
            "serving_default": {"inputs": {
                "y": {"dtype": "int64"}, "x": {"dtype": "DT_FLOAT", "shape": [-1, 100]}
            }},
            "metadata": {"inputs": {"s": {"dtype": "string", "shape": []}}, "outputs": {}}
        }}"#;
        let input = |name: &str, dtype, shape| Input { name: name.to_owned(), dtype, shape };
        let default = Signature::new(vec![
            input("x", DataType::DtFloat, Some(vec![-1, 100])),
            input("y", DataType::DtInt64, None),
        ]);
        let metadata = Signature::new(vec![input("s", DataType::DtString, Some(Vec::new()))]);
        let signatures = Signatures::from_iter([
            ("serving_default".to_owned(), default),
            ("metadata".to_owned(), metadata),
        ]);
        assert_eq!(parse(text), Ok(BTreeMap::from([("m".to_owned(), signatures)])));
    }

    #[test]
    fn faults_name_their_place() {
        let input = |input| json!({"m": {"s": {"inputs": {"x": input}}}});
        let place = r#"model "m", signature "s", input "x""#;
        for (file, expected) in [
            (json!([]), "the file must be an object".to_owned()),
            (json!({"m": 1}), r#"model "m" must be an object"#.to_owned()),
            (json!({"m": {"s": []}}), r#"model "m", signature "s" must be an object"#.to_owned()),
            (json!({"m": {"s": {}}}), r#"model "m", signature "s" has no "inputs""#.to_owned()),
            (
                json!({"m": {"s": {"inputs": []}}}),
                r#"model "m", signature "s": "inputs" must be an object"#.to_owned(),
            ),
            (
                json!({"m": {"metadata": {"signature_def": {}}}}),
                r#"model "m": "metadata" has no "signature_def" in a "signature_def""#.to_owned(),
            ),
            (
                json!({"m": {"metadata": {"signature_def": {"signature_def": 1}}}}),
                r#"model "m": the inner "signature_def" must be an object"#.to_owned(),
            ),
            (input(json!("DT_FLOAT")), format!("{place} must be an object")),
            (input(json!({})), format!(r#"{place} has no "dtype""#)),
            (
                input(json!({"dtype": "DT_TEXT"})),
                format!(r#"{place}: "DT_TEXT" is not a dtype, such as "DT_FLOAT""#),
            ),
            (input(json!({"dtype": null})), format!(r#"{place}: null is not a dtype, such as "DT_FLOAT""#)),
            (
                input(json!({"dtype": "bool", "shpae": [1]})),
                format!(r#"{place} has the unknown member "shpae""#),
            ),
            (
                input(json!({"dtype": "bool", "shape": [-2]})),
                format!("{place}: [-2] is not a shape, a list of sizes of which -1 is any"),
            ),
            (
                input(json!({"dtype": "bool", "tensor_shape": {"dim": [{}]}})),
                format!(
                    r#"{place}: {{"dim":[{{}}]}} is not a shape, an object as TensorFlow Serving writes it"#
                ),
            ),
            (
                input(json!({"dtype": "bool", "shape": [], "tensor_shape": {}})),
                format!(r#"{place} has both "shape" and "tensor_shape""#),
            ),
        ] {
            assert_eq!(parse(file.to_string().as_bytes()), Err(expected), "{file}");
        }
        assert_eq!(parse(b"{\"m\":"), Err("EOF while parsing a value at line 1 column 5".to_owned()));
    }
}
