//! `top_k`: the best scores of a reply in place of all of them.

use serde_json::{Value, json};
use tfbridge::mock::Models;

use crate::bridge::Bridge;

const ECHO: &str = "/v1/models/echo:predict";

async fn check(path: &str, body: &str, expected: Value) {
    for models in [Models::builtin(), Models::builtin().tensor_content(true)] {
        let bridge = Bridge::start(models).await;
        let response = bridge.connect().await.post(path, body).await;
        assert_eq!(response.status, 200, "{body}: {}", response.text());
        assert_eq!(response.json(), expected, "{body}");
    }
}

#[tokio::test]
async fn rows_and_columns_have_indices_and_scores() {
    check(
        ECHO,
        r#"{"instances": [[0.5, 2.5, 1.5], [3.5, 3.5, 0.5]], "top_k": 2}"#,
        json!({"predictions": [
            {"indices": [1, 2], "scores": [2.5, 1.5]},
            {"indices": [0, 1], "scores": [3.5, 3.5]},
        ]}),
    )
    .await;
    check(
        ECHO,
        r#"{"top_k": 1, "signature_name": "double", "inputs": [[[0.5, 2.5], [1.5, -1]]]}"#,
        json!({"outputs": {"indices": [[[1], [0]]], "scores": [[[2.5], [1.5]]]}}),
    )
    .await;
    check(
        ECHO,
        r#"{"top_k": 9, "top_k": "?", "inputs": [1, 2]}"#,
        json!({"outputs": {"indices": [1, 0], "scores": [2.0, 1.0]}}),
    )
    .await;
}

#[tokio::test]
async fn the_query_says_it_for_every_body() {
    let query = format!("{ECHO}?top_k=1");
    let expected = json!({"outputs": {"indices": [1], "scores": [2.0]}});
    check(&query, r#"{"inputs": [1, 2, 0]}"#, expected).await;
    let expected = json!({"outputs": {"indices": [1, 0], "scores": [2.0, 1.0]}});
    check(&query, r#"{"inputs": [1, 2, 0], "top_k": 2}"#, expected).await;
}

#[tokio::test]
async fn of_several_outputs_each_has_its_own() {
    check(
        ECHO,
        r#"{"signature_name": "mixed", "top_k": 1, "instances": [{"a": [1, 2], "b": 3, "s": "t"}]}"#,
        json!({"predictions": [{"a_indices": [1], "a_scores": [2.0], "b": 3, "s": "t"}]}),
    )
    .await;
    check(
        ECHO,
        r#"{"signature_name": "mixed", "top_k": 1, "instances": [{"a": [1, 2], "b": 3, "s": "t"}],
            "output_filter": ["a"]}"#,
        json!({"predictions": [{"indices": [1], "scores": [2.0]}]}),
    )
    .await;
}

#[tokio::test]
async fn what_cannot_be_chosen_is_refused() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    for (path, body, phrase) in [
        (ECHO, r#"{"inputs": [1], "top_k": 0}"#, "/top_k: JSON Value: 0 must be a whole number from 1"),
        (ECHO, r#"{"inputs": [1], "top_k": [1]}"#, "/top_k: JSON Value: [1] must be"),
        (ECHO, r#"{"top_k": 1.5, "inputs": [1]}"#, "/top_k: "),
        (ECHO, r#"{"inputs": 1, "top_k": 1}"#, "'top_k' wants an output of floats"),
        // Each row is a number, and not several to choose from.
        (ECHO, r#"{"instances": [1, 2], "top_k": 1}"#, "'top_k' wants an output of floats"),
        (ECHO, r#"{"signature_name": "int32", "inputs": [1], "top_k": 1}"#, "'top_k' wants"),
        ("/v1/models/echo:predict?top_k=none", r#"{"inputs": [1]}"#, "The parameter top_k must be"),
    ] {
        let response = client.post(path, body).await;
        assert_eq!(response.status, 400, "{body}: {}", response.text());
        assert!(response.error().contains(phrase), "{body}: {}", response.text());
    }
}

#[tokio::test]
async fn infer_has_them_too() {
    const INFER: &str = "/v2/models/echo/infer";
    let body = |parameters: &str, outputs: &str| {
        format!(
            r#"{{"inputs": [{{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [0.5, 2.5, 1.5, 3.5, 3.5, 0.5]}}],
                "parameters": {{{parameters}}}{outputs}}}"#
        )
    };
    let reply = json!({
        "model_name": "echo", "model_version": "1",
        "outputs": [
            { "name": "indices", "datatype": "INT32", "shape": [2, 2], "data": [1, 2, 0, 1] },
            { "name": "scores", "datatype": "FP32", "shape": [2, 2], "data": [2.5, 1.5, 3.5, 3.5] },
        ],
    });
    check(INFER, &body(r#""top_k": 2"#, ""), reply.clone()).await;
    check(INFER, &body(r#""top_k": 2"#, r#", "outputs": [{"name": "x"}]"#), reply.clone()).await;
    check("/v2/models/echo/infer?top_k=2", &body("", ""), reply).await;
    // Of several outputs, those that have no scores stay.
    let several = r#"{"parameters": {"signature_name": "mixed", "top_k": 1},
        "outputs": [{"name": "s"}, {"name": "a"}],
        "inputs": [{"name": "a", "shape": [2], "datatype": "FP32", "data": [1, 2]},
                   {"name": "b", "shape": [1], "datatype": "INT64", "data": [3]},
                   {"name": "s", "shape": [1], "datatype": "BYTES", "data": ["t"]}]}"#;
    let expected = json!({
        "model_name": "echo", "model_version": "1",
        "outputs": [
            { "name": "s", "datatype": "BYTES", "shape": [1], "data": ["t"] },
            { "name": "a_indices", "datatype": "INT32", "shape": [1], "data": [1] },
            { "name": "a_scores", "datatype": "FP32", "shape": [1], "data": [2.0] },
        ],
    });
    check(INFER, several, expected).await;
    let bridge = Bridge::start(Models::builtin()).await;
    for (body, phrase) in [
        (body(r#""top_k": 0"#, ""), "The parameter top_k must be a whole number from 1"),
        (body(r#""top_k": "x""#, ""), "The parameter top_k must be an integer"),
        (
            several.replace(r#"{"name": "s"}, {"name": "a"}"#, r#"{"name": "s"}"#),
            "'top_k' wants an output of floats",
        ),
    ] {
        let response = bridge.connect().await.post(INFER, &body).await;
        assert_eq!(response.status, 400, "{body}: {}", response.text());
        assert!(response.error().contains(phrase), "{body}: {}", response.text());
    }
}
