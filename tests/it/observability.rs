//! What a bridge tells of itself: metrics, and the table that documents them.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use tfbridge::config::{Backend, ServerTls};
use tfbridge::mock::Models;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::bridge::Bridge;
use crate::client::Client;
use crate::port::Port;
use crate::scripted::{Script, Scripted};

const METRICS: &str = "/monitoring/prometheus/metrics";

async fn metrics(client: &mut Client) -> String {
    client.get(METRICS).await.text().to_owned()
}

/// The value of a sample, which must be there.
fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{sample} is not in\n{text}")).parse().unwrap()
}

/// The label sets of a metric.
fn label_sets(text: &str, metric: &str) -> BTreeSet<String> {
    let labels =
        |line: &str| Some(line.strip_prefix(metric)?.strip_prefix('{')?.split('}').next()?.to_owned());
    text.lines().filter_map(labels).collect()
}

#[tokio::test]
async fn every_metric_is_documented() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    client.post("/v1/models/half_plus_two:predict", r#"{"instances": [1.0]}"#).await;
    let text = metrics(&mut client).await;
    // The samples of a counter have a suffix that the metric has not.
    let emitted: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    let table = fs::read_to_string("deploy/OBSERVABILITY.md").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| metric |"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let documented: BTreeSet<_> = rows.iter().map(|row| row[2].trim_matches('`').to_owned()).collect();
    assert_eq!(documented, emitted);
    assert_eq!(rows.len(), documented.len(), "a metric is documented twice");
    for row in rows {
        // Those of a histogram's samples are its own affair.
        let sets = label_sets(&text, row[2].trim_matches('`'));
        let sample = sets.iter().next().map_or("", String::as_str);
        let names: Vec<_> = sample.split("\",").filter_map(|label| label.split('=').next()).collect();
        for name in names.iter().filter(|name| !name.is_empty()) {
            assert!(row[3].contains(&format!("`{name}`")), "{} has the label {name}", row[2]);
        }
    }
}

#[tokio::test]
async fn made_up_names_become_no_labels() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    let known = r#"{"instances": [1.0]}"#;
    assert_eq!(client.post("/v1/models/half_plus_two:predict", known).await.status, 200);
    for index in 0..50 {
        for verb in ["predict", "classify", "regress", "multi_inference", "fly"] {
            client.post(&format!("/v1/models/made_up_{index}:{verb}"), known).await;
        }
        client.get(&format!("/v1/models/made_up_{index}/metadata")).await;
        client.get(&format!("/v1/models/half_plus_two/versions/{}", 5000 + index)).await;
        client.get(&format!("/made_up_{index}")).await;
        let body = format!(r#"{{"signature_name": "made_up_{index}", "instances": [1.0]}}"#);
        let response = client.post("/v1/models/half_plus_two:predict", body).await;
        assert_ne!(response.status, 200);
        let method = format!("MADE{index}");
        client.request(&method, "/v1/models/half_plus_two", &[], b"").await;
    }
    let text = metrics(&mut client).await;
    assert!(!text.contains("made_up") && !text.contains("MADE"), "{text}");
    let sets = label_sets(&text, "tfbridge_requests_total");
    assert!(sets.len() < 20, "{sets:?}");
    assert!(sets.iter().all(|set| !set.contains("version=\"50")), "{sets:?}");
}

