//! Models that change while they are in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tfbridge::proto::tensorflow::DataType;
use tokio::task::JoinSet;

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
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let (mut connection, done) = (bridge.connect().await, Arc::clone(&done));
        clients.spawn(async move {
            let mut requests = 0;
            while !done.load(Ordering::Relaxed) {
                // Of rank one or two, and of integers, which any dtype takes.
                let bodies = [r#"{"instances": [1, 2, 3]}"#, r#"{"inputs": {"x": [4, 5]}}"#];
                let response = connection.post(PATH, bodies[client % 2]).await;
                assert_eq!(response.status, 200, "{}", response.text());
                // The version that answered is the answer itself.
                let version = &response.headers["x-model-version"];
                assert!(response.text().contains(&format!("[{version}]")), "{}", response.text());
                requests += 1;
            }
            // One that fits neither gets the error that it deserves.
            let response = connection.post(PATH, r#"{"instances": ["text"]}"#).await;
            assert_eq!(response.status, 400);
            assert!(response.error().starts_with("/instances/0"), "{}", response.text());
            requests
        });
    }
    for flip in 0..FLIPS {
        let model = *backend.state.model.lock().unwrap();
        let dtype = if flip % 2 == 0 { DataType::DtInt64 } else { DataType::DtFloat };
        *backend.state.model.lock().unwrap() = Model { version: next(model.version), dtype, ..model };
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    done.store(true, Ordering::Relaxed);
    let mut requests = 0;
    while let Some(client) = clients.join_next().await {
        requests += client.unwrap();
    }
    assert!(requests > FLIPS, "{requests}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_may_get_new_versions_a_thousand_times_under_load() {
    flip(|version| version + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_may_go_to_and_fro_between_two_versions_under_load() {
    flip(|version| 3 - version).await;
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
