//! The recorded answers of TensorFlow Serving (`tests/fixtures/vectors`), through the codec.
//!
//! `DIFFERENCES` is the same table as in the crate's docs: every case in which we answer
//! otherwise on purpose.

use std::collections::HashMap;

use base64_simd::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Map, Value};
use tfbridge::codec::predict::{self, Format};
use tfbridge::codec::signature::{Input, Signature, Signatures};
use tfbridge::codec::{Limits, NanStyle, example, model};
use tfbridge::error::Error;
use tfbridge::proto::tensorflow::serving::{ClassificationResult, GetModelStatusResponse, RegressionResult};
use tfbridge::proto::tensorflow::{DataType, TensorProto};

use crate::support::{self, cases, json_by_value};

/// Cases that we answer differently: the id, and whether we succeed where the original fails.
const DIFFERENCES: [(&str, bool); 12] = [
    ("uint8_out_of_range_accepted", false),
    ("int16_out_of_range_accepted", false),
    ("unsupported_uint16_columnar", true),
    ("unsupported_half_columnar", true),
    ("unsupported_bfloat16_columnar", true),
    ("unsupported_complex64_columnar", false),
    ("unsupported_complex128_columnar", false),
    ("unsupported_half_string_value", false),
    ("err_complex64", true),
    ("dtype_half_row", true),
    ("dtype_complex64_row", true),
    ("string_lone_low_surrogate_accepted", false),
];

fn differs(id: &str) -> Option<bool> {
    DIFFERENCES.iter().find(|(name, _)| *name == id).map(|(_, succeeds)| *succeeds)
}

/// Recorded answers that clients do not rely on, and those that are the original's bugs.
fn is_binding(case: &Value) -> bool {
    case["advice"].as_str().is_none_or(|advice| advice == "match")
}

#[test]
fn predict_bodies_decode_as_recorded() {
    let mut checked = 0;
    // The original takes any depth.
    let limits = Limits { depth: usize::MAX, ..Limits::default() };
    for file in ["decode.json", "decode_probe.json"] {
        for case in cases(file) {
            let id = case["id"].as_str().unwrap();
            let signatures = signatures(&case);
            let result = predict::decode(&body(&case), &signatures, &limits);
            if let Some(succeeds) = differs(id) {
                assert_eq!(result.is_ok(), succeeds, "{id}: {result:?}");
                continue;
            }
            if !is_binding(&case) {
                continue;
            }
            checked += 1;
            check_predict(id, &case["expect"], result);
        }
    }
    assert!(checked > 130, "only {checked} cases were checked");
}

fn check_predict(id: &str, expect: &Value, result: Result<predict::Predict, Error>) {
    if expect.get("http_status").is_some() {
        return check_error(id, expect, &result.expect_err(id));
    }
    let predict = result.unwrap_or_else(|error| panic!("{id}: {error}"));
    let format = if expect["format"] == "row" { Format::Row } else { Format::Columnar };
    assert_eq!(predict.format, format, "{id}");
    if let Some(name) = expect["signature_name"].as_str() {
        assert_eq!(predict.signature_name, name, "{id}");
    }
    let expected: HashMap<String, TensorProto> = expect["tensors"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, tensor)| (name.clone(), support::tensor(tensor)))
        .collect();
    assert_eq!(predict.inputs, expected, "{id}");
}

/// Status and phrase of an error. Syntax errors have the original's text to the letter.
fn check_error(id: &str, expect: &Value, error: &Error) {
    assert_eq!(u64::from(error.status().as_u16()), expect["http_status"], "{id}: {error}");
    if let Some(phrase) = expect["error_contains"].as_str() {
        assert!(error.message().contains(phrase), "{id}: {error}");
    }
    if let Some(exact) = expect["error_exact"].as_str()
        && exact.starts_with("JSON Parse error")
    {
        assert_eq!(error.message(), exact, "{id}");
    }
}

/// The body of a recorded request.
pub fn body(case: &Value) -> Bytes {
    if let Some(parts) = case["request_parts"].as_array() {
        let part = |part: &Value| part[0].as_str().unwrap().repeat(part[1].as_u64().unwrap() as usize);
        return parts.iter().map(part).collect::<String>().into();
    }
    if let Some(encoded) = case["request_b64"].as_str() {
        return BASE64.decode_to_vec(encoded).unwrap().into();
    }
    case["request_json"].as_str().unwrap().to_owned().into()
}

/// The case's signature, under its own name where the body gives one.
fn signatures(case: &Value) -> Signatures {
    let inputs = case["signature"]["inputs"].as_object().unwrap();
    let input = |(name, info): (&String, &Value)| Input {
        name: name.clone(),
        dtype: support::dtype(&info["dtype"]),
        shape: None,
    };
    let signature = Signature::new(inputs.iter().map(input).collect());
    let mut names = vec!["serving_default"];
    names.extend(case["expect"]["signature_name"].as_str());
    names.into_iter().map(|name| (name.to_owned(), signature.clone())).collect()
}

