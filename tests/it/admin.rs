//! The admin port, and what is sent to all backends at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tfbridge::Listeners;
use tfbridge::cli::CommandLine;
use tfbridge::config::{Backend, Config};
use tfbridge::mock::{self, Models};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::client::{Client, Response};
use crate::load;
use crate::port::Port;
use crate::program::Program;
use crate::scripted::{Script, Scripted};

/// A bridge with an admin port: both addresses, and what ends it.
async fn bridge(backends: Vec<Backend>) -> (SocketAddr, SocketAddr, oneshot::Sender<()>) {
    bridge_that_requires(&[], backends).await
}

/// The same, which is ready only with these models.
async fn bridge_that_requires(
    models: &[&str],
    backends: Vec<Backend>,
) -> (SocketAddr, SocketAddr, oneshot::Sender<()>) {
    let (api, admin) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let addresses = (api.local_addr().unwrap(), admin.local_addr().unwrap());
    let mut config = Config::new(backends[0].clone());
    config.upstream.backends = backends;
    config.server.require_models = models.iter().map(|model| (*model).to_owned()).collect();
    let (stop, stopped) = oneshot::channel::<()>();
    let listeners = Listeners { api: vec![api.into()], admin: Some(admin.into()), ..Listeners::default() };
    tokio::spawn(tfbridge::run(config, listeners, async { drop(stopped.await) }));
    (addresses.0, addresses.1, stop)
}

async fn mock() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(mock::serve(listener, Models::builtin(), std::future::pending()));
    address
}

