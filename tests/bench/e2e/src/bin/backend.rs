//! A PredictionService that answers at once, so that what is measured is the front before it.
//!
//! `backend ADDRESS` serves the models `small` (float32 [-1, 100]) and `image` (float32
//! [-1, 224, 224, 3]), each with one input `x`. It reads the messages of Predict to their end
//! but never looks into them, never computes anything, and gives every request the same reply:
//! ten scores. Therefore no tonic: a codec would collect each message first.

use std::error::Error;
use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tfbridge::proto::tensorflow::serving::model_spec::VersionChoice;
use tfbridge::proto::tensorflow::serving::{
    GetModelMetadataRequest, GetModelMetadataResponse, ModelSpec, PredictResponse, SignatureDefMap,
};
use tfbridge::proto::tensorflow::tensor_info::Encoding;
use tfbridge::proto::tensorflow::tensor_shape_proto::Dim;
use tfbridge::proto::tensorflow::{DataType, SignatureDef, TensorInfo, TensorProto, TensorShapeProto};
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn Error + Send + Sync>;

/// The bytes before a message: whether it is compressed, and its length.
const MESSAGE_HEAD: usize = 5;

/// Large tensors must not wait for a window of 64 KiB to be granted again and again.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

static SCORES: LazyLock<Bytes> = LazyLock::new(|| {
    let scores = TensorProto {
        dtype: DataType::DtFloat.into(),
        tensor_shape: Some(shape(&[1, 10])),
        float_val: vec![0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 0.15, 0.2, 0.3, 0.1],
        ..TensorProto::default()
    };
    frame(&PredictResponse {
        model_spec: Some(version_one("")),
        outputs: [("scores".to_owned(), scores)].into(),
    })
});

// One thread: the machine has few cores, and the front is what should have them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let address = std::env::args().nth(1).ok_or("usage: backend ADDRESS")?;
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream));
    }
}

async fn serve(stream: TcpStream) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(None)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await?;
    Ok(())
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<impl Body<Data = Bytes, Error: Into<Failure>>>, Failure> {
    let reply = match request.uri().path() {
        "/tensorflow.serving.PredictionService/Predict" => predict(request.into_body()).await?,
        "/tensorflow.serving.PredictionService/GetModelMetadata" => metadata(request.into_body()).await?,
        _ => None,
    };
    // The codes of gRPC: OK, NOT_FOUND.
    let code = HeaderValue::from_static(if reply.is_some() { "0" } else { "5" });
    let trailers = HeaderMap::from_iter([(header::HeaderName::from_static("grpc-status"), code)]);
    let body = Full::new(reply.unwrap_or_default()).with_trailers(async { Some(Ok(trailers)) });
    Ok(Response::builder().header(header::CONTENT_TYPE, "application/grpc").body(body)?)
}

async fn predict(mut body: Incoming) -> Result<Option<Bytes>, Failure> {
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(Some(SCORES.clone()))
}

async fn metadata(body: Incoming) -> Result<Option<Bytes>, Failure> {
    let message = body.collect().await?.to_bytes();
    let request =
        GetModelMetadataRequest::decode(message.get(MESSAGE_HEAD..).ok_or("an incomplete message")?)?;
    let model = request.model_spec.unwrap_or_default().name;
    let sizes: &[i64] = match model.as_str() {
        "small" => &[-1, 100],
        "image" => &[-1, 224, 224, 3],
        _ => return Ok(None),
    };
    let signature = SignatureDef {
        inputs: [("x".to_owned(), floats("x:0", sizes))].into(),
        outputs: [("scores".to_owned(), floats("scores:0", &[-1, 10]))].into(),
        method_name: "tensorflow/serving/predict".to_owned(),
        ..SignatureDef::default()
    };
    let signatures = SignatureDefMap { signature_def: [("serving_default".to_owned(), signature)].into() };
    let signatures = prost_types::Any {
        type_url: "type.googleapis.com/tensorflow.serving.SignatureDefMap".to_owned(),
        value: signatures.encode_to_vec(),
    };
    Ok(Some(frame(&GetModelMetadataResponse {
        model_spec: Some(version_one(&model)),
        metadata: [("signature_def".to_owned(), signatures)].into(),
    })))
}

fn version_one(model: &str) -> ModelSpec {
    ModelSpec {
        name: model.to_owned(),
        signature_name: "serving_default".to_owned(),
        version_choice: Some(VersionChoice::Version(1)),
    }
}

fn floats(name: &str, sizes: &[i64]) -> TensorInfo {
    TensorInfo {
        encoding: Some(Encoding::Name(name.to_owned())),
        dtype: DataType::DtFloat.into(),
        tensor_shape: Some(shape(sizes)),
    }
}

fn shape(sizes: &[i64]) -> TensorShapeProto {
    let dim = sizes.iter().map(|&size| Dim { size, ..Dim::default() }).collect();
    TensorShapeProto { dim, unknown_rank: false }
}

/// A message as gRPC sends it, uncompressed.
fn frame(message: &impl Message) -> Bytes {
    let mut frame = BytesMut::with_capacity(MESSAGE_HEAD + message.encoded_len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).expect("replies are small"));
    message.encode(&mut frame).expect("the buffer grows");
    frame.freeze()
}
