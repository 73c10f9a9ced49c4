//! Backends that break the rules: each fault is a clear 5xx for its own request, and nothing else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tfbridge::config::Backend;
use tfbridge::proto::tensorflow::serving::PredictResponse;
use tfbridge::proto::tensorflow::{DataType, TensorProto};
use tokio::net::TcpListener;

use crate::bridge::Bridge;
use crate::scripted::{Script, Scripted};
use crate::support;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Answer = Arc<dyn Fn() -> Response<Body> + Send + Sync>;

/// An HTTP/2 server that answers Predict with whatever it is given, and passes everything else on
/// to a backend that behaves.
async fn broken(answer: Answer) -> SocketAddr {
    let well = Scripted::start(Script::Answer(std::time::Duration::ZERO)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let well = Arc::new(well);
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (answer, well) = (Arc::clone(&answer), Arc::clone(&well));
            let service = service_fn(move |request| respond(request, Arc::clone(&answer), Arc::clone(&well)));
            let connection =
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move { drop(connection.await) });
        }
    });
    address
}

type Responding = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

fn respond(request: Request<Incoming>, answer: Answer, well: Arc<Scripted>) -> Responding {
    Box::pin(async move {
        if request.uri().path().ends_with("/Predict") {
            let _ = request.into_body().collect().await;
            return Ok(answer());
        }
        let stream = tokio::net::TcpStream::connect(well.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let response = sender.send_request(request).await.unwrap();
        Ok(response.map(|body| body.map_err(std::io::Error::other).boxed_unsync()))
    })
}

fn grpc(body: Body) -> Response<Body> {
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.len() as u32);
    bytes.put_slice(message);
    bytes.freeze()
}

fn full(bytes: impl Into<Bytes>) -> Full<Bytes> {
    Full::new(bytes.into())
}

fn ok(bytes: Bytes) -> Response<Body> {
    let status = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), "0".parse().unwrap())]);
    let body = full(bytes).with_trailers(async { Some(Ok::<_, Infallible>(status)) });
    grpc(body.map_err(|error| match error {}).boxed_unsync())
}

fn reply(tensor: TensorProto) -> Bytes {
    let reply = PredictResponse { outputs: HashMap::from([("y".to_owned(), tensor)]), model_spec: None };
    framed(&reply.encode_to_vec())
}

fn tensor(dtype: DataType, sizes: &[i64]) -> TensorProto {
    TensorProto { dtype: dtype.into(), tensor_shape: Some(support::shape(sizes)), ..TensorProto::default() }
}

