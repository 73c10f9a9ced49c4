//! `tfbridge mock` as a process: models from files, recorded calls, faults, and REST in front.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tfbridge::codec::model::decode_signatures;
use tfbridge::mock::{self, Models};
use tfbridge::proto::tensorflow::meta_graph_def::MetaInfoDef;
use tfbridge::proto::tensorflow::serving::model_service_client::ModelServiceClient;
use tfbridge::proto::tensorflow::serving::prediction_service_client::PredictionServiceClient;
use tfbridge::proto::tensorflow::serving::{
    GetModelMetadataRequest, GetModelStatusRequest, ModelSpec, PredictRequest, ReloadConfigRequest,
};
use tfbridge::proto::tensorflow::tensor_info::Encoding;
use tfbridge::proto::tensorflow::tensor_shape_proto::Dim;
use tfbridge::proto::tensorflow::{
    DataType, MetaGraphDef, SavedModel, SignatureDef, TensorInfo, TensorProto, TensorShapeProto,
};
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::client::Client;

/// A mock that runs until it is dropped.
struct Mock {
    child: Child,
    grpc: SocketAddr,
    rest: SocketAddr,
}

impl Mock {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(&["--rest-listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
        let (grpc, rest) = greeting.trim().split_once(", REST at http://").expect(&greeting);
        let grpc = grpc.split_once(": gRPC at ").unwrap().1;
        Self { child, grpc: grpc.parse().unwrap(), rest: rest.parse().unwrap() }
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap()
    }

    async fn predictions(&self) -> PredictionServiceClient<Channel> {
        PredictionServiceClient::new(self.channel().await)
    }

    /// The body of an answer, and its status.
    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = Client::connect(self.rest).await.post(path, body.to_string()).await;
        (response.status, response.json())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let response = Client::connect(self.rest).await.get(path).await;
        (response.status, response.json())
    }

    /// Has it end as an operator would.
    async fn end(mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let start = Instant::now();
        // Our own connections end only while this thread does not wait for the process.
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(30), "it does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // One that has ended cannot be ended again.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfbridge"));
    command.args(["mock", "--listen", "127.0.0.1:0"]).args(arguments);
    command
}

/// What a mock says that cannot start.
fn refused(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = command(arguments).output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(64), "{arguments:?}: {text}");
    text
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn predict(model: &str, values: &[f32]) -> PredictRequest {
    let size = i64::try_from(values.len()).unwrap();
    let x = TensorProto {
        dtype: DataType::DtFloat.into(),
        tensor_shape: Some(shape(&[size])),
        float_val: values.to_vec(),
        ..TensorProto::default()
    };
    PredictRequest {
        model_spec: Some(ModelSpec { name: model.to_owned(), ..ModelSpec::default() }),
        inputs: [("x".to_owned(), x)].into(),
        ..PredictRequest::default()
    }
}

fn shape(sizes: &[i64]) -> TensorShapeProto {
    let dim = sizes.iter().map(|&size| Dim { size, name: String::new() }).collect();
    TensorShapeProto { dim, unknown_rank: false }
}

/// Writes a SavedModel with one signature from `x` to `y`.
fn export(directory: &Path, width: i64) {
    let info = |name: &str, sizes: &[i64]| TensorInfo {
        dtype: DataType::DtFloat.into(),
        tensor_shape: Some(shape(sizes)),
        encoding: Some(Encoding::Name(name.to_owned())),
    };
    let signature = SignatureDef {
        inputs: [("x".to_owned(), info("serving_default_x:0", &[-1]))].into(),
        outputs: [("y".to_owned(), info("StatefulPartitionedCall:0", &[-1, width]))].into(),
        method_name: "tensorflow/serving/predict".to_owned(),
        ..SignatureDef::default()
    };
    let graph = MetaGraphDef {
        meta_info_def: Some(MetaInfoDef { tags: vec!["serve".to_owned()] }),
        signature_def: [("serving_default".to_owned(), signature)].into(),
    };
    let model = SavedModel { saved_model_schema_version: 1, meta_graphs: vec![graph] };
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("saved_model.pb"), model.encode_to_vec()).unwrap();
}

