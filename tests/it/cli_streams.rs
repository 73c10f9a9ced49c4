//! `tfbridge predict --stream`, as a program of its own in front of a bridge, a model server, or a server that does what
//! a test tells it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tfbridge::mock::Models;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tonic::Code;

use crate::backend::{Server, Transport};
use crate::bridge::{Bridge, models};
use crate::cli::{fails, run, said, says, start};
use crate::scripted::{Script, Scripted};

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
    let (code, _, errors) = said(&run(&streamed.words(&server, &["--resume"]), ""));
    assert_eq!(code, Some(64), "{errors}");
    // Nothing can go on from there.
    assert!(errors.ends_with("The output has more lines than the input: it is of another one\n"), "{errors}");
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

/// A server that tells the signatures of `half_plus_two`, answers each prediction with the next of these texts when all
/// lines have come, and then neither says more nor hangs up. It tells of each prediction when it is asked for.
async fn fake(replies: Vec<&'static str>) -> (String, mpsc::UnboundedReceiver<()>) {
    let bridge = Bridge::start(models()).await;
    let metadata = bridge.connect().await.get("/v1/models/half_plus_two/metadata").await.text().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut replies = replies.into_iter();
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut request, mut piece) = (Vec::new(), vec![0; 4096]);
            let has = |request: &[u8], end: &str| String::from_utf8_lossy(request).contains(end);
            while !has(&request, "\r\n\r\n") {
                let length = stream.read(&mut piece).await.unwrap();
                request.extend_from_slice(&piece[..length]);
            }
            let reply = if request.starts_with(b"GET") {
                let length = metadata.len();
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{metadata}")
            } else {
                let _ = sender.send(());
                while !has(&request, "\r\n0\r\n\r\n") {
                    let length = stream.read(&mut piece).await.unwrap();
                    assert!(length > 0, "the request ends before its end");
                    request.extend_from_slice(&piece[..length]);
                }
                replies.next().expect("too many requests").to_owned()
            };
            stream.write_all(reply.as_bytes()).await.unwrap();
            open.push(stream);
        }
    });
    (format!("http://{address}"), receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_is_named_for_two_things() {
    let text = "1\n2\n";
    // Nobody has to be asked.
    let server = "http://127.0.0.1:1";
    let streamed = Streamed::new("in.ndjson", text);
    let path = |name: &str| streamed.input.parent().unwrap().join(name).to_str().unwrap().to_owned();
    std::os::unix::fs::symlink("in.ndjson", path("link.ndjson")).unwrap();
    std::os::unix::fs::symlink("out", path("link-to-out")).unwrap();
    fs::hard_link(&streamed.input, path("hard.ndjson")).unwrap();
    fs::write(path("x.failures.ndjson"), text).unwrap();
    let check = |file: &str, save: &str, failures: Option<&str>, expected: &str| {
        let (file, save) = (path(file), path(save));
        let mut words = vec![
            "predict",
            "m",
            "--stream",
            "--server",
            server,
            "--file",
            &file,
            "--save",
            &save,
            "--overwrite",
        ];
        let failures = failures.map(path);
        words.extend(failures.iter().flat_map(|failures| ["--failures", failures]));
        fails(&words, 64, &[&format!("error: {expected} cannot be the same file, ")]);
        assert_eq!(fs::read_to_string(&streamed.input).unwrap(), text, "{words:?}");
        assert_eq!(fs::read_to_string(path("x.failures.ndjson")).unwrap(), text, "{words:?}");
        assert!(!streamed.output.exists(), "{words:?}");
    };
    check("in.ndjson", "in.ndjson", None, "--file and --save");
    check("in.ndjson", "./hard.ndjson", None, "--file and --save");
    check("in.ndjson", "out", Some("in.ndjson"), "--file and --failures");
    check("in.ndjson", "out", Some("link.ndjson"), "--file and --failures");
    check("in.ndjson", "out", Some("./out"), "--save and --failures");
    check("in.ndjson", "link-to-out", Some("out"), "--save and --failures");
    check("x.failures.ndjson", "x", None, "--file and --failures");

    let mut words = streamed.words(server, &["--overwrite", "--failures", streamed.input.to_str().unwrap()]);
    words[6] = "-";
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfbridge"));
    let output = command.args(&words).stdin(fs::File::open(&streamed.input).unwrap()).output().unwrap();
    let (code, _, errors) = said(&output);
    assert_eq!(code, Some(64), "{errors}");
    assert_eq!(fs::read_to_string(&streamed.input).unwrap(), text);

    fs::write(path("rows.txt"), text).unwrap();
    let (rows, save) = (path("rows.txt"), path("out"));
    let words = ["predict", "m", "--stream", "--server", server, "--file", &rows, "--save", &save];
    fails(&words, 64, &["does not show from its name: say it with --format"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_of_failures_is_left_alone() {
    let bridge = Bridge::start(models()).await;
    let server = format!("http://{}", bridge.address);
    let streamed = Streamed::new("in.ndjson", "1\n2\n");
    fs::write(&streamed.output, "2.5\n").unwrap();
    fs::write(&streamed.failures, "{\"line\":7,\"rows\":2}\n").unwrap();
    fails(&streamed.words(&server, &["--resume"]), 64, &["failures.ndjson: it is no file of failures"]);
    assert_eq!(fs::read_to_string(&streamed.failures).unwrap(), "{\"line\":7,\"rows\":2}\n");
    fs::remove_file(&streamed.failures).unwrap();
    says(&streamed.words(&server, &["--resume"]));
    assert_eq!(streamed.output(), "2.5\n3.0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn pipes_and_devices_take_what_is_written() {
    let bridge = Bridge::start(models()).await;
    let server = format!("http://{}", bridge.address);
    let (input, answers) = numbered(20_000);
    let streamed = Streamed::new("in.ndjson", &input);
    let mut words = streamed.words(&server, &["--quiet"]);
    words[8] = "/dev/stdout";
    assert!(says(&words) == answers);
    fails(&[&words[..], &["--output", "json"]].concat(), 64, &["the summary of --output json cannot be"]);
    fails(&[&words[..], &["--resume"]].concat(), 64, &["/dev/stdout keeps no lines that --resume"]);
    words[8] = "/dev/null";
    assert_eq!(says(&words), "");

    // Its failures are where the program runs: there is no place beside it.
    fs::write(&streamed.input, "1\n\"two\"\n").unwrap();
    words[8] = "/dev/stdout";
    let directory = streamed.input.parent().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfbridge"));
    let (code, told, errors) = said(&command.args(&words).current_dir(directory).output().unwrap());
    assert_eq!((code, told.as_str()), (Some(1), "2.5\nnull\n"), "{errors}");
    assert!(errors.contains("1 of 2 lines have failed, see stdout.failures.ndjson"), "{errors}");
    assert!(
        fs::read_to_string(directory.join("stdout.failures.ndjson")).unwrap().starts_with("{\"line\":2,")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_lines_are_taken_for_predictions() {
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 12\r\n\r\n<p>\nHello\n</";
    let bare = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n2.5\n";
    let (server, _requests) = fake(vec![page, bare]).await;
    for expected in ["200 with \"text/html\" where application/x-ndjson", "200 with a body of no type"] {
        let streamed = Streamed::new("in.ndjson", "1\n");
        fails(&streamed.words(&server, &[]), 1, &[expected]);
        assert_eq!(streamed.output(), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_never_ends_is_waited_for_no_longer_than_an_answer() {
    let half = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 1000\r\n\r\n{";
    let (server, mut requests) = fake(vec![half, half, half]).await;
    let streamed = Streamed::new("in.ndjson", "1\n");
    let words = streamed.words(&server, &["--timeout", "500ms", "--retries", "1"]);
    let (code, _, errors) = said(&run(&words, ""));
    assert_eq!(code, Some(1), "{errors}");
    let expected = "500 Internal Server Error; trying again in 500ms\nerror: 500 Internal Server Error\n";
    assert_eq!(errors, expected);

    // Nor longer than anybody wants.
    let asked = requests.recv_many(&mut Vec::new(), 2).await;
    assert_eq!(asked, 2);
    let child = start(&streamed.words(&server, &[]));
    requests.recv().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    interrupt(child, "Interrupted: 0 lines are answered");
}

/// Checks that a program ends soon with Ctrl-C, and says this.
fn interrupt(child: Child, expected: &str) {
    let start = Instant::now();
    signal(&child, Signal::INT);
    let (code, _, errors) = said(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(130), "{errors}");
    assert!(errors.contains(expected) && !errors.contains("trying again"), "{errors}");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_stopped_wherever_it_is() {
    // It asks for the signatures.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let streamed = Streamed::new("in.ndjson", "1\n");
    let child = start(&streamed.words(&server, &[]));
    let _stream = silent.accept().await.unwrap();
    interrupt(child, "Interrupted");
    assert!(!streamed.output.exists());

    // What is under way fails, which would be tried again otherwise.
    let unavailable = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let (server, mut requests) = fake(vec![unavailable]).await;
    let mut words = streamed.words(&server, &[]);
    words[6] = "-";
    let mut child = start(&words);
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(b"1\n").unwrap();
    requests.recv().await.unwrap();
    interrupt(child, "Interrupted: 0 lines are answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_wait_for_a_model_server_that_is_away() {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |config| {
        config.api.streams.batch = 1;
        config.upstream.max_attempts = 1;
    })
    .await;
    let server = format!("http://{}", bridge.address);
    let streamed = Streamed::new("in.ndjson", "1\n2\n3\n");
    let mut words = streamed.words(&server, &["--format", "ndjson", "--retries", "1"]);
    words[1] = "m";
    let from_file = [&words[..], &["--resume"]].concat();
    words[6] = "-";
    let begin = || {
        backend.set(Script::Answer(Duration::ZERO));
        let mut child = start(&words);
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(b"1\n").unwrap();
        wait_for_lines(&streamed.output, 1);
        backend.set(Script::Fail(Code::Unavailable, "gone"));
        pipe.write_all(b"2\n3\n").unwrap();
        child
    };
    // It stays away: what is answered is kept, and nothing has failed that could be answered later.
    let (code, _, errors) = said(&begin().wait_with_output().unwrap());
    assert_eq!(code, Some(1), "{errors}");
    let expected =
        "503: gone; trying again in 500ms\nerror: 503: gone\n1 lines are answered; the same command";
    assert!(errors.starts_with(expected), "{errors}");
    assert_eq!((streamed.output().as_str(), streamed.failures.exists()), ("1\n", false));
    backend.set(Script::Answer(Duration::ZERO));
    says(&from_file);
    assert_eq!((streamed.output().as_str(), streamed.failures.exists()), ("1\n1\n1\n", false));

    // It comes back.
    fs::remove_file(&streamed.output).unwrap();
    let mut child = begin();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut error = String::new();
    errors.read_line(&mut error).unwrap();
    assert_eq!(error, "503: gone; trying again in 500ms\n");
    backend.set(Script::Answer(Duration::ZERO));
    assert!(child.wait().unwrap().success());
    assert_eq!((streamed.output().as_str(), streamed.failures.exists()), ("1\n1\n1\n", false));
}