#[tokio::test]
async fn what_happens_to_requests_is_counted() {
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        config.api.max_body_size = 1000;
        config.api.body_timeout = Duration::from_millis(100);
        config.api.max_memory = 1 << 20;
    })
    .await;
    let mut client = bridge.connect().await;
    for _ in 0..3 {
        client.post("/v1/models/half_plus_two:predict", r#"{"instances": [1.0]}"#).await;
    }
    client.post("/v1/models/half_plus_two:predict", "x".repeat(2000)).await;
    let mut slow = bridge.connect().await;
    slow.send(b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
        .await;
    assert_eq!(slow.receive(false).await.status, 408);
    let text = metrics(&mut client).await;
    for (sample, expected) in [
        (r#"tfbridge_request_part_seconds_count{part="read"}"#, 5.0),
        (r#"tfbridge_request_part_seconds_count{part="backend"}"#, 3.0),
        (r#"tfbridge_request_part_seconds_count{part="encode"}"#, 3.0),
        (r#"tfbridge_request_seconds_count{verb="predict"}"#, 5.0),
        ("tfbridge_reply_message_bytes_count", 3.0),
        (r#"tfbridge_signature_lookups_total{result="miss"}"#, 1.0),
        (r#"tfbridge_signature_lookups_total{result="hit"}"#, 4.0),
        (r#"tfbridge_limits_hit_total{limit="body_size"}"#, 1.0),
        (r#"tfbridge_limits_hit_total{limit="body_timeout"}"#, 1.0),
        (r#"tfbridge_limits_hit_total{limit="memory"}"#, 0.0),
        // Three predictions and a look-up.
        (r#"tfbridge_backend_calls_total{code="OK"}"#, 4.0),
        (r#"tfbridge_connections_accepted_total{face="api"}"#, 2.0),
        (r#"tfbridge_backends{state="ready"}"#, 1.0),
        ("tfbridge_requests_in_flight", 0.0),
        ("tfbridge_requests_queued", 0.0),
    ] {
        let found = value(&text, sample);
        assert!((found - expected).abs() < 0.1, "{sample} is {found}");
    }
    assert!(value(&text, r#"tfbridge_request_part_seconds_sum{part="backend"}"#) > 0.0);
    assert!(value(&text, "tfbridge_memory_held_bytes") < f64::from(1 << 20));
}

#[tokio::test]
async fn what_happens_to_backends_is_counted() {
    let dead = Port::new();
    let well = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge = Bridge::in_front_of_all(vec![Backend::at(dead.address), well.backend()], |_| {}).await;
    let mut client = bridge.connect().await;
    let mut attempts = 0.0;
    for _ in 0..50 {
        let response = client.post("/v1/models/m:predict", r#"{"instances": [1.0]}"#).await;
        assert_eq!(response.status, 200, "{}", response.text());
        attempts += response.headers["x-attempts"].parse::<f64>().unwrap();
    }
    let text = metrics(&mut client).await;
    let count = |sample: &str| value(&text, sample);
    assert!(count("tfbridge_ejections_total") >= 1.0, "{text}");
    assert!(count("tfbridge_retries_total") >= 1.0, "{text}");
    let unavailable = count(r#"tfbridge_backend_calls_total{code="UNAVAILABLE"}"#);
    assert!(unavailable >= count("tfbridge_retries_total"), "{text}");
    // There is a look-up of the signature besides.
    assert!(count(r#"tfbridge_backend_calls_total{code="OK"}"#) + unavailable > attempts, "{text}");
    let backends =
        ["ready", "ejected"].map(|state| count(&format!(r#"tfbridge_backends{{state="{state}"}}"#)));
    assert!((backends[0] + backends[1] - 2.0).abs() < 0.1 && backends[0] >= 1.0, "{backends:?}");
}

#[tokio::test]
async fn calls_that_nobody_waits_for_are_told_from_those_that_are_late() {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge = Bridge::in_front_of(&backend.address.to_string(), |_| {}).await;
    let (mut client, body) = (bridge.connect().await, r#"{"instances": [1.0]}"#);
    assert_eq!(client.post("/v1/models/m:predict", body).await.status, 200);
    *backend.state.script.lock().unwrap() = Script::Stall;
    let hurry = [("X-Request-Timeout", "200")];
    let response = client.request("POST", "/v1/models/m:predict", &hurry, body.as_bytes()).await;
    assert_eq!(response.status, 504, "{}", response.text());
    let count = async |client: &mut Client, code: &str| {
        value(&metrics(client).await, &format!(r#"tfbridge_backend_calls_total{{code="{code}"}}"#))
    };
    assert!((count(&mut client, "DEADLINE_EXCEEDED").await - 1.0).abs() < 0.1);
    assert!(count(&mut client, "CANCELLED").await < 0.1);
    let mut gone = bridge.connect().await;
    gone.send(
        format!(
            "POST /v1/models/m:predict HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    )
    .await;
    while value(&metrics(&mut client).await, "tfbridge_requests_in_flight") < 0.9 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(gone);
    while count(&mut client, "CANCELLED").await < 0.9 {
        assert!(count(&mut client, "DEADLINE_EXCEEDED").await < 1.5);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_happens_to_connections_is_counted() {
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        config.server.max_connections_per_address = 2;
        config.server.header_timeout = Duration::from_millis(200);
    })
    .await;
    let mut client = bridge.connect().await;
    client.get(METRICS).await;
    // One that says nothing, and one too many.
    let mut silent = TcpStream::connect(bridge.address).await.unwrap();
    let mut refused = TcpStream::connect(bridge.address).await.unwrap();
    let mut answer = String::new();
    refused.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    silent.read_to_string(&mut answer).await.unwrap();
    let text = metrics(&mut client).await;
    for (sample, expected) in [
        (r#"tfbridge_limits_hit_total{limit="connections_per_address"}"#, 1.0),
        (r#"tfbridge_limits_hit_total{limit="header_timeout"}"#, 1.0),
        (r#"tfbridge_connections_accepted_total{face="api"}"#, 2.0),
        (r#"tfbridge_connections{face="api"}"#, 1.0),
    ] {
        let found = value(&text, sample);
        assert!((found - expected).abs() < 0.1, "{sample} is {found}");
    }
}

#[tokio::test]
async fn tls_handshakes_that_fail_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(path("certificate.pem"), issued.cert.pem()).unwrap();
    fs::write(path("key.pem"), issued.signing_key.serialize_pem()).unwrap();
    let (api, admin) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let (address, operators) = (api.local_addr().unwrap(), admin.local_addr().unwrap());
    let mut config = tfbridge::config::Config::new(Backend::at(operators));
    config.server.tls =
        Some(ServerTls { certificate: path("certificate.pem"), key: path("key.pem"), client_ca: None });
    let listeners = tfbridge::Listeners {
        api: vec![api.into()],
        admin: Some(admin.into()),
        ..tfbridge::Listeners::default()
    };
    tokio::spawn(tfbridge::run(config, listeners, std::future::pending()));
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // An alert, or nothing.
    let _ = plain.read_to_end(&mut Vec::new()).await;
    let mut operator = Client::connect(operators).await;
    let text = metrics(&mut operator).await;
    let outcomes = ["failed", "ok"]
        .map(|result| value(&text, &format!(r#"tfbridge_tls_handshakes_total{{result="{result}"}}"#)));
    assert!((outcomes[0] - 1.0).abs() < 0.1 && outcomes[1] < 0.1, "{outcomes:?}");
}
