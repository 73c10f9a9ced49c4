//! SageMaker's paths, and that they are not there unless they are switched on.

use serde_json::json;
use tfbridge::mock::Models;

use crate::auth;
use crate::bridge::Bridge;
use crate::client::{Client, Response};

async fn invoke(client: &mut Client, headers: &[(&str, &str)], body: &str) -> Response {
    client.request("POST", "/invocations", headers, body.as_bytes()).await
}

#[tokio::test]
async fn invocations_are_predictions_of_the_model() {
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        config.api.sagemaker = Some("half_plus_two".parse().unwrap());
    })
    .await;
    let mut client = bridge.connect().await;
    for body in [r#"{"instances": [1.0, 2.0]}"#, "[1.0, 2.0]", "\u{FEFF} [1.0, 2]"] {
        let response = invoke(&mut client, &[("Content-Type", "application/json")], body).await;
        assert_eq!(response.status, 200, "{body}: {}", response.text());
        assert_eq!(response.json(), json!({"predictions": [2.5, 3.0]}), "{body}");
        assert_eq!(response.headers["x-model-version"], "124");
    }
    for (content_type, body) in [("text/csv", "1.0\n2.0\n"), ("text/csv; header=present", "x\n1.0\n2.0\n")] {
        let headers = [("Content-Type", content_type), ("Accept", "application/json")];
        let response = invoke(&mut client, &headers, body).await;
        assert_eq!(response.status, 200, "{content_type}: {}", response.text());
        assert_eq!(response.json(), json!({"predictions": [[2.5], [3.0]]}), "{content_type}");
    }
    // A line of the reply is that of a line of the request.
    for (content_type, accept, body, expected) in [
        ("text/csv", "*/*", "1.0\n2.0\n", "2.5\n3.0\n"),
        ("text/csv; header=present", "text/csv", "x\n1.0\n2.0\n", "y[0]\n2.5\n3.0\n"),
        ("text/csv", "text/csv; header=present", "1.0\n", "y[0]\n2.5\n"),
        ("application/json", "text/csv", "[[1.0], [2.0]]", "2.5\n3.0\n"),
    ] {
        let response = invoke(&mut client, &[("Content-Type", content_type), ("Accept", accept)], body).await;
        assert_eq!(response.text(), expected, "{content_type} {accept}");
        let told = if expected.starts_with('y') { "text/csv" } else { "text/csv; header=absent" };
        assert_eq!(response.headers["content-type"], told);
    }
    let response = invoke(&mut client, &[], "[1.0, null]").await;
    assert!(response.error().starts_with("/instances/1: "), "{}", response.text());
    // The bare list is for invocations alone.
    let response = client.post("/v1/models/half_plus_two:predict", "[1.0]").await;
    assert_eq!(response.status, 400, "{}", response.text());
    let response = client.get("/ping").await;
    assert_eq!((response.status, response.json()), (200, json!({"status": "ready"})));
    assert_eq!(client.get("/invocations").await.status, 405);
    assert_eq!(client.get("/v1/models/half_plus_two").await.status, 200);
}

#[tokio::test]
async fn attributes_name_model_version_method_and_signature() {
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        config.api.sagemaker = Some("echo:int32".parse().unwrap());
    })
    .await;
    let mut client = bridge.connect().await;
    let response = invoke(&mut client, &[], "[1, 2]").await;
    assert_eq!(response.json(), json!({"predictions": [1, 2]}));
    let response = invoke(&mut client, &[], "[1.5]").await;
    assert!(response.error().contains("not of expected type: int32"), "{}", response.text());
    // What the body says comes first.
    let response = invoke(&mut client, &[], r#"{"signature_name": "float", "instances": [1.5]}"#).await;
    assert_eq!(response.json(), json!({"predictions": [1.5]}));
    for (attributes, body, expected) in [
        ("tfs-signature-name=string", r#"["a"]"#, json!({"predictions": ["a"]})),
        ("tfs-model-name=half_plus_three", "[2]", json!({"predictions": [4.0]})),
        (
            "tfs-model-name=half_plus_two,tfs-model-version=123,tfs-method=regress",
            r#"{"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]}"#,
            json!({"results": [3.0]}),
        ),
    ] {
        let headers = [("X-Amzn-SageMaker-Custom-Attributes", attributes)];
        let response = invoke(&mut client, &headers, body).await;
        assert_eq!(response.json(), expected, "{attributes}");
    }
    let headers = [("X-Amzn-SageMaker-Custom-Attributes", "tfs-method=drop")];
    assert_eq!(invoke(&mut client, &headers, "[1]").await.status, 400);
}

#[tokio::test]
async fn without_the_flag_the_paths_are_not_there() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    assert_eq!(client.get("/ping").await.status, 404);
    assert_eq!(invoke(&mut client, &[], "[1]").await.status, 404);
}

#[tokio::test]
async fn a_ping_fails_while_no_backend_is_there() {
    let bridge = Bridge::in_front_of("127.0.0.1:1", |config| {
        config.api.sagemaker = Some("m".parse().unwrap());
    })
    .await;
    let response = bridge.connect().await.get("/ping").await;
    assert_eq!(response.status, 503, "{}", response.text());
}

#[tokio::test]
async fn tokens_are_for_invocations_and_not_for_pings() {
    let directory = auth::file(&auth::entry("one", "models = [\"half_plus_two\"]\n"));
    let path = directory.path().join("tokens.toml");
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        config.api.sagemaker = Some("half_plus_two".parse().unwrap());
        config.access.auth_file = Some(path);
    })
    .await;
    let mut client = bridge.connect().await;
    assert_eq!(client.get("/ping").await.status, 200);
    assert_eq!(invoke(&mut client, &[], "[1]").await.status, 401);
    let token = auth::token("one");
    let token = ("X-API-Key", token.as_str());
    assert_eq!(invoke(&mut client, &[token], "[1]").await.status, 200);
    let other = ("X-Amzn-SageMaker-Custom-Attributes", "tfs-model-name=half_plus_three");
    assert_eq!(invoke(&mut client, &[token, other], "[1]").await.status, 403);
}
