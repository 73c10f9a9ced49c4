//! Models that change while they are in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tfbridge::proto::tensorflow::DataType;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;

use crate::bridge::Bridge;
use crate::load;
use crate::scripted::{Model, Script, Scripted};

const PATH: &str = "/v1/models/m:predict";

/// Flips the model between two versions a thousand times under load. `next` says which version
/// follows a flip.
async fn flip(next: fn(i64) -> i64) {
    const FLIPS: i64 = 1000;
    let _machine = load::MACHINE.lock().await;
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    let done = Arc::new(AtomicBool::new(false));
    let requests = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (mut connection, done, requests) =
            (bridge.connect().await, Arc::clone(&done), Arc::clone(&requests));
        clients.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                // Of rank one or two, and of integers, which any dtype takes.
                let bodies = [r#"{"instances": [1, 2, 3]}"#, r#"{"inputs": {"x": [4, 5]}}"#];
                let response = connection.post(PATH, bodies[client % 2]).await;
                assert_eq!(response.status, 200, "{}", response.text());
                // The version that answered is the answer itself.
                let version = &response.headers["x-model-version"];
                assert!(response.text().contains(&format!("[{version}]")), "{}", response.text());
                requests.fetch_add(1, Ordering::Relaxed);
            }
            // One that fits neither gets the error that it deserves.
            let response = connection.post(PATH, r#"{"instances": ["text"]}"#).await;
            assert_eq!(response.status, 400);
            assert!(response.error().starts_with("/instances/0"), "{}", response.text());
        });
    }
    for flip in 0..FLIPS {
        let model = *backend.state.model.lock().unwrap();
        let dtype = if flip % 2 == 0 { DataType::DtInt64 } else { DataType::DtFloat };
        *backend.state.model.lock().unwrap() = Model { version: next(model.version), dtype, ..model };
        // No flip goes by unseen, however slow the machine.
        let before = requests.load(Ordering::Relaxed);
        let answered = async {
            while requests.load(Ordering::Relaxed) == before {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        };
        timeout(Duration::from_secs(10), answered).await.expect("no answer after a flip");
    }
    done.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_may_get_new_versions_a_thousand_times_under_load() {
    flip(|version| version + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_may_go_to_and_fro_between_two_versions_under_load() {
    flip(|version| 3 - version).await;
}

/// What a model misses is missing in the next attempt, too.
#[tokio::test]
async fn what_a_model_does_not_find_is_asked_for_no_more_than_twice() {
    let missing = "NewRandomAccessFile failed to Create/Open: labels.txt : No such file";
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    let mut client = bridge.connect().await;
    for (path, status) in [(PATH, 404), ("/v1/models/m/versions/1:predict", 404)] {
        assert_eq!(client.post(path, r#"{"instances": [1]}"#).await.status, 200);
        backend.set(Script::Fail(Code::NotFound, missing));
        for _ in 0..3 {
            let before = backend.state.calls.load(Ordering::Relaxed);
            let response = client.post(path, r#"{"instances": [1]}"#).await;
            assert_eq!((response.status, response.error().as_str()), (status, missing), "{path}");
            let calls = backend.state.calls.load(Ordering::Relaxed) - before;
            assert!((1..=2).contains(&calls), "{path}: {calls} calls");
            assert_eq!(response.headers["x-attempts"], calls.to_string(), "{path}");
        }
        backend.set(Script::Answer(Duration::ZERO));
    }
    // Of lines it is an error of each, and of no other.
    backend.set(Script::Fail(Code::NotFound, missing));
    let lines = [("Content-Type", "application/x-ndjson")];
    let response = client.request("POST", PATH, &lines, b"1\n2\n").await;
    assert_eq!((response.status, response.text().matches(missing).count()), (200, 2), "{}", response.text());
}

#[tokio::test]
async fn signatures_are_renewed_without_a_wait() {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |config| {
        config.upstream.signature_ttl = Duration::from_millis(50);
    })
    .await;
    let mut client = bridge.connect().await;
    let asked = || backend.state.metadata_calls.load(Ordering::Relaxed);
    assert_eq!(client.post(PATH, r#"{"instances": [1.0]}"#).await.status, 200);
    assert_eq!(asked(), 1);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(client.post(PATH, r#"{"instances": [1.0]}"#).await.status, 200);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(asked(), 2);
    assert_eq!(client.post(PATH, r#"{"instances": [1.0]}"#).await.status, 200);
    assert_eq!(asked(), 2);
}

#[tokio::test]
async fn a_look_up_outlives_the_client_that_started_it() {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    *backend.state.metadata_delay.lock().unwrap() = Duration::from_millis(300);
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    let body = br#"{"instances": [1.0]}"#;
    let (mut hasty, mut patient) = (bridge.connect().await, bridge.connect().await);
    let (hasty, patient) = tokio::join!(
        hasty.request("POST", PATH, &[("X-Request-Timeout", "50")], body),
        patient.request("POST", PATH, &[], body),
    );
    assert_eq!((hasty.status, patient.status), (504, 200), "{} {}", hasty.text(), patient.text());
    assert_eq!(backend.state.metadata_calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_refusal_is_for_the_client_who_was_refused() {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    *backend.state.metadata_delay.lock().unwrap() = Duration::from_millis(100);
    *backend.state.metadata_for.lock().unwrap() = Some("Bearer known");
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    let body = br#"{"instances": [1.0]}"#;
    let (mut stranger, mut client) = (bridge.connect().await, bridge.connect().await);
    let (stranger, client) = tokio::join!(stranger.request("POST", PATH, &[], body), async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        client.request("POST", PATH, &[("Authorization", "Bearer known")], body).await
    });
    assert_eq!((stranger.status, client.status), (401, 200), "{} {}", stranger.text(), client.text());
}

#[tokio::test]
async fn signatures_stay_in_use_while_newer_ones_are_looked_up() {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    let (mut good, mut bad) = (bridge.connect().await, bridge.connect().await);
    assert_eq!(good.post(PATH, r#"{"instances": [1.0]}"#).await.status, 200);
    *backend.state.metadata_delay.lock().unwrap() = Duration::from_secs(2);
    // A request that cannot be right makes us ask again; others do not wait for that.
    let bad = tokio::spawn(async move { bad.post(PATH, r#"{"instances": ["text"]}"#).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let start = std::time::Instant::now();
    assert_eq!(good.post(PATH, r#"{"instances": [1.0]}"#).await.status, 200);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(bad.await.unwrap().status, 400);
}

#[tokio::test]
async fn look_ups_that_outlive_their_requests_are_bounded() {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    *backend.state.metadata_delay.lock().unwrap() = Duration::from_secs(60);
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    let mut client = bridge.connect().await;
    for model in 0..=1000 {
        let path = format!("/v1/models/{model}:predict");
        let response = client.request("POST", &path, &[("X-Request-Timeout", "1")], b"{}").await;
        let expected = if model < 1000 { 504 } else { 503 };
        assert_eq!(response.status, expected, "{model}: {}", response.text());
    }
}
