//! The Open Inference Protocol over HTTP.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};
use tfbridge::mock::{Model, Models};
use tfbridge::proto::tensorflow::DataType;

use crate::bridge::Bridge;
use crate::client::{Client, Response};
use crate::scripted::{self, Script, Scripted};

const INFER: &str = "/v2/models/half_plus_two/infer";
const ECHO: &str = "/v2/models/echo/infer";

/// Sends JSON with binary data behind it.
async fn infer(client: &mut Client, path: &str, json: &Value, binary: &[u8]) -> Response {
    let json = json.to_string();
    let length = json.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    let headers = if binary.is_empty() { &headers[..0] } else { &headers };
    client.request("POST", path, headers, &[json.as_bytes(), binary].concat()).await
}

/// The JSON of a reply and the binary data behind it.
fn parts(response: &Response) -> (Value, &[u8]) {
    let length = response.headers.get("inference-header-content-length");
    let length = length.map_or(response.body.len(), |length| length.parse().unwrap());
    let (json, binary) = response.body.split_at(length);
    (serde_json::from_slice(json).unwrap(), binary)
}

#[tokio::test]
async fn server_and_models_say_what_they_are() {
    let models = Models::builtin();
    let bridge = Bridge::start(models.clone()).await;
    let mut client = bridge.connect().await;
    let server = client.get("/v2").await.json();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(server, json!({"name": "tfbridge", "version": version, "extensions": ["binary_tensor_data"]}));
    assert_eq!(client.get("/v2/health/live").await.json(), json!({"live": true}));
    assert_eq!(client.get("/v2/health/ready").await.json(), json!({"ready": true}));
    let model = json!({
        "name": "half_plus_two",
        "versions": ["123", "124"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    });
    for path in ["", "/versions/123", "/labels/stable"] {
        let found = client.get(&format!("/v2/models/half_plus_two{path}")).await;
        assert_eq!(found.json(), model);
        let version = if path.is_empty() { "124" } else { "123" };
        assert_eq!(found.headers["x-model-version"], version);
        let ready = client.get(&format!("/v2/models/half_plus_two{path}/ready")).await;
        assert_eq!(ready.json(), json!({"name": "half_plus_two", "ready": true}));
    }
    let mixed = client.get("/v2/models/echo?signature_name=mixed").await.json();
    assert_eq!(mixed["inputs"][2], json!({"name": "s", "datatype": "BYTES", "shape": [-1]}));
    for (path, status) in [
        ("/v2/models/none", 404),
        ("/v2/models/none/ready", 404),
        ("/v2/models/half_plus_two/versions/5", 404),
        ("/v2/models/half_plus_two/versions/5/ready", 404),
        ("/v2/models/half_plus_two/labels/none/ready", 404),
        ("/v2/models/echo?signature_name=none", 400),
        ("/v2/models/half_plus_two/stats", 404),
    ] {
        let response = client.get(path).await;
        assert_eq!(response.status, status, "{path}");
        assert!(!response.error().is_empty());
    }
    models.unload("half_plus_two", 123).unwrap();
    models.unload("half_plus_two", 124).unwrap();
    assert_eq!(client.get("/v2/models/half_plus_two/ready").await.status, 503);
}

#[tokio::test]
async fn json_goes_in_and_out() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    let inputs = |data: Value| json!([{"name": "x", "shape": [2, 1], "datatype": "FP32", "data": data}]);
    for data in [json!([1, 2.5]), json!([[1], [2.5]])] {
        let reply = infer(&mut client, INFER, &json!({"id": "a\"b", "inputs": inputs(data)}), b"").await;
        let expected = r#"{"id":"a\"b","model_name":"half_plus_two","model_version":"124","outputs":[{"name":"y","datatype":"FP32","shape":[2,1],"data":[2.5,3.25]}]}"#;
        assert_eq!((reply.status, reply.text()), (200, expected));
        assert_eq!(reply.headers["content-type"], "application/json");
        assert_eq!(reply.headers["x-model-version"], "124");
        assert!(!reply.headers.contains_key("inference-header-content-length"));
    }
    let metrics = client.get("/monitoring/prometheus/metrics").await;
    let counted =
        r#"{verb="infer",model="half_plus_two",version="124",signature="serving_default",code="200"} 2"#;
    assert!(metrics.text().contains(counted), "{}", metrics.text());
    let old = "/v2/models/half_plus_two/versions/123/infer";
    let reply = infer(&mut client, old, &json!({"inputs": inputs(json!([1, 2]))}), b"").await;
    assert_eq!(reply.json()["model_version"], "123");
    let request = json!({
        "inputs": [
            {"name": "s", "shape": [2], "datatype": "BYTES", "data": ["naïve", {"b64": "AA=="}]},
            {"name": "b", "shape": [], "datatype": "INT64", "data": [9_007_199_254_740_993_i64]},
            {"name": "a", "shape": [1], "datatype": "FP32", "data": [0.1]},
        ],
        "outputs": [{"name": "s"}, {"name": "b"}],
    });
    let reply = infer(&mut client, &format!("{ECHO}?signature_name=mixed"), &request, b"").await;
    assert_eq!(
        reply.json()["outputs"],
        json!([
            {"name": "s", "datatype": "BYTES", "shape": [2], "data": ["naïve", "\u{0}"]},
            {"name": "b", "datatype": "INT64", "shape": [], "data": [9_007_199_254_740_993_i64]},
        ])
    );
    // A query that is about the form of the reply.
    let request = json!({"inputs": inputs(json!([1, 2]))});
    let reply = infer(&mut client, &format!("{INFER}?pretty"), &request, b"").await;
    assert!(reply.text().contains('\n'), "{}", reply.text());
}

