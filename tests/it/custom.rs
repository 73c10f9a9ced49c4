//! Routes of one's own, from the configuration file to the wire.

use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use rustix::process::Signal;
use serde_json::{Value, json};
use tfbridge::cli::CommandLine;
use tfbridge::codec::body::Rules;
use tfbridge::codec::custom::{self, Format, Mapping};
use tfbridge::codec::media::{Agreement, MediaType};
use tfbridge::codec::signature::{DEFAULT_SIGNATURE, Input, Signature, Signatures};
use tfbridge::codec::{Limits, NanStyle, dtype};
use tfbridge::config::{AllowedOrigin, Config, CorsConfig, CustomRoutes};
use tfbridge::mock::{Model, Models};
use tfbridge::proto::tensorflow::DataType;
use tfbridge::proto::tensorflow::serving::PredictResponse;

use crate::auth;
use crate::bridge::Bridge;
use crate::client::Client;
use crate::scripted::{self, Script, Scripted};
use crate::signals::Program;

const ROUTES: &str = r#"
[[route]]
path = "/predict"
model = "half_plus_two"
label = "stable"
input-key = "input"
reply-key = "output"

[[route]]
path = "/api/score:one"
model = "half_plus_two"
version = 124
format = "single"
outputs = { y = "score" }

[[route]]
path = "/texts"
model = "echo"
signature = "mixed"
format = "row"
input-key = "rows"
[route.outputs]
s = "text"
b = "count"

[[route]]
path = "/fixed"
model = "echo"
signature = "mixed"
reply-key = "result"
fixed = { a = 0.5, b = [[1], [2]] }

[[route]]
path = "/bytes"
model = "echo"
signature = "bytes"
format = "single"
input_key = "file"
reply_key = "file"

[[route]]
path = "/misfit"
model = "half_plus_two"
fixed = { x = "text" }
"#;

/// The routes of a configuration file.
fn routes(text: &str) -> CustomRoutes {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    let words = ["tfbridge", "serve", "--config", file.path().to_str().unwrap()];
    CommandLine::new(words).config().unwrap().api.routes
}

async fn start_with(configure: impl FnOnce(&mut Config)) -> Bridge {
    Bridge::start_with(Models::builtin(), |config| {
        config.api.routes = routes(ROUTES);
        configure(config);
    })
    .await
}

