//! `tfbridge inspect` and `tfbridge predict`, as programs of their own in front of a bridge and a model server.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tfbridge::mock::Models;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::backend::{Server, Transport};
use crate::bridge::{Bridge, models};

/// The program with these words, and what it reads.
fn start(words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tfbridge"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(words: &[&str], input: &str) -> Output {
    let mut child = start(words);
    // One that has no use for it has ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// The exit code, the standard output and the standard error.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What a program says that ends well.
fn says(words: &[&str]) -> String {
    let (code, output, errors) = said(&run(words, ""));
    assert_eq!(code, Some(0), "{words:?}: {errors}");
    output
}

/// Checks that it ends with a code, and says this on the standard error.
fn fails(words: &[&str], expected: i32, reasons: &[&str]) {
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

/// A place for the files of a stream.
struct Streamed {
    _directory: tempfile::TempDir,
    input: PathBuf,
    output: PathBuf,
    failures: PathBuf,
}

impl Streamed {
    fn new(name: &str, input: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let streamed = Self {
            input: path(name),
            output: path("out"),
            failures: path("out.failures.ndjson"),
            _directory: directory,
        };
        fs::write(&streamed.input, input).unwrap();
        streamed
    }

    /// The words for a stream from its input.
    fn words<'a>(&'a self, server: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let (input, output) = (self.input.to_str().unwrap(), self.output.to_str().unwrap());
        let words =
            ["predict", "half_plus_two", "--stream", "--server", server, "--file", input, "--save", output];
        [&words[..], more].concat()
    }

    fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    fn failures(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.failures).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// So many lines, and the answers to them.
fn numbered(lines: usize) -> (String, String) {
    let input = (0..lines).map(|line| format!("{line}\n")).collect();
    let answers = (0..lines).map(|line| format!("{:?}\n", line as f32 / 2.0 + 2.0)).collect();
    (input, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_answered_in_their_places() {
    let bridge = Bridge::start(models()).await;
    let server = format!("http://{}", bridge.address);
    let streamed = Streamed::new("in.ndjson", "1\n\n{\"x\": 2}\r\n\"three\"\n4");
    let expected = "2.5\n\n3.0\nnull\n4.0\n";
    let output = run(&streamed.words(&server, &["--output", "json"]), "");
    let (code, told, errors) = said(&output);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("error: 1 of 5 lines have failed, see "), "{errors}");
    let summary: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&summary["lines"], &summary["failed"], &summary["resumed"]),
        (&json!(5), &json!(1), &json!(0))
    );
    assert_eq!(streamed.output(), expected);
    let failures = streamed.failures();
    assert_eq!(
        (failures.len(), &failures[0]["line"], &failures[0]["input"]),
        (1, &json!(4), &json!("\"three\""))
    );
    assert!(failures[0]["error"].as_str().unwrap().starts_with("JSON Value: \"three\""), "{failures:?}");

    fails(&streamed.words(&server, &[]), 64, &["is there already: --resume"]);
    fails(&streamed.words(&server, &["--resume"]), 1, &["1 of 5 lines have failed"]);
    assert_eq!((streamed.output().as_str(), streamed.failures().len()), (expected, 1));
    fs::write(&streamed.input, "1\n").unwrap();
    fails(&streamed.words(&server, &["--resume"]), 64, &["more lines than the input"]);
    says(&streamed.words(&server, &["--overwrite", "--quiet"]));
    assert_eq!((streamed.output().as_str(), streamed.failures().len()), ("2.5\n", 0));
    let words = streamed.words(&server, &["--resume"]);
    let nobody: Vec<_> =
        words.iter().map(|&word| if word == "half_plus_two" { "nobody" } else { word }).collect();
    fs::write(&streamed.input, "1\n2\n").unwrap();
    fails(&nobody, 1, &["404: "]);
    assert_eq!(streamed.output(), "2.5\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_tables_are_answered_in_their_places() {
    let server = Server::start(Transport::Tcp, models()).await;
    let backend = server.backend().to_string();
    let streamed = Streamed::new("in.csv", "x\n1\n\n\"2\"\n300,1\n\"4");
    let words = streamed.words("", &[]);
    let replaced = words.iter().map(|&word| match word {
        "--server" => "--backend",
        "" => backend.as_str(),
        word => word,
    });
    let words: Vec<_> = replaced.collect();
    fails(&words, 1, &["2 of 5 lines have failed"]);
    assert_eq!(streamed.output(), "[2.5]\n\n[3.0]\nnull\nnull\n");
    let failures = streamed.failures();
    assert_eq!(failures[0]["error"], "it has more than the 1 columns");
    assert_eq!((&failures[1]["line"], &failures[1]["error"]), (&json!(5), &json!("A quote is not closed")));
    fs::write(&streamed.input, "x,z\n1,2\n").unwrap();
    let words: Vec<_> = words.into_iter().chain(["--overwrite"]).collect();
    fails(&words, 64, &["The column \"z\" is no input"]);
}

fn wait_for_lines(output: &Path, lines: usize) {
    let start = Instant::now();
    while fs::read_to_string(output).unwrap_or_default().lines().count() < lines {
        assert!(start.elapsed() < Duration::from_secs(30), "no lines");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_where_it_was_ended() {
    let bridge = Bridge::start(models()).await;
    let server = format!("http://{}", bridge.address);
    let (input, answers) = numbered(3000);
    for end in [Signal::KILL, Signal::INT] {
        let streamed = Streamed::new("in.ndjson", &input);
        // The input comes only to the middle of a line.
        let mut words = streamed.words(&server, &["--format", "ndjson"]);
        words[6] = "-";
        let mut child = start(&words);
        let mut pipe = child.stdin.take().unwrap();
        let middle = input.match_indices('\n').nth(999).unwrap().0;
        pipe.write_all(&input.as_bytes()[..middle]).unwrap();
        wait_for_lines(&streamed.output, 500);
        signal(&child, end);
        let (code, _, errors) = said(&child.wait_with_output().unwrap());
        drop(pipe);
        let so_far = streamed.output();
        if end == Signal::INT {
            assert_eq!((code, so_far.lines().count()), (Some(130), 999), "{errors}");
            assert!(
                errors.contains("Interrupted: 999 lines are answered; the same command with --resume"),
                "{errors}"
            );
        } else {
            // As if the end had come in the middle of a line.
            fs::OpenOptions::new().append(true).open(&streamed.output).unwrap().write_all(b"3.").unwrap();
        }
        assert!(answers.starts_with(&so_far));
        says(&streamed.words(&server, &["--resume"]));
        assert!(streamed.output() == answers, "{end:?}");
        assert!(!streamed.failures.exists());
    }
}

/// Passes connections on; of the first ones the answers are cut off after so many bytes.
async fn cut(to: SocketAddr, mut cuts: Vec<usize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let most = cuts.pop().unwrap_or(usize::MAX);
            let server = TcpStream::connect(to).await.unwrap();
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let upload = async {
                    let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
                    let _ = to_server.shutdown().await;
                    std::future::pending::<()>().await;
                };
                let download = async {
                    let (mut piece, mut sent) = (vec![0; 1000], 0);
                    while let Ok(length @ 1..) = from_server.read(&mut piece).await {
                        sent += length;
                        if sent > most || to_client.write_all(&piece[..length]).await.is_err() {
                            break;
                        }
                    }
                };
                tokio::select! { () = upload => {} () = download => {} }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_its_connections() {
    let bridge = Bridge::start(models()).await;
    let (input, answers) = numbered(20_000);
    let streamed = Streamed::new("in.ndjson", &input);
    let address = cut(bridge.address, vec![50_000, 0, 10_000]).await;
    let server = format!("http://{address}");
    let (code, _, errors) = said(&run(&streamed.words(&server, &[]), ""));
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(errors.matches("trying again in ").count(), 3, "{errors}");
    assert!(streamed.output() == answers);

    // Nobody answers any more, once the signatures are known.
    let streamed = Streamed::new("in.ndjson", &input);
    let server = format!("http://{}", cut(bridge.address, vec![0, 0, 0, 0, 10_000]).await);
    let (code, _, errors) = said(&run(&streamed.words(&server, &["--retries", "1"]), ""));
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("trying again in 500ms"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_come_slowly_are_answered_as_they_come() {
    let bridge =
        Bridge::start_with(Models::builtin(), |config| config.api.body_timeout = Duration::from_secs(1))
            .await;
    let server = format!("http://{}", bridge.address);
    let streamed = Streamed::new("in.ndjson", "");
    let mut words = streamed.words(&server, &[]);
    words[6] = "-";
    let mut child = start(&words);
    let mut pipe = child.stdin.take().unwrap();
    for line in 1..=3 {
        pipe.write_all(format!("{line}\n").as_bytes()).unwrap();
        wait_for_lines(&streamed.output, line);
        // Longer than a bridge waits for a body.
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    drop(pipe);
    let (code, _, errors) = said(&child.wait_with_output().unwrap());
    assert_eq!((code, errors.contains("trying again")), (Some(0), false), "{errors}");
    assert_eq!(streamed.output(), "2.5\n3.0\n3.5\n");
}