#[tokio::test]
async fn binary_data_of_every_datatype_comes_back() {
    for content in [false, true] {
        let bridge = Bridge::start(Models::builtin().tensor_content(content)).await;
        let mut client = bridge.connect().await;
        for (signature, datatype, width) in [
            ("bool", "BOOL", 1),
            ("uint8", "UINT8", 1),
            ("uint16", "UINT16", 2),
            ("uint32", "UINT32", 4),
            ("uint64", "UINT64", 8),
            ("int8", "INT8", 1),
            ("int16", "INT16", 2),
            ("int32", "INT32", 4),
            ("int64", "INT64", 8),
            ("half", "FP16", 2),
            ("bfloat16", "BF16", 2),
            ("float", "FP32", 4),
            ("double", "FP64", 8),
        ] {
            let data: Vec<u8> = (0..6 * width).map(|index| (index * 37 % 2) as u8).collect();
            let request = json!({
                "inputs": [{"name": "x", "shape": [2, 3], "datatype": datatype,
                            "parameters": {"binary_data_size": data.len()}}],
                "parameters": {"binary_data_output": true, "signature_name": signature},
            });
            let reply = infer(&mut client, ECHO, &request, &data).await;
            let (json, binary) = parts(&reply);
            assert_eq!(reply.headers["content-type"], "application/octet-stream");
            let parameters = json!({"binary_data_size": data.len()});
            let output =
                json!([{"name": "x", "datatype": datatype, "shape": [2, 3], "parameters": parameters}]);
            assert_eq!((&json["outputs"], binary), (&output, &data[..]), "{datatype}");
        }
        let strings = b"\x02\0\0\0\xff\0\0\0\0\0\x03\0\0\0abc";
        let request = json!({
            "inputs": [{"name": "x", "shape": [3], "datatype": "BYTES",
                        "parameters": {"binary_data_size": strings.len()}}],
            "outputs": [{"name": "x", "parameters": {"binary_data": true}}],
        });
        let path = format!("{ECHO}?signature_name=string");
        let reply = infer(&mut client, &path, &request, strings).await;
        assert_eq!(parts(&reply).1, strings);
        let request = json!({"inputs": request["inputs"]});
        let reply = infer(&mut client, &path, &request, strings).await;
        assert_eq!(reply.status, 400);
        assert!(reply.error().contains("no UTF-8 at element 0"), "{}", reply.error());
    }
}

#[tokio::test]
async fn large_tensors_are_inferred_both_ways() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    let values: Vec<f32> = (0..500_000).map(|index| index as f32 / 8.0).collect();
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let expected: Vec<u8> = values.iter().flat_map(|value| (value / 2.0 + 2.0).to_le_bytes()).collect();
    for is_binary in [true, false] {
        let mut input = json!({"name": "x", "shape": [values.len(), 1], "datatype": "FP32"});
        if is_binary {
            input["parameters"] = json!({"binary_data_size": data.len()});
        } else {
            input["data"] = json!(values);
        }
        let request = json!({"inputs": [input], "parameters": {"binary_data_output": true}});
        let reply = infer(&mut client, INFER, &request, if is_binary { &data } else { b"" }).await;
        assert_eq!(reply.status, 200);
        assert!(parts(&reply).1 == expected);
    }
}

