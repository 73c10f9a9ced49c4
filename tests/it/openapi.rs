//! `GET /openapi.json`: its examples are answered, it follows the models, and tokens see their own models.

use std::time::Duration;

use serde_json::Value;
use tfbridge::mock::Models;

use crate::auth::{entry, file, token};
use crate::bridge::Bridge;
use crate::client::Client;

const PATH: &str = "/openapi.json";

/// Longer than what is known of the models is good.
const STALE: Duration = Duration::from_millis(1100);

async fn start() -> Bridge {
    let models = Models::builtin();
    let listed = models.listed();
    Bridge::start_with(models, |config| config.api.models = listed).await
}

async fn document(client: &mut Client, path: &str) -> Value {
    let response = client.get(path).await;
    assert_eq!(
        (response.status, response.headers.get("content-type").map(String::as_str)),
        (200, Some("application/json")),
        "{path}"
    );
    assert_eq!(response.headers.get("cache-control").map(String::as_str), Some("no-cache"));
    response.json()
}

/// What a reference in a document stands for; the value itself if it is none.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

/// A path with the first of the values that its parameter may have.
fn filled(path: &str, operation: &Value) -> String {
    let mut path = path.to_owned();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        if parameter["in"] == "path" {
            let name = format!("{{{}}}", parameter["name"].as_str().unwrap());
            path = path.replace(&name, parameter["schema"]["enum"][0].as_str().unwrap());
        }
    }
    path
}

#[tokio::test]
async fn all_examples_and_all_questions_are_answered() {
    let bridge = start().await;
    let mut client = bridge.connect().await;
    let document = document(&mut client, PATH).await;
    let (mut bodies, mut questions) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        if item.get("get").is_some() {
            let path = filled(path, &item["get"]);
            assert_eq!(client.get(&path).await.status, 200, "{path}");
            questions += 1;
        }
        let Some(operation) = item.get("post") else { continue };
        let path = filled(path, operation);
        let body = resolve(&document, &operation["requestBody"]);
        for (media_type, content) in body["content"].as_object().unwrap() {
            let many = content["examples"].as_object().into_iter().flatten();
            let examples = many.map(|(_, example)| &example["value"]).chain(content.get("example"));
            for example in examples {
                let text = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
                let headers = [("content-type", media_type.as_str())];
                let response = client.request("POST", &path, &headers, text.as_bytes()).await;
                assert_eq!(
                    response.status,
                    200,
                    "{path} {text} {:?}",
                    String::from_utf8_lossy(&response.body)
                );
                bodies += 1;
            }
        }
    }
    assert!(bodies > 100 && questions > 40, "{bodies} bodies, {questions} questions");
}

#[tokio::test]
async fn it_follows_the_models_and_its_tag_changes_with_it() {
    let models = Models::builtin();
    let listed = models.listed();
    let bridge = Bridge::start_with(models.clone(), |config| config.api.models = listed).await;
    let mut client = bridge.connect().await;
    let first = client.get(PATH).await;
    let tag = first.headers["etag"].clone();
    assert!(first.json()["paths"].get("/v1/models/half_plus_two/labels/{label}:predict").is_some());
    let again = client.request("GET", PATH, &[("if-none-match", &tag)], b"").await;
    assert_eq!(
        (again.status, again.headers.get("etag").map(String::as_str), again.body.len()),
        (304, Some(tag.as_str()), 0)
    );
    // Compressed it is known by another tag, which is as good.
    let gzip = client.request("GET", PATH, &[("accept-encoding", "gzip")], b"").await;
    let packed = gzip.headers["etag"].clone();
    assert_eq!(
        (gzip.headers.get("content-encoding").map(String::as_str), packed.as_str() == tag),
        (Some("gzip"), false)
    );
    let again = client.request("GET", PATH, &[("if-none-match", &packed)], b"").await;
    assert_eq!(again.status, 304);

    models.load("half_plus_two", 125).unwrap();
    tokio::time::sleep(STALE).await;
    let swapped = client.request("GET", PATH, &[("if-none-match", &tag)], b"").await;
    assert_eq!(swapped.status, 200);
    assert_ne!(swapped.headers.get("etag").map(String::as_str), Some(tag.as_str()));
    let versions = &swapped.json()["paths"]["/v1/models/half_plus_two/versions/{version}:predict"]["post"]["parameters"]
        [0]["schema"]["enum"];
    assert_eq!(*versions, serde_json::json!(["125", "124", "123"]));
}

#[tokio::test]
async fn one_model_is_described_by_itself() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    // Nobody has asked for it yet, and nobody has listed it.
    let all = document(&mut client, PATH).await;
    assert!(all["paths"].get("/v1/models/echo:predict").is_none());
    let one = document(&mut client, "/v1/models/echo/openapi.json").await;
    assert!(one["paths"].get("/v1/models/echo:predict").is_some());
    let none = client.get("/v1/models/none/openapi.json").await;
    assert_eq!(none.status, 404);
    assert_eq!(none.json()["error"], "Could not find any versions of model none");
    let post = client.post(PATH, b"{}").await;
    assert_eq!((post.status, post.headers.get("allow").map(String::as_str)), (405, Some("GET, HEAD")));
    assert_eq!(client.request("HEAD", PATH, &[], b"").await.status, 200);
}

#[tokio::test]
async fn tokens_see_the_models_that_they_may_call() {
    let file = file(&(entry("all", "") + &entry("some", "models = [\"echo\"]\n")));
    let path = file.path().join("tokens.toml");
    let models = Models::builtin();
    let listed = models.listed();
    let bridge = Bridge::start_with(models, |config| {
        config.access.auth_file = Some(path);
        config.api.models = listed;
        config.api.sagemaker = Some("affine100".parse().unwrap());
    })
    .await;
    let mut client = bridge.connect().await;
    assert_eq!(client.get(PATH).await.status, 401);
    for (name, sees) in [("all", true), ("some", false)] {
        let token = token(name);
        let headers = [("x-api-key", token.as_str())];
        let response = client.request("GET", PATH, &headers, b"").await;
        let document = response.json();
        assert!(document["paths"].get("/v1/models/echo:predict").is_some(), "{name}");
        assert_eq!(document["paths"].get("/v1/models/affine100:predict").is_some(), sees, "{name}");
        assert_eq!(document["paths"].get("/invocations").is_some(), sees, "{name}");
        assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
        assert_eq!(document["security"].as_array().unwrap().len(), 2);
        let other = client.request("GET", "/v1/models/affine100/openapi.json", &headers, b"").await;
        assert_eq!(other.status, if sees { 200 } else { 403 }, "{name}");
    }
}
