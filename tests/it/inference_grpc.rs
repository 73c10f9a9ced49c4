//! The gRPC service of the Open Inference Protocol over TCP, asked by tonic's client.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tfbridge::config::Config;
use tfbridge::mock::{self, Models};
use tfbridge::proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use tfbridge::proto::inference::infer_parameter::ParameterChoice;
use tfbridge::proto::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use tfbridge::proto::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelMetadataRequest, ModelReadyRequest,
    ServerLiveRequest, ServerMetadataRequest, ServerReadyRequest,
};
use tfbridge::{Listeners, run};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::client::Client;
use crate::connections::Files;

/// The mock, and a bridge to it with both ports.
struct Ports {
    api: SocketAddr,
    grpc: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    _stop_mock: oneshot::Sender<()>,
}

impl Ports {
    async fn open(models: Models, configure: impl FnOnce(&mut Config)) -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (backend, api, grpc) = (bind().await.unwrap(), bind().await.unwrap(), bind().await.unwrap());
        let mut config = Config::new(backend.local_addr().unwrap().to_string().parse().unwrap());
        configure(&mut config);
        let (stop_mock, mock_stopped) = oneshot::channel::<()>();
        tokio::spawn(mock::serve(backend, models, async { drop(mock_stopped.await) }));
        let (stop, stopped) = oneshot::channel::<()>();
        let addresses = (api.local_addr().unwrap(), grpc.local_addr().unwrap());
        let listeners =
            Listeners { api: vec![api.into()], inference: vec![grpc.into()], ..Listeners::default() };
        tokio::spawn(run(config, listeners, async { drop(stopped.await) }));
        Self { api: addresses.0, grpc: addresses.1, stop: Some(stop), _stop_mock: stop_mock }
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap()
    }

    async fn client(&self) -> GrpcInferenceServiceClient<Channel> {
        GrpcInferenceServiceClient::new(self.channel().await).max_decoding_message_size(64 << 20)
    }

    async fn metrics(&self) -> String {
        Client::connect(self.api).await.get("/monitoring/prometheus/metrics").await.text().to_owned()
    }
}

fn infer(model: &str, inputs: &[(&str, &str, &[i64], &[u8])]) -> ModelInferRequest {
    let (inputs, raw_input_contents) = inputs
        .iter()
        .map(|(name, datatype, shape, raw)| {
            let input = InferInputTensor {
                name: (*name).to_owned(),
                datatype: (*datatype).to_owned(),
                shape: shape.to_vec(),
                ..InferInputTensor::default()
            };
            (input, Bytes::copy_from_slice(raw))
        })
        .unzip();
    ModelInferRequest { model_name: model.to_owned(), inputs, raw_input_contents, ..Default::default() }
}

