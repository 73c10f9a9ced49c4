//! The program's log as those read it who run it, and its access log above all.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::client::Client;
use crate::program::{Program, documented};
use crate::scripted::{Script, Scripted};

const PREDICT: &str = "/v1/models/half_plus_two:predict";
const BODY: &[u8] = br#"{"instances": [1.0, 2.0]}"#;

/// The lines of the access log.
fn access(log: &str) -> Vec<Value> {
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")));
    lines.filter(|line: &Value| line["target"] == "tfbridge::access").collect()
}

fn names(line: &Value) -> BTreeSet<String> {
    line.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn every_request_has_a_line_with_the_fields_that_are_documented() {
    let mut program = Program::demo(&["--log-format", "json"]);
    let mut client = Client::connect(program.api).await;
    let response = client.request("POST", PREDICT, &[("X-Request-Id", "mine")], BODY).await;
    assert_eq!((response.status, response.headers["x-request-id"].as_str()), (200, "mine"));
    let missing = client.post("/v1/models/none:predict?key=secret", BODY).await;
    let strange = client.get("/v1/\"{'%0a").await;
    assert_eq!((missing.status, strange.status), (404, 400));
    let long = format!("/{}", "x".repeat(5000));
    client.get(&long).await;
    drop(client);
    let log = program.end();
    let lines = access(&log);
    assert_eq!(lines.len(), 4, "{log}");

    let line = &lines[0];
    for (name, expected) in [
        ("level", "INFO"),
        ("message", "request"),
        ("method", "POST"),
        ("path", PREDICT),
        ("verb", "predict"),
        ("model", "half_plus_two"),
        ("signature", "serving_default"),
        ("request_id", "mine"),
    ] {
        assert_eq!(line[name], expected, "{name}: {line}");
    }
    for (name, expected) in [
        ("version", 124),
        ("status", 200),
        ("request_bytes", BODY.len() as u64),
        ("response_bytes", response.body.len() as u64),
        ("attempts", 1),
    ] {
        assert_eq!(line[name], expected, "{name}: {line}");
    }
    let seconds = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
    let parts = ["read", "decode", "backend", "encode", "write"].map(seconds);
    assert!(parts.iter().all(|part| (0.0..=seconds("seconds")).contains(part)), "{line}");
    assert!(seconds("backend") > 0.0 && seconds("seconds") < 10.0, "{line}");
    let peer: SocketAddr = line["peer"].as_str().unwrap().parse().unwrap();
    assert!(peer.ip().is_loopback());

    // What nobody has confirmed is no model, and what was made up is no other text than it says.
    assert_eq!(lines[1]["path"], "/v1/models/none:predict");
    assert!(lines[1].get("model").is_none() && !log.contains("secret"), "{log}");
    assert_eq!(lines[1]["request_id"], missing.headers["x-request-id"].as_str());
    assert_eq!(lines[2]["path"], "/v1/\"{'%0a");
    assert_eq!(lines[3]["path"].as_str().unwrap().len(), 1024);

    let emitted: BTreeSet<_> = lines.iter().flat_map(names).chain(with_a_token().await).collect();
    assert_eq!(emitted, documented("log field"));
}

/// The names of the fields of a request with a token that had to wait for its turn.
async fn with_a_token() -> BTreeSet<String> {
    let program = env!("CARGO_BIN_EXE_tfbridge");
    let made = Command::new(program).args(["token", "--name", "mobile"]).output().unwrap();
    let made = String::from_utf8(made.stdout).unwrap();
    let (token, entry) = made.split_once('\n').unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), entry).unwrap();
    let backend = Scripted::start(Script::Answer(Duration::from_millis(200))).await;
    let auth_file = file.path().to_str().unwrap();
    // Nobody is there to take the traces, which is nobody's concern here.
    let traces = "--otlp-endpoint=http://127.0.0.1:1";
    let flags = ["--log-format=json", "--max-in-flight=1", traces, "--auth-file", auth_file];
    let mut program = Program::serve(&backend, &flags).await;
    let headers = [("X-API-Key", token)];
    let (mut one, mut other) = (Client::connect(program.api).await, Client::connect(program.api).await);
    let answers = tokio::join!(
        one.request("POST", "/v1/models/m:predict", &headers, BODY),
        other.request("POST", "/v1/models/m:predict", &headers, BODY)
    );
    assert_eq!((answers.0.status, answers.1.status), (200, 200));
    drop((one, other));
    let log = program.end();
    assert!(!log.contains(token), "{log}");
    let lines = access(&log);
    assert!(lines.len() == 2 && lines.iter().all(|line| line["token"] == "mobile"), "{log}");
    let waited = lines.iter().find(|line| line.get("queue").is_some()).unwrap();
    assert!(waited["queue"].as_f64().unwrap() > 0.1, "{log}");
    names(waited)
}

#[tokio::test]
async fn text_has_the_same_fields_and_the_access_log_can_be_off() {
    let mut program = Program::demo(&[]);
    let mut client = Client::connect(program.api).await;
    client.post(PREDICT, BODY).await;
    drop(client);
    let log = program.end();
    let line = log.lines().find(|line| line.contains(" tfbridge::access: request method=POST ")).unwrap();
    for field in
        ["path=/v1/models/half_plus_two:predict ", "model=half_plus_two ", " status=200 ", " peer=127."]
    {
        assert!(line.contains(field), "{field}: {line}");
    }
    assert!(!log.contains('\x1b'), "{log}");

    for arguments in
        [["--access-log=false", "--log=info"], ["--access-log=true", "--log=info,tfbridge::access=warn"]]
    {
        let mut program = Program::demo(&arguments);
        let mut client = Client::connect(program.api).await;
        client.post(PREDICT, BODY).await;
        drop(client);
        let log = program.end();
        assert!(log.contains("draining") && !log.contains("tfbridge::access"), "{log}");
    }
}

/// A log that nobody reads delays nobody.
#[tokio::test]
async fn requests_do_not_wait_for_the_log() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tfbridge"))
        .args(["demo", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut greeting = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
    let address = greeting.split_once("http://").unwrap().1.split_once(". In").unwrap().0;
    let mut client = Client::connect(address.parse().unwrap()).await;
    // More than a pipe and the buffer hold.
    let path = format!("/{}", "x".repeat(1000));
    for _ in 0..1500 {
        let answer = tokio::time::timeout(Duration::from_secs(10), client.get(&path)).await;
        assert_eq!(answer.unwrap().status, 404);
    }
    drop(client);
    let mut stderr = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    let text = reader.join().unwrap();
    assert!(text.contains("lines were dropped") && text.ends_with('\n'), "{}", text.len());
    for line in text.lines() {
        assert!(line.contains(" INFO ") || line.contains(" WARN "), "{line}");
    }
}

#[tokio::test]
async fn a_new_configuration_turns_the_access_log_off_and_on() {
    let config = tempfile::NamedTempFile::new().unwrap();
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let program = Program::serve(&backend, &["--config", config.path().to_str().unwrap()]).await;
    let mut client = Client::connect(program.api).await;
    for (reloads, is_on) in [(1, false), (2, true)] {
        fs::write(config.path(), format!("access-log = {is_on}")).unwrap();
        program.signal(Signal::HUP);
        while program.log().matches("has been read again").count() < reloads {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let path = format!("/v1/models/m{reloads}");
        client.get(&path).await;
        let is_there = || program.log().contains(&format!("path={path} "));
        let start = Instant::now();
        while !is_there() && start.elapsed() < Duration::from_millis(if is_on { 10_000 } else { 300 }) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(is_there(), is_on, "{}", program.log());
    }
}
