//! What flags of `tfbridge predict` say goes with bodies of every kind.

use std::fs;
use std::process::Command;

use crate::bridge::Bridge;
use tfbridge::mock::Models;

/// What the program prints for these words, which must end well.
fn predict(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tfbridge")).arg("predict").args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_and_the_best_scores_go_with_files_and_streams() {
    let bridge = Bridge::start(Models::builtin()).await;
    let server = format!("http://{}", bridge.address);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    // Numbers that only an input of int64 keeps.
    let lines = "[9007199254740993, 1]\n[3, 9007199254740995]\n";
    fs::write(path("in.json"), r#"{"instances": [[9007199254740993, 1], [3, 9007199254740995]]}"#).unwrap();
    fs::write(path("in.ndjson"), lines).unwrap();
    fs::write(path("in.csv"), "x\n9007199254740993\n3\n").unwrap();
    let (file, saved) = (path("in.json"), path("out.ndjson"));
    let int64 = ["echo", "--server", &server, "--signature", "int64", "--output", "json"];
    let printed = predict(&[&int64[..], &["--file", &file]].concat());
    assert!(printed.contains("9007199254740993"), "{printed}");
    for (input, expected) in
        [("in.ndjson", "[9007199254740993,1]\n[3,9007199254740995]\n"), ("in.csv", "9007199254740993\n3\n")]
    {
        let input = path(input);
        predict(&[&int64[..], &["--stream", "--file", &input, "--save", &saved, "--overwrite"]].concat());
        assert_eq!(fs::read_to_string(&saved).unwrap(), expected, "{input}");
    }
    fs::write(path("scores.json"), r#"{"instances": [[0.25, 0.5]]}"#).unwrap();
    let scores = path("scores.json");
    let printed =
        predict(&["echo", "--server", &server, "--top-k", "1", "--file", &scores, "--output", "json"]);
    assert_eq!(
        printed.split_whitespace().collect::<String>(),
        r#"{"predictions":[{"indices":[1],"scores":[0.5]}]}"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_saved_where_nothing_is_lost() {
    let bridge = Bridge::start(Models::builtin()).await;
    let server = format!("http://{}", bridge.address);
    let directory = tempfile::tempdir().unwrap();
    let value = directory.path().join("x.json").display().to_string();
    fs::write(&value, "[1.0, 5.0]").unwrap();
    let half = ["half_plus_two", "--server", &server];
    let given = format!("x=@{value}");
    // The standard output is what it is, and no file of that name.
    let printed = predict(&[&half[..], &[&given, "--save", "-"]].concat());
    let reply: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(reply, serde_json::json!({"outputs": [[2.5], [4.5]]}));
    let kept = directory.path().join("kept");
    fs::write(&kept, "before\n").unwrap();
    let appended = fs::OpenOptions::new().append(true).open(&kept).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfbridge"));
    command.arg("predict").args(half).args([&given, "--save", "-", "--accept", "csv"]).stdout(appended);
    assert!(command.status().unwrap().success());
    assert_eq!(fs::read_to_string(&kept).unwrap(), "before\ny[0]\n2.5\n4.5\n");
    // What is read is not written over, whatever argument names it, and a reply is never a picture.
    for (words, expected) in [
        ([given.as_str(), "--save", &value], "an input and --save cannot be the same file, "),
        ([&format!("@{value}"), "--save", &value], "an input and --save cannot be the same file, "),
        ([&given, "--accept", "image"], "possible values: json, ndjson, csv, npy, npz, arrow, protobuf"),
    ] {
        crate::cli::fails(&[&["predict"], &half[..], &words].concat(), 64, &[expected]);
    }
    assert_eq!(fs::read_to_string(&value).unwrap(), "[1.0, 5.0]");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_printed_is_a_failure() {
    let bridge = Bridge::start(Models::builtin()).await;
    let server = format!("http://{}", bridge.address);
    let run = |words: &[&str]| {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tfbridge"));
        let output = command.args(words).env("TFBRIDGE_SERVER", &server).stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains("Cannot write to the standard output"), "{words:?}: {said}");
    };
    run(&["predict", "half_plus_two", "1"]);
    run(&["predict", "half_plus_two", "1", "--output", "json"]);
    run(&["predict", "half_plus_two", "1", "--save", "-"]);
    run(&["models"]);
    run(&["inspect", "echo", "--output", "json"]);
    run(&["doctor", "half_plus_two"]);
    run(&["completions", "bash"]);
    run(&["check-config", "--example"]);
    // Nobody to read it is no failure.
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfbridge"));
    let mut child = command.arg("man").stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn the_query_chooses_outputs_of_json_bodies_too() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    let body = r#"{"signature_name": "mixed", "inputs": {"a": 0.1, "b": 7, "s": "x"}}"#;
    let path = "/v1/models/echo:predict?outputs=b";
    let response = client.post(path, body).await;
    assert_eq!(response.text(), r#"{"outputs":7}"#);
    let npy = client.request("POST", path, &[("accept", "application/x-npy")], body.as_bytes()).await;
    assert_eq!(npy.status, 200, "{}", npy.text());
    // A body that names some comes first.
    let body =
        r#"{"signature_name": "mixed", "output_filter": ["a"], "inputs": {"a": 0.5, "b": 7, "s": "x"}}"#;
    assert_eq!(client.post(path, body).await.text(), r#"{"outputs":0.5}"#);
}
