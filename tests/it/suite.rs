//! What every model server behind the bridge must answer, with the models half_plus_two,
//! half_plus_three and affine100.
//!
//! The server is the mock, or the one at `TFBRIDGE_TEST_SERVING` (host:port of its gRPC port):
//! real TensorFlow (`tests/serving/run`), or a TensorFlow Serving container with these models.
//! `TFBRIDGE_TEST_TRANSPORT=tls` (or `mtls`, `unix`) puts that transport in front of the mock.

use std::env;

use serde_json::{Value, json};

use crate::backend::Transport;
use crate::bridge::{Bridge, models};

/// A bridge in front of the server under test.
pub async fn bridge() -> Bridge {
    match env::var("TFBRIDGE_TEST_SERVING") {
        Ok(serving) => Bridge::in_front_of(&serving, |_| {}).await,
        Err(_) => Bridge::over(Transport::from_env(), models()).await,
    }
}

/// Posts a body and compares status and reply.
async fn check(path: &str, body: &str, expected: Value) {
    let response = bridge().await.connect().await.post(path, body).await;
    assert_eq!(response.status, 200, "{path} {body}: {}", response.text());
    assert_eq!(response.json(), expected, "{path} {body}");
}

/// Posts a body and compares the error.
async fn check_error(path: &str, body: &str, status: u16, phrase: &str) {
    let response = bridge().await.connect().await.post(path, body).await;
    assert_eq!(response.status, status, "{path} {body}: {}", response.text());
    assert!(response.error().contains(phrase), "{path} {body}: {}", response.text());
}

const HALF: &str = "/v1/models/half_plus_two:predict";