fn signature(mut request: ModelInferRequest, name: &str) -> ModelInferRequest {
    let choice = Some(ParameterChoice::StringParam(name.to_owned()));
    request.parameters.insert("signature_name".to_owned(), InferParameter { parameter_choice: choice });
    request
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[tokio::test]
async fn inferences_are_answered_with_raw_elements() {
    let ports = Ports::open(Models::builtin(), |_| {}).await;
    let mut client = ports.client().await;
    let mut request = infer("half_plus_two", &[("x", "FP32", &[3], &floats(&[1.0, 2.0, 5.0]))]);
    request.id = "seven".to_owned();
    let response = client.model_infer(request.clone()).await.unwrap();
    assert_eq!(response.metadata().get("x-attempts").unwrap(), "1");
    assert!(response.metadata().contains_key("x-request-id"));
    let response = response.into_inner();
    assert_eq!(response.raw_output_contents, [floats(&[2.5, 3.0, 4.5])]);
    let [output] = response.outputs.as_slice() else { panic!("{response:?}") };
    assert_eq!(
        (output.name.as_str(), output.datatype.as_str(), output.shape.as_slice()),
        ("y", "FP32", &[3][..])
    );
    let (name, version, id) = (&*response.model_name, &*response.model_version, &*response.id);
    assert_eq!((name, version, id), ("half_plus_two", "124", "seven"));
    // The same in typed contents, of a version, and of a label.
    request.raw_input_contents.clear();
    let contents = InferTensorContents { fp32_contents: vec![1.0, 2.0, 5.0], ..Default::default() };
    request.inputs[0].contents = Some(contents);
    for (version, expected) in [("123", "123"), ("canary", "124"), ("stable", "123")] {
        request.model_version = version.to_owned();
        let response = client.model_infer(request.clone()).await.unwrap().into_inner();
        assert_eq!(response.raw_output_contents, [floats(&[2.5, 3.0, 4.5])]);
        assert_eq!(response.model_version, expected);
    }
}

#[tokio::test]
async fn every_datatype_comes_back_as_it_went() {
    let ports = Ports::open(Models::builtin(), |_| {}).await;
    let mut client = ports.client().await;
    for (name, datatype, raw) in [
        ("bool", "BOOL", &[1, 0][..]),
        ("uint8", "UINT8", &[1, 255]),
        ("int8", "INT8", &[1, 255]),
        ("uint16", "UINT16", &[1, 0, 255, 255]),
        ("int16", "INT16", &[1, 0, 255, 255]),
        ("uint32", "UINT32", &[1, 0, 0, 0, 255, 255, 255, 255]),
        ("int32", "INT32", &[1, 0, 0, 0, 255, 255, 255, 255]),
        ("uint64", "UINT64", &[255; 16]),
        ("int64", "INT64", &[255; 16]),
        ("half", "FP16", &[0, 0x3c, 1, 0]),
        ("bfloat16", "BF16", &[0x80, 0x3f, 1, 0]),
        ("float", "FP32", &[0, 0, 0x80, 0x7f, 1, 0, 0, 0]),
        ("double", "FP64", &[1; 16]),
        ("string", "BYTES", b"\x02\0\0\0\xff\0\0\0\0\0"),
    ] {
        let request = signature(infer("echo", &[("x", datatype, &[2], raw)]), name);
        let response = client.model_infer(request).await.map(tonic::Response::into_inner);
        let response = response.unwrap_or_else(|status| panic!("{name}: {status:?}"));
        assert_eq!(response.raw_output_contents, [raw], "{name}");
        assert_eq!((&*response.outputs[0].datatype, &*response.outputs[0].shape), (datatype, &[2][..]));
    }
}

#[tokio::test]
async fn outputs_are_chosen_by_name_and_signature() {
    let ports = Ports::open(Models::builtin(), |_| {}).await;
    let mut client = ports.client().await;
    let inputs: [(&str, &str, &[i64], &[u8]); 3] = [
        ("a", "FP32", &[], &floats(&[0.5])),
        ("b", "INT64", &[], &7_i64.to_le_bytes()),
        ("s", "BYTES", &[], b"\x01\0\0\0s"),
    ];
    let mut request = signature(infer("echo", &inputs), "mixed");
    let names = |outputs: &[&str]| {
        let output =
            |name: &&str| InferRequestedOutputTensor { name: (*name).to_owned(), ..Default::default() };
        outputs.iter().map(output).collect::<Vec<_>>()
    };
    for (wanted, expected) in [(&["s", "a"][..], &["s", "a"][..]), (&[], &["a", "b", "s"])] {
        request.outputs = names(wanted);
        let response = client.model_infer(request.clone()).await.unwrap().into_inner();
        let found: Vec<_> = response.outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(found, expected);
        assert_eq!(response.raw_output_contents.len(), expected.len());
    }
    request.outputs = names(&["z"]);
    assert_eq!(client.model_infer(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_best_scores_come_in_place_of_all() {
    let ports = Ports::open(Models::builtin(), |_| {}).await;
    let mut client = ports.client().await;
    let mut request = infer("echo", &[("x", "FP32", &[2, 3], &floats(&[0.25, 0.5, 0.125, 3.0, 1.0, 2.0]))]);
    let choice = Some(ParameterChoice::Int64Param(2));
    request.parameters.insert("top_k".to_owned(), InferParameter { parameter_choice: choice });
    let response = client.model_infer(request).await.unwrap().into_inner();
    let outputs: Vec<_> =
        response.outputs.iter().map(|output| (&*output.name, &*output.datatype, &*output.shape)).collect();
    assert_eq!(outputs, [("indices", "INT32", &[2, 2][..]), ("scores", "FP32", &[2, 2])]);
    let places: Vec<u8> = [1_i32, 0, 0, 2].iter().flat_map(|place| place.to_le_bytes()).collect();
    assert_eq!(response.raw_output_contents, [places, floats(&[0.5, 0.25, 3.0, 2.0])]);
}

#[tokio::test]
async fn errors_are_those_of_the_api() {
    let ports = Ports::open(Models::builtin(), |_| {}).await;
    let mut client = ports.client().await;
    let mut check = async |request: ModelInferRequest, code: Code, expected: &str| {
        let status = client.model_infer(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, expected));
    };
    let x: (&str, &str, &[i64], &[u8]) = ("x", "FP32", &[1], &[0; 4]);
    check(infer("none", &[x]), Code::NotFound, "Servable not found for request: Latest(none)").await;
    check(infer("", &[x]), Code::InvalidArgument, "Missing model name in request.").await;
    let expected = "Serving signature name: \"nö\" not found in signature def";
    check(signature(infer("half_plus_two", &[x]), "nö"), Code::InvalidArgument, expected).await;
    let expected = "The input \"x\" is of datatype INT32, but the signature wants FP32";
    let wrong: (&str, &str, &[i64], &[u8]) = ("x", "INT32", &[1], &[0; 4]);
    check(infer("half_plus_two", &[wrong]), Code::InvalidArgument, expected).await;
    let unknown = ModelReadyRequest { name: "none".to_owned(), ..Default::default() };
    assert!(!client.model_ready(unknown).await.unwrap().into_inner().ready);
    // What only Triton has.
    let mut grpc = tonic::client::Grpc::new(ports.channel().await);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<ServerLiveRequest, ServerLiveRequest>::default();
    let path = http::uri::PathAndQuery::from_static("/inference.GRPCInferenceService/RepositoryIndex");
    let status = grpc.unary(Request::new(ServerLiveRequest {}), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn servers_and_models_tell_of_themselves() {
    let ports = Ports::open(Models::builtin(), |_| {}).await;
    let mut client = ports.client().await;
    assert!(client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let server = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!((&*server.name, &*server.version), ("tfbridge", env!("CARGO_PKG_VERSION")));
    let model = |version: &str| (("half_plus_two".to_owned()), version.to_owned());
    for (version, is_ready) in [("", true), ("123", true), ("124", true), ("5", false)] {
        let (name, version) = model(version);
        let ready = client.model_ready(ModelReadyRequest { name, version }).await.unwrap().into_inner().ready;
        assert_eq!(ready, is_ready);
    }
    let (name, version) = model("");
    let metadata = client.model_metadata(ModelMetadataRequest { name, version }).await.unwrap().into_inner();
    assert_eq!(
        (metadata.name.as_str(), metadata.platform.as_str()),
        ("half_plus_two", "tensorflow_savedmodel")
    );
    assert_eq!(metadata.versions, ["123", "124"]);
    let described = |tensors: &[tfbridge::proto::inference::model_metadata_response::TensorMetadata]| {
        tensors.iter().map(|it| format!("{} {} {:?}", it.name, it.datatype, it.shape)).collect::<Vec<_>>()
    };
    assert_eq!(described(&metadata.inputs).len(), 1, "{metadata:?}");
    assert!(described(&metadata.inputs)[0].starts_with("x FP32 [-1"), "{metadata:?}");
    assert!(described(&metadata.outputs)[0].starts_with("y FP32 [-1"), "{metadata:?}");
    let mut health = HealthClient::new(ports.channel().await);
    for (service, expected) in [("", Some(1)), ("inference.GRPCInferenceService", Some(1)), ("other", None)] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await;
        assert_eq!(answer.ok().map(|answer| answer.into_inner().status), expected, "{service}");
    }
    let metrics = ports.metrics().await;
    for expected in [
        r#"verb="model_ready",model="half_plus_two",version="",signature="",code="200"} 3"#,
        r#"verb="server_live""#,
        r#"tfbridge_connections{face="grpc"} 2"#,
    ] {
        assert!(metrics.contains(expected), "{expected} is not in {metrics}");
    }
}

#[tokio::test]
async fn a_stream_answers_each_message_and_goes_on() {
    let ports = Ports::open(Models::builtin(), |_| {}).await;
    let mut client = ports.client().await;
    let requests = (0..20).map(|index: u8| {
        let values = floats(&[f32::from(index)]);
        let datatype = if index == 5 { "INT32" } else { "FP32" };
        let x: (&str, &str, &[i64], &[u8]) = ("x", datatype, &[1], &values);
        ModelInferRequest { id: index.to_string(), ..infer("half_plus_two", &[x]) }
    });
    let requests: Vec<_> = requests.collect();
    let answers = client.model_stream_infer(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    assert_eq!(answers.len(), 20);
    for (index, answer) in (0_u8..).zip(answers) {
        let response = answer.infer_response.unwrap();
        assert_eq!(response.id, index.to_string());
        if index == 5 {
            assert!(answer.error_message.contains("is of datatype INT32"), "{}", answer.error_message);
        } else {
            assert_eq!(response.raw_output_contents, [floats(&[f32::from(index) / 2.0 + 2.0])]);
            // What clients of Triton wait for.
            let is_final = &response.parameters["triton_final_response"].parameter_choice;
            assert_eq!(*is_final, Some(ParameterChoice::BoolParam(true)));
        }
    }
    let metrics = ports.metrics().await;
    let expected =
        r#"verb="infer",model="half_plus_two",version="124",signature="serving_default",code="200"} 19"#;
    assert!(metrics.contains(expected), "{metrics}");
}

#[tokio::test]
async fn large_tensors_pass_and_larger_ones_are_refused() {
    let ports = Ports::open(Models::builtin(), |config| config.api.max_body_size = 9 << 20).await;
    let mut client = ports.client().await;
    let raw: Vec<u8> = (0..2_u32 << 20).flat_map(u32::to_le_bytes).collect();
    let x: (&str, &str, &[i64], &[u8]) = ("x", "UINT32", &[1 << 10, 2 << 10], &raw);
    let request = signature(infer("echo", &[x]), "uint32");
    let response = client.model_infer(request).await.unwrap().into_inner();
    assert!(response.raw_output_contents[0] == raw);
    let raw = vec![0; 9 << 20];
    let x: (&str, &str, &[i64], &[u8]) = ("x", "UINT8", &[9 << 20], &raw);
    let large = signature(infer("echo", &[x]), "uint8");
    let status = client.model_infer(large).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert!(status.message().starts_with("The message is larger than 9437184 bytes"), "{status:?}");
    // Nothing of that is held.
    let metrics = ports.metrics().await;
    let held = metrics.lines().find_map(|line| line.strip_prefix("tfbridge_memory_held_bytes "));
    assert!(held.unwrap().parse::<usize>().unwrap() < 1 << 20, "{held:?}");
}

#[tokio::test]
async fn messages_that_would_become_much_more_than_they_are_are_refused() {
    let ports = Ports::open(Models::builtin(), |config| config.api.max_memory = 64 << 20).await;
    let mut client = ports.client().await;
    let raw_input_contents = vec![Bytes::new(); 1_000_000];
    let request =
        ModelInferRequest { model_name: "echo".to_owned(), raw_input_contents, ..Default::default() };
    let status = client.model_infer(request).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert!(status.message().contains("bytes of memory, more than the 67108864"), "{status:?}");
}

#[tokio::test]
async fn tokens_are_for_models() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let sha256 = "67dc24a8a1321485939cdd2d93a01142fd333223ae90703537d9c9f3911df1bf";
    let entry = format!("[[token]]\nname = 'one'\nsha256 = '{sha256}'\nmodels = ['half_*']\n");
    std::fs::write(file.path(), entry).unwrap();
    let path = file.path().to_owned();
    let ports = Ports::open(Models::builtin(), |config| config.access.auth_file = Some(path)).await;
    let mut client = ports.client().await;
    let mut check = async |model: &str, token: Option<&str>, code: Code| {
        let x: (&str, &str, &[i64], &[u8]) = ("x", "FP32", &[1], &[0; 4]);
        let mut request = Request::new(infer(model, &[x]));
        let mut stream = Request::new(tokio_stream::iter([infer(model, &[x])]));
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", token.parse().unwrap());
            stream.metadata_mut().insert("authorization", token.parse().unwrap());
        }
        let result = client.model_infer(request).await;
        assert_eq!(result.map_or_else(|status| status.code(), |_| Code::Ok), code, "{model} {token:?}");
        match client.model_stream_infer(stream).await {
            Err(status) => assert_eq!((status.code(), Code::Unauthenticated), (code, code)),
            Ok(answers) => {
                let answer = answers.into_inner().message().await.unwrap().unwrap();
                assert_eq!(answer.error_message.is_empty(), code == Code::Ok, "{answer:?}");
            }
        }
    };
    let known = Some("Bearer one-0123456789abcdef0123456789");
    check("half_plus_two", known, Code::Ok).await;
    check("echo", known, Code::PermissionDenied).await;
    check("half_plus_two", None, Code::Unauthenticated).await;
    check("half_plus_two", Some("Bearer two-0123456789abcdef0123456789"), Code::Unauthenticated).await;
}

#[tokio::test]
async fn it_is_spoken_over_tls() {
    let files = Files::new();
    let ports = Ports::open(Models::builtin(), |config| config.server.tls = Some(files.tls(false))).await;
    let stream = files.connect(ports.grpc, "h2", None).await.unwrap();
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_| {
        let stream = stream.take();
        async { stream.ok_or(std::io::Error::from(std::io::ErrorKind::AddrInUse)) }
    });
    let endpoint = Channel::from_static("http://localhost");
    let channel = endpoint.connect_with_connector(connector).await.unwrap();
    let mut client = GrpcInferenceServiceClient::new(channel);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    // Without it there is no answer.
    let mut plain = ports.channel().await;
    std::future::poll_fn(|context| tower::Service::poll_ready(&mut plain, context)).await.unwrap();
    let mut plain = GrpcInferenceServiceClient::new(plain);
    assert!(plain.server_ready(ServerReadyRequest {}).await.is_err());
}

#[tokio::test]
async fn deadlines_are_kept() {
    let ports = Ports::open(Models::builtin(), |_| {}).await;
    let mut client = ports.client().await;
    let x: (&str, &str, &[i64], &[u8]) = ("x", "FP32", &[1], &[0; 4]);
    let mut request = Request::new(infer("half_plus_two", &[x]));
    // Without the client's own watch on it.
    request.metadata_mut().insert("x-request-timeout", "1ns".parse().unwrap());
    let status = client.model_infer(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

#[tokio::test]
async fn a_stream_ends_when_the_bridge_does() {
    let mut ports = Ports::open(Models::builtin(), |_| {}).await;
    let mut client = ports.client().await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut answers = client.model_stream_infer(requests).await.unwrap().into_inner();
    let x: (&str, &str, &[i64], &[u8]) = ("x", "FP32", &[1], &[0; 4]);
    sender.send(infer("half_plus_two", &[x])).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().error_message, "");
    ports.stop.take();
    let end = tokio::time::timeout(Duration::from_secs(5), answers.message()).await.unwrap();
    assert_eq!(end.unwrap_err().code(), Code::Unavailable);
}

/// What comes of a request whose body has these pieces: its HTTP status, that of gRPC, and the message with it.
/// Without an end the body stays open.
async fn ask(
    ports: &Ports,
    request: http::request::Builder,
    pieces: &[&[u8]],
    ends: bool,
) -> (u16, Option<i32>, String) {
    let stream = TokioIo::new(tokio::net::TcpStream::connect(ports.grpc).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let pieces: Vec<_> = pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect();
    let pieces = tokio_stream::iter(pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece))));
    let body = if ends {
        BodyExt::boxed_unsync(StreamBody::new(pieces))
    } else {
        BodyExt::boxed_unsync(StreamBody::new(pieces.chain(tokio_stream::pending())))
    };
    let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    connection.abort();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let find = |name: &str| {
        let value = head.headers.get(name).or_else(|| trailers.get(name))?;
        Some(value.to_str().unwrap().to_owned())
    };
    let status = find("grpc-status").map(|status| status.parse().unwrap());
    let message = find("grpc-message").unwrap_or_default();
    let message = percent_encoding::percent_decode_str(&message).decode_utf8().unwrap().into_owned();
    (head.status.as_u16(), status, message)
}

#[tokio::test]
async fn what_is_not_grpc_is_told_so() {
    let ports = Ports::open(Models::builtin(), |_| {}).await;
    let response = Client::connect(ports.grpc).await.get("/v2/health/live").await;
    assert_eq!(response.status, 505);
    assert_eq!(response.text(), r#"{"error":"This port speaks gRPC, which takes HTTP/2"}"#);
}

#[tokio::test]
async fn broken_requests_are_answered_with_a_status() {
    let ports = Ports::open(Models::builtin(), |config| {
        config.api.body_timeout = Duration::from_millis(300);
        config.server.idle_timeout = Duration::from_millis(500);
    })
    .await;
    let infer = "/inference.GRPCInferenceService/ModelInfer";
    let stream = "/inference.GRPCInferenceService/ModelStreamInfer";
    let request = |path: &str| {
        let uri = format!("http://{}{path}", ports.grpc);
        http::Request::post(uri).header("content-type", "application/grpc+proto").header("te", "trailers")
    };
    let empty: &[u8] = &[0; 5];
    let large: &[u8] = &[0, 0x06, 0, 0, 0];
    let check = async |request: http::request::Builder,
                       pieces: &[&[u8]],
                       ends: bool,
                       expected: (u16, Option<i32>, &str)| {
        let (http, grpc, message) = ask(&ports, request, pieces, ends).await;
        assert_eq!((http, grpc), (expected.0, expected.1), "{message}");
        assert!(message.contains(expected.2), "{message}");
    };
    let json = http::Request::post(format!("http://{}{infer}", ports.grpc));
    check(json, &[empty], true, (415, None, "")).await;
    check(request(infer).method("GET"), &[empty], true, (405, None, "")).await;
    check(request("/nothing"), &[empty], true, (200, Some(12), "There is no such method here")).await;
    check(request(infer), &[], true, (200, Some(3), "no message")).await;
    check(request(infer), &[empty, empty], true, (200, Some(3), "more than one message")).await;
    check(request(infer), &[empty], true, (200, Some(3), "Missing model name")).await;
    check(request(infer), &[&[0, 0, 0, 0, 2, 0x2a, 9]], true, (200, Some(3), "no ModelInferRequest")).await;
    check(request(infer), &[&[0, 0, 0, 0, 9, 1]], true, (200, Some(3), "ends within a message")).await;
    check(request(infer), &[&[0, 0x20, 0, 0, 0]], true, (200, Some(11), "larger than")).await;
    let packed = request(infer).header("grpc-encoding", "snappy");
    check(packed, &[empty], true, (200, Some(12), "snappy")).await;
    let late = request(infer).header("grpc-timeout", "soon");
    check(late, &[empty], true, (200, Some(3), "grpc-timeout")).await;
    // What is announced and does not come takes neither time nor memory.
    check(request(infer), &[large, b"x"], false, (200, Some(4), "arrives too slowly")).await;
    check(request(stream), &[large, b"x"], false, (200, Some(4), "arrives too slowly")).await;
    check(request(stream), &[], false, (200, Some(4), "idle for too long")).await;
    check(request(stream), &[], true, (200, Some(0), "")).await;
    check(request(stream), &[b"GET / HTTP/1.1"], true, (200, Some(3), "no gRPC messages")).await;
}
