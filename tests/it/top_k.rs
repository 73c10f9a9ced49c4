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
