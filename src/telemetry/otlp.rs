//! The connection to a collector of traces: OTLP as gRPC, or as protocol buffers in HTTP/1.1.
//!
//! It sends one message and tells how that went. When to send what is decided elsewhere.

use std::error::Error as StdError;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HOST};
use http::uri::Scheme;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::config::{OtlpProtocol, TracesConfig};
use crate::proto::opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest;
use crate::proto::opentelemetry::proto::collector::trace::v1::trace_service_client::TraceServiceClient;

/// What can go wrong is told to people alone.
pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

/// The most bytes of an answer over HTTP, which says next to nothing.
const MAX_ANSWER: usize = 64 << 10;

/// A collector.
#[derive(Debug, Clone)]
pub(super) enum Collector {
    Grpc(TraceServiceClient<Channel>),
    Http(Uri),
}

impl Collector {
    /// The collector of the configuration. Connections are made when they are needed.
    pub(super) fn new(config: &TracesConfig) -> Self {
        let endpoint = config.endpoint.clone();
        match config.protocol {
            OtlpProtocol::Grpc => {
                let connector =
                    service_fn(|uri: Uri| async move { connect(&uri, b"h2").await.map(TokioIo::new) });
                let channel = Endpoint::from(endpoint).connect_with_connector_lazy(connector);
                Self::Grpc(TraceServiceClient::new(channel))
            }
            OtlpProtocol::Http => Self::Http(endpoint),
        }
    }

    /// Sends spans.
    pub(super) async fn send(&mut self, request: &ExportTraceServiceRequest) -> Result<(), BoxError> {
        match self {
            Self::Grpc(client) => match client.export(request.clone()).await {
                Ok(_) => Ok(()),
                // What it prints otherwise is the whole chain of causes.
                Err(status) => Err(format!("{:?}: {}", status.code(), status.message()).into()),
            },
            Self::Http(endpoint) => post(endpoint, request.encode_to_vec()).await,
        }
    }
}

/// Sends spans to `/v1/traces` below the endpoint, on a connection for them alone.
async fn post(endpoint: &Uri, body: Vec<u8>) -> Result<(), BoxError> {
    let host = endpoint.authority().map(ToString::to_string).unwrap_or_default();
    let socket = TokioIo::new(connect(endpoint, b"http/1.1").await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(socket).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{}/v1/traces", endpoint.path().trim_end_matches('/')))
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/x-protobuf")
        .body(Full::new(bytes::Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    // It is read to its end, so that the connection ends in order.
    let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    drop(sender);
    connection.abort();
    answer?;
    if status.is_success() { Ok(()) } else { Err(format!("the collector answers {status}").into()) }
}

/// What a connection is made of.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Connects, over TLS if the address says so.
async fn connect(uri: &Uri, protocol: &[u8]) -> Result<Box<dyn Socket>, BoxError> {
    let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    if !is_tls {
        return Ok(Box::new(stream));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(host)?, stream).await?;
    Ok(Box::new(stream))
}
