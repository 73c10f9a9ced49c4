//! The exporter of spans to a collector: OTLP as gRPC, or as protocol buffers in HTTP/1.1.
//!
//! It is OpenTelemetry's own, so that it reads `OTEL_EXPORTER_OTLP_HEADERS` and makes a second attempt where the
//! protocol allows one. What is here is how it connects, and for how long it may. When to send what is decided
//! elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::HOST;
use http::uri::{Authority, Scheme};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
    WithTonicConfig as _,
};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use tonic::transport::Endpoint;
use tower::ServiceExt as _;

use crate::config::{OtlpProtocol, TracesConfig};

/// The most bytes of an answer over HTTP, which says next to nothing.
const MAX_ANSWER: usize = 64 << 10;

/// How long the collector may take for an attempt.
const ATTEMPT: Duration = Duration::from_secs(5);

/// How long to wait before the second attempt.
const PAUSE: Duration = Duration::from_millis(200);

/// How long both may take, so that the second is made also if the first has found nobody who answers.
const TIMEOUT: Duration = Duration::from_secs(12);

/// The exporter for the collector of the configuration. Connections are made when they are needed.
pub(super) fn exporter(config: &TracesConfig) -> Result<SpanExporter, ExporterBuildError> {
    let retry_policy = RetryPolicy::default().with_max_retries(1).with_initial_delay(PAUSE);
    let builder = SpanExporter::builder();
    match config.protocol {
        OtlpProtocol::Grpc => {
            let channel = Endpoint::from(config.endpoint.clone())
                .connect_timeout(ATTEMPT)
                .timeout(ATTEMPT)
                .connect_with_connector_lazy(connector(config)?);
            builder
                .with_tonic()
                .with_channel(channel)
                .with_timeout(TIMEOUT)
                .with_retry_policy(retry_policy)
                .build()
        }
        OtlpProtocol::Http => {
            let base = config.endpoint.to_string();
            let client = Client { connector: connector(config)?, is_told: AtomicBool::default() };
            builder
                .with_http()
                .with_http_client(client)
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(format!("{}/v1/traces", base.trim_end_matches('/')))
                .with_timeout(TIMEOUT)
                .with_retry_policy(retry_policy)
                .build()
        }
    }
}

/// Connects, over TLS if the address says so.
fn connector(config: &TracesConfig) -> Result<HttpsConnector<HttpConnector>, ExporterBuildError> {
    let mut roots = RootCertStore::empty();
    if config.endpoint.scheme() == Some(&Scheme::HTTPS) {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ExporterBuildError::InternalFailure(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    Ok(match config.protocol {
        OtlpProtocol::Grpc => builder.enable_http2().build(),
        OtlpProtocol::Http => builder.enable_http1().build(),
    })
}

/// Sends requests over HTTP/1.1, each on a connection for it alone.
#[derive(Debug)]
struct Client {
    connector: HttpsConnector<HttpConnector>,
    /// The log has it that there is no answer, which the exporter does not tell the reason of.
    is_told: AtomicBool,
}

impl Client {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (mut parts, body) = request.into_parts();
        let socket = self.connector.clone().oneshot(parts.uri.clone()).await?;
        parts.headers.insert(HOST, parts.uri.authority().map_or("", Authority::as_str).parse()?);
        parts.uri = parts.uri.path().parse()?;
        let (mut sender, connection) = http1::handshake(socket).await?;
        let answer = async {
            let response = sender.send_request(Request::from_parts(parts, Full::new(body))).await?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            // The connection ends with that.
            drop(sender);
            Ok(Response::from_parts(parts, body))
        };
        tokio::join!(connection, answer).1
    }
}

#[tonic::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let result = timeout(ATTEMPT, self.send(request)).await.unwrap_or_else(|elapsed| Err(elapsed.into()));
        let was_told = self.is_told.swap(result.is_err(), Ordering::Relaxed);
        result.inspect_err(|error| {
            if !was_told {
                tracing::warn!(?error, "the collector gives no answer");
            }
        })
    }
}
