//! The recorded requests of TensorFlow Serving (`tests/fixtures/vectors/http*.json`), over one
//! keep-alive connection to a bridge in front of the mock.

use std::time::Duration;

use base64_simd::STANDARD as BASE64;
use http::Method;
use serde_json::Value;
use tfbridge::route::{self, Route, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bridge::{Bridge, RECORDED, models};
use crate::client::{Client, Response};
use crate::support::{cases, json_by_value};
use crate::vectors;

/// Paths that mean something with another method: 405 here, 400 in the original.
const OTHER_METHOD: [&str; 5] = [
    "unsupported_post_models",
    "unsupported_get_predict",
    "unsupported_post_metadata",
    "method_put",
    "method_patch",
];

/// Paths that mean something here and nothing in the original.
const EXTENSIONS: [&str; 2] = ["unsupported_get_models", "get_all_models"];

fn recorded(kind: &str) -> Vec<Value> {
    let cases = ["http.json", "http_probe.json"].into_iter().flat_map(cases);
    cases
        .filter(|case| !EXTENSIONS.contains(&case["id"].as_str().unwrap_or_default()))
        .filter(|case| case["kind"] == kind && case["advice"].as_str().is_none_or(|advice| advice == "match"))
        .collect()
}

#[test]
fn paths_parse_as_recorded() {
    let cases = recorded("parse");
    assert!(cases.len() > 30, "{}", cases.len());
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let path = case["path"].as_str().unwrap();
        let method: Method = case["method"].as_str().unwrap().parse().unwrap();
        let parsed = route::parse(&method, path, path);
        if id == "post_unknown_verb" {
            assert!(matches!(parsed, Ok(Route::MultiInference(_))), "the verb is one of ours");
            continue;
        }
        let expect = &case["expect"];
        if let Some(phrase) = expect["error_contains"].as_str() {
            assert!(parsed.unwrap_err().message().contains(phrase), "{id}");
            continue;
        }
        if expect["parse_ok"] == false {
            let error = parsed.expect_err(id);
            assert!(error.message().contains("Malformed request"), "{id}: {error}");
            continue;
        }
        if expect["model_name"] == "" {
            assert!(parsed.unwrap_err().message().contains("Missing model name"), "{id}");
            continue;
        }
        let route = parsed.unwrap_or_else(|error| panic!("{id}: {error}"));
        check_route(id, expect, &route);
    }
}

