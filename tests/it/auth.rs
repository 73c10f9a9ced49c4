//! Who may call the API: tokens in a file.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tfbridge::mock::Models;
use tokio::net::TcpListener;

use crate::bridge::Bridge;
use crate::client::Client;
use crate::scripted::{Script, Scripted};

const PREDICT: &str = "/v1/models/half_plus_two:predict";
const BODY: &[u8] = br#"{"instances": [1.0]}"#;

/// A token of at least the length that is asked for.
pub fn token(name: &str) -> String {
    format!("{name}-0123456789abcdef0123456789")
}

/// What `tfbridge token --hash` makes of it.
pub fn entry(name: &str, more: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tfbridge"))
        .args(["token", "--hash", "--name", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(token(name).as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap() + more
}

pub fn file(text: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("tokens.toml"), text).unwrap();
    directory
}

async fn start(file: &TempDir) -> Bridge {
    let path = file.path().join("tokens.toml");
    Bridge::start_with(Models::builtin(), |config| config.access.auth_file = Some(path)).await
}

fn bearer(name: &str) -> String {
    format!("Bearer {}", token(name))
}

#[tokio::test]
async fn only_known_tokens_are_let_in_and_only_to_their_models() {
    let file = file(&(entry("all", "") + &entry("some", "models = [\"echo\", \"half_plus_th*\"]\n")));
    let bridge = start(&file).await;
    // One connection: a refused request leaves it as it was.
    let mut client = bridge.connect().await;
    let all = bearer("all");
    let some = bearer("some");
    let wrong = bearer("wrong");
    let large = vec![b' '; 3 << 20];
    type Case<'a> = (&'a str, &'a str, Option<&'a str>, &'a [u8], u16);
    let cases: [Case; 17] = [
        ("POST", PREDICT, None, BODY, 401),
        ("POST", PREDICT, Some(&wrong), BODY, 401),
        ("POST", PREDICT, Some(&wrong), &large, 401),
        ("POST", PREDICT, Some("Basic YTpi"), BODY, 401),
        ("POST", PREDICT, Some(&all), BODY, 200),
        ("POST", PREDICT, Some(&some), BODY, 403),
        ("POST", PREDICT, Some(&some), &large, 403),
        ("POST", "/v1/models/half_plus_three:predict", Some(&some), BODY, 200),
        ("POST", "/v1/models/%68alf_plus_three:predict", Some(&some), BODY, 200),
        ("GET", "/v1/models/half_plus_two", Some(&some), b"", 403),
        ("GET", "/v1/models/half_plus_two/metadata", Some(&some), b"", 403),
        ("GET", "/v1/models/echo", Some(&some), b"", 200),
        ("GET", "/monitoring/prometheus/metrics", None, b"", 401),
        ("GET", "/monitoring/prometheus/metrics", Some(&some), b"", 200),
        ("GET", "/nowhere", None, b"", 401),
        ("GET", "/nowhere", Some(&some), b"", 404),
        ("OPTIONS", "/v1/models/echo", None, b"", 401),
    ];
    for (method, path, authorization, body, status) in cases {
        let headers: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
        let response = client.request(method, path, &headers, body).await;
        assert_eq!(response.status, status, "{method} {path} {authorization:?}");
        assert_eq!(response.headers.contains_key("www-authenticate"), status == 401, "{path}");
        if status == 401 {
            assert_eq!(response.headers["www-authenticate"], "Bearer");
        }
        if status == 401 || status == 403 {
            assert!(!response.error().is_empty());
            assert!(!response.headers.contains_key("connection"));
        }
    }
    let message = client.request("POST", PREDICT, &[("Authorization", &some)], BODY).await.error();
    assert_eq!(message, "The token may not call the model half_plus_two");
    let key = token("all");
    assert_eq!(client.request("POST", PREDICT, &[("X-API-Key", &key)], BODY).await.status, 200);
}

#[tokio::test]
async fn who_waits_to_send_a_body_is_refused_before() {
    let file = file(&entry("all", ""));
    let bridge = start(&file).await;
    for (authorization, expected) in [(bearer("wrong"), 401), (bearer("all"), 100)] {
        let mut client = bridge.connect().await;
        let head = format!(
            "POST {PREDICT} HTTP/1.1\r\nHost: test\r\nAuthorization: {authorization}\r\n\
             Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            BODY.len()
        );
        client.send(head.as_bytes()).await;
        let response = client.receive(false).await;
        assert_eq!(response.status, expected);
        if expected == 401 {
            assert_eq!(response.headers["connection"], "close");
            assert_eq!(client.rest().await, b"");
        } else {
            client.send(BODY).await;
            assert_eq!(client.receive(false).await.status, 200);
        }
    }
}

#[tokio::test]
async fn tokens_do_not_reach_the_backend() {
    let file = file(&entry("all", ""));
    let backend = Scripted::start(Script::Trailer("x-request-id", "1")).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |config| {
        config.access.auth_file = Some(file.path().join("tokens.toml"));
        config.api.pass_headers.push("x-api-key".parse().unwrap());
    })
    .await;
    let (bearer, key) = (bearer("all"), token("unknown"));
    let headers = [("Authorization", bearer.as_str()), ("X-API-Key", &key), ("traceparent", "00-1-1-01")];
    let response = bridge.connect().await.request("POST", "/v1/models/m:predict", &headers, BODY).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let seen = backend.state.seen.lock().unwrap();
    assert!(seen.get("authorization").is_none() && seen.get("x-api-key").is_none());
    assert_eq!(seen.get("traceparent").unwrap(), "00-1-1-01");
}

/// The whole log of a program that logs all it can, of every crate in it.
#[tokio::test]
async fn tokens_do_not_reach_the_log() {
    let file = file(&entry("all", ""));
    let log = file.path().join("log");
    let mut program = Command::new(env!("CARGO_BIN_EXE_tfbridge"))
        .args(["demo", "--listen", "127.0.0.1:0", "--log", "trace", "--auth-file"])
        .arg(file.path().join("tokens.toml"))
        .stdout(Stdio::piped())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut greeting = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
    let address = greeting.split_once("http://").unwrap().1.split_once(". In").unwrap().0;
    let address: SocketAddr = address.parse().unwrap();
    let (known, unknown) = (token("all"), token("unknown"));
    let known_bearer = bearer("all");
    let mut client = Client::connect(address).await;
    for (headers, status) in [
        ([("Authorization", known_bearer.as_str()), ("X-API-Key", &unknown)], 200),
        ([("Authorization", "Basic YTpi"), ("X-API-Key", &known)], 200),
        ([("Authorization", "none"), ("X-API-Key", &unknown)], 401),
    ] {
        assert_eq!(client.request("POST", PREDICT, &headers, BODY).await.status, status);
    }
    // It writes what is left of the log before it ends.
    let id = Pid::from_raw(program.id().try_into().unwrap()).unwrap();
    kill_process(id, Signal::TERM).unwrap();
    assert!(program.wait().unwrap().success());
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.contains("TRACE") && text.contains("status=200") && text.contains(" token=all\n"), "{text}");
    assert!(!text.contains(&known) && !text.contains(&unknown), "{text}");
}

