//! The checked configuration: small sections, each taken by the part of the program it is for.

use std::net::SocketAddr;
use std::time::Duration;

use tonic::transport::Uri;

use crate::codec::NanStyle;

/// Everything that `tfbridge serve` is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients are served.
    pub server: ServerConfig,
    /// How requests are read and replies are written.
    pub api: ApiConfig,
    /// Where the model server is and how it is called.
    pub upstream: UpstreamConfig,
}

/// The HTTP side.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// How long requests that run may go on after the signal to stop.
    pub drain_timeout: Duration,
    /// How long a client may take to send the head of a request, and to begin with the next one.
    pub header_timeout: Duration,
}

/// The JSON side.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// The most bytes of a request body, as sent and after decompression.
    pub max_body_size: usize,
    /// How NaN and infinities are written.
    pub nan: NanStyle,
    /// Indent all replies, not only those asked for with `?pretty`.
    pub pretty: bool,
    /// Send TensorFlow Serving's CORS headers, which allow every origin.
    pub cors: bool,
    /// How long a request may take, from its first byte to the backend's reply; zero for ever.
    pub timeout: Duration,
}

/// The gRPC side.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    /// The address of the model server, as `http://HOST:PORT`.
    pub backend: Uri,
    /// How long a connection attempt may take.
    pub connect_timeout: Duration,
    /// How many HTTP/2 connections are held to the backend.
    pub connections: usize,
    /// How long the signatures of a model are believed without asking again.
    pub signature_ttl: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8501)),
            drain_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(120),
        }
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            max_body_size: 256 << 20,
            nan: NanStyle::Literal,
            pretty: false,
            cors: false,
            timeout: Duration::from_secs(30),
        }
    }
}

impl UpstreamConfig {
    /// The defaults for a backend.
    #[must_use]
    pub fn new(backend: Uri) -> Self {
        Self {
            backend,
            connect_timeout: Duration::from_secs(5),
            connections: 2,
            signature_ttl: Duration::from_secs(60),
        }
    }
}

impl Config {
    /// The defaults for a backend.
    #[must_use]
    pub fn new(backend: Uri) -> Self {
        Self {
            server: ServerConfig::default(),
            api: ApiConfig::default(),
            upstream: UpstreamConfig::new(backend),
        }
    }
}
