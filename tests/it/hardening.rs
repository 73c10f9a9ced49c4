//! Faults that were found once and must not come back, over HTTP and against the mock.

use std::time::{Duration, Instant};

use serde_json::json;
use tfbridge::mock::{Model, Models};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::bridge::{Bridge, models};
use crate::log::Log;

const HALF: &str = "/v1/models/half_plus_two:predict";

/// What arrives in pieces is answered as what arrives at once, also where a piece ends badly.
#[tokio::test]
async fn an_empty_list_after_much_space_is_empty() {
    let bridge = Bridge::start(models()).await;
    let spaces = " ".repeat(300_000);
    for body in [
        format!("{{\"instances\":[{spaces}]}}"),
        format!("{{\"instances\":{spaces}[]}}"),
        format!("{{\"instances\":[{spaces}{{\"x\":1}}, 2]}}"),
        format!("{{\"instances\":[1,{spaces}]}}"),
    ] {
        let mut client = bridge.connect().await;
        let head = format!("POST {HALF} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
        client.send(head.as_bytes()).await;
        for piece in body.as_bytes().chunks(150_000) {
            client.send(piece).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let response = client.receive(false).await;
        assert_eq!(response.status, 400, "{}", response.text());
    }
    let body = format!("{{\"instances\":[1,{spaces}2]}}");
    let response = bridge.connect().await.post(HALF, body).await;
    assert_eq!(response.json(), json!({"predictions": [2.5, 3.0]}));
}

/// Bodies for a new version are decoded with its signatures, not refused with the old ones.
#[tokio::test]
async fn bodies_for_a_new_version_are_not_refused() {
    let models = Models::empty().with(Model::half_plus("m", 2.0));
    let bridge = Bridge::start(models.clone()).await;
    let mut client = bridge.connect().await;
    let path = "/v1/models/m:predict";
    let new = r#"{"signature_name": "string", "instances": ["a"]}"#;
    assert_eq!(client.post(path, r#"{"instances": [1]}"#).await.status, 200);
    assert_eq!(client.post(path, new).await.status, 400);
    let _ = models.with(Model::echo("m").versions([2]));
    // Signatures are believed for a second at least, so that refused bodies cost the backend little.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let response = client.post(path, new).await;
    assert_eq!(response.json(), json!({"predictions": ["a"]}));
    assert_eq!(response.headers["x-model-version"], "2");
}

/// The batch is a dimension of its own, whatever the rows are.
#[tokio::test]
async fn rows_have_a_batch() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    let path = "/v1/models/echo:predict";
    let response = client.post(path, r#"{"signature_name": "complex64", "instances": [1, 2]}"#).await;
    assert_eq!(response.status, 400, "{}", response.text());
    assert!(response.error().starts_with("/instances/0: JSON Value: 1 "), "{}", response.text());
    let response = client.post(path, r#"{"signature_name": "complex64", "instances": [[1, 2]]}"#).await;
    assert_eq!(response.text(), r#"{"predictions":[[1.0,2.0]]}"#);
    for (depth, status) in [(253, 200), (254, 400)] {
        let nested = format!("{}1.0{}", "[".repeat(depth), "]".repeat(depth));
        let response = client.post(path, format!("{{\"instances\": [{{\"x\": {nested}}}]}}")).await;
        assert_eq!(response.status, status, "{depth}: {}", response.text());
    }
}

#[tokio::test]
async fn indentation_grows_with_the_reply_only() {
    let bridge = Bridge::start(models()).await;
    let nested = format!("{}1.0{}", "[".repeat(253), "]".repeat(253));
    let body = format!("{{\"inputs\": [{}]}}", vec![nested; 40].join(","));
    let response = bridge.connect().await.post("/v1/models/echo:predict?pretty", &body).await;
    assert_eq!(response.status, 200);
    assert!(response.body.len() < 60 * body.len(), "{} of {}", response.body.len(), body.len());
}

/// All who wait for the same signatures hear at once that they are not to be had.
#[tokio::test]
async fn waiting_requests_share_a_failure() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = silent.local_addr().unwrap().to_string();
    let bridge =
        Bridge::in_front_of(&backend, |config| config.api.timeout = Duration::from_millis(300)).await;
    let start = Instant::now();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut client = bridge.connect().await;
        requests.spawn(async move { client.post(HALF, r#"{"instances": [1]}"#).await.status });
    }
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.unwrap(), 504);
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn connections_that_say_nothing_are_closed() {
    let limit = Duration::from_millis(200);
    let bridge = Bridge::start_with(models(), |config| config.server.header_timeout = limit).await;
    for start in ["", "P", "PRI * HTTP/2.0\r\n", "POST / HT"] {
        let mut stream = TcpStream::connect(bridge.address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "{start:?} is still open");
    }
}

/// A client that is refused while it sends gets to read why.
#[tokio::test(flavor = "multi_thread")]
async fn large_refused_bodies_get_their_answer() {
    let bridge = Bridge::start_with(models(), |config| config.api.max_body_size = 1 << 20).await;
    let body = vec![b' '; 8 << 20];
    let response = bridge.connect().await.post(HALF, &body).await;
    assert_eq!(response.status, 413);
    let response = bridge.connect().await.post("/nowhere", &body).await;
    assert_eq!(response.status, 404);
}

#[tokio::test]
async fn why_a_backend_cannot_be_reached_is_for_the_log_alone() {
    // Nobody has this port.
    let bridge = Bridge::in_front_of("127.0.0.1:1", |_| {}).await;
    let mut client = bridge.connect().await;
    let log = Log::default();
    let guard = log.listen();
    let response = client.post("/v1/models/m:predict", r#"{"instances": [1]}"#).await;
    drop(guard);
    assert_eq!((response.status, response.error().as_str()), (503, "The backend cannot be reached"));
    assert!(log.text().contains("ConnectionRefused"), "{}", log.text());
}
