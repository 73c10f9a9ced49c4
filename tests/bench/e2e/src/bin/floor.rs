//! What HTTP in front and gRPC behind cost by themselves: the floor for every front.
//!
//! `floor ADDRESS BACKEND` sends the body of each POST as the message of a Predict, byte for
//! byte, and answers with a fixed text. It never reads JSON, never makes or reads a protocol
//! buffer, and has none of the care of a real server: no limits, no deadlines, no draining.

use std::error::Error;

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tonic::Status;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};

type Failure = Box<dyn Error + Send + Sync>;

/// As many connections to the back end, with windows as large, as tfbridge has by default.
const CONNECTIONS: usize = 2;
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

const REPLY: &str = r#"{"predictions":[[0.01,0.02,0.03,0.04,0.05,0.1,0.15,0.2,0.3,0.1]]}"#;

/// Messages as bytes.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(backend)) = (arguments.next(), arguments.next()) else {
        return Err("usage: floor ADDRESS BACKEND".into());
    };
    let endpoint = Endpoint::from_shared(backend)?
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let channels: [Channel; CONNECTIONS] = std::array::from_fn(|_| endpoint.connect_lazy());
    let listener = TcpListener::bind(address).await?;
    // The connections to the back end take turns by client, not by request: it is cheaper.
    for channel in channels.iter().cycle() {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream, channel.clone()));
    }
    Ok(())
}

async fn serve(stream: TcpStream, channel: Channel) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let service = service_fn(|request| pass(request, channel.clone()));
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?;
    Ok(())
}

async fn pass(request: Request<Incoming>, channel: Channel) -> Result<Response<Full<Bytes>>, Failure> {
    let message = request.into_body().collect().await?.to_bytes();
    let mut client = Grpc::new(channel);
    client.ready().await?;
    let path = PathAndQuery::from_static("/tensorflow.serving.PredictionService/Predict");
    client.unary(tonic::Request::new(message), path, Raw).await?;
    let reply = Full::new(Bytes::from_static(REPLY.as_bytes()));
    Ok(Response::builder().header(header::CONTENT_TYPE, "application/json").body(reply)?)
}
