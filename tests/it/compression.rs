//! Compressed replies, for clients that take them.

use std::io::Read as _;

use tfbridge::config::CorsConfig;
use tfbridge::mock::Models;

use crate::bridge::Bridge;

const PREDICT: &str = "/v1/models/half_plus_two:predict";
const METADATA: &str = "/v1/models/half_plus_two/metadata";

fn body(count: usize) -> String {
    format!("{{\"instances\": {:?}}}", (0..count).map(|index| index as f32 / 7.0).collect::<Vec<_>>())
}

fn inflate(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    plain
}

#[tokio::test(flavor = "multi_thread")]
async fn large_replies_are_compressed_for_those_who_ask() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    for count in [3, 1000, 10_000, 300_000] {
        let body = body(count);
        let plain = client.post(PREDICT, &body).await;
        assert_eq!(plain.status, 200);
        let is_large = plain.body.len() >= 32 << 10;
        assert_eq!(is_large, count >= 10_000);
        assert_eq!(plain.headers.get("vary").map(String::as_str), is_large.then_some("accept-encoding"));
        for (accept, is_accepted) in
            [("gzip", true), ("br, *;q=0.5", true), ("gzip;q=0, *", false), ("identity", false)]
        {
            let headers = [("Accept-Encoding", accept)];
            let reply = client.request("POST", PREDICT, &headers, body.as_bytes()).await;
            assert_eq!(reply.headers.get("vary"), plain.headers.get("vary"));
            assert_eq!(reply.headers["content-type"], "application/json");
            if is_large && is_accepted {
                assert_eq!(reply.headers["content-encoding"], "gzip");
                assert_eq!(reply.headers["content-length"], reply.body.len().to_string());
                assert!(reply.body.len() < plain.body.len());
                assert!(inflate(&reply.body) == plain.body, "{count}");
            } else {
                assert!(!reply.headers.contains_key("content-encoding"), "{accept}");
                assert!(reply.body == plain.body);
            }
        }
    }
}

#[tokio::test]
async fn head_agrees_with_get() {
    let bridge =
        Bridge::start_with(Models::builtin(), |config| config.access.compress_min_size = Some(100)).await;
    let mut client = bridge.connect().await;
    for headers in [&[("Accept-Encoding", "gzip")][..], &[]] {
        let get = client.request("GET", METADATA, headers, b"").await;
        let head = client.request("HEAD", METADATA, headers, b"").await;
        assert_eq!(get.headers.contains_key("content-encoding"), !headers.is_empty());
        assert!(head.body.is_empty());
        for name in ["content-length", "content-encoding", "content-type", "vary"] {
            assert_eq!(get.headers.get(name), head.headers.get(name), "{name}");
        }
    }
}

/// Triton's client for asyncio accepts gzip with every request, and inflates only what infer answers.
#[tokio::test]
async fn what_describes_a_model_to_clients_of_triton_is_plain() {
    let bridge =
        Bridge::start_with(Models::builtin(), |config| config.access.compress_min_size = Some(50)).await;
    let mut client = bridge.connect().await;
    let headers = [("Accept-Encoding", "gzip, deflate")];
    for path in ["/v2", "/v2/models/half_plus_two", "/v2/models/none"] {
        let reply = client.request("GET", path, &headers, b"").await;
        assert!(!reply.headers.contains_key("content-encoding"), "{path}");
        assert!(reply.json().is_object(), "{path}");
    }
    let body = br#"{"inputs": [{"name": "x", "shape": [4, 1], "datatype": "FP32", "data": [1, 1, 1, 1]}]}"#;
    let reply = client.request("POST", "/v2/models/half_plus_two/infer", &headers, body).await;
    assert_eq!(reply.headers["content-encoding"], "gzip");
}

#[tokio::test]
async fn compression_can_be_switched_off() {
    let bridge = Bridge::start_with(Models::builtin(), |config| config.access.compress_min_size = None).await;
    let headers = [("Accept-Encoding", "gzip")];
    let reply = bridge.connect().await.request("POST", PREDICT, &headers, body(10_000).as_bytes()).await;
    assert!(reply.headers.get("content-encoding").or(reply.headers.get("vary")).is_none());
    assert!(reply.text().starts_with("{\"predictions\""));
}

#[tokio::test]
async fn answers_vary_with_all_that_they_depend_on() {
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        config.access.cors = Some(CorsConfig::new(vec!["https://a.example".parse().unwrap()]));
    })
    .await;
    let reply = bridge.connect().await.post(PREDICT, body(10_000)).await;
    assert_eq!(reply.headers["vary"], "accept-encoding, origin");
}