#[tokio::test]
async fn saved_models_are_served_with_their_versions_and_labels() {
    let root = tempfile::tempdir().unwrap();
    export(&root.path().join("m/1"), 2);
    export(&root.path().join("m/2"), 3);
    fs::write(root.path().join("m/labels.json"), r#"{"stable": 1}"#).unwrap();
    let mock = Mock::start(&["--models", text(root.path()), "--seed", "5"]);
    let instances = json!({"instances": [1.0, 2.0]});
    let (status, latest) = mock.post("/v1/models/m:predict", &instances).await;
    assert_eq!((status, latest["predictions"][1].as_array().unwrap().len()), (200, 3), "{latest}");
    let (_, stable) = mock.post("/v1/models/m/labels/stable:predict", &instances).await;
    assert_eq!(stable["predictions"][0].as_array().unwrap().len(), 2, "{stable}");
    // A row has the same answer alone, and in another process.
    let other = Mock::start(&["--models", text(&root.path().join("m")), "--seed", "5"]);
    let (_, alone) = other.post("/v1/models/m:predict", &json!({"instances": [2.0]})).await;
    assert_eq!(alone["predictions"][0], latest["predictions"][1]);
    let mut client = mock.predictions().await;
    let request = GetModelMetadataRequest {
        model_spec: predict("m", &[]).model_spec,
        metadata_field: vec!["signature_def".to_owned()],
    };
    let metadata = client.get_model_metadata(request).await.unwrap().into_inner();
    let signatures = decode_signatures(&metadata).unwrap().signature_def;
    assert_eq!(signatures["serving_default"].outputs["y"].tensor_shape, Some(shape(&[-1, 3])));
    // A shape that the signature does not have.
    let (status, error) = mock.post("/v1/models/m:predict", &json!({"instances": [[1.0]]})).await;
    assert_eq!(status, 400);
    assert!(error["error"].as_str().unwrap().contains("declares [-1]"), "{error}");
    // The same models, as a configuration of TensorFlow Serving has them.
    let config = root.path().join("models.config");
    fs::write(&config, "model_config_list { config { name: \"n\" base_path: \"/models/m\" } }").unwrap();
    let configured = Mock::start(&["--models", text(&config), "--answer", "zeros"]);
    let (_, zeros) = configured.post("/v1/models/n:predict", &instances).await;
    assert_eq!(zeros["predictions"], json!([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]));
    configured.end().await;
}

#[tokio::test]
async fn declared_models_answer_each_in_its_own_way() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("models.toml");
    let tensors = r#"
[model.signatures.serving_default.inputs.x]
dtype = "float"
shape = [-1]
[model.signatures.serving_default.outputs.y]
dtype = "float"
shape = [-1]
"#;
    let fixed = r#"
[[model]]
name = "fixed"
versions = [3]
labels = { stable = 3 }
[model.values]
scores = [0.25, 0.75]
classes = ["cat", "dog"]
[model.signatures.serving_default]
method = "classify"
inputs.inputs = { dtype = "string", shape = [-1] }
outputs.scores = { dtype = "float", shape = [-1, 2] }
outputs.classes = { dtype = "string", shape = [-1, 2] }
"#;
    let model = |head: &str| format!("[[model]]\n{head}\n{tensors}");
    let echo = model("name = \"echo\"\nanswer = \"echo\"");
    let failing = model("name = \"failing\"\nfail = 1\nfail-code = \"RESOURCE_EXHAUSTED\"");
    fs::write(&path, [echo, failing, fixed.to_owned()].concat()).unwrap();
    let mock = Mock::start(&["--models", text(&path)]);
    let instances = json!({"instances": [1.5, 2.5]});
    let (_, reply) = mock.post("/v1/models/echo:predict", &instances).await;
    assert_eq!(reply, json!({"predictions": [1.5, 2.5]}));
    let (status, _) = mock.post("/v1/models/failing:predict", &instances).await;
    assert_eq!(status, 429);
    let examples = json!({"examples": [{"a": 1}, {"a": 2}]});
    let (_, reply) = mock.post("/v1/models/fixed/labels/stable:classify", &examples).await;
    let classes = json!([["cat", 0.25], ["dog", 0.75]]);
    assert_eq!(reply, json!({"results": [classes, classes]}));
}