#[test]
fn replies_encode_as_recorded() {
    let mut checked = 0;
    for file in ["encode.json", "encode_probe.json"] {
        for case in cases(file) {
            let id = case["id"].as_str().unwrap();
            if case["format"] == "status_error" {
                check_status_error(id, &case);
                continue;
            }
            let format = if case["format"] == "row" { Format::Row } else { Format::Columnar };
            let tensors = case["tensors"].as_array().unwrap();
            let outputs: HashMap<String, TensorProto> = tensors
                .iter()
                .map(|tensor| (tensor["name"].as_str().unwrap().to_owned(), support::tensor(tensor)))
                .collect();
            // Both encodings of the elements say the same.
            let typed = outputs.iter().map(|(name, tensor)| (name.clone(), support::typed(tensor))).collect();
            let result = predict::encode(&outputs, format, NanStyle::Literal);
            let typed_result = predict::encode(&typed, format, NanStyle::Literal);
            assert_eq!(result.as_ref().ok(), typed_result.as_ref().ok(), "{id}");
            if let Some(succeeds) = differs(id) {
                assert_eq!(result.is_ok(), succeeds, "{id}: {result:?}");
                continue;
            }
            if !is_binding(&case) {
                continue;
            }
            checked += 1;
            if case.get("http_status").is_some() {
                check_error(id, &case, &result.expect_err(id));
                continue;
            }
            let text = String::from_utf8(result.unwrap_or_else(|error| panic!("{id}: {error}"))).unwrap();
            for expected in [&case["exact_text"], &case["expect_json"]].into_iter().filter_map(Value::as_str)
            {
                assert_eq!(json_by_value(&text), json_by_value(expected), "{id}\n{text}\n{expected}");
            }
        }
    }
    assert!(checked >= 38, "only {checked} cases were checked");
}

fn check_status_error(id: &str, case: &Value) {
    let Some(message) = case["status"]["message"].as_str() else { return };
    let error = Error::invalid_argument(message);
    let text = String::from_utf8(error.to_json()).unwrap();
    assert_eq!(json_by_value(&text), json_by_value(case["expect_json"].as_str().unwrap()), "{id}");
}

#[test]
fn examples_decode_as_recorded() {
    let mut checked = 0;
    for file in ["classify_regress.json", "classify_regress_probe.json"] {
        for case in
            cases(file).into_iter().filter(|case| case.get("request_json").is_some() && is_binding(case))
        {
            let id = case["id"].as_str().unwrap();
            checked += 1;
            let result = example::decode(&body(&case), "classify", &Limits::default());
            let expect = &case["expect"];
            if expect.get("http_status").is_some() {
                check_error(id, expect, &result.expect_err(id));
                continue;
            }
            let decoded = result.unwrap_or_else(|error| panic!("{id}: {error}"));
            if let Some(name) = expect["signature_name"].as_str() {
                assert_eq!(decoded.signature_name, name, "{id}");
            }
            assert_eq!(support::input_to_json(&decoded.input), expect["input"], "{id}");
        }
    }
    assert!(checked > 30, "only {checked} cases were checked");
}

#[test]
fn results_encode_as_recorded() {
    let mut checked = 0;
    for file in ["classify_regress.json", "classify_regress_probe.json"] {
        for case in cases(file).into_iter().filter(|case| case.get("result").is_some()) {
            let id = case["id"].as_str().unwrap();
            checked += 1;
            let result = if case["api"] == "classify" {
                let result: ClassificationResult = support::classification_result(&case["result"]);
                example::encode_classifications(&result, NanStyle::Literal)
            } else {
                let result: RegressionResult = support::regression_result(&case["result"]);
                example::encode_regressions(&result, NanStyle::Literal)
            };
            let expect = &case["expect"];
            match result {
                Err(error) => check_error(id, expect, &error),
                Ok(text) => {
                    let text = String::from_utf8(text).unwrap();
                    let expected = expect["exact_text"].as_str().or(expect["expect_json"].as_str()).unwrap();
                    assert_eq!(json_by_value(&text), json_by_value(expected), "{id}");
                }
            }
        }
    }
    assert!(checked >= 7, "only {checked} cases were checked");
}

#[test]
fn statuses_encode_as_recorded() {
    let case = cases("http_probe.json").into_iter().find(|case| case["kind"] == "status_text").unwrap();
    let reply: GetModelStatusResponse = support::status_response(&case["response"]);
    let text = String::from_utf8(model::encode_status(&reply).unwrap()).unwrap();
    let expected: Value = serde_json::from_str(case["expect"]["exact_text"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
}

/// Every bit pattern of `float_format.json` is printed as text that reads back to it, and to
/// the same value as the original's text.
#[test]
fn floats_print_to_the_same_value_as_recorded() {
    let cases = cases("float_format.json");
    assert!(cases.len() > 400);
    for case in cases {
        check_float(&case);
    }
}

fn check_float(case: &Value) {
    let object: &Map<String, Value> = case.as_object().unwrap();
    let (dtype, bits, text) = support::float_case(object);
    let mut tensor = TensorProto { dtype: dtype.into(), ..TensorProto::default() };
    tensor.tensor_content = match dtype {
        DataType::DtFloat => u32::try_from(bits).unwrap().to_le_bytes().to_vec().into(),
        _ => bits.to_le_bytes().to_vec().into(),
    };
    tensor.tensor_shape = Some(support::shape(&[]));
    let outputs = HashMap::from([("y".to_owned(), tensor)]);
    let reply = predict::encode(&outputs, Format::Columnar, NanStyle::Literal).unwrap();
    let ours = std::str::from_utf8(&reply[b"{\"outputs\":".len()..reply.len() - 1]).unwrap();
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        assert_eq!(ours, text);
        return;
    }
    assert!(ours.contains(['.', 'e']), "{ours} does not look like a float");
    if dtype == DataType::DtFloat {
        let expected = f32::from_bits(u32::try_from(bits).unwrap());
        assert_eq!(ours.parse::<f32>().unwrap().to_bits(), expected.to_bits(), "{ours}");
        assert_eq!(text.parse::<f32>().unwrap().to_bits(), expected.to_bits(), "{text}");
    } else {
        assert_eq!(ours.parse::<f64>().unwrap().to_bits(), bits, "{ours}");
        assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits, "{text}");
    }
}
