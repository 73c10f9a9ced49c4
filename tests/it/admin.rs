//! The admin port, and what is sent to all backends at once.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tfbridge::Listeners;
use tfbridge::config::{Backend, Config};
use tfbridge::mock::{self, Models};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::client::Client;
use crate::scripted::{Script, Scripted};

/// A bridge with an admin port: both addresses, and what ends it.
async fn bridge(backends: Vec<Backend>) -> (SocketAddr, SocketAddr, oneshot::Sender<()>) {
    let (api, admin) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let addresses = (api.local_addr().unwrap(), admin.local_addr().unwrap());
    let mut config = Config::new(backends[0].clone());
    config.upstream.backends = backends;
    let (stop, stopped) = oneshot::channel::<()>();
    let listeners = Listeners { api: vec![api.into()], admin: Some(admin.into()) };
    tokio::spawn(tfbridge::run(config, listeners, async { drop(stopped.await) }));
    (addresses.0, addresses.1, stop)
}

async fn mock() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(mock::serve(listener, Models::builtin(), std::future::pending()));
    address
}

#[tokio::test]
async fn the_state_of_each_backend_is_shown() {
    let backend = Scripted::start(Script::Answer(Duration::from_millis(2))).await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (api, admin, _stop) = bridge(vec![backend.backend(), Backend::at(dead)]).await;
    let (mut client, mut operator) = (Client::connect(api).await, Client::connect(admin).await);
    assert_eq!(operator.get("/livez").await.json(), json!({"status": "alive"}));
    for _ in 0..20 {
        let response = client.post("/v1/models/m:predict", r#"{"instances": [1.0]}"#).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
    let state = operator.get("/statusz").await.json();
    assert_eq!(state["version"], env!("CARGO_PKG_VERSION"));
    let [well, ejected] = state["backends"].as_array().unwrap().as_slice() else { panic!("{state}") };
    assert_eq!(well["address"], backend.address.to_string());
    assert_eq!((&well["ejected"], &well["in_flight"]), (&json!(false), &json!(0)));
    assert!(well["latency_ms"].as_f64().unwrap() > 1.5, "{state}");
    assert_eq!((&ejected["address"], &ejected["ejected"]), (&json!(dead.to_string()), &json!(true)));

    // None of it is on the API's port, and nothing of the API on this one.
    for path in ["/statusz", "/livez", "/v1/config:reload"] {
        assert_ne!(client.get(path).await.status, 200, "{path}");
    }
    assert_eq!(operator.get("/v1/models/m").await.status, 404);
    assert!(operator.get("/metrics").await.text().contains("tfbridge_requests_total"));
    let response = operator.post("/statusz", "").await;
    assert_eq!((response.status, response.headers["allow"].as_str()), (405, "GET, HEAD"));
}

#[tokio::test]
async fn a_new_config_goes_to_every_backend() {
    let (first, second) = (mock().await, mock().await);
    let (api, admin, _stop) = bridge(vec![Backend::at(first), Backend::at(second)]).await;
    let config = r#"{"config": {"model_config_list": {"config": [
        {"name": "half_plus_two", "base_path": "/models/half_plus_two", "model_platform": "tensorflow"}]}}}"#;
    let mut operator = Client::connect(admin).await;
    let response = operator.post("/v1/config:reload", config).await;
    let backends = response.json()["backends"].clone();
    for address in [first, second] {
        let answer = &backends[address.to_string()];
        assert!(answer["error_code"].is_string(), "{}", response.text());
    }
    for bad in ["", "[]", r#"{"config": 1}"#, r#"{"unknown": {}}"#] {
        let response = operator.post("/v1/config:reload", bad).await;
        assert_eq!(response.status, 400, "{bad}: {}", response.text());
        assert!(response.error().contains("no ReloadConfigRequest"), "{}", response.text());
    }
    // Neither web pages that somebody looks at nor clients can do it.
    let page = [("Origin", "https://example.com"), ("Content-Type", "text/plain")];
    let response = operator.request("POST", "/v1/config:reload", &page, config.as_bytes()).await;
    assert_eq!(response.status, 403, "{}", response.text());
    let response = Client::connect(api).await.post("/v1/config:reload", config).await;
    assert_eq!(response.status, 400);
}

#[tokio::test]
async fn several_signatures_run_on_the_same_examples() {
    let (api, _admin, _stop) = bridge(vec![Backend::at(mock().await)]).await;
    let body = r#"{
        "tasks": [
            {"method_name": "classify", "signature_name": "classify_x_to_y"},
            {"method_name": "tensorflow/serving/regress", "signature_name": "regress_x_to_y"}],
        "examples": [{"x": 20.0}, {"x": 2.0}]}"#;
    let mut client = Client::connect(api).await;
    let response = client.post("/v1/models/half_plus_two:multi_inference", body).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(
        response.json()["results"],
        json!([
            {"signature_name": "classify_x_to_y", "method_name": "tensorflow/serving/classify",
             "results": [[["", 12.0]], [["", 3.0]]]},
            {"signature_name": "regress_x_to_y", "method_name": "tensorflow/serving/regress",
             "results": [12.0, 3.0]},
        ])
    );
    assert_eq!(response.headers["x-model-version"], "124");
    let response = client.post("/v1/models/half_plus_two:multi_inference", r#"{"examples": [{}]}"#).await;
    assert_eq!(response.status, 400);
    assert!(response.error().contains("'tasks'"), "{}", response.text());
}