#[tokio::test]
async fn a_recording_is_replayed_without_the_server() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("calls.jsonl");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(mock::serve(listener, Models::builtin(), std::future::pending()));
    let recorder = Mock::start(&["--record", text(&file), "--upstream", &upstream]);
    // Nobody knows the models of that server, and none is asked about before somebody does.
    assert_eq!(recorder.get("/v1/models").await, (200, json!({"models": []})));
    assert_eq!(fs::metadata(&file).unwrap().len(), 0);
    let calls = [
        ("half_plus_two:predict", json!({"instances": [0.1, 2.0]})),
        ("half_plus_two:regress", json!({"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}]})),
        ("half_plus_two:classify", json!({"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]})),
        ("affine100:predict", json!({"instances": [[1.0]]})),
        ("nothing:predict", json!({"instances": [1.0]})),
    ];
    let mut recorded = Vec::new();
    for (path, body) in &calls {
        recorded.push(recorder.post(&format!("/v1/models/{path}"), body).await);
    }
    let pages = ["/v1/models/half_plus_two", "/v1/models/half_plus_two/metadata"];
    for page in pages {
        recorded.push(recorder.get(page).await);
    }
    let statuses: Vec<u16> = recorded.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 400, 404, 200, 200], "{recorded:?}");
    // What changes nothing is not written again.
    let length = fs::metadata(&file).unwrap().len();
    assert_eq!(recorder.post("/v1/models/half_plus_two:predict", &calls[0].1).await, recorded[0]);
    assert_eq!(fs::metadata(&file).unwrap().len(), length);
    let mut models = ModelServiceClient::new(recorder.channel().await);
    let status = models.handle_reload_config_request(ReloadConfigRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    recorder.end().await;
    server.abort();

    let replay = Mock::start(&["--replay", text(&file)]);
    let mut replayed = Vec::new();
    for (path, body) in &calls {
        replayed.push(replay.post(&format!("/v1/models/{path}"), body).await);
    }
    for page in pages {
        replayed.push(replay.get(page).await);
    }
    assert_eq!(replayed, recorded);
    // Signatures were asked for of the first, before its input was refused.
    let (_, list) = replay.get("/v1/models").await;
    let names: Vec<_> = list["models"].as_array().unwrap().iter().map(|model| &model["name"]).collect();
    assert_eq!(names, ["affine100", "half_plus_two"], "{list}");
    let (status, error) = replay.post("/v1/models/half_plus_two:predict", &json!({"instances": [7.0]})).await;
    assert_eq!(status, 404);
    assert!(error["error"].as_str().unwrap().contains("is not in the recording: there is one"), "{error}");
    // Versions that are there are no answer to that.
    let server = format!("http://{}", replay.rest);
    let words = ["predict", "half_plus_two", "7", "--server", &server];
    let output = Command::new(env!("CARGO_BIN_EXE_tfbridge")).args(words).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("is not in the recording") && !error.contains("Available versions"), "{error}");
    let status = GetModelStatusRequest { model_spec: predict("other", &[]).model_spec };
    let missing = ModelServiceClient::new(replay.channel().await).get_model_status(status).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    replay.end().await;

    // With models, those answer what was not recorded, unless they are to be replayed.
    export(&root.path().join("half_plus_two/124"), 1);
    let models = root.path().join("models.toml");
    let table = |answer: &str| {
        format!(
            "[[model]]\nname = \"half_plus_two\"\nsaved-model = \"half_plus_two\"\nversions = [124]\nanswer = \"{answer}\"\n"
        )
    };
    for (answer, expected) in [("zeros", 200), ("replay", 404)] {
        fs::write(&models, table(answer)).unwrap();
        let both = Mock::start(&["--replay", text(&file), "--models", text(&models)]);
        assert_eq!(both.post("/v1/models/half_plus_two:predict", &calls[0].1).await, recorded[0]);
        let mut client = both.predictions().await;
        let result = client.predict(predict("half_plus_two", &[7.0])).await;
        let code = result.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(tfbridge::error::http_status(code).as_u16(), expected, "{answer}");
    }
    let error = refused(&["--models", text(&models)]);
    assert!(error.contains("add --replay FILE"), "{error}");
}

#[tokio::test]
async fn faults_come_as_often_as_they_are_asked_for_and_again_with_the_same_seed() {
    let run = async |seed: &str| {
        let mock = Mock::start(&["--fail", "0.3", "--fail-code", "ABORTED", "--seed", seed]);
        let mut client = mock.predictions().await;
        let mut codes = Vec::new();
        for _ in 0..60 {
            let result = client.predict(predict("half_plus_two", &[1.0])).await;
            codes.push(result.map_or_else(|status| status.code(), |_| Code::Ok));
        }
        // Only the calls of models fail.
        let status = GetModelStatusRequest { model_spec: predict("half_plus_two", &[]).model_spec };
        for _ in 0..20 {
            ModelServiceClient::new(mock.channel().await).get_model_status(status.clone()).await.unwrap();
        }
        codes
    };
    let first = run("1").await;
    assert!(first.contains(&Code::Ok) && first.contains(&Code::Aborted), "{first:?}");
    assert_eq!(first, run("1").await);
    assert_ne!(first, run("2").await);
}

#[tokio::test]
async fn delays_end_with_the_deadline_and_hold_nobody_up() {
    let slow = Mock::start(&["--delay", "1h"]);
    // A channel of tonic's reads the deadline, too, and may be the first to end. This one only passes it on.
    let plain = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let origin = format!("http://{}", slow.grpc).parse().unwrap();
    let mut client = PredictionServiceClient::with_origin(plain, origin);
    let mut request = Request::new(predict("half_plus_two", &[1.0]));
    request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let start = Instant::now();
    let status = client.predict(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!((0.2..5.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());

    // More at once than there are threads.
    let delayed = Mock::start(&["--delay", "500ms..600ms"]);
    let client = delayed.predictions().await;
    let start = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..400 {
        let mut client = client.clone();
        calls.spawn(async move { client.predict(predict("half_plus_two", &[1.0])).await });
    }
    while let Some(result) = calls.join_next().await {
        assert_eq!(result.unwrap().unwrap().into_inner().outputs["y"].float_val, [2.5]);
    }
    assert!((0.5..20.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
}

#[test]
fn what_cannot_be_used_ends_with_64_and_the_reason() {
    let root = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = root.path().join(name);
        fs::write(&path, content).unwrap();
        text(&path).to_owned()
    };
    let check = |arguments: &[&str], expected: &str| {
        let error = refused(arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    };
    check(&["--models", "/nowhere"], "/nowhere: there is no such file or directory");
    check(
        &["--models", text(root.path())],
        "there is no SavedModel in it; expected is VERSION/saved_model.pb",
    );
    check(
        &["--models", &file("models.toml", "[[model]]\nnam = 1")],
        "models.toml: line 2: unknown field `nam`",
    );
    check(&["--models", &file("models.config", "model {")], "as TensorFlow Serving reads it");
    check(&["--replay", &file("calls.jsonl", "{}\n")], "calls.jsonl: line 1: missing field");
    check(&["--record", &file("new.jsonl", "")], "--upstream");
    check(&["--record", text(root.path()), "--upstream", "localhost:8500"], "it cannot be written");
    check(&["--fail", "2"], "2 is not between 0");
    check(&["--delay", "fast"], "such as 20ms");
    check(&["--fail-code", "OK"], "no code of gRPC");
    check(&["--answer", "zeros"], "--models");
}

#[test]
fn models_that_are_cut_off_end_the_program_with_64() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("m/1");
    export(&directory, 3);
    let file = directory.join("saved_model.pb");
    let whole = fs::read(&file).unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..12 {
        fs::write(&file, &whole[..random.usize(..whole.len())]).unwrap();
        let error = refused(&["--models", text(root.path())]);
        assert!(error.contains("m/1/saved_model.pb: it"), "{error}");
    }
}
