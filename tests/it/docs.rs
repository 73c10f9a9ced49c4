//! The page at `/docs`: its files, what browsers are told with them, and how it is turned off.

use tfbridge::mock::Models;

use crate::auth::{entry, file};
use crate::bridge::Bridge;

/// All that the page names within double quotes and loads from its own directory.
fn named(text: &str, prefix: &str) -> Vec<String> {
    let quoted = text.split('"').skip(1).step_by(2);
    let mut names: Vec<_> = quoted.filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

#[tokio::test]
async fn every_file_that_the_page_names_is_there_and_forbids_what_is_from_elsewhere() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    let page = client.get("/docs").await;
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    let mut names = named(page.text(), "docs/");
    assert!(names.contains(&"app.js".to_owned()) && names.contains(&"style.css".to_owned()), "{names:?}");
    let mut seen = Vec::new();
    while let Some(name) = names.pop() {
        if seen.contains(&name) {
            continue;
        }
        let response = client.get(&format!("/docs/{name}")).await;
        assert_eq!(response.status, 200, "{name}");
        let expected = match name.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => panic!("{name}"),
        };
        assert_eq!(response.headers["content-type"], expected, "{name}");
        assert!(response.text().starts_with(['/', '<']), "{name} says what it is");
        names.extend(named(response.text(), "./"));
        seen.push(name);
        for headers in [&page.headers, &response.headers] {
            let policy = &headers["content-security-policy"];
            assert!(
                policy.starts_with("default-src 'none';") && policy.contains("script-src 'self';"),
                "{policy}"
            );
            assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
            assert_eq!(headers["x-content-type-options"], "nosniff");
            assert_eq!(headers["referrer-policy"], "no-referrer");
            assert_eq!(headers["cache-control"], "no-cache");
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
}

#[test]
fn nothing_but_addresses_of_namespaces_leads_elsewhere() {
    for entry in std::fs::read_dir("src/docs").unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap().replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("http://") && !text.contains("https://"), "{}", path.display());
        // Text of models and replies must not become elements, nor scripts.
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            " style=\"",
        ] {
            assert!(!text.contains(way), "{}: {way}", path.display());
        }
        assert!(text.lines().count() < 400, "{} is too long", path.display());
    }
}

#[tokio::test]
async fn files_are_read_only_and_known_ones_are_not_sent_again() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    for path in ["/docs", "/docs/app.js"] {
        let whole = client.get(path).await;
        let head = client.request("HEAD", path, &[], b"").await;
        assert_eq!((head.status, &head.headers["etag"]), (200, &whole.headers["etag"]));
        assert_eq!(head.headers["content-length"], whole.body.len().to_string());
        let tag = whole.headers["etag"].as_str();
        for known in [tag, "*", &format!("\"other\", W/{tag}")] {
            let response = client.request("GET", path, &[("If-None-Match", known)], b"").await;
            assert_eq!((response.status, response.body.len()), (304, 0), "{known}");
            assert_eq!(response.headers["etag"], tag);
        }
        assert_eq!(client.request("GET", path, &[("If-None-Match", "\"other\"")], b"").await.status, 200);
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
            let response = client.request(method, path, &[], b"{}").await;
            assert_eq!((response.status, response.headers["allow"].as_str()), (405, "GET, HEAD"), "{method}");
            assert_eq!(response.error(), format!("Malformed request: {method} {path}"));
        }
    }
    let root = client.get("/").await;
    let told = "There is nothing at /; the API is under /v1/models, and a page for people at /docs";
    assert_eq!((root.status, root.error()), (404, told.to_owned()));
    let slash = client.get("/docs/").await;
    assert_eq!((slash.status, slash.headers["location"].as_str()), (308, "../docs"));
    for nowhere in
        ["/docs/app", "/docs//app.js", "/docs/../docs/app.js", "/docsapp.js", "/docs/app.js/", "/Docs"]
    {
        assert_eq!(client.get(nowhere).await.status, 404, "{nowhere}");
    }
}

#[tokio::test]
async fn it_can_be_off_and_needs_no_token() {
    let off = Bridge::start_with(Models::builtin(), |config| config.api.docs = false).await;
    let mut client = off.connect().await;
    for path in ["/docs", "/docs/", "/docs/app.js"] {
        let response = client.get(path).await;
        assert_eq!(response.status, 404);
        assert!(response.error().starts_with("There is nothing at /docs"), "{}", response.text());
    }
    assert_eq!(client.get("/").await.error(), "There is nothing at /; the API is under /v1/models");
    let tokens = file(&entry("all", ""));
    let path = tokens.path().join("tokens.toml");
    let guarded = Bridge::start_with(Models::builtin(), |config| config.access.auth_file = Some(path)).await;
    let mut client = guarded.connect().await;
    assert_eq!(client.get("/docs").await.status, 200);
    assert_eq!(client.get("/docs/app.js").await.status, 200);
    assert_eq!(client.get("/docs/other.js").await.status, 401);
    assert_eq!(client.get("/v1/models/echo").await.status, 401);
}

#[tokio::test]
async fn requests_for_it_are_counted() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    client.get("/docs").await;
    client.get("/docs/app.js").await;
    client.post("/docs", "{}").await;
    let metrics = client.get("/monitoring/prometheus/metrics").await;
    for (code, count) in [("200", 2), ("405", 1)] {
        let line =
            format!("verb=\"docs\",model=\"\",version=\"\",signature=\"\",code=\"{code}\"}} {count}\n");
        assert!(metrics.text().contains(&line), "{line} {}", metrics.text());
    }
}
