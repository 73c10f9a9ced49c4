//! Backends that do not tell the signatures of their models.

use std::sync::Arc;
use std::time::Duration;

use tfbridge::codec::signature;

use crate::bridge::Bridge;
use crate::scripted::{Model, Script, Scripted};
use tfbridge::proto::tensorflow::DataType;

const PATH: &str = "/v1/models/m:predict";

async fn backend(dtype: DataType) -> Scripted {
    let backend = Scripted::start_with(Script::Answer(Duration::ZERO), false).await;
    *backend.state.model.lock().unwrap() = Model { version: 7, dtype, rank: 1 };
    backend
}

#[tokio::test]
async fn dtypes_are_guessed_or_given() {
    let floats = backend(DataType::DtFloat).await;
    let bridge = Bridge::in_front_of_all(vec![floats.backend()], |_| {}).await;
    let mut client = bridge.connect().await;
    for body in [
        r#"{"instances": [{"x": 1.5}, {"x": 2}]}"#,
        r#"{"inputs": {"x": [1e0, 2]}}"#,
        r#"{"inputs": {"x": [1, 2]}, "dtypes": {"x": "DT_FLOAT"}}"#,
        r#"{"dtypes": {"x": "DT_FLOAT"}, "instances": [1, 2]}"#,
    ] {
        let response = client.post(PATH, body).await;
        assert_eq!(response.status, 200, "{body}: {}", response.text());
        assert_eq!(response.headers["x-model-version"], "7");
    }
    for (body, phrase) in [
        (r#"{"inputs": {"x": [1, 2]}}"#, "does not match the signature"),
        (r#"{"instances": [1.5]}"#, "does not tell its signatures"),
        (r#"{"inputs": {"x": [1]}, "dtypes": {"x": "DT_TEXT"}}"#, "/dtypes/x"),
        (r#"{"inputs": {"x": [1]}"#, "JSON Parse error"),
    ] {
        let response = client.post(PATH, body).await;
        assert_eq!(response.status, 400, "{body}: {}", response.text());
        assert!(response.error().contains(phrase), "{body}: {}", response.text());
    }
}

#[tokio::test]
async fn signatures_may_come_from_a_file() {
    let integers = backend(DataType::DtInt32).await;
    let file = br#"{"m": {"serving_default": {"inputs": {"x": {"dtype": "DT_INT32", "shape": [-1]}}}}}"#;
    let signatures = Arc::new(signature::file::parse(file).unwrap());
    let bridge = Bridge::in_front_of_all(vec![integers.backend()], |config| {
        config.upstream.signatures = Arc::clone(&signatures);
    })
    .await;
    let mut client = bridge.connect().await;
    let response = client.post(PATH, r#"{"instances": [1, 2]}"#).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let response = client.post(PATH, r#"{"instances": [1.5]}"#).await;
    assert!(response.error().starts_with("/instances/0: "), "{}", response.text());
}