#[tokio::test]
async fn predict_takes_rows_and_columns() {
    check(HALF, r#"{"instances": [1.0, 2.0, 5.0]}"#, json!({"predictions": [2.5, 3.0, 4.5]})).await;
    check(HALF, r#"{"instances": [[1.0], [2.0]]}"#, json!({"predictions": [[2.5], [3.0]]})).await;
    check(HALF, r#"{"instances": [{"x": 1}, {"x": 2}]}"#, json!({"predictions": [2.5, 3.0]})).await;
    check(HALF, r#"{"inputs": [1.0, 2.0]}"#, json!({"outputs": [2.5, 3.0]})).await;
    check(HALF, r#"{"inputs": {"x": [[1.0]]}}"#, json!({"outputs": [[2.5]]})).await;
    check(HALF, r#"{"inputs": 1}"#, json!({"outputs": 2.5})).await;
    check(HALF, r#"{"inputs": [], "signature_name": "serving_default"}"#, json!({"outputs": []})).await;
    check("/v1/models/half_plus_three:predict", r#"{"instances": [1]}"#, json!({"predictions": [3.5]})).await;
}

#[tokio::test]
async fn affine100_answers_a_number_for_each_row() {
    let zeros = vec![0.0; 100];
    let body = json!({"instances": [zeros, vec![64.0; 100]]}).to_string();
    check("/v1/models/affine100:predict", &body, json!({"predictions": [[0.5], [-49.5]]})).await;
    let body = json!({"instances": [[1.0, 2.0]]}).to_string();
    check_error("/v1/models/affine100:predict", &body, 400, "Matrix size-incompatible").await;
}

#[tokio::test]
async fn versions_and_labels_choose_who_answers() {
    let bridge = bridge().await;
    let mut client = bridge.connect().await;
    for (path, version) in [
        ("/v1/models/half_plus_two:predict", "124"),
        ("/v1/models/half_plus_two/versions/123:predict", "123"),
        ("/v1/models/half_plus_two/versions/0124:predict", "124"),
        ("/v1/models/half_plus_two/labels/stable:predict", "123"),
        ("/v1/models/half_plus_two/labels/canary:predict", "124"),
        ("/V1/Models/half_plus_two/Labels/canary:predict?trace=1", "124"),
    ] {
        let response = client.post(path, r#"{"instances": [2]}"#).await;
        assert_eq!(response.json(), json!({"predictions": [3.0]}), "{path}");
        assert_eq!(response.headers["x-model-version"], version, "{path}");
    }
}

#[tokio::test]
async fn look_ups_fail_as_in_the_original() {
    let body = r#"{"instances": [1]}"#;
    check_error("/v1/models/none:predict", body, 404, "Servable not found for request: Latest(none)").await;
    check_error(
        "/v1/models/half_plus_two/versions/9:predict",
        body,
        404,
        "Servable not found for request: Specific(half_plus_two, 9)",
    )
    .await;
    let label = "Unrecognized servable version label: none";
    check_error("/v1/models/half_plus_two/labels/none:predict", body, 400, label).await;
    check_error("/v1/models/none/labels/none:predict", body, 400, label).await;
    let unknown = r#"{"signature_name": "none", "instances": [1]}"#;
    check_error(HALF, unknown, 400, "Serving signature name: \"none\" not found in signature def").await;
    check_error(
        "/v1/models/half_plus_two:classify",
        r#"{"signature_name": "none", "examples": [{"x": 1.0}]}"#,
        400,
        "none",
    )
    .await;
    // What is wrong with the body itself comes first.
    check_error("/v1/models/none:predict", "{\"instances\": [1}", 400, "JSON Parse error").await;
    check_error("/v1/models/none:predict", "{\"signature_name\": 1}", 400, "key must be a string value")
        .await;
    check_error("/v1/models/none:classify", "{}", 400, "key 'examples' is expected").await;
}

#[tokio::test]
async fn signature_name_may_follow_the_values() {
    let body = r#"{"inputs": [1.0], "signature_name": "regress_x2_to_y3"}"#;
    check(HALF, body, json!({"outputs": [3.5]})).await;
    let body = r#"{"instances": ["a"], "signature_name": "none"}"#;
    check_error(HALF, body, 400, "Serving signature name: \"none\"").await;
}

#[tokio::test]
async fn classify_and_regress_take_examples() {
    let classify = "/v1/models/half_plus_two:classify";
    let regress = "/v1/models/half_plus_two/labels/stable:regress";
    let body = r#"{"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}, {"x": 10.0}]}"#;
    check(classify, body, json!({"results": [[["", 12.0]], [["", 7.0]]]})).await;
    let body = r#"{"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}, {"x": 2.0}]}"#;
    check(regress, body, json!({"results": [42.0, 3.0]})).await;
    let body =
        r#"{"signature_name": "regress_x_to_y2", "context": {"x": 80.0}, "examples": [{}, {"x": [2.0]}]}"#;
    check(regress, body, json!({"results": [43.0, 4.0]})).await;
    let body = r#"{"signature_name": "regress_x_to_y", "examples": [{"y": 80.0}]}"#;
    check_error(regress, body, 400, "x").await;
}

#[tokio::test]
async fn output_filter_selects_outputs() {
    check(HALF, r#"{"instances": [1], "output_filter": ["y"]}"#, json!({"predictions": [2.5]})).await;
    check_error(HALF, r#"{"instances": [1], "output_filter": ["z"]}"#, 400, "z").await;
    check_error(HALF, r#"{"instances": [1], "output_filter": ["y", 1]}"#, 400, "/output_filter: ").await;
    // The original ignores the key whatever it holds: what is no list stays ignored.
    check(HALF, r#"{"instances": [1], "output_filter": null}"#, json!({"predictions": [2.5]})).await;
}

#[tokio::test]
async fn status_lists_the_versions() {
    let bridge = bridge().await;
    let mut client = bridge.connect().await;
    let version = |number: &str| json!({"version": number, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}});
    let both = json!({"model_version_status": [version("124"), version("123")]});
    assert_eq!(client.get("/v1/models/half_plus_two").await.json(), both);
    assert_eq!(client.get("/v1/models/half_plus_two/labels/stable").await.json(), both);
    let one = json!({"model_version_status": [version("123")]});
    assert_eq!(client.get("/v1/models/half_plus_two/versions/123").await.json(), one);
    for (path, phrase) in [
        ("/v1/models/none", "Could not find any versions of model none"),
        ("/v1/models/half_plus_two/versions/5", "Could not find version 5 of model half_plus_two"),
    ] {
        let response = client.get(path).await;
        assert_eq!(response.status, 404);
        assert_eq!(response.error(), phrase);
    }
}

#[tokio::test]
async fn metadata_shows_the_signatures() {
    let bridge = bridge().await;
    let mut client = bridge.connect().await;
    let response = client.get("/v1/models/half_plus_two/labels/stable/metadata").await;
    let json = response.json();
    assert_eq!(json["model_spec"], json!({"name": "half_plus_two", "signature_name": "", "version": "123"}));
    let tensor = |name: &str| {
        json!({"dtype": "DT_FLOAT", "name": name, "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}], "unknown_rank": false}})
    };
    let signature = json!({
        "inputs": {"x": tensor("x:0")},
        "outputs": {"y": tensor("y:0")},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    });
    assert_eq!(json["metadata"]["signature_def"]["signature_def"]["serving_default"], signature);
    assert_eq!(client.get("/v1/models/none/metadata").await.status, 404);
}

#[tokio::test]
async fn not_a_number_passes_both_ways() {
    let bridge = bridge().await;
    let response =
        bridge.connect().await.post(HALF, r#"{"instances": [NaN, Infinity, -Infinity, 1e39]}"#).await;
    assert_eq!(response.text(), r#"{"predictions":[NaN,Infinity,-Infinity,Infinity]}"#);
}

#[tokio::test]
async fn lines_have_the_predictions_of_rows() {
    const AFFINE: &str = "/v1/models/affine100:predict";
    let row = |line: usize| (0..100).map(|column| (line * 37 + column) as f32 / 8.0).collect::<Vec<_>>();
    let rows: Vec<Vec<f32>> = (0..500).map(row).collect();
    let bridge = bridge().await;
    let mut client = bridge.connect().await;
    let response = client.post(AFFINE, json!({"instances": rows}).to_string()).await;
    let expected: Vec<Value> = response.json()["predictions"].as_array().unwrap().clone();
    // The model takes no rows of three, and refuses all that come with one.
    let is_bad = |line: usize| line % 50 == 49;
    let lines: String = rows
        .iter()
        .enumerate()
        .map(|(line, row)| if is_bad(line) { "[1,2,3]\n".to_owned() } else { json!(row).to_string() + "\n" })
        .collect();
    let header = [("Content-Type", "application/x-ndjson")];
    let response = client.request("POST", AFFINE, &header, lines.as_bytes()).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let answers: Vec<Value> =
        response.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), rows.len());
    for (line, answer) in answers.iter().enumerate() {
        if is_bad(line) {
            let error = answer["error"].as_str().unwrap();
            let start = format!("line {}: Matrix size-incompatible", line + 1);
            assert!(error.starts_with(&start), "{error}");
        } else {
            assert_eq!(answer, &expected[line], "line {}", line + 1);
        }
    }
}