#[tokio::test]
async fn faults_are_the_clients() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    let sized = |size: usize| {
        json!({"inputs": [{"name": "x", "shape": [4], "datatype": "FP32",
                           "parameters": {"binary_data_size": size}}]})
    };
    let mut check = async |length: Option<&str>, json: &Value, binary: &[u8], expected: &str| {
        let text = json.to_string();
        let headers = length.map(|length| ("Inference-Header-Content-Length", length));
        let body = [text.as_bytes(), binary].concat();
        let reply = client.request("POST", INFER, headers.as_slice(), &body).await;
        assert_eq!(reply.status, 400, "{json}");
        assert!(reply.error().contains(expected), "{}", reply.error());
    };
    let request = sized(12);
    let length = request.to_string().len().to_string();
    let expected = "inputs[0] \"x\": 12 bytes of binary data for 4 elements of FP32, which take 16";
    check(Some(&length), &request, &[0; 12], expected).await;
    check(Some(&length), &sized(16), &[0; 20], "4 bytes of binary data are left").await;
    for lie in ["-1", "", "x", "1e3", "99999999999999999999999"] {
        check(Some(lie), &request, &[0; 12], "must be a number of bytes").await;
    }
    check(Some("1000000000000"), &request, &[0; 12], "but the body has").await;
    check(Some("10"), &request, &[0; 12], "JSON Parse error").await;
    check(None, &request, &[0; 12], "needs the header").await;
    let wrong = json!({"inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [1]}]});
    check(None, &wrong, b"", "is of datatype INT32, but the signature wants FP32").await;
    let missing = client.request("POST", "/v2/models/none/infer", &[], b"{}").await;
    assert_eq!(
        (missing.status, missing.error().as_str()),
        (404, "Servable not found for request: Latest(none)")
    );
    let method = client.get(INFER).await;
    assert_eq!((method.status, method.headers["allow"].as_str()), (405, "POST"));
}

#[tokio::test]
async fn datatypes_are_told_where_signatures_are_not() {
    let backend = Scripted::start_with(Script::Answer(Duration::ZERO), false).await;
    *backend.state.model.lock().unwrap() = scripted::Model { version: 7, dtype: DataType::DtFloat, rank: 1 };
    let bridge = Bridge::in_front_of_all(vec![backend.backend()], |_| {}).await;
    let mut client = bridge.connect().await;
    let request = |datatype: &str| {
        let input = json!({"name": "x", "shape": [1], "datatype": datatype, "data": [1]});
        json!({"inputs": [input]}).to_string()
    };
    let reply = client.post("/v2/models/m/infer", request("FP32")).await;
    assert_eq!((reply.status, &reply.json()["model_version"]), (200, &json!("7")), "{}", reply.text());
    assert_eq!(client.post("/v2/models/m/infer", request("INT32")).await.status, 400);
    assert_eq!(client.get("/v2/models/m").await.status, 501);
}

#[tokio::test]
async fn memory_is_held_before_it_is_taken() {
    let bridge = Bridge::start_with(Models::builtin(), |config| config.api.max_memory = 8 << 20).await;
    let mut client = bridge.connect().await;
    let input = |count: usize, size: usize| {
        json!({"inputs": [{"name": "x", "shape": [count], "datatype": "BYTES",
                           "parameters": {"binary_data_size": size}}],
               "parameters": {"binary_data_output": true}})
    };
    let path = format!("{ECHO}?signature_name=string");
    // A string costs its bytes and a little, but a million empty ones cost much more than theirs.
    let one = [&1_000_000_u32.to_le_bytes()[..], &vec![b'a'; 1_000_000]].concat();
    let reply = infer(&mut client, &path, &input(1, one.len()), &one).await;
    assert_eq!((reply.status, parts(&reply).1), (200, &one[..]));
    let many = vec![0; 1 << 20];
    let reply = infer(&mut client, &path, &input(1 << 18, many.len()), &many).await;
    assert_eq!(reply.status, 413);
    assert!(reply.error().contains("bytes of memory"), "{}", reply.error());
}

#[tokio::test]
async fn bodies_of_other_types_are_read_as_for_predict() {
    let bridge = Bridge::start(Models::builtin()).await;
    let mut client = bridge.connect().await;
    let path = format!("{ECHO}?signature_name=string&outputs=x");
    let reply = client.request("POST", &path, &[("Content-Type", "image/png")], b"picture").await;
    let output = json!([{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["picture"]}]);
    assert_eq!(reply.json()["outputs"], output);
    let request = json!({"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["s"]}]});
    for (content_type, accept) in [
        ("application/octet-stream", "*/*"),
        ("application/cbor", "application/octet-stream"),
        ("text/plain", "text/html"),
    ] {
        let headers = [("Content-Type", content_type), ("Accept", accept)];
        let reply = client.request("POST", &path, &headers, request.to_string().as_bytes()).await;
        assert_eq!(reply.json()["outputs"][0]["data"], json!(["s"]), "{content_type}");
    }
}

#[tokio::test]
async fn pages_and_preflights_are_answered_as_for_the_other_api() {
    let bridge = Bridge::start_with(Models::builtin(), |config| config.api.cors = true).await;
    let mut client = bridge.connect().await;
    let origin = [("Origin", "https://example.com")];
    let reply = client.request("GET", "/v2", &origin, b"").await;
    assert_eq!(reply.headers["access-control-allow-origin"], "*");
    assert_eq!(client.request("OPTIONS", INFER, &origin, b"").await.status, 200);
}

#[tokio::test]
async fn a_model_that_changes_is_followed() {
    let models = Models::empty().with(Model::half_plus("m", 2.0).versions([1]));
    let bridge = Bridge::start(models.clone()).await;
    let mut client = bridge.connect().await;
    let path = "/v2/models/m/infer";
    let half = json!({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]});
    let infer = async |client: &mut Client, request: &Value| {
        let reply = client.post(path, request.to_string()).await;
        (reply.status, reply.json()["outputs"][0]["data"].clone())
    };
    assert_eq!(infer(&mut client, &half).await, (200, json!([2.5])));
    // The same name, other signatures: what was remembered no longer fits.
    let _models = models.with(Model::echo("m").versions([2]));
    let strings = json!({"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["s"]}],
                         "parameters": {"signature_name": "string"}});
    assert_eq!(infer(&mut client, &strings).await, (200, json!(["s"])));
}

#[tokio::test]
async fn bodies_are_compressed_both_ways() {
    let bridge =
        Bridge::start_with(Models::builtin(), |config| config.access.compress_min_size = Some(1000)).await;
    let mut client = bridge.connect().await;
    let data = vec![0; 40_000];
    let json = json!({
        "inputs": [{"name": "x", "shape": [10_000, 1], "datatype": "FP32",
                    "parameters": {"binary_data_size": data.len()}}],
        "parameters": {"binary_data_output": true},
    })
    .to_string();
    let plain = [json.as_bytes(), &data].concat();
    let length = json.len().to_string();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&plain).unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&plain).unwrap();
    let mut expected = None;
    for (coding, body) in
        [("identity", plain), ("gzip", gzip.finish().unwrap()), ("deflate", zlib.finish().unwrap())]
    {
        let headers = [
            ("Inference-Header-Content-Length", length.as_str()),
            ("Content-Encoding", coding),
            ("Accept-Encoding", coding),
        ];
        let reply = client.request("POST", INFER, &headers, &body).await;
        assert_eq!(reply.status, 200, "{coding}");
        let encoding = reply.headers.get("content-encoding").map(String::as_str);
        assert_eq!(encoding, (coding != "identity").then_some(coding));
        let mut inflated = Vec::new();
        match coding {
            "gzip" => flate2::write::GzDecoder::new(&mut inflated).write_all(&reply.body).unwrap(),
            "deflate" => flate2::write::ZlibDecoder::new(&mut inflated).write_all(&reply.body).unwrap(),
            _ => inflated = reply.body,
        }
        assert!(*expected.get_or_insert(inflated.clone()) == inflated, "{coding}");
    }
    let body = b"no zlib at all";
    let reply = client.request("POST", INFER, &[("Content-Encoding", "deflate")], body).await;
    assert_eq!(reply.status, 400);
    assert!(reply.error().contains("The deflate body"), "{}", reply.error());
}
