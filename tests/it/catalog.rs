//! `GET /v1/models` and `tfbridge models`: which models are listed, and what is told of them.

use std::process::Command;

use serde_json::Value;
use tfbridge::config::ListedModel;
use tfbridge::mock::Models;

use crate::bridge::{Bridge, models};
use crate::client::Client;

async fn list(client: &mut Client) -> Value {
    let response = client.get("/v1/models").await;
    assert_eq!(response.status, 200);
    response.json()
}

#[tokio::test]
async fn models_are_those_of_the_configuration_and_those_that_were_asked_for() {
    let models = models();
    let bridge = Bridge::start_with(models.clone(), |config| {
        config.api.models = vec!["half_plus_two@stable@lost".parse().unwrap(), ListedModel::new("gone")];
        config.upstream.signature_ttl = std::time::Duration::ZERO;
    })
    .await;
    let mut client = bridge.connect().await;
    let listed = list(&mut client).await;
    let names = |listed: &Value| -> Vec<_> {
        let models = listed["models"].as_array().unwrap();
        models.iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&listed), ["gone", "half_plus_two"]);
    assert_eq!(listed["models"][0]["state"], "UNKNOWN");
    assert_eq!(listed["models"][0]["error"], "Could not find any versions of model gone");
    let two = &listed["models"][1];
    assert_eq!((&two["state"], &two["version"]), (&"AVAILABLE".into(), &"124".into()));
    assert_eq!(
        two["versions"][1],
        serde_json::json!({"version": "123", "state": "AVAILABLE", "labels": ["stable"]})
    );
    let classify = &two["signatures"]["classify_x_to_y"];
    assert_eq!(classify["method_name"], "tensorflow/serving/classify");
    assert_eq!(two["signatures"]["serving_default"]["inputs"]["x"]["dtype"], "DT_FLOAT");

    // One that is asked for is known from then on, and one that is not there is not.
    for (model, status) in [("half_plus_three/labels/canary", 200), ("nobody", 404)] {
        let response = client.post(&format!("/v1/models/{model}:predict"), br#"{"instances": [1.0]}"#).await;
        assert_eq!(response.status, status, "{model}");
    }
    models.unload("half_plus_two", 124).unwrap();
    models.remove("gone");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let listed = list(&mut client).await;
    assert_eq!(names(&listed), ["gone", "half_plus_three", "half_plus_two"]);
    assert_eq!(listed["models"][1]["versions"][0]["labels"], serde_json::json!(["canary"]));
    assert_eq!(listed["models"][2]["version"], "123");
    // What was only seen is forgotten when it is gone.
    models.remove("half_plus_three");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(names(&list(&mut client).await), ["gone", "half_plus_two"]);
}

#[tokio::test]
async fn a_token_sees_its_own_models() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let token = tfbridge_says(&["token", "--name", "one"]);
    let (secret, entry) = token.split_once("\n\n").unwrap();
    std::fs::write(file.path(), format!("{entry}models = [\"half_plus_t*\"]\n")).unwrap();
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        config.access.auth_file = Some(file.path().to_owned());
        config.api.models = ["echo", "half_plus_two"].map(ListedModel::new).into();
    })
    .await;
    let mut client = bridge.connect().await;
    assert_eq!(client.get("/v1/models").await.status, 401);
    let headers = [("authorization", &*format!("Bearer {secret}"))];
    let response = client.request("GET", "/v1/models", &headers, b"").await;
    let listed: Value = response.json();
    assert_eq!(listed["models"].as_array().unwrap().len(), 1);
    assert_eq!(listed["models"][0]["name"], "half_plus_two");
}

fn tfbridge_says(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tfbridge")).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_lists_them() {
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        config.api.models = vec!["half_plus_two@canary".parse().unwrap()];
    })
    .await;
    let server = format!("http://{}", bridge.address);
    let expected = "\
MODEL          VERSION  STATE      LABELS  SIGNATURES
half_plus_two  124      AVAILABLE  canary  classify_x2_to_y3, classify_x_to_y, regress_x2_to_y3, regress_x_to_y, regress_x_to_y2, serving_default
half_plus_two  123      AVAILABLE
";
    assert_eq!(tfbridge_says(&["models", "--server", &server]), expected);
    let json = tfbridge_says(&["models", "--server", &server, "--output", "json", "echo"]);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()[0]["versions"][0]["version"], "1");
    for (words, code, reason) in [
        (
            &["models", "--server", &*server, "nobody"][..],
            1,
            "404: Could not find any versions of model nobody",
        ),
        (&["models", "--server", "http://127.0.0.1:1"], 1, "http://127.0.0.1:1 cannot be reached"),
        (&["models", "--backend", "http://127.0.0.1:1"], 64, "A model server cannot be asked for the names"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tfbridge")).args(words).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), told.contains(reason)), (Some(code), true), "{words:?}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_asks_model_servers_too() {
    let server = crate::backend::Server::start(crate::backend::Transport::Tcp, models()).await;
    let backend = server.backend().to_string();
    let words = ["models", "--backend", &backend, "half_plus_two", "echo"];
    let told = tfbridge_says(&words);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfbridge"));
    // A bridge that the environment names is for when nothing else is said.
    let output = command.args(words).env("TFBRIDGE_SERVER", "http://127.0.0.1:1").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), told);
    let lines: Vec<_> = told.lines().collect();
    // No model server tells labels.
    let signatures = "classify_x2_to_y3, classify_x_to_y, regress_x2_to_y3, regress_x_to_y, regress_x_to_y2, serving_default";
    assert_eq!(lines[1], format!("half_plus_two  124      AVAILABLE          {signatures}"));
    assert!(lines[3].starts_with("echo           1        AVAILABLE          "), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_inside_of_a_command_says_nothing_of_its_own() {
    let words = |log: &[&str]| {
        let words = [&["models", "--backend", "http://127.0.0.1:1", "m"], log].concat();
        let output = Command::new(env!("CARGO_BIN_EXE_tfbridge")).args(words).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let advice = "`tfbridge doctor --backend http://127.0.0.1:1` tells what is wrong on the way to http://127.0.0.1:1.";
    assert_eq!(words(&[]), format!("error: 503: The backend cannot be reached\n{advice}\n"));
    assert!(words(&["--log", "info"]).contains("request failed"));
}
