//! Predictions through the bridge beside those that TensorFlow makes in Python: bit for bit.
//!
//! `tests/serving/run` exports the models, has Python compute `reference.json`, serves the
//! models over gRPC and runs this with `TFBRIDGE_TEST_REFERENCE` naming the file.

use std::{env, fs};

use base64_simd::STANDARD as BASE64;
use serde_json::{Value, json};
use tfbridge::codec::Limits;
use tfbridge::codec::predict;
use tfbridge::codec::signature::{Input, Signature, Signatures};
use tfbridge::proto::tensorflow::DataType;

use crate::{suite, support};

#[tokio::test]
#[ignore = "needs real TensorFlow: tests/serving/run"]
async fn predictions_equal_those_of_tensorflow() {
    let file = env::var("TFBRIDGE_TEST_REFERENCE").expect("tests/serving/run sets this");
    env::var("TFBRIDGE_TEST_SERVING").expect("tests/serving/run sets this");
    let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert!(cases.len() > 80, "{}", cases.len());
    let bridge = suite::bridge().await;
    let mut client = bridge.connect().await;
    for case in &cases {
        let id = case["id"].as_str().unwrap();
        let response = client.post(case["path"].as_str().unwrap(), case["body"].as_str().unwrap()).await;
        assert_eq!(response.status, 200, "{id}: {}", response.text());
        check(id, case, response.text());
    }
}

/// Reads the reply back as a request for the same dtype: the codec's own way to exact bytes,
/// whose correctness the property tests show.
fn check(id: &str, case: &Value, reply: &str) {
    let dtype = support::dtype(&case["dtype"]);
    let shape: Vec<i64> =
        case["shape"].as_array().unwrap().iter().map(|size| size.as_i64().unwrap()).collect();
    let (key, request_key) =
        if case["format"] == "row" { ("predictions", "instances") } else { ("outputs", "inputs") };
    let name = case["output"].as_str().unwrap();
    let is_only = case["outputs"] == 1;
    let values = values(reply, key, if is_only { None } else { Some(name) });
    if shape.first() == Some(&0) {
        assert_eq!(values, "[]", "{id}");
        return;
    }
    let input = Input { name: "x".to_owned(), dtype, shape: None };
    let signatures: Signatures =
        [("serving_default".to_owned(), Signature::new(vec![input]))].into_iter().collect();
    let body = format!("{{\"{request_key}\": {values}}}");
    let mut decoded = predict::decode(&body.clone().into(), &signatures, &Limits::default())
        .unwrap_or_else(|error| panic!("{id}: {error}\n{body}"));
    let tensor = decoded.inputs.remove("x").unwrap();
    let sizes: Vec<i64> = tensor.tensor_shape.unwrap().dim.iter().map(|dim| dim.size).collect();
    assert_eq!(sizes, shape, "{id}");
    if dtype == DataType::DtString {
        let strings: Vec<String> =
            tensor.string_val.iter().map(|value| BASE64.encode_to_string(value)).collect();
        assert_eq!(json!(strings), case["values_b64"], "{id}");
    } else {
        let hex: String = tensor.tensor_content.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, case["values_hex"].as_str().unwrap(), "{id}");
    }
}

/// The text of one output's values in a reply; numbers keep the text they have.
fn values(reply: &str, key: &str, name: Option<&str>) -> String {
    let prefix = format!("{{\"{key}\":");
    let Some(name) = name else {
        return reply.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix('}')).unwrap().to_owned();
    };
    // Replies of several outputs hold no NaN in these cases, so they are strict JSON.
    let json: Value = serde_json::from_str(reply).unwrap();
    match &json[key] {
        Value::Array(rows) => Value::Array(rows.iter().map(|row| row[name].clone()).collect()).to_string(),
        columns => columns[name].to_string(),
    }
}
