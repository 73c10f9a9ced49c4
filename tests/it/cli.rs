//! `tfbridge inspect` and `tfbridge predict`, as programs of their own in front of a bridge and a model server.

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::backend::{Server, Transport};
use crate::bridge::{Bridge, models};

/// The program with these words, and what it reads.
pub fn start(words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tfbridge"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

pub fn run(words: &[&str], input: &str) -> Output {
    let mut child = start(words);
    // One that has no use for it has ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// The exit code, the standard output and the standard error.
pub fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What a program says that ends well.
pub fn says(words: &[&str]) -> String {
    let (code, output, errors) = said(&run(words, ""));
    assert_eq!(code, Some(0), "{words:?}: {errors}");
    output
}

/// Checks that it ends with a code, and says this on the standard error.
pub fn fails(words: &[&str], expected: i32, reasons: &[&str]) {
    let (code, _, errors) = said(&run(words, ""));
    assert_eq!(code, Some(expected), "{words:?}: {errors}");
    for reason in reasons {
        assert!(errors.contains(reason), "{words:?}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_inspected() {
    let bridge = Bridge::start_with(models(), |config| {
        config.api.models = vec!["half_plus_two@stable".parse().unwrap(), "echo".parse().unwrap()];
    })
    .await;
    let server = format!("http://{}", bridge.address);
    let expected = "\
half_plus_two

VERSION  STATE      LABELS
124      AVAILABLE
123      AVAILABLE  stable

The signatures, version 123:

SIGNATURE        METHOD           NAME  DTYPE  SHAPE
serving_default  predict  input   x     float  [?, 1]
                          output  y     float  [?, 1]
";
    let words = ["inspect", "half_plus_two", "--server", &server, "--label", "stable"];
    let told = says(&[&words[..], &["--signature", "serving_default"]].concat());
    assert_eq!(told.replace("float  [?]\n", "float  [?, 1]\n"), expected);
    let json: Value = serde_json::from_str(&says(&[&words[..], &["--output", "json"]].concat())).unwrap();
    assert_eq!((&json["state"], &json["version"]), (&json!("AVAILABLE"), &json!("123")));
    assert_eq!(json["signatures"]["regress_x_to_y"]["inputs"]["inputs"]["dtype"], "DT_STRING");
    fails(
        &["inspect", "half_plus_tow", "--server", &server],
        1,
        &["error: 404: ", "half_plus_tow", "Did you mean half_plus_two?"],
    );
    fails(&["inspect", "resnet", "--server", &server], 1, &["knows: echo, half_plus_two"]);
    fails(&["inspect", "echo", "--server", &server, "--version", "9"], 1, &["Available versions: 1"]);
    fails(
        &["inspect", "half_plus_two", "--server", &server, "--label", "stabel"],
        1,
        &["400: Unrecognized servable version label: stabel\nKnown labels: stable (version 123)"],
    );
    fails(&["predict", "echo", "1", "--server", &server, "--label", "x"], 1, &["Available versions: 1"]);
    fails(
        &["inspect", "half_plus_tow", "--server", &server, "--label", "x"],
        1,
        &["Did you mean half_plus_two?"],
    );
    fails(
        &["inspect", "echo", "--server", &server, "--signature", "mixd"],
        64,
        &["no signature mixd; did you mean mixed?"],
    );
    fails(&["inspect", "echo", "--server", "http://127.0.0.1:1"], 1, &["Is a bridge running there?"]);

    let backend = Server::start(Transport::Tcp, models()).await;
    let told = says(&["inspect", "half_plus_two", "--backend", &backend.backend().to_string()]);
    assert!(told.contains("124      AVAILABLE") && told.contains("classify_x_to_y"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_are_made_from_arguments() {
    let bridge = Bridge::start(models()).await;
    let server = format!("http://{}", bridge.address);
    let predict = |words: &[&str]| says(&[&["predict", "--server", &server], words].concat());
    let values = |words: &[&str]| {
        let json: Value = serde_json::from_str(&predict(&[words, &["--output", "json"]].concat())).unwrap();
        json["outputs"].clone()
    };
    let told = predict(&["half_plus_two", "1", "2", "-5"]);
    assert!(told.starts_with("y: float [3"), "{told}");
    assert!(told.contains("2.5") && told.contains("-0.5"), "{told}");
    let flat = |value: Value| serde_json::to_string(&value).unwrap().replace(['[', ']'], "");
    assert_eq!(flat(values(&["half_plus_two", "x=3", "--label", "stable"])), "3.5");
    assert_eq!(
        values(&["echo", "--signature", "mixed", "s=naïve", "a=[0.1]", "b=9007199254740993"]),
        json!({ "a": [0.1], "b": 9_007_199_254_740_993_i64, "s": "naïve" })
    );
    assert_eq!(
        values(&["echo", "--top-k", "1", "[[0.25, 0.5]]"]),
        json!({ "indices": [[1]], "scores": [[0.5]] })
    );
    fails(
        &["predict", "half_plus_two", "--server", &server],
        64,
        &["serving_default takes:\n  x: float", "tfbridge predict half_plus_two x=VALUE"],
    );
    fails(
        &["predict", "half_plus_two", "--server", &server, "x=one"],
        64,
        &["The value \"one\" of x is no JSON", "It takes float"],
    );
    fails(&["predict", "half_plus_two", "--server", &server, "y=1"], 64, &["no input y; it has: x"]);
    fails(
        &["predict", "echo", "--signature", "uint8", "--server", &server, "[1, 300]"],
        1,
        &["error: 400: /inputs/", "JSON Value: 300", "\nThe signature uint8 takes x: uint8 any shape"],
    );
    fails(
        &["predict", "half_plus_tow", "--server", &server, "1"],
        1,
        &["404: ", "Did you mean half_plus_two?"],
    );

    let backend = Server::start(Transport::Tcp, models()).await;
    let told = says(&["predict", "half_plus_two", "1", "--backend", &backend.backend().to_string()]);
    assert!(told.starts_with("y: float [1"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn predictions_are_made_from_files() {
    let bridge = Bridge::start(models()).await;
    let server = format!("http://{}", bridge.address);
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let predict = |words: &[&str]| says(&[&["predict", "--server", &server], words].concat());
    let words = ["predict", "half_plus_two", "--server", &server, "--file", "-", "--output", "json"];
    let (code, told, errors) = said(&run(&words, r#"{"instances": [1.0, 2.0]}"#));
    assert_eq!((code, told.as_str()), (Some(0), "{\"predictions\":[2.5,3.0]}\n"), "{errors}");

    let table = file("rows.csv", b"x\n1\n5\n");
    assert_eq!(
        predict(&["half_plus_two", "--file", &table, "--accept", "csv"]).lines().skip(1).collect::<Vec<_>>(),
        ["2.5", "4.5"]
    );
    let rows = file("rows", b"1\n5\n");
    let told =
        predict(&["half_plus_two", "--file", &rows, "--format", "csv", "--no-header", "--output", "json"]);
    assert_eq!(told.replace(['[', ']'], ""), "{\"predictions\":2.5,4.5}\n");
    fails(&["predict", "half_plus_two", "--server", &server, "--file", &rows], 64, &["--format"]);

    // What is read is not written over.
    let json = file("t.json", b"{\"instances\": [1.0]}");
    let other_name = directory.path().join(".").join("t.json").to_str().unwrap().to_owned();
    fails(
        &["predict", "half_plus_two", "--server", &server, "--file", &json, "--save", &other_name],
        64,
        &["--file and --save cannot be the same file"],
    );
    assert_eq!(fs::read_to_string(&json).unwrap(), "{\"instances\": [1.0]}");

    // An array comes back as one, and goes in as one beside a value.
    let array = directory.path().join("y.npy");
    let saved = array.to_str().unwrap();
    assert_eq!(predict(&["echo", "[[1, 2]]", "--save", saved]), "");
    assert!(fs::read(&array).unwrap().starts_with(b"\x93NUMPY"));
    let told = predict(&["echo", &format!("x=@{saved}"), "--output", "json"]);
    assert_eq!(told, "{\"outputs\":[[1.0,2.0]]}\n");
    let told = predict(&["echo", "--file", saved, "--output", "json"]);
    assert!(told.contains("[1.0,2.0]"), "{told}");
    let text = file("text.txt", b"\xff\x00");
    let told = predict(&["echo", "--signature", "bytes", &format!("@{text}"), "--output", "json"]);
    // The signature has any rank, so that there are no lists around it.
    assert_eq!(told, "{\"outputs\":{\"b64\":\"/wA=\"}}\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_with_nobody_at_its_other_end_stops_with_an_interrupt() {
    let bridge = Bridge::start(models()).await;
    let server = format!("http://{}", bridge.address);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe.json");
    let pipe = path.to_str().unwrap();
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let (argument, saved) = (format!("x=@{pipe}"), directory.path().join("saved"));
    let saved = saved.to_str().unwrap();
    for words in [
        &["predict", "half_plus_two", "--file", pipe][..],
        &["predict", "half_plus_two", &argument],
        &["predict", "half_plus_two", "1", "--save", pipe],
        &["predict", "half_plus_two", "--stream", "--file", pipe, "--format", "ndjson", "--save", saved],
        &["bench", "half_plus_two", "--body", pipe],
    ] {
        let child = start(&[words, &["--server", &server]].concat());
        // From then on it is known that signals are waited for.
        let is_opening = || {
            let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
            let names = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")));
            names.flatten().any(|name| name == "files\n")
        };
        let begin = Instant::now();
        while !is_opening() {
            assert!(begin.elapsed() < Duration::from_secs(30), "{words:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
        let (code, told, errors) = said(&child.wait_with_output().unwrap());
        assert_eq!((code, &*told), (Some(130), ""), "{words:?}: {errors}");
        assert!(errors.ends_with("error: Interrupted\n"), "{words:?}: {errors}");
    }
}