/// The status and the message that a client gets.
async fn check(
    name: &str,
    answer: impl Fn() -> Response<Body> + Send + Sync + 'static,
    expected: (u16, &str),
) {
    let address = broken(Arc::new(answer)).await;
    let bridge = Bridge::in_front_of_all(vec![Backend::at(address)], |_| {}).await;
    let mut client = bridge.connect().await;
    // The connection of the client and the bridge live on.
    for _ in 0..2 {
        let response = client.post("/v1/models/m:predict", r#"{"instances": [1.0]}"#).await;
        assert_eq!(response.status, expected.0, "{name}: {}", response.text());
        assert!(response.error().contains(expected.1), "{name}: {}", response.text());
        assert_eq!(response.headers["content-type"], "application/json");
    }
    assert_eq!(client.get("/v1/models/m/metadata").await.status, 200, "{name}");
}

#[tokio::test]
async fn replies_that_are_cut_off() {
    let good = || reply(TensorProto { float_val: vec![1.0], ..tensor(DataType::DtFloat, &[1]) });
    check("no message", || ok(Bytes::new()), (500, "no reply")).await;
    check("half a message", move || ok(good().slice(..9)), (500, "not complete")).await;
    check(
        "no trailers",
        move || grpc(full(good()).map_err(|e| match e {}).boxed_unsync()),
        (500, "ends without a status"),
    )
    .await;
    let reset = || {
        let frames =
            [Ok(Frame::data(Bytes::from_static(&[0, 0, 0, 0, 99]))), Err(std::io::Error::other("gone"))];
        grpc(StreamBody::new(tokio_stream::iter(frames)).boxed_unsync())
    };
    check("a reset", reset, (503, "cannot be reached")).await;
}

#[tokio::test]
async fn replies_that_are_no_grpc() {
    let empty = || Empty::new().map_err(|error: Infallible| match error {}).boxed_unsync();
    let http = move |status: u16| move || Response::builder().status(status).body(empty()).unwrap();
    check("HTTP 404", http(404), (501, "404")).await;
    check("HTTP 502", http(502), (503, "502")).await;
    check("HTTP 418", http(418), (500, "418")).await;
    check("no gRPC at all", http(200), (500, "ends without a status")).await;
    let text = || grpc(full("hello, world").map_err(|error| match error {}).boxed_unsync());
    check("text", text, (500, "more than the 1073741824 that are allowed")).await;
}

#[tokio::test]
async fn replies_of_trailers_only() {
    let empty = || Empty::new().map_err(|error: Infallible| match error {}).boxed_unsync();
    let only = move |code: &'static str, message: &'static str| {
        move || {
            let mut response = grpc(empty());
            response.headers_mut().insert("grpc-status", code.parse().unwrap());
            response.headers_mut().insert("grpc-message", message.parse().unwrap());
            response
        }
    };
    check("INTERNAL", only("13", "it%20broke"), (500, "it broke")).await;
    check("UNAVAILABLE", only("14", "not%20now"), (503, "not now")).await;
    check("OK without a message", only("0", ""), (500, "ends without a status")).await;
    check("no code", only("many", "what"), (500, "what")).await;
}

#[tokio::test]
async fn messages_that_are_too_large_or_none() {
    check(
        "a length of 4 GiB",
        || ok(Bytes::from_static(&[0, 0xFF, 0xFF, 0xFF, 0xFF, 1])),
        (500, "more than the"),
    )
    .await;
    check("compressed", || ok(Bytes::from_static(&[1, 0, 0, 0, 1, 1])), (500, "compressed")).await;
    check("two messages", || ok([framed(b""), framed(b"")].concat().into()), (500, "more than one")).await;
    check("no protocol buffer", || ok(framed(&[0xFF; 20])), (500, "cannot be read")).await;
}

#[tokio::test]
async fn tensors_that_contradict_themselves() {
    let float = |sizes: &'static [i64], bytes: usize| {
        move || {
            let tensor =
                TensorProto { tensor_content: vec![0; bytes].into(), ..tensor(DataType::DtFloat, sizes) };
            ok(reply(tensor))
        }
    };
    check("too few bytes", float(&[4], 7), (500, "")).await;
    check("too many elements", float(&[i64::MAX, i64::MAX], 8), (500, "")).await;
    check("a negative size", float(&[-1, 2], 8), (500, "")).await;
}

#[tokio::test]
async fn a_connection_that_is_told_to_go_away() {
    // A server that ends each connection after one request, as some proxies do.
    let well = Scripted::start(Script::Answer(std::time::Duration::ZERO)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let well = Arc::new(well);
        let answer: Answer =
            Arc::new(|| ok(reply(TensorProto { float_val: vec![7.0], ..tensor(DataType::DtFloat, &[1]) })));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (answer, well) = (Arc::clone(&answer), Arc::clone(&well));
            let (served, told) = tokio::sync::watch::channel(false);
            let service = service_fn(move |request| {
                served.send_replace(true);
                respond(request, Arc::clone(&answer), Arc::clone(&well))
            });
            tokio::spawn(async move {
                let mut told = told;
                let connection =
                    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
                let mut connection = std::pin::pin!(connection);
                tokio::select! {
                    _ = &mut connection => return,
                    _ = told.wait_for(|served| *served) => connection.as_mut().graceful_shutdown(),
                }
                let _ = connection.await;
            });
        }
    });
    let bridge = Bridge::in_front_of_all(vec![Backend::at(address)], |_| {}).await;
    let mut client = bridge.connect().await;
    for _ in 0..30 {
        let response = client.post("/v1/models/m:predict", r#"{"instances": [1.0]}"#).await;
        assert_eq!((response.status, response.text()), (200, r#"{"predictions":[7.0]}"#));
    }
}