/// Asks whether a bridge is ready, and again if the answer is that something took too long: no backend here does, but
/// a machine that stands still for a second does that to anybody.
async fn ready(admin: SocketAddr) -> Response {
    const TOO_LONG: [&str; 2] = ["No backend answers in time", "The deadline passed"];
    let start = Instant::now();
    let mut operator = Client::connect(admin).await;
    loop {
        let response = operator.get("/readyz").await;
        if !TOO_LONG.iter().any(|reason| response.text().contains(reason)) {
            return response;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{}", response.text());
        // What was found is good for a second.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn the_state_of_each_backend_is_shown() {
    let backend = Scripted::start(Script::Answer(Duration::from_millis(2))).await;
    let dead = Port::new();
    let (api, admin, _stop) = bridge(vec![backend.backend(), Backend::at(dead.address)]).await;
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
    assert_eq!((&ejected["address"], &ejected["ejected"]), (&json!(dead.address.to_string()), &json!(true)));

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

#[tokio::test]
async fn a_bridge_is_ready_when_a_backend_can_be_reached() {
    let dead = Port::new();
    let (_api, admin, _stop) = bridge(vec![Backend::at(dead.address)]).await;
    // Nobody has called it yet.
    let response = ready(admin).await;
    assert_eq!(response.status, 503, "{}", response.text());
    let reasons = response.json()["reasons"].clone();
    assert_eq!(reasons.as_array().unwrap().len(), 1, "{reasons}");
    assert!(reasons[0].as_str().unwrap().contains(&dead.address.to_string()), "{reasons}");
    assert_eq!(response.error(), reasons[0].as_str().unwrap());

    // One of many is enough, whichever it is.
    let mut backends: Vec<_> = (0..9).map(|_| Backend::at(dead.address)).collect();
    backends.push(Backend::at(mock().await));
    let (_api, admin, _stop) = bridge(backends).await;
    let response = ready(admin).await;
    assert_eq!((response.status, response.json()), (200, json!({"status": "ready"})));

    // One that takes connections and says nothing is none.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    load::check_time(Duration::from_secs(3), async || {
        let (_api, admin, _stop) = bridge(vec![Backend::at(silent.local_addr().unwrap())]).await;
        let response = Client::connect(admin).await.get("/readyz").await;
        assert_eq!(response.status, 503, "{}", response.text());
    })
    .await;
}

#[tokio::test]
async fn a_bridge_is_ready_when_the_required_models_are_available() {
    let backends = || async { vec![Backend::at(mock().await)] };
    let (_api, admin, _stop) = bridge_that_requires(&["half_plus_two", "echo"], backends().await).await;
    let response = ready(admin).await;
    assert_eq!(response.status, 200, "{}", response.text());

    let (_api, admin, _stop) =
        bridge_that_requires(&["missing", "half_plus_two", "absent"], backends().await).await;
    let start = Instant::now();
    let mut operator = Client::connect(admin).await;
    let response = ready(admin).await;
    assert_eq!(response.status, 503, "{}", response.text());
    let reasons = response.json()["reasons"].clone();
    assert_eq!(reasons.as_array().unwrap().len(), 2, "{reasons}");
    for (reason, model) in reasons.as_array().unwrap().iter().zip(["missing", "absent"]) {
        assert!(reason.as_str().unwrap().starts_with(&format!("The model {model} ")), "{reason}");
    }
    // However often somebody asks, the backend is asked once in a second.
    let calls = |text: &str| -> u64 {
        let prefix = "tfbridge_backend_calls_total{code=\"NOT_FOUND\"} ";
        text.lines().find_map(|line| line.strip_prefix(prefix)).unwrap().parse().unwrap()
    };
    for _ in 0..50 {
        assert_eq!(operator.get("/readyz").await.status, 503);
    }
    let most = 2 * (2 + start.elapsed().as_secs());
    let calls = calls(operator.get("/metrics").await.text());
    assert!((2..=most).contains(&calls), "{calls}");
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let (_api, admin, _stop) = bridge(vec![Backend::at(mock().await)]).await;
    let mut operator = Client::connect(admin).await;
    for path in ["/metrics", "/monitoring/prometheus/metrics"] {
        let response = operator.get(path).await;
        let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(response.headers["content-type"], expected);
        assert!(response.text().contains("# TYPE tfbridge_retries counter\n"), "{}", response.text());
        assert!(response.text().ends_with("\n# EOF\n"), "{}", response.text());
    }
}

#[tokio::test]
async fn the_status_shows_signatures_and_settings_but_no_secrets() {
    let backend = mock().await;
    let directory = tempfile::tempdir().unwrap();
    let (tokens, hash) = (directory.path().join("tokens.toml"), "5ec2e7a9".repeat(8));
    std::fs::write(&tokens, format!("[[token]]\nname = 'mobile'\nsha256 = '{hash}'\n")).unwrap();
    let backend = format!("http://operator:hunter2@{backend}");
    let words = ["tfbridge", "check-config", "--max-body-size", "1MiB", "--require-model", "a,b"];
    let files = ["--backend", &backend, "--auth-file", tokens.to_str().unwrap()];
    let mut config = CommandLine::new(words.into_iter().chain(files)).config().unwrap();
    // The rest needs no token.
    config.access.auth_file = None;
    assert_eq!(config.server.require_models, ["a", "b"]);
    let (api, admin) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let (api_address, admin_address) = (api.local_addr().unwrap(), admin.local_addr().unwrap());
    let listeners = Listeners { api: vec![api.into()], admin: Some(admin.into()), ..Listeners::default() };
    tokio::spawn(tfbridge::run(config, listeners, std::future::pending()));
    let (mut client, mut operator) =
        (Client::connect(api_address).await, Client::connect(admin_address).await);
    let response = client.post("/v1/models/half_plus_two:predict", r#"{"instances": [1.0]}"#).await;
    assert_eq!(response.status, 200, "{}", response.text());
    client.post("/v1/models/missing:predict", r#"{"instances": [1.0]}"#).await;
    let response = operator.get("/statusz").await;
    let status = response.json();
    assert_eq!(status["signatures"]["known"], 1, "{status}");
    let model = &status["signatures"]["models"][0];
    assert_eq!((&model["model"], &model["asked"]), (&json!("half_plus_two"), &json!("latest")));
    assert_eq!(model["version"], 124);
    assert!(model["signatures"].as_array().unwrap().contains(&json!("serving_default")), "{status}");
    let config = &status["config"];
    assert_eq!((&config["max-body-size"], &config["timeout"]), (&json!("1MiB"), &json!("30s")));
    assert_eq!(config["require-model"], json!(["a", "b"]));
    assert!(config["backend"][0].as_str().unwrap().starts_with("http://***@127.0.0.1:"), "{config}");
    assert!(config["auth-file"].as_str().unwrap().ends_with("tokens.toml"), "{config}");
    for secret in ["hunter2", "operator", "mobile", &hash] {
        assert!(!response.text().contains(secret), "{status}");
    }
}

#[test]
fn the_demo_has_an_admin_port_if_it_is_told_to() {
    use std::io::{Read, Write};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    let mut demo = Program::demo(&["--admin-listen", &format!("unix:{}", path.display())]);
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.contains("\ntfbridge_requests_in_flight 0\n"), "{response}");
    demo.end();
}