#[tokio::test]
async fn a_changed_file_is_read_again() {
    let file = file(&entry("old", ""));
    let bridge = start(&file).await;
    let mut client = bridge.connect().await;
    assert_eq!(status(&mut client, "old").await, 200);
    assert_eq!(status(&mut client, "new").await, 401);
    let new = file.path().join("new");
    std::fs::write(&new, entry("new", "")).unwrap();
    std::fs::rename(new, file.path().join("tokens.toml")).unwrap();
    let is_read = async {
        while status(&mut client, "new").await != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), is_read).await.unwrap();
    assert_eq!(status(&mut client, "old").await, 401);
}

async fn status(client: &mut Client, name: &str) -> u16 {
    client.request("GET", "/v1/models/echo", &[("Authorization", &bearer(name))], b"").await.status
}

#[tokio::test]
async fn preflights_need_no_token() {
    let file = file(&entry("all", ""));
    let path = file.path().join("tokens.toml");
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        config.access.auth_file = Some(path);
        config.api.cors = true;
    })
    .await;
    let mut client = bridge.connect().await;
    let headers = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "POST")];
    assert_eq!(client.request("OPTIONS", PREDICT, &headers, b"").await.status, 200);
    assert_eq!(client.request("OPTIONS", PREDICT, &headers[..1], b"").await.status, 401);
    assert_eq!(client.request("OPTIONS", "/nowhere", &headers, b"").await.status, 401);
    assert_eq!(client.request("POST", PREDICT, &headers, BODY).await.status, 401);
}

#[tokio::test]
async fn the_admin_port_needs_no_token() {
    let file = file(&entry("all", ""));
    let [api, admin] =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let address = admin.local_addr().unwrap();
    let mut config = tfbridge::config::Config::new("127.0.0.1:1".parse().unwrap());
    config.access.auth_file = Some(file.path().join("tokens.toml"));
    let server = tokio::spawn(tfbridge::run(
        config,
        tfbridge::Listeners {
            api: vec![api.into()],
            admin: Some(admin.into()),
            ..tfbridge::Listeners::default()
        },
        std::future::pending(),
    ));
    let response = Client::connect(address).await.get("/statusz").await;
    assert_eq!(response.status, 200);
    server.abort();
}

#[test]
fn new_tokens_come_with_their_entries() {
    let output = Command::new(env!("CARGO_BIN_EXE_tfbridge")).arg("token").output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let (token, entry) = text.split_once("\n\n").unwrap();
    assert!(token.starts_with("tfb_") && token.len() == 47, "{text}");
    assert!(entry.starts_with("[[token]]\nname = \"token-") && !entry.contains(token), "{text}");
}
