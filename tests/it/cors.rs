//! Web pages of other origins: what browsers are told.

use tfbridge::config::{Config, CorsConfig};
use tfbridge::mock::Models;

use crate::bridge::Bridge;
use crate::client::Response;

const PREDICT: &str = "/v1/models/half_plus_two:predict";
const BODY: &[u8] = br#"{"instances": [1.0]}"#;
const ALLOWED: &str = "https://app.example.com";

fn allow(config: &mut Config, origins: &[&str]) {
    config.access.cors = Some(CorsConfig::new(origins.iter().map(|text| text.parse().unwrap()).collect()));
}

/// The headers that a page depends on, in order.
fn told(response: &Response) -> Vec<&str> {
    let mut names: Vec<_> = response
        .headers
        .keys()
        .map(String::as_str)
        .filter(|name| name.starts_with("access-control-"))
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn preflights_are_answered_for_allowed_origins_only() {
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        allow(config, &[ALLOWED, "https://*.pages.example"]);
        // No token is needed to ask.
        config.access.auth_file = Some("/nowhere.toml".into());
    })
    .await;
    let mut client = bridge.connect().await;
    for (origin, is_allowed) in [
        (ALLOWED, true),
        ("https://a.pages.example", true),
        ("https://pages.example", false),
        ("https://evil.example", false),
        ("http://app.example.com", false),
        ("null", false),
    ] {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization,content-type"),
        ];
        let response = client.request("OPTIONS", PREDICT, &headers, b"").await;
        assert_eq!(response.headers["vary"], "origin", "{origin}");
        if is_allowed {
            assert_eq!(response.status, 200);
            assert_eq!(response.headers["access-control-allow-origin"], origin);
            assert_eq!(response.headers["access-control-allow-methods"], "GET, HEAD, POST");
            assert!(response.headers["access-control-allow-headers"].contains("authorization, content-"));
            assert_eq!(response.headers["access-control-max-age"], "3600");
            assert!(response.body.is_empty());
        } else {
            assert_eq!(response.status, 403, "{origin}");
            assert_eq!(response.error(), "Pages of this origin may not call the API");
            assert!(told(&response).is_empty(), "{response:?}");
        }
    }
}

#[tokio::test]
async fn every_answer_says_who_may_read_it() {
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        allow(config, &[ALLOWED]);
        config.api.max_body_size = 100;
        config.api.return_headers = vec!["x-request-id".parse().unwrap(), "x-tenant".parse().unwrap()];
    })
    .await;
    let mut client = bridge.connect().await;
    let large = [b' '; 101];
    let cases: [(&str, &str, &[u8], u16); 6] = [
        ("POST", PREDICT, BODY, 200),
        ("HEAD", "/v1/models/half_plus_two", b"", 200),
        ("POST", PREDICT, b"{", 400),
        ("GET", "/nowhere", b"", 404),
        ("PUT", PREDICT, b"", 405),
        ("POST", PREDICT, &large, 413),
    ];
    for (method, path, body, status) in cases {
        let response = client.request(method, path, &[("Origin", ALLOWED)], body).await;
        assert_eq!(response.status, status, "{method} {path}");
        assert_eq!(told(&response), ["access-control-allow-origin", "access-control-expose-headers"]);
        assert_eq!(response.headers["access-control-allow-origin"], ALLOWED);
        assert_eq!(
            response.headers["access-control-expose-headers"],
            "x-model-version, x-attempts, x-request-id, retry-after, inference-header-content-length, x-tenant"
        );
        assert_eq!(response.headers["vary"], "origin");
        // Whoever is no allowed page gets the same answer, which says nothing of pages.
        for headers in [&[("Origin", "https://evil.example")][..], &[]] {
            let response = client.request(method, path, headers, body).await;
            assert_eq!(response.status, status);
            assert_eq!(response.headers["vary"], "origin");
            assert!(told(&response).is_empty(), "{response:?}");
        }
    }
}

#[tokio::test]
async fn refusals_for_want_of_a_token_can_be_read() {
    let bridge = Bridge::start_with(Models::builtin(), |config| {
        allow(config, &[ALLOWED]);
        config.access.auth_file = Some("/nowhere.toml".into());
    })
    .await;
    let response = bridge.connect().await.request("POST", PREDICT, &[("Origin", ALLOWED)], BODY).await;
    assert_eq!(response.status, 401);
    assert_eq!(response.headers["access-control-allow-origin"], ALLOWED);
}

#[tokio::test]
async fn all_origins_may_be_allowed() {
    let bridge = Bridge::start_with(Models::builtin(), |config| allow(config, &["*"])).await;
    let mut client = bridge.connect().await;
    let response = client.request("POST", PREDICT, &[("Origin", "https://any.example")], BODY).await;
    assert_eq!(response.headers["access-control-allow-origin"], "*");
    assert!(!response.headers.contains_key("vary"));
    let headers = [("Origin", "null"), ("Access-Control-Request-Method", "POST")];
    let response = client.request("OPTIONS", PREDICT, &headers, b"").await;
    assert_eq!((response.status, response.headers["access-control-allow-origin"].as_str()), (200, "*"));
}
