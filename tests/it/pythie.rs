//! The bridge in front of pythie-serving, a server that has Predict alone: it tells no signatures,
//! no states and no versions, and its inputs must be columns, `[rows, 1]`.
//!
//! `tests/pythie/run` serves the models of `tests/pythie/models.py` and names the two servers in
//! `TFBRIDGE_TEST_PYTHIE` and `TFBRIDGE_TEST_PYTHIE_TABLE`.

use std::env;

use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::client::Client;

/// A client of a bridge, which must be kept, to the server in a variable.
async fn connect(variable: &str) -> (Bridge, Client) {
    let server = env::var(variable).expect("tests/pythie/run sets this");
    let bridge = Bridge::in_front_of(&server, |_| {}).await;
    let client = bridge.connect().await;
    (bridge, client)
}

async fn check(client: &mut Client, model: &str, body: &str, expected: Value) {
    let response = client.post(&format!("/v1/models/{model}:predict"), body).await;
    assert_eq!(response.status, 200, "{model} {body}: {}", response.text());
    assert_eq!(response.json(), expected, "{model} {body}");
    assert!(!response.headers.contains_key("x-model-version"), "{model} {body}");
}

#[tokio::test]
#[ignore = "needs pythie-serving: tests/pythie/run"]
async fn predictions_are_made_without_signatures() {
    let (_bridge, mut client) = connect("TFBRIDGE_TEST_PYTHIE").await;
    for (model, body, expected) in [
        // Floats and integers are told apart by how they are written.
        (
            "linear",
            r#"{"instances": [{"a": [2.0], "b": [1.0]}, {"a": [5.0], "b": [-1.0]}]}"#,
            json!({"predictions": [2.0, 1.5]}),
        ),
        (
            "linear",
            r#"{"instances": [{"a": [2], "b": [1]}, {"a": [5], "b": [-1]}]}"#,
            json!({"predictions": [2.0, 1.5]}),
        ),
        ("linear", r#"{"inputs": {"a": [[2.0], [5.5]], "b": [[1], [-1]]}}"#, json!({"outputs": [2.0, 1.75]})),
        // The dtypes may be said, before the values or after them.
        (
            "linear",
            r#"{"dtypes": {"a": "DT_DOUBLE"}, "inputs": {"a": [[2]], "b": [[1]]}}"#,
            json!({"outputs": [2.0]}),
        ),
        (
            "linear",
            r#"{"instances": [{"a": [2], "b": [1]}], "dtypes": {"a": "DT_INT32", "b": "DT_FLOAT"}}"#,
            json!({"predictions": [2.0]}),
        ),
        // No integer of 64 bits is lost on the way, which a float would have done.
        (
            "count",
            r#"{"instances": [{"p": [9007199254740993], "q": [0]}]}"#,
            json!({"predictions": [9_007_199_254_740_993_i64]}),
        ),
        ("count", r#"{"inputs": {"p": [[true], [false]], "q": [[1], [-1]]}}"#, json!({"outputs": [2, -1]})),
        (
            "shout",
            r#"{"instances": [{"s": ["ab"]}, {"s": [{"b64": "Yw=="}]}]}"#,
            json!({"predictions": [["AB"], ["C"]]}),
        ),
    ] {
        check(&mut client, model, body, expected).await;
    }
}

#[tokio::test]
#[ignore = "needs pythie-serving: tests/pythie/run"]
async fn tables_are_looked_up() {
    let (_bridge, mut client) = connect("TFBRIDGE_TEST_PYTHIE_TABLE").await;
    let rows = r#"{"instances": [{"color": ["red"], "size": [2]}, {"color": ["blue"], "size": [1]}]}"#;
    check(&mut client, "prices", rows, json!({"predictions": [20, 30]})).await;
    let columns = r#"{"inputs": {"color": [["red"], ["green"]], "size": [[1], [1]]}}"#;
    check(&mut client, "prices", columns, json!({"outputs": [10, -1]})).await;
}

#[tokio::test]
#[ignore = "needs pythie-serving: tests/pythie/run"]
async fn what_the_server_raises_reaches_the_client() {
    let (_bridge, mut client) = connect("TFBRIDGE_TEST_PYTHIE").await;
    for (model, body, phrase) in [
        ("linear", r#"{"instances": [{"a": 2.0, "b": 1.0}]}"#, "All input vectors should be 1D tensor"),
        ("linear", r#"{"inputs": {"a": [[2.0]]}}"#, "Missing features: {'b'}"),
        ("none", r#"{"inputs": {"a": [[2.0]]}}"#, "Unknown model: none."),
    ] {
        let response = client.post(&format!("/v1/models/{model}:predict"), body).await;
        // All that Python raises is UNKNOWN.
        assert_eq!(response.status, 500, "{model} {body}: {}", response.text());
        assert!(response.error().contains(phrase), "{model} {body}: {}", response.text());
    }
}

#[tokio::test]
#[ignore = "needs pythie-serving: tests/pythie/run"]
async fn what_the_server_does_not_have_is_not_implemented() {
    let (_bridge, mut client) = connect("TFBRIDGE_TEST_PYTHIE").await;
    for path in ["/v1/models/linear", "/v1/models/linear/metadata"] {
        let response = client.get(path).await;
        assert_eq!(response.status, 501, "{path}: {}", response.text());
    }
    for verb in ["classify", "regress"] {
        let response =
            client.post(&format!("/v1/models/linear:{verb}"), r#"{"examples": [{"a": 1.0}]}"#).await;
        assert_eq!(response.status, 501, "{verb}: {}", response.text());
    }
}