fn check_route(id: &str, expect: &Value, route: &Route) {
    let (target, verb) = match route {
        Route::Predict(target) => (target, "predict"),
        Route::Classify(target) => (target, "classify"),
        Route::Regress(target) => (target, "regress"),
        Route::Status(target) => (target, ""),
        Route::Metadata(target) => (target, "metadata"),
        other => panic!("{id}: {other:?}"),
    };
    let expected = expect["verb"].as_str().or(expect["subresource"].as_str()).unwrap();
    assert_eq!(verb, expected.to_ascii_lowercase(), "{id}");
    assert_eq!(target.name, expect["model_name"].as_str().unwrap(), "{id}");
    let version = match (expect["version"].as_i64(), expect["label"].as_str()) {
        (Some(number), _) => Version::Number(number),
        (_, Some(label)) => Version::Label(label.to_owned()),
        _ => Version::Latest,
    };
    assert_eq!(target.version, version, "{id}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_as_recorded() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    let cases = recorded("request");
    assert!(cases.len() > 45, "{}", cases.len());
    for case in &cases {
        let id = case["id"].as_str().unwrap();
        // The status fixture has a second version.
        if case["fixture"] == "status_test" && id.contains("two_versions") {
            continue;
        }
        let body = case["body"].as_str().unwrap_or_default();
        let (method, path) = (case["method"].as_str().unwrap(), case["path"].as_str().unwrap());
        let response = client.request(method, path, &[], body.as_bytes()).await;
        check_response(id, &case["expect"], &response);
    }
}

fn check_response(id: &str, expect: &Value, response: &Response) {
    if OTHER_METHOD.contains(&id) {
        assert_eq!(response.status, 405, "{id}");
        assert!(response.headers.contains_key("allow"), "{id}");
        return;
    }
    assert_eq!(u64::from(response.status), expect["http_status"], "{id}: {}", response.text());
    if let Some(expected) = expect.get("body_json") {
        // Numbers by value: the recorded 42 stands for 42.0.
        let expected =
            expected.to_string().replace("42]", "42.0]").replace("12]", "12.0]").replace("7]", "7.0]");
        let (mut answer, expected) = (json_by_value(response.text()), json_by_value(&expected));
        if id == "py_metadata" {
            // That server had an older export, without this signature.
            let signatures = &mut answer["metadata"]["signature_def"]["signature_def"];
            signatures.as_object_mut().unwrap().remove("classify_x2_to_y3").unwrap();
        }
        assert_eq!(answer, expected, "{id}");
    }
    if let Some(phrase) = expect["error_contains"].as_str() {
        assert!(response.error().contains(phrase), "{id}: {}", response.text());
    }
    if let Some(exact) = expect["error_exact"].as_str()
        && response.status == 404
    {
        assert_eq!(response.error(), exact, "{id}");
    }
    if let Some(content_type) = expect["headers"]["Content-Type"].as_str() {
        assert_eq!(response.headers["content-type"], content_type, "{id}");
    }
    if let Some(phrase) = expect["body_contains"].as_str() {
        assert!(response.text().contains(phrase), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_are_listed_newest_first() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    let versions = client.get("/v1/models/half_plus_two").await.json();
    let versions: Vec<_> = versions["model_version_status"].as_array().unwrap().iter().collect();
    assert_eq!(versions.iter().map(|version| &version["version"]).collect::<Vec<_>>(), ["124", "123"]);
    let one = client.get("/v1/models/half_plus_two/versions/123").await.json();
    assert_eq!(one["model_version_status"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn transport_behaves_as_recorded() {
    let plain = Bridge::start(models()).await;
    let cors = Bridge::start_with(models(), |config| config.api.cors = true).await;
    for case in recorded("transport").iter().filter(|case| case.get("request").is_some()) {
        let id = case["id"].as_str().unwrap();
        let bridge = if case["cors_enabled"] == true { &cors } else { &plain };
        let mut client = bridge.connect().await;
        let response = replay(&mut client, &case["request"]).await;
        check_transport(id, &case["expect"], &response);
    }
}

async fn replay(client: &mut Client, request: &Value) -> Response {
    let mut text = format!("{}\r\nHost: test\r\n", request["line"].as_str().unwrap());
    for header in request["headers"].as_array().unwrap() {
        text.push_str(&format!("{}: {}\r\n", header[0].as_str().unwrap(), header[1].as_str().unwrap()));
    }
    text.push_str("\r\n");
    client.send(text.as_bytes()).await;
    client.receive(false).await
}

fn check_transport(id: &str, expect: &Value, response: &Response) {
    if OTHER_METHOD.contains(&id) {
        assert_eq!(response.status, 405, "{id}");
        return;
    }
    assert_eq!(u64::from(response.status), expect["http_status"], "{id}");
    if expect["body"] == "" {
        assert!(response.body.is_empty(), "{id}: {}", response.text());
    }
    let headers = expect["headers_in_order"].as_array().cloned().unwrap_or_default();
    for header in headers.iter().filter(|header| header[0].as_str().unwrap().starts_with("Access-Control")) {
        let name = header[0].as_str().unwrap().to_ascii_lowercase();
        assert_eq!(response.headers[&name], header[1].as_str().unwrap(), "{id}");
    }
    if headers.iter().all(|header| !header[0].as_str().unwrap().starts_with("Access-Control")) {
        assert!(!response.headers.contains_key("access-control-allow-origin"), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_bodies_are_read_as_recorded() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    for case in recorded("gzip") {
        let id = case["id"].as_str().unwrap();
        let body = BASE64.decode_to_vec(case["body_b64"].as_str().unwrap()).unwrap();
        let encoding = case["content_encoding"].as_str().unwrap();
        let path = format!("/v1/models/{RECORDED}:predict");
        let response = client.request("POST", &path, &[("Content-Encoding", encoding)], &body).await;
        // All of them are empty in the end.
        assert_eq!(case["expect"]["decoded_bytes"], 0, "{id}");
        assert_eq!(response.status, 400, "{id}");
        assert!(response.error().contains("The document is empty"), "{id}: {}", response.text());
    }
}

#[test]
fn codes_map_to_the_recorded_statuses() {
    use tfbridge::error::{code_name, http_status};
    let cases: Vec<Value> =
        cases("http_probe.json").into_iter().filter(|case| case["kind"] == "status_code").collect();
    assert!(cases.len() >= 9);
    for case in cases {
        let code = (0..17).map(tonic::Code::from).find(|&code| case["code"] == code_name(code)).unwrap();
        assert_eq!(u64::from(http_status(code).as_u16()), case["expect"]["http_status"], "{code:?}");
    }
}

/// Some clients send the head of a request and its body apart, and a body with every method.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_means_nothing_ends_no_connection() {
    let bridge = Bridge::start(models()).await;
    let mut stream = TcpStream::connect(bridge.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for (method, path, status) in [
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models/half_plus_two", 200),
        ("GET", "/v1/models/half_plus_two/metadata", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/docs", 200),
        ("GET", "/v2/health/live", 200),
        ("GET", "/monitoring/prometheus/metrics", 200),
        ("OPTIONS", "/v1/models/half_plus_two:predict", 400),
        ("GET", "/v1/models/half_plus_two:predict", 405),
        ("GET", "/nothing", 404),
    ] {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(b"0").await.unwrap();
        let (found, body) = answer(&mut stream).await;
        assert_eq!(found, status, "{method} {path}: {body}");
    }
}

/// The status and the body of the next answer.
async fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the connection has ended"));
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(!head.contains("connection: close"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Every recorded body, good or bad, on one connection: it stays usable to the end.
#[tokio::test(flavor = "multi_thread")]
async fn no_body_ends_the_connection() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    let mut sent = 0;
    for file in ["decode.json", "decode_probe.json", "classify_regress.json", "classify_regress_probe.json"] {
        for case in cases(file) {
            if case.get("request_json").or(case.get("request_parts")).is_none() {
                continue;
            }
            let body = vectors::body(&case);
            for path in
                ["/v1/models/half_plus_two:predict", "/v1/models/echo:classify", "/v1/models/none:predict"]
            {
                let response = client.post(path, &body).await;
                assert!(matches!(response.status, 200 | 400 | 404), "{}: {}", case["id"], response.text());
                sent += 1;
            }
        }
    }
    assert!(sent > 500, "{sent}");
    let response = client.post("/v1/models/half_plus_two:predict", r#"{"instances": [1.0]}"#).await;
    assert_eq!(response.json()["predictions"][0], 2.5);
}
