//! What we do beyond the original, over HTTP and against the mock.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tfbridge::codec::NanStyle;
use tfbridge::mock::{Model, Models};
use tokio::net::TcpListener;

use crate::bridge::{Bridge, models};
use crate::port::Port;

const HALF: &str = "/v1/models/half_plus_two:predict";
const ECHO: &str = "/v1/models/echo:predict";

#[tokio::test]
async fn every_dtype_passes_both_ways() {
    for tensor_content in [false, true] {
        let bridge = Bridge::start(Models::builtin().tensor_content(tensor_content)).await;
        let mut client = bridge.connect().await;
        for (signature, values) in [
            ("float", "[[0.1,-3.5],[1e-45,3.4028235e+38]]"),
            ("double", "[0.1,-5e-324,1.7976931348623157e+308]"),
            ("half", "[0.1,-65500.0,6e-8]"),
            ("bfloat16", "[0.1,-3.0,9e-41]"),
            ("int8", "[-128,127]"),
            ("int16", "[-32768,32767]"),
            ("int32", "[-2147483648,2147483647]"),
            ("int64", "[-9223372036854775808,9223372036854775807]"),
            ("uint8", "[0,255]"),
            ("uint16", "[0,65535]"),
            ("uint32", "[0,4294967295]"),
            ("uint64", "[0,18446744073709551615]"),
            ("bool", "[[true],[false]]"),
            ("string", r#"["","naïve","\"\\\u0001\n"]"#),
            ("complex64", "[[0.1,-2.0],[NaN,Infinity]]"),
            ("complex128", "[[[0.1,-2.0]],[[1e+300,0.0]]]"),
        ] {
            let body = format!(r#"{{"signature_name": "{signature}", "inputs": {values}}}"#);
            let response = client.post(ECHO, body).await;
            assert_eq!(response.text(), format!("{{\"outputs\":{values}}}"), "{signature}");
        }
    }
}

#[tokio::test]
async fn numbers_out_of_range_name_the_place() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    for (signature, values, place) in [
        ("int8", "[0, 128]", "/inputs/1: JSON Value: 128 "),
        ("uint8", "[[1], [300]]", "/inputs/1/0: JSON Value: 300 "),
        ("uint16", "[-1]", "/inputs/0: JSON Value: -1 "),
        ("int32", "2147483648", "/inputs: JSON Value: 2147483648 "),
        ("int64", "[9223372036854775808]", "/inputs/0: "),
        ("uint64", "[18446744073709551616]", "/inputs/0: "),
        ("int64", "[1, 2, 3.5]", "/inputs/2: JSON Value: 3.5 "),
        ("bool", "{\"x\": [true, 1]}", "/inputs/x/1: JSON Value: 1 "),
        ("string", "[\"a\", {\"b64\": \"-_\"}]", "/inputs/1: Unable to base64 decode"),
        ("complex64", "[[1, 2], [3]]", "/inputs/1: JSON Value: [3] "),
    ] {
        let body = format!(r#"{{"signature_name": "{signature}", "inputs": {values}}}"#);
        let response = client.post(ECHO, body).await;
        assert_eq!(response.status, 400, "{values}: {}", response.text());
        assert!(response.error().starts_with(place), "{values}: {}", response.text());
    }
}

#[tokio::test]
async fn rank_goes_up_to_254() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    let nested = |depth: usize| format!("{}1.0{}", "[".repeat(depth), "]".repeat(depth));
    let response = client.post(ECHO, format!("{{\"inputs\": {}}}", nested(254))).await;
    assert_eq!(response.text(), format!("{{\"outputs\":{}}}", nested(254)));
    for (depth, reason) in [(255, "at most 254 dimensions"), (100_000, "More than 512 levels of nesting")] {
        let response = client.post(ECHO, format!("{{\"inputs\": {}}}", nested(depth))).await;
        assert_eq!(response.status, 400);
        assert!(response.error().contains(reason), "{}", response.text());
    }
}

#[tokio::test]
async fn not_a_number_is_written_as_configured() {
    let body = r#"{"inputs": [1, NaN, -Infinity]}"#;
    for (nan, expected) in [
        (NanStyle::Literal, r#"{"outputs":[1.0,NaN,-Infinity]}"#),
        (NanStyle::Null, r#"{"outputs":[1.0,null,null]}"#),
        (NanStyle::String, r#"{"outputs":[1.0,"NaN","-Infinity"]}"#),
    ] {
        let bridge = Bridge::start_with(models(), |config| config.api.nan = nan).await;
        assert_eq!(bridge.connect().await.post(ECHO, body).await.text(), expected);
    }
    let bridge = Bridge::start_with(models(), |config| config.api.nan = NanStyle::Error).await;
    let response = bridge.connect().await.post(ECHO, body).await;
    assert_eq!(response.status, 400);
    assert!(response.error().contains("NaN"), "{}", response.text());
}

#[tokio::test]
async fn pretty_is_for_whoever_asks() {
    let body =
        r#"{"inputs": {"a": [[1, 2], [3, 4]], "b": 1, "s": "x,[y]:{z}\""}, "signature_name": "mixed"}"#;
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    let compact = client.post(&format!("{ECHO}?pretty=false"), body).await;
    assert!(!compact.text().contains('\n'));
    let pretty = client.post(&format!("{ECHO}?pretty"), body).await;
    assert_eq!(pretty.json(), compact.json());
    let expected = r#"{
    "outputs": {
        "a": [
            [1.0, 2.0],
            [3.0, 4.0]
        ],
        "b": 1,
        "s": "x,[y]:{z}\""
    }
}
"#;
    assert_eq!(pretty.text(), expected);
    let bridge = Bridge::start_with(models(), |config| config.api.pretty = true).await;
    assert_eq!(bridge.connect().await.post(ECHO, body).await.text(), expected);
}

#[tokio::test]
async fn methods_follow_http() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    let head = client.request("HEAD", "/v1/models/echo", &[], b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_ne!(head.headers["content-length"], "0");
    for (method, path, status, allow) in [
        ("PUT", HALF, 405, Some("POST")),
        ("GET", HALF, 405, Some("POST")),
        ("DELETE", "/v1/models/echo", 405, Some("GET, HEAD")),
        ("POST", "/v1/models/echo/metadata", 405, Some("GET, HEAD")),
        ("POST", "/v1/models/echo:fly", 400, None),
        ("GET", "/v3/models/echo", 404, None),
        ("TRACE", "/v1/models/echo", 405, Some("GET, HEAD")),
        ("TRACE", HALF, 405, Some("POST")),
        ("TRACE", "/v2/models/echo/infer", 405, Some("POST")),
        ("TRACE", "/openapi.json", 405, Some("GET, HEAD")),
        ("PROPFIND", "/v1/models/echo", 501, None),
    ] {
        let response = client.request(method, path, &[], b"").await;
        assert_eq!(response.status, status, "{method} {path}");
        assert_eq!(response.headers.get("allow").map(String::as_str), allow, "{method} {path}");
        assert!(!response.error().is_empty());
    }
}

#[tokio::test]
async fn bodies_are_limited_and_the_connection_goes_on() {
    let bridge = Bridge::start_with(models(), |config| config.api.max_body_size = 1000).await;
    let mut client = bridge.connect().await;
    let body = format!("{{\"instances\": [1], \"x\": \"{}\"}}", "y".repeat(1000));
    let response = client.post(HALF, &body).await;
    assert_eq!(response.status, 413, "{}", response.text());
    let mut client = bridge.connect().await;
    assert_eq!(client.post(HALF, r#"{"instances": [1]}"#).await.status, 200);
}

/// Large enough for the numbers to be decoded while the body arrives, in odd pieces.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_decoded_as_they_arrive() {
    let bridge = Bridge::start(models()).await;
    let values: Vec<f32> = (0..300_000).map(|index| (index as f32).sin()).collect();
    let rows: Vec<&[f32]> = values.chunks(3).collect();
    for body in [
        json!({"inputs": rows}).to_string(),
        json!({"signature_name": "float", "instances": values}).to_string(),
        // The name comes last: what was decoded on the way was decoded for another signature.
        format!("{{\"inputs\": {}, \"signature_name\": \"double\"}}", json!(values)),
    ] {
        let mut client = bridge.connect().await;
        let head = format!("POST {ECHO} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
        client.send(head.as_bytes()).await;
        for piece in body.as_bytes().chunks(99_991) {
            client.send(piece).await;
        }
        let response = client.receive(false).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let reply = response.json();
        let found = reply.get("outputs").or(reply.get("predictions")).unwrap();
        let flat: Vec<f32> = flatten(found);
        assert_eq!(flat, values);
    }
    // A fault far inside is found, with its place.
    let mut numbers: Vec<Value> = values.iter().map(|value| json!(value)).collect();
    numbers[250_000] = json!("x");
    let response = bridge.connect().await.post(ECHO, json!({"inputs": numbers}).to_string()).await;
    assert!(response.error().starts_with("/inputs/250000: JSON Value: \"x\""), "{}", response.text());
}

fn flatten(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(flatten).collect(),
        number => vec![number.as_f64().unwrap() as f32],
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_503() {
    let free = Port::new();
    let bridge = Bridge::in_front_of(&free.address.to_string(), |_| {}).await;
    let mut client = bridge.connect().await;
    for path in [HALF, "/v1/models/half_plus_two:classify"] {
        let response = client.post(path, r#"{"instances": [1], "examples": [{"x": 1.0}]}"#).await;
        assert_eq!(response.status, 503, "{}", response.text());
        assert_eq!(response.error(), "The backend cannot be reached");
    }
    assert_eq!(client.get("/v1/models/half_plus_two").await.status, 503);
}

#[tokio::test]
async fn a_backend_that_never_answers_is_504() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let timeout = Duration::from_millis(200);
    let bridge = Bridge::in_front_of(&address, |config| config.api.timeout = timeout).await;
    let start = Instant::now();
    let response = bridge.connect().await.post(HALF, r#"{"instances": [1]}"#).await;
    assert_eq!(response.status, 504, "{}", response.text());
    assert!(start.elapsed() >= timeout);
}

/// A version with another signature takes over while its predecessor's is remembered.
#[tokio::test]
async fn a_new_version_is_noticed() {
    let models = models().with(Model::half_plus("swapped", 2.0));
    let bridge = Bridge::start(models.clone()).await;
    let mut client = bridge.connect().await;
    let path = "/v1/models/swapped:predict";
    let response = client.post(path, r#"{"instances": [1]}"#).await;
    assert_eq!(response.json(), json!({"predictions": [2.5]}));
    let _ = models.with(Model::echo("swapped").versions([2]));
    let body = r#"{"instances": [1]}"#;
    let response = client.post(path, body).await;
    assert_eq!(response.json(), json!({"predictions": [1.0]}), "same input name, new version");
    assert_eq!(response.headers["x-model-version"], "2");
    let body = r#"{"signature_name": "string", "instances": ["a"]}"#;
    assert_eq!(client.post(path, body).await.json(), json!({"predictions": ["a"]}));
}

#[tokio::test]
async fn metrics_count_requests() {
    let bridge = Bridge::start(models()).await;
    let mut client = bridge.connect().await;
    client.post(HALF, r#"{"instances": [1]}"#).await;
    client.post(HALF, "{").await;
    let response = client.get("/monitoring/prometheus/metrics").await;
    assert!(response.headers["content-type"].starts_with("text/plain"));
    for line in [
        r#"tfbridge_requests_total{verb="predict",model="half_plus_two",version="124",signature="serving_default",code="200"} 1"#,
        r#"tfbridge_requests_total{verb="predict",model="half_plus_two",version="124",signature="",code="400"} 1"#,
        r#"tfbridge_request_seconds_count{verb="predict"} 2"#,
    ] {
        assert!(response.text().contains(line), "{line} is not in\n{}", response.text());
    }
}
