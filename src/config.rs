//! The checked configuration: small sections, each taken by the part of the program it is for.

mod access;
mod backend;
mod custom;
mod models;
mod server;
mod streams;
mod telemetry;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use crate::codec::signature::Signatures;
use crate::codec::{Limits, NanStyle};
use crate::route::sagemaker::SageMaker;
pub use access::{AccessConfig, AllowedOrigin, CorsConfig};
pub use backend::{Backend, Place, Resolver};
pub use custom::{CustomRoute, CustomRoutes};
pub use models::ListedModel;
pub use server::{Listen, ServerConfig, ServerTls};
pub use streams::StreamConfig;
pub use telemetry::{OtlpProtocol, PayloadLogConfig, TelemetryConfig, TracesConfig};

/// Everything that `tfbridge serve` is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients are served.
    pub server: ServerConfig,
    /// Who may call the API, and how replies travel.
    pub access: AccessConfig,
    /// How requests are read and replies are written.
    pub api: ApiConfig,
    /// Where the model server is and how it is called.
    pub upstream: UpstreamConfig,
    /// What is told of requests to those who run the bridge.
    pub telemetry: TelemetryConfig,
    /// The settings that all this was made from, without secrets, for those who run the bridge: an object, or
    /// null if there are none.
    pub settings: serde_json::Value,
}

/// The JSON side.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct ApiConfig {
    /// The most bytes of a request body, as sent and after decompression.
    pub max_body_size: usize,
    /// How many times larger than it was sent a body of more than a mebibyte may be after
    /// decompression.
    pub max_inflate_ratio: usize,
    /// The most bytes of a reply: of the backend's message, and of the body made from it.
    pub max_response_size: usize,
    /// The most bytes that the bodies, tensors and replies of all requests may hold at once.
    pub max_memory: usize,
    /// How many requests are worked on at once.
    pub max_in_flight: usize,
    /// How many more may wait for their turn.
    pub max_queue: usize,
    /// How long they wait.
    pub queue_timeout: Duration,
    /// How long a client may take for a piece of its body, which is of 256 KiB but for the last.
    pub body_timeout: Duration,
    /// What a body may ask for beyond its size.
    pub limits: Limits,
    /// Whether tensors must have a shape that the signature allows.
    pub check_shapes: bool,
    /// How lines are answered while they arrive.
    pub streams: StreamConfig,
    /// How NaN and infinities are written.
    pub nan: NanStyle,
    /// Indent all replies, not only those asked for with `?pretty`.
    pub pretty: bool,
    /// Send TensorFlow Serving's CORS headers, which allow every origin.
    pub cors: bool,
    /// How long a request may take, from its first byte to the backend's reply; zero for ever.
    pub timeout: Duration,
    /// The request headers that the backend gets as metadata.
    pub pass_headers: Vec<HeaderName>,
    /// The headers and trailers of the backend's answer that the client gets as headers.
    pub return_headers: Vec<HeaderName>,
    /// Whether `/versions/0` means the latest version, as some clients have it.
    pub version_zero_is_latest: bool,
    /// The model that SageMaker's paths are for; they are not there without it.
    pub sagemaker: Option<SageMaker>,
    /// The models that can be listed before anybody asks for them.
    pub models: Vec<ListedModel>,
    /// Paths with a layout of their own.
    pub routes: CustomRoutes,
    /// Whether there are a page and a description of the API.
    pub docs: bool,
}

/// The gRPC side.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamConfig {
    /// The model servers, which form one pool.
    pub backends: Vec<Backend>,
    /// How long a connection attempt may take.
    pub connect_timeout: Duration,
    /// How many HTTP/2 connections are held to each of them; once there are requests above 256 KiB, as many
    /// more for those.
    pub connections: usize,
    /// How often the names of `dns:///` backends are looked up.
    pub dns_interval: Duration,
    /// How they are looked up.
    pub resolver: Resolver,
    /// How `https://` and `dns+tls:///` backends are called.
    pub tls: UpstreamTls,
    /// How many attempts there are at a call, the first one included.
    pub max_attempts: usize,
    /// How many further attempts there are for each call on average.
    pub retry_budget: f64,
    /// The percentile of latency after which a second attempt is made beside the first; `None`
    /// for never.
    pub hedge_percentile: Option<f64>,
    /// How long the signatures of a model are believed without asking again.
    pub signature_ttl: Duration,
    /// Signatures by model, for backends that do not tell theirs.
    pub signatures: Arc<BTreeMap<String, Signatures>>,
}

/// The files of TLS to the backends. They are read again when they change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The certificates to trust, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key, for backends that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the backends' certificates have, if it is not that of the backend.
    pub server_name: Option<String>,
}

impl UpstreamTls {
    /// The files that are in use.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let identity = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.ca.iter().chain(identity)
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            max_body_size: 256 << 20,
            max_inflate_ratio: 200,
            max_response_size: 1 << 30,
            max_memory: 2 << 30,
            max_in_flight: 1024,
            max_queue: 256,
            queue_timeout: Duration::from_secs(1),
            body_timeout: Duration::from_secs(20),
            limits: Limits::default(),
            check_shapes: false,
            streams: StreamConfig::default(),
            nan: NanStyle::Literal,
            pretty: false,
            cors: false,
            timeout: Duration::from_secs(30),
            pass_headers: ["authorization", "x-request-id", "traceparent", "tracestate"]
                .map(HeaderName::from_static)
                .into(),
            return_headers: vec![HeaderName::from_static("x-request-id")],
            version_zero_is_latest: false,
            sagemaker: None,
            models: Vec::new(),
            routes: CustomRoutes::default(),
            docs: true,
        }
    }
}

impl UpstreamConfig {
    /// The defaults for a pool of backends.
    #[must_use]
    pub fn new(backends: Vec<Backend>) -> Self {
        Self {
            backends,
            connect_timeout: Duration::from_secs(5),
            connections: 2,
            dns_interval: Duration::from_secs(5),
            resolver: Resolver::default(),
            tls: UpstreamTls::default(),
            max_attempts: 3,
            retry_budget: 0.2,
            hedge_percentile: None,
            signature_ttl: Duration::from_secs(60),
            signatures: Arc::default(),
        }
    }
}

impl Config {
    /// The defaults for a backend.
    #[must_use]
    pub fn new(backend: Backend) -> Self {
        Self {
            server: ServerConfig::default(),
            access: AccessConfig::default(),
            api: ApiConfig::default(),
            upstream: UpstreamConfig::new(vec![backend]),
            telemetry: TelemetryConfig::default(),
            settings: serde_json::Value::Null,
        }
    }
}

/// The path in the address of a UNIX socket, if it is one: as gRPC has it, with or without an authority of
/// nothing.
fn socket(text: &str) -> Result<Option<PathBuf>, String> {
    let Some(path) = text.strip_prefix("unix:") else { return Ok(None) };
    match path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path) {
        "" => Err("the path of the socket is missing".to_owned()),
        path => Ok(Some(path.into())),
    }
}
