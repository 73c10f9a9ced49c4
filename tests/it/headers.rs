//! Headers that pass from the client to the backend and back.

use std::time::Duration;

use tfbridge::mock::Models;

use crate::bridge::Bridge;
use crate::scripted::{Script, Scripted};

const PATH: &str = "/v1/models/m:predict";
const BODY: &[u8] = br#"{"instances": [1.0]}"#;

#[tokio::test]
async fn listed_headers_pass_and_no_others() {
    let backend = Scripted::start(Script::Trailer("x-request-id", "from-the-backend")).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    let sent = [
        ("Authorization", "Bearer token"),
        ("X-Request-Id", "from-the-client"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("Cookie", "secret"),
        ("X-Other", "other"),
    ];
    let response = bridge.connect().await.request("POST", PATH, &sent, BODY).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.headers["x-request-id"], "from-the-backend");
    assert_eq!(response.headers["x-attempts"], "1");
    let seen = backend.state.seen.lock().unwrap();
    for (name, value) in &sent[..3] {
        assert_eq!(seen.get(name.to_ascii_lowercase()).unwrap(), value);
    }
    assert!(seen.get("cookie").is_none() && seen.get("x-other").is_none());
    assert!(seen.get("user-agent").unwrap().to_str().unwrap().starts_with("tfbridge/"));
}

#[tokio::test]
async fn the_lists_can_be_changed() {
    let backend = Scripted::start(Script::Trailer("x-tenant", "blue")).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |config| {
        config.api.pass_headers = vec!["x-tenant".parse().unwrap()];
        config.api.return_headers = vec!["x-tenant".parse().unwrap()];
    })
    .await;
    let sent = [("Authorization", "Bearer token"), ("X-Tenant", "green")];
    let response = bridge.connect().await.request("POST", PATH, &sent, BODY).await;
    assert_eq!(response.headers["x-tenant"], "blue");
    let seen = backend.state.seen.lock().unwrap();
    assert_eq!(seen.get("x-tenant").unwrap(), "green");
    assert!(seen.get("authorization").is_none());
}

#[tokio::test]
async fn version_zero_is_the_latest_for_those_who_say_so() {
    const ZERO: &str = "/v1/models/half_plus_two/versions/0:predict";
    let body = r#"{"instances": [2.0]}"#;
    let bridge = Bridge::start(Models::builtin()).await;
    assert_eq!(bridge.connect().await.post(ZERO, body).await.status, 404);
    let bridge =
        Bridge::start_with(Models::builtin(), |config| config.api.version_zero_is_latest = true).await;
    let mut client = bridge.connect().await;
    let response = client.post(ZERO, body).await;
    assert_eq!((response.status, response.text()), (200, r#"{"predictions":[3.0]}"#));
    assert_eq!(response.headers["x-model-version"], "124");
    assert_eq!(client.get("/v1/models/half_plus_two/versions/0/metadata").await.status, 200);
    assert_eq!(client.get("/v1/models/half_plus_two/versions/0").await.status, 200);
}

#[tokio::test]
async fn every_request_has_an_id_that_the_backend_and_the_client_learn() {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    let mut client = bridge.connect().await;
    let long = "x".repeat(129);
    for (given, is_kept) in
        [(Some("mine/1"), true), (None, false), (Some("not mine"), false), (Some(&long), false)]
    {
        let headers: Vec<_> = given.map(|id| ("X-Request-Id", id)).into_iter().collect();
        let response = client.request("POST", PATH, &headers, BODY).await;
        let id = &response.headers["x-request-id"];
        assert_eq!(given == Some(id.as_str()), is_kept, "{given:?} {id}");
        assert!(is_kept || id.len() == 36, "{id}");
        assert_eq!(backend.state.seen.lock().unwrap().get("x-request-id").unwrap(), id);
    }
    for (method, path) in [("GET", "/nowhere"), ("PUT", PATH), ("GET", "/v1/models/none")] {
        let response = client.request(method, path, &[("X-Request-Id", "mine")], b"").await;
        assert!(response.status >= 400 && response.headers["x-request-id"] == "mine", "{response:?}");
    }
    // What does not pass is not passed, whoever made it.
    let bridge =
        Bridge::in_front_of_all(vec![backend.backend()], |config| config.api.pass_headers.clear()).await;
    assert_eq!(bridge.connect().await.post(PATH, BODY).await.headers["x-request-id"].len(), 36);
    assert!(backend.state.seen.lock().unwrap().get("x-request-id").is_none());
}
