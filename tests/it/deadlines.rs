//! Deadlines and hang-ups: how soon the client and the backend learn of them.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::bridge::Bridge;
use crate::load;
use crate::scripted::{Script, Scripted};

const PATH: &str = "/v1/models/m:predict";
const BODY: &[u8] = br#"{"instances": [1.0]}"#;

/// Fails if something is late more often than not in each of several rounds. Single cases, and a
/// round, may meet a busy machine.
async fn check_late(limit: Duration, mut round: impl AsyncFnMut() -> Vec<Duration>) {
    const ROUNDS: usize = 5;
    let _machine = load::MACHINE.lock().await;
    let mut seen = Vec::new();
    for _ in 0..ROUNDS {
        let mut late = round().await;
        late.sort_unstable();
        if late[late.len() / 2] <= limit {
            return;
        }
        seen.push(late);
    }
    panic!("{seen:?}");
}

async fn stalled() -> (Scripted, Bridge) {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    // The signature is known and the connection made.
    assert_eq!(bridge.connect().await.post(PATH, BODY).await.status, 200);
    backend.set(Script::Stall);
    (backend, bridge)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept_to_the_millisecond() {
    let (backend, bridge) = stalled().await;
    let mut client = bridge.connect().await;
    for (name, value) in [
        ("X-Request-Timeout", "50"),
        ("X-Request-Timeout", "50ms"),
        ("grpc-timeout", "50m"),
        ("grpc-timeout", "50000u"),
    ] {
        check_late(Duration::from_millis(5), async || {
            let mut late = Vec::new();
            for _ in 0..9 {
                let start = Instant::now();
                let response = client.request("POST", PATH, &[(name, value)], BODY).await;
                late.push(start.elapsed().saturating_sub(Duration::from_millis(50)));
                assert_eq!(response.status, 504, "{}", response.text());
                assert_eq!(response.error(), "The deadline passed while waiting for the backend");
            }
            late
        })
        .await;
    }
    let timeout =
        backend.state.seen.lock().unwrap().get("grpc-timeout").unwrap().to_str().unwrap().to_owned();
    let left: u64 = timeout.trim_end_matches('u').parse().unwrap();
    assert!((30_000..=50_000).contains(&left), "{timeout}");
}

#[tokio::test]
async fn deadlines_that_are_none_are_refused() {
    let (_backend, bridge) = stalled().await;
    let mut client = bridge.connect().await;
    for (name, value) in [("X-Request-Timeout", "soon"), ("grpc-timeout", "5 s")] {
        let response = client.request("POST", PATH, &[(name, value)], BODY).await;
        assert_eq!(response.status, 400);
        assert!(response.error().contains("is not a time"), "{}", response.text());
    }
}

#[tokio::test]
async fn a_client_makes_its_time_shorter_but_not_longer() {
    let backend = Scripted::start(Script::Stall).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |config| {
        config.api.timeout = Duration::from_millis(100);
    })
    .await;
    let start = Instant::now();
    let response = bridge.connect().await.request("POST", PATH, &[("X-Request-Timeout", "1h")], BODY).await;
    assert_eq!(response.status, 504);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn reading_the_body_counts() {
    let (_backend, bridge) = stalled().await;
    let head =
        format!("POST {PATH} HTTP/1.1\r\nHost: test\r\nX-Request-Timeout: 200\r\nContent-Length: 20\r\n\r\n");
    load::check_time(Duration::from_millis(300), async || {
        let mut stream = TcpStream::connect(bridge.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        stream.write_all(BODY).await.unwrap();
        let mut reply = [0; 12];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut reply).await.unwrap();
        assert_eq!(&reply, b"HTTP/1.1 504");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_cancels_the_call() {
    let (backend, bridge) = stalled().await;
    check_late(Duration::from_millis(10), async || {
        let mut late = Vec::new();
        for _ in 0..9 {
            let (calls, cancelled) = (backend.calls(), backend.state.cancelled.lock().unwrap().len());
            let mut stream = TcpStream::connect(bridge.address).await.unwrap();
            let length = BODY.len();
            let head = format!("POST {PATH} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(&[head.as_bytes(), BODY].concat()).await.unwrap();
            while backend.calls() == calls {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let hung_up = Instant::now();
            drop(stream);
            let limit = hung_up + Duration::from_secs(5);
            let seen = loop {
                if let Some(&seen) = backend.state.cancelled.lock().unwrap().get(cancelled) {
                    break seen;
                }
                assert!(Instant::now() < limit, "the backend is not told");
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            late.push(seen.duration_since(hung_up));
        }
        late
    })
    .await;
}
