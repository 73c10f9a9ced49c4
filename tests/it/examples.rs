//! Examples for predict: JSON features that become the strings which a signature parses.

use std::time::Duration;

use serde_json::json;
use tfbridge::mock::Models;
use tfbridge::proto::tensorflow::DataType;

use crate::bridge::Bridge;
use crate::scripted::{Model, Script, Scripted};

const HALF: &str = "/v1/models/half_plus_two:predict";
const ECHO: &str = "/v1/models/echo:predict";

#[tokio::test]
async fn a_signature_that_parses_examples_gets_them() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    let body = r#"{"signature_name": "regress_x_to_y", "examples": [{"x": 20.0}, {"x": [80.0]}]}"#;
    assert_eq!(client.post(HALF, body).await.json(), json!({"predictions": [[12.0], [42.0]]}));
    let body = r#"{"examples": [{"x": 20.0}], "signature_name": "classify_x_to_y", "top_k": 1}"#;
    let expected = json!({"predictions": [{"indices": [0], "scores": [12.0]}]});
    assert_eq!(client.post(HALF, body).await.json(), expected);
}

#[tokio::test]
async fn each_format_is_the_message_that_it_names() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    for (format, rest, expected) in [
        // The bytes are those of the Python classes.
        ("example", r#""examples": [{"a": 1}]"#, "CgwKCgoBYRIFGgMKAQE="),
        (
            "sequence_example",
            r#""examples": [{"context": {"a": 1}, "feature_lists": {"b": [[1], []]}}]"#,
            "CgwKCgoBYRIFGgMKAQESEAoOCgFiEgkKBRoDCgEBCgA=",
        ),
        // Empty values and names are there, and names are in order.
        ("example", r#""examples": [{"v": [], "": 1}]"#, "ChIKCQoAEgUaAwoBAQoFCgF2EgA="),
        ("sequence_example", r#""examples": [{"feature_lists": {"t": []}}]"#, "EgcKBQoBdBIA"),
        (
            "elwc",
            r#""context": {"a": 1}, "examples": [{"a": 1}, {}]"#,
            "Cg4KDAoKCgFhEgUaAwoBAQoCCgASDgoMCgoKAWESBRoDCgEB",
        ),
    ] {
        let body = format!(r#"{{"signature_name": "bytes", "example_format": "{format}", {rest}}}"#);
        let response = client.post(ECHO, body).await;
        assert_eq!(response.json(), json!({"predictions": [{"b64": expected}]}), "{format}");
    }
}

#[tokio::test]
async fn examples_that_cannot_be_meant_are_refused() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    for (path, body, phrase) in [
        (HALF, r#"{"examples": [{"x": 1.0}]}"#, "only input takes strings; this one has x: float"),
        (ECHO, r#"{"examples": [{}], "signature_name": "mixed"}"#, "has a: float, b: int64, s: string"),
        (ECHO, r#"{"examples": [{}], "instances": [1]}"#, "only one of 'inputs', 'instances' or 'examples'"),
        (ECHO, r#"{"inputs": [1], "examples": [{}]}"#, "only one of 'inputs', 'instances' or 'examples'"),
        (ECHO, r#"{"example_format": "elwc"}"#, "Missing 'inputs' or 'instances' key"),
        (ECHO, r#"{"signature_name": "bytes", "examples": [{"x": [1, "a"]}]}"#, "/examples/0/x/1: "),
        (
            ECHO,
            r#"{"signature_name": "bytes", "examples": [{}], "example_format": "e"}"#,
            "/example_format: ",
        ),
        (ECHO, r#"{"signature_name": "bytes", "examples": [{}"#, "JSON Parse error"),
    ] {
        let response = client.post(path, body).await;
        assert_eq!(response.status, 400, "{body}: {}", response.text());
        assert!(response.error().contains(phrase), "{body}: {}", response.text());
    }
}

#[tokio::test]
async fn where_nobody_knows_the_input_the_body_names_it() {
    let backend = Scripted::start_with(Script::Answer(Duration::ZERO), false).await;
    *backend.state.model.lock().unwrap() = Model { version: 7, dtype: DataType::DtString, rank: 1 };
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    let mut client = bridge.connect().await;
    let path = "/v1/models/m:predict";
    let response = client.post(path, r#"{"examples": [{"a": 1}], "dtypes": {"x": "string"}}"#).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let response = client.post(path, r#"{"examples": [{"a": 1}]}"#).await;
    assert!(response.error().starts_with("/examples: The model server does not tell"), "{}", response.text());
}
