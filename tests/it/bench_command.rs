//! `tfbridge bench`: that it counts what it sends, and tells what it has counted. No speed is judged here.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::process::Command;
use tonic::Code;

use crate::backend::{Server, Transport};
use crate::bridge::{Bridge, models};
use crate::scripted::{Script, Scripted};

/// All runs here are done by then.
const END: Duration = Duration::from_secs(60);

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfbridge"));
    command
        .arg("bench")
        .args(words)
        .env_remove("TFBRIDGE_SERVER")
        .env_remove("TFBRIDGE_TOKEN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The code that it ends with, what it prints, and what it complains of.
async fn run(words: &[&str]) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(END, command(words).output()).await.expect("it does not end").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A few requests without a warm-up, as JSON.
async fn measure(words: &[&str]) -> (Option<i32>, Value) {
    let (code, text, error) = run(&[words, &["--warmup", "0s", "--output", "json"]].concat()).await;
    (code, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{words:?}: {text}{error}")))
}

/// All latencies are in order, and as many as the requests that went well.
fn check_latencies(result: &Value) {
    let latency = |name: &str| result["latency_ms"][name].as_f64().unwrap();
    let latencies = ["min", "p50", "p90", "p95", "p99", "p99_9", "max"].map(latency);
    assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{result:#}");
    assert!((latencies[0]..=latencies[6]).contains(&latency("mean")), "{result:#}");
    let ranges = result["histogram_ms"].as_array().unwrap();
    let counted: u64 = ranges.iter().map(|range| range["requests"].as_u64().unwrap()).sum();
    let good = result["requests"].as_u64().unwrap() - result["failed"].as_u64().unwrap();
    assert_eq!(counted, good, "{result:#}");
}

#[tokio::test]
async fn every_request_is_counted_whatever_its_type() {
    let bridge = Bridge::start(models()).await;
    let server = format!("http://{}", bridge.address);
    let mut sizes = Vec::new();
    for (format, rows) in
        [("json", "1"), ("npy", "3"), ("npz", "3"), ("protobuf", "3"), ("csv", "3"), ("arrow", "3")]
    {
        let (code, result) = measure(&[
            "half_plus_two",
            "--server",
            &server,
            "--requests",
            "200",
            "--concurrency",
            "4",
            "--format",
            format,
            "--batch",
            rows,
        ])
        .await;
        assert_eq!(code, Some(0), "{result:#}");
        assert_eq!((&result["requests"], &result["failed"]), (&200.into(), &0.into()), "{result:#}");
        assert_eq!(result["statuses"], serde_json::json!({"200": 200}));
        assert_eq!((&result["through"], &result["format"]), (&"http".into(), &format.into()));
        assert_eq!(
            (&result["signature"], result["rows"].to_string().as_str()),
            (&"serving_default".into(), rows)
        );
        check_latencies(&result);
        sizes.push(result["bytes"].as_u64().unwrap());
    }
    assert!(sizes.iter().all(|size| (5..1000).contains(size)), "{sizes:?}");

    let body = NamedTempFile::new().unwrap();
    std::fs::write(body.path(), r#"{"instances": [1.0, 2.0]}"#).unwrap();
    let words =
        ["half_plus_two", "--server", &server, "--requests", "5", "--body", body.path().to_str().unwrap()];
    let (code, result) = measure(&words).await;
    assert_eq!((code, &result["bytes"], &result["rows"]), (Some(0), &25.into(), &Value::Null), "{result:#}");
}

#[tokio::test]
async fn a_body_is_what_its_extension_says_unless_somebody_says_otherwise() {
    let bridge = Bridge::start(models()).await;
    let server = format!("http://{}", bridge.address);
    for (suffix, content, more, expected) in [
        (".csv", "x\n1\n5\n", &[][..], "csv"),
        (".ndjson", "1\n5\n", &[], "ndjson"),
        (".csv", r#"{"instances": [1.0]}"#, &["--format", "json"], "json"),
        (".txt", r#"{"instances": [1.0]}"#, &[], "json"),
    ] {
        let body = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
        std::fs::write(body.path(), content).unwrap();
        let path = body.path().to_str().unwrap();
        let words = ["half_plus_two", "--server", &server, "--requests", "5", "--body", path];
        let (code, result) = measure(&[&words, more].concat()).await;
        assert_eq!((code, &result["format"]), (Some(0), &expected.into()), "{suffix}: {result:#}");
    }
    let (code, _, error) = run(&["half_plus_two", "--server", &server, "--format", "image"]).await;
    assert_eq!((code, error.contains("name a file with --body")), (Some(64), true), "{error}");
}

#[tokio::test]
async fn a_model_server_is_asked_without_a_bridge_between() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let server = Server::start(transport, models()).await;
        let (backend, ca) = (server.backend().to_string(), server.path("ca.pem"));
        let mut words =
            vec!["echo", "--backend", &backend, "--requests", "200", "--signature", "mixed", "--batch", "2"];
        if transport == Transport::Tls {
            words.extend(["--ca", ca.to_str().unwrap()]);
        }
        let (code, result) = measure(&words).await;
        assert_eq!(code, Some(0), "{result:#}");
        assert_eq!(result["statuses"], serde_json::json!({"OK": 200}));
        assert_eq!((&result["through"], &result["format"]), (&"grpc".into(), &"protobuf".into()));
        check_latencies(&result);
    }
}

#[tokio::test]
async fn people_read_a_table_and_a_histogram() {
    let bridge = Bridge::start(models()).await;
    let server = format!("http://{}", bridge.address);
    let words = ["half_plus_two", "--server", &server, "--duration", "300ms", "--warmup", "100ms"];
    let (code, text, error) = run(&words).await;
    assert_eq!((code, &*error), (Some(0), ""), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], format!("half_plus_two at {server}, over HTTP"));
    assert!(lines.iter().any(|line| line.starts_with("min ") && line.ends_with("max")), "{text}");
    assert!(lines.iter().any(|line| line.contains(" – ") && line.ends_with(" %")), "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
}

#[tokio::test]
async fn at_a_rate_the_wait_for_a_free_worker_counts() {
    let scripted = Scripted::start(Script::Answer(Duration::from_millis(20))).await;
    let backend = scripted.backend().to_string();
    let words = ["m", "--backend", &*backend, "--requests", "20", "--concurrency", "1"];
    // A request is due every 10 ms and takes 20 ms: the last one waits for 190 ms.
    let (code, result) = measure(&[&words[..], &["--rate", "100"]].concat()).await;
    assert_eq!(code, Some(0), "{result:#}");
    assert!(result["latency_ms"]["max"].as_f64().unwrap() > 190.0, "{result:#}");
    assert!(result["latency_ms"]["p50"].as_f64().unwrap() > 90.0, "{result:#}");
    // What cannot be sent until the end is told.
    let words = ["m", "--backend", &*backend, "--duration", "400ms", "--concurrency", "1", "--rate", "100"];
    let (_, result) = measure(&words).await;
    let (requests, unsent) = (result["requests"].as_u64().unwrap(), result["unsent"].as_u64().unwrap());
    assert!(requests <= 21 && requests + unsent == 40, "{result:#}");
}

#[tokio::test]
async fn requests_that_fail_are_told_by_their_status() {
    let scripted = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let backend = scripted.backend().to_string();
    let words = ["m", "--backend", &*backend, "--requests", "200", "--rate", "200"];
    let change = async {
        while scripted.calls() < 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        scripted.set(Script::Fail(Code::ResourceExhausted, "too much"));
    };
    let ((code, result), ()) = tokio::join!(measure(&words), change);
    assert_eq!((code, &result["requests"]), (Some(1), &200.into()), "{result:#}");
    let failed = &result["failures"][0];
    assert_eq!(
        (&failed["status"], &failed["first"]),
        (&"RESOURCE_EXHAUSTED".into(), &"RESOURCE_EXHAUSTED: too much".into())
    );
    assert_eq!(failed["requests"], result["failed"]);
    check_latencies(&result);

    // What fails from the beginning is told once.
    let (code, text, error) = run(&["m", "--backend", &backend]).await;
    assert_eq!((code, &*text), (Some(1), ""));
    assert!(error.contains("The first request has failed: RESOURCE_EXHAUSTED: too much"), "{error}");
}

#[tokio::test]
async fn an_interrupt_ends_it_early_with_what_there_is() {
    let scripted = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let backend = scripted.backend().to_string();
    let words = [
        "m",
        "--backend",
        &*backend,
        "--warmup",
        "0s",
        "--duration",
        "1h",
        "--output",
        "json",
        "--rate",
        "500",
    ];
    let child = command(&words).spawn().unwrap();
    let process = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    while scripted.calls() < 50 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    kill_process(process, Signal::INT).unwrap();
    let output = tokio::time::timeout(END, child.wait_with_output()).await.unwrap().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &result["interrupted"]), (Some(0), &true.into()), "{result:#}");
    assert!(result["requests"].as_u64().unwrap() > 20, "{result:#}");
    check_latencies(&result);
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_beforehand() {
    let server = Server::start(Transport::Tcp, models()).await;
    let backend = server.backend().to_string();
    for (words, code, reason) in [
        (&["echo", "--concurrency", "0"][..], 64, "--concurrency"),
        (&["echo", "--rate", "0"], 64, "--rate"),
        (&["echo", "--requests", "5", "--duration", "1s"], 64, "--duration"),
        (&["echo", "--format", "npy"], 64, "messages only"),
        (&["echo", "--signature", "none"], 64, "has no signature \"none\"; it has: "),
        (&["echo", "--body", "/nowhere"], 64, "/nowhere"),
        (&["nobody"], 1, "model nobody"),
    ] {
        let (ended, text, error) = run(&[words, &["--backend", &backend]].concat()).await;
        assert_eq!(
            (ended, text.is_empty(), error.contains(reason)),
            (Some(code), true, true),
            "{words:?}: {error}"
        );
    }
}