#[tokio::test]
async fn bodies_and_replies_have_the_layout_of_their_route() {
    let bridge = start_with(|_| {}).await;
    let mut client = bridge.connect().await;
    for (path, body, version, expected) in [
        ("/predict", r#"{"input": [1.0, 2.0]}"#, "123", json!({"output": [2.5, 3.0]})),
        ("/predict?pretty", r#"{"id": 7, "input": {"x": [[5]]}}"#, "123", json!({"output": [[4.5]]})),
        ("/api/score:one", "1", "124", json!({"score": 2.5})),
        ("/api/score:one", r#"{"x": [1, 2]}"#, "124", json!({"score": [2.5, 3.0]})),
        (
            "/texts",
            r#"{"rows": [{"a": 1, "b": 2, "s": "c"}, {"a": 1, "b": 3, "s": "d"}]}"#,
            "1",
            json!([{"count": 2, "text": "c"}, {"count": 3, "text": "d"}]),
        ),
        ("/fixed", r#"{"s": ["c"]}"#, "1", json!({"result": {"a": 0.5, "b": [[1], [2]], "s": ["c"]}})),
        ("/fixed", r#""c""#, "1", json!({"result": {"a": 0.5, "b": [[1], [2]], "s": "c"}})),
        ("/bytes", r#"{"file": {"b64": "AP8="}}"#, "1", json!({"file": {"b64": "AP8="}})),
    ] {
        let response = client.post(path, body).await;
        assert_eq!(response.status, 200, "{path} {body}: {}", response.text());
        assert_eq!(response.json(), expected, "{path} {body}");
        assert_eq!(response.headers["x-model-version"], version, "{path}");
        assert_eq!(response.headers["content-type"], "application/json");
    }
    let metrics = client.get("/monitoring/prometheus/metrics").await;
    let line =
        r#"{verb="route",model="half_plus_two",version="123",signature="serving_default",code="200"} 2"#;
    assert!(metrics.text().contains(line), "{}", metrics.text());
}

#[tokio::test]
async fn errors_stand_at_their_place_in_the_body_of_the_client() {
    let bridge = start_with(|_| {}).await;
    let mut client = bridge.connect().await;
    for (path, body, status, expected) in [
        (
            "/predict",
            r#"{"input": [1.0, "2"]}"#,
            400,
            "/input/1: JSON Value: \"2\" Type: String is not of expected type: float",
        ),
        ("/predict", r#"{"instances": [1.0]}"#, 400, "Missing 'input' key"),
        ("/predict", "", 400, "JSON Parse error: The document is empty"),
        ("/predict", "[1.0]", 400, "JSON Value: [1.0] Is not object"),
        (
            "/api/score:one",
            "2026-11-29",
            400,
            "JSON Parse error: The document root must not be followed by other values. at offset: 4",
        ),
        (
            "/texts",
            r#"{"rows": [{"a": 1, "b": 2, "s": "c"}, {"a": 1, "b": 2.5, "s": "c"}]}"#,
            400,
            "/rows/1/b: JSON Value: 2.5 Type: Number is not of expected type: int64",
        ),
        (
            "/misfit",
            "{}",
            500,
            "The fixed input \"x\" is of no use: JSON Value: \"text\" Type: String is not of expected type: float",
        ),
    ] {
        let response = client.post(path, body).await;
        assert_eq!((response.status, response.error().as_str()), (status, expected), "{path} {body}");
    }
}

#[tokio::test]
async fn a_path_is_for_post_and_to_the_letter() {
    let bridge = start_with(|_| {}).await;
    let mut client = bridge.connect().await;
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let response = client.request(method, "/predict", &[], b"").await;
        assert_eq!((response.status, response.headers["allow"].as_str()), (405, "POST"), "{method}");
    }
    for path in ["/predict/", "/Predict", "/%70redict", "/predictions", "/"] {
        assert_eq!(client.post(path, r#"{"input": [1.0]}"#).await.status, 404, "{path}");
    }
    // Those of the bridge are there as before.
    assert_eq!(client.get("/v1/models/half_plus_two").await.status, 200);
    let bridge = Bridge::start(Models::builtin()).await;
    assert_eq!(bridge.connect().await.post("/predict", r#"{"input": [1.0]}"#).await.status, 404);
}

#[tokio::test]
async fn other_types_of_bodies_are_read_and_written() {
    let bridge = start_with(|_| {}).await;
    let mut client = bridge.connect().await;
    let csv = [("Content-Type", "text/csv")];
    let response = client.request("POST", "/predict", &csv, b"x\n1.0\n2.0\n").await;
    assert_eq!((response.status, response.text()), (200, "y[0]\n2.5\n3.0\n"));
    let table = [("Accept", "text/csv")];
    let rows = br#"{"rows": [{"a": 1, "b": 2, "s": "c"}]}"#;
    let response = client.request("POST", "/texts", &table, rows).await;
    assert_eq!((response.status, response.text()), (200, "count,text\n2,c\n"));
    let bytes = [("Content-Type", "application/octet-stream")];
    let response = client.request("POST", "/bytes", &bytes, b"\0\xff").await;
    assert_eq!(response.json(), json!({"file": {"b64": "AP8="}}));
    let lines = [("Content-Type", "application/x-ndjson")];
    let response = client.request("POST", "/predict", &lines, b"1.0\n2.0\n").await;
    assert_eq!((response.status, response.text()), (200, "2.5\n3.0\n"));
    // The document says which there are.
    let document = client.get("/openapi.json").await.json();
    let types = |of: &str| -> Vec<String> {
        let content = document.pointer(&format!("/paths/~1predict/post/{of}/content")).unwrap();
        content.as_object().unwrap().keys().cloned().collect()
    };
    let requests = types("requestBody");
    for name in ["application/x-ndjson", "application/x-npy", "multipart/form-data", "text/csv"] {
        assert!(requests.iter().any(|known| known == name), "{requests:?}");
    }
    let replies = types("responses/200");
    assert_eq!(replies.len(), 7, "{replies:?}");
    for name in &replies {
        let accept = [("Accept", name.as_str())];
        let response = client.request("POST", "/predict", &accept, br#"{"input": [1.0]}"#).await;
        assert_eq!((response.status, &response.headers["content-type"]), (200, name), "{}", response.text());
    }
    assert!(!requests.iter().any(|name| name == "application/x-protobuf"), "{requests:?}");
    for (headers, status) in [
        (("Content-Type", "application/x-protobuf"), 415),
        (("Content-Type", "application/x-yaml"), 415),
        (("Accept", "text/html"), 406),
    ] {
        let response = client.request("POST", "/predict", &[headers], br#"{"input": [1.0]}"#).await;
        assert_eq!(response.status, status, "{headers:?}: {}", response.text());
    }
}

#[tokio::test]
async fn tokens_are_for_the_model_of_the_route() {
    let directory = auth::file(&auth::entry("one", "models = [\"half_plus_two\"]\n"));
    let bridge = start_with(|config| {
        config.access.auth_file = Some(directory.path().join("tokens.toml"));
        config.api.cors = true;
    })
    .await;
    let mut client = bridge.connect().await;
    let token = auth::token("one");
    let token = [("X-API-Key", token.as_str())];
    assert_eq!(client.post("/predict", r#"{"input": [1.0]}"#).await.status, 401);
    assert_eq!(client.request("POST", "/predict", &token, br#"{"input": [1.0]}"#).await.status, 200);
    let response = client.request("POST", "/fixed", &token, br#"{"s": "c"}"#).await;
    assert_eq!((response.status, response.error().as_str()), (403, "The token may not call the model echo"));
    // Browsers have none when they ask.
    let preflight = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "POST")];
    let response = client.request("OPTIONS", "/predict", &preflight, b"").await;
    assert_eq!((response.status, response.headers["access-control-allow-origin"].as_str()), (200, "*"));
    assert_eq!(client.request("OPTIONS", "/nowhere", &preflight, b"").await.status, 401);
}

#[tokio::test]
async fn pages_may_call_a_route_as_they_may_the_api() {
    let origin: AllowedOrigin = "https://app.example.com".parse().unwrap();
    let bridge = start_with(|config| config.access.cors = Some(CorsConfig::new(vec![origin]))).await;
    let mut client = bridge.connect().await;
    for (origin, is_allowed) in [("https://app.example.com", true), ("https://evil.example", false)] {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
        let response = client.request("OPTIONS", "/predict", &headers, b"").await;
        assert_eq!(response.status == 200, is_allowed, "{origin}");
        let response = client.request("POST", "/predict", &headers[..1], br#"{"input": [1.0]}"#).await;
        assert_eq!(response.status, 200);
        assert_eq!(response.headers.contains_key("access-control-allow-origin"), is_allowed, "{origin}");
    }
}

#[tokio::test]
async fn the_model_is_looked_up_when_it_is_asked_for() {
    let models = Models::builtin();
    let bridge = Bridge::start_with(models.clone(), |config| {
        config.api.routes = routes("[[route]]\npath = '/later'\nmodel = 'later'\ninput-key = 'input'");
    })
    .await;
    let mut client = bridge.connect().await;
    let response = client.post("/later", r#"{"input": [1.0]}"#).await;
    assert_eq!(
        (response.status, response.error().as_str()),
        (404, "Servable not found for request: Latest(later)")
    );
    let _models = models.with(Model::half_plus("later", 5.0).versions([7]));
    let response = client.post("/later", r#"{"input": [1.0]}"#).await;
    assert_eq!((response.status, response.json()), (200, json!([5.5])));
    assert_eq!(response.headers["x-model-version"], "7");
}

#[tokio::test]
async fn models_of_routes_are_listed() {
    let bridge = start_with(|_| {}).await;
    let listed = bridge.connect().await.get("/v1/models").await.json();
    let models = listed["models"].as_array().unwrap();
    let names: Vec<_> = models.iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["echo", "half_plus_two"]);
    assert_eq!(models[1]["versions"][1]["labels"], json!(["stable"]));
}

#[tokio::test]
async fn a_model_that_changes_is_read_for_anew() {
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |config| {
        config.api.routes = routes("[[route]]\npath = '/p'\nmodel = 'm'\ninput-key = 'input'");
    })
    .await;
    let mut client = bridge.connect().await;
    assert_eq!(client.post("/p", r#"{"input": [1, 2]}"#).await.status, 200);
    *backend.state.model.lock().unwrap() = scripted::Model { version: 2, dtype: DataType::DtString, rank: 1 };
    let response = client.post("/p", r#"{"input": ["a", "b"]}"#).await;
    assert_eq!(
        (response.status, response.headers["x-model-version"].as_str()),
        (200, "2"),
        "{}",
        response.text()
    );
}

#[tokio::test]
async fn limits_and_deadlines_hold() {
    let backend = Scripted::start(Script::Stall).await;
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |config| {
        config.api.routes = routes("[[route]]\npath = '/p'\nmodel = 'm'\ninput-key = 'input'");
        config.api.max_body_size = 1000;
        config.api.limits.elements = 3;
    })
    .await;
    let mut client = bridge.connect().await;
    let large = format!("{{\"input\": [1]{}}}", " ".repeat(2000));
    assert_eq!(client.post("/p", large).await.status, 413);
    let response = client.post("/p", r#"{"input": [1, 2, 3, 4]}"#).await;
    assert_eq!((response.status, response.error().as_str()), (400, "/input/3: More than 3 elements"));
    let start = Instant::now();
    let headers = [("X-Request-Timeout", "200ms")];
    let response = client.request("POST", "/p", &headers, br#"{"input": [1]}"#).await;
    assert_eq!(response.status, 504, "{}", response.text());
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_come_and_go_with_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("tfbridge.toml");
    let route = |path: &str| format!("[[route]]\npath = \"{path}\"\nmodel = \"m\"\ninput-key = \"input\"\n");
    fs::write(&config, route("/old")).unwrap();
    let backend = Scripted::start(Script::Answer(Duration::ZERO)).await;
    let program = Program::start(&config, &backend).await;
    let mut client = Client::connect(program.api).await;
    let body = r#"{"input": [1.0]}"#;
    assert_eq!(client.post("/old", body).await.status, 200);
    assert_eq!(client.post("/new", body).await.status, 404);
    fs::write(&config, route("/new")).unwrap();
    program.signal(Signal::HUP);
    let start = Instant::now();
    while client.post("/new", body).await.status != 200 {
        assert!(start.elapsed() < Duration::from_secs(10), "the new route is not there");
    }
    assert_eq!(client.post("/old", body).await.status, 404);
    // One that may not be leaves all as it was.
    fs::write(&config, route("/v1/models/m")).unwrap();
    program.signal(Signal::HUP);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(client.post("/new", body).await.status, 200);
}

#[tokio::test]
async fn the_readme_has_routes_that_work() {
    let readme = fs::read_to_string("README.md").unwrap();
    let section = readme.split_once("## Routes of your own\n").unwrap().1.split_once("\n## ").unwrap().0;
    let block =
        |kind: &str| section.split_once(&format!("```{kind}\n")).unwrap().1.split_once("```").unwrap().0;
    let bridge =
        Bridge::start_with(Models::builtin(), |config| config.api.routes = routes(block("toml"))).await;
    let mut client = bridge.connect().await;
    let lines: Vec<_> = block("sh").lines().collect();
    assert_eq!(lines.len(), 6);
    for pair in lines.chunks(2) {
        let (body, path) = pair[0].strip_prefix("curl -d '").unwrap().split_once("' localhost:8501").unwrap();
        assert_eq!(format!("# {}", client.post(path, body).await.text()), pair[1], "{}", pair[0]);
    }
}

/// A route with these bodies, and what its signature wants.
fn any_mapping() -> impl Strategy<Value = (Mapping, Signatures)> {
    let dtypes = select(vec![DataType::DtFloat, DataType::DtInt32, DataType::DtString, DataType::DtBool]);
    let keys = select(vec![None, Some("k"), Some("\u{e9}\"")]);
    (select(Format::ALL.to_vec()), keys.clone(), keys, dtypes, any::<[bool; 2]>()).prop_map(
        |(format, input_key, reply_key, dtype, [has_two, is_fixed])| {
            let input = |name: &str, dtype| Input { name: name.to_owned(), dtype, shape: Some(vec![-1, -1]) };
            let mut inputs = vec![input("x", dtype)];
            if has_two {
                inputs.push(input("y", DataType::DtInt64));
            }
            let fixed = if is_fixed { vec![("y".to_owned(), Bytes::from("[[1]]"))] } else { Vec::new() };
            let mapping = Mapping {
                format,
                input_key: input_key.map(str::to_owned),
                reply_key: reply_key.map(str::to_owned),
                fixed: fixed.into_iter().filter(|_| has_two).collect(),
                ..Mapping::default()
            };
            let signature = (DEFAULT_SIGNATURE.to_owned(), Signature::new(inputs));
            (mapping, [signature].into_iter().collect())
        },
    )
}

/// Bytes that are JSON more often than not.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let tokens = select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"k\"",
        "\"x\"",
        "\"y\"",
        "\"b64\"",
        "1",
        "-2.5e3",
        "true",
        "null",
        "\"",
        "{\"k\":",
        "{\"x\":",
        "[[1]]",
        "[[true],[false]]",
        "[[\"a\"]]",
        "\u{e9}",
        " ",
    ]);
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..64),
        proptest::collection::vec(tokens, 0..24).prop_map(|tokens| tokens.concat().into_bytes()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any body is refused, or makes whole tensors for all inputs, which make a reply that is JSON.
    #[test]
    fn any_body_is_refused_or_makes_whole_tensors((mapping, signatures) in any_mapping(), body in any_body()) {
        let agreement = Agreement::new(None, [], None).unwrap();
        let rules = Rules { limits: Limits { elements: 16, ..Limits::default() }, check_shapes: true };
        let body = Bytes::from(body);
        if let Ok(decoded) = custom::decode(&mapping, &agreement, &body, Some(&signatures), &rules) {
            let signature = signatures.get("").unwrap();
            prop_assert_eq!(decoded.inputs.len(), signature.inputs.len());
            for input in &signature.inputs {
                let tensor = &decoded.inputs[&input.name];
                let dim = &tensor.tensor_shape.as_ref().unwrap().dim;
                prop_assert_eq!(dim.len(), 2);
                let elements: i64 = dim.iter().map(|dim| dim.size).product();
                let found = match dtype::width(input.dtype) {
                    Some(width) => tensor.tensor_content.len() / width,
                    None => tensor.string_val.len(),
                };
                prop_assert_eq!(found, usize::try_from(elements).unwrap());
            }
            let reply = PredictResponse { outputs: decoded.inputs, ..PredictResponse::default() };
            if let Ok(encoded) = custom::encode(&mapping, MediaType::Json, reply, NanStyle::Null) {
                let reply: Value = serde_json::from_slice(&encoded.body).unwrap();
                if let Some(key) = &mapping.reply_key {
                    prop_assert!(reply.get(key).is_some());
                }
            }
        }
    }
}
