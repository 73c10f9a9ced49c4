//! What is told of requests besides their answers: the access log, traces, and requests that are kept.

use std::path::PathBuf;

use http::Uri;

/// What those learn who run the bridge.
#[derive(Debug, Clone, PartialEq)]
pub struct TelemetryConfig {
    /// Whether there is a line in the log for every request.
    pub access_log: bool,
    /// Whether requests are in the metrics.
    pub metrics: bool,
    /// Where traces go; there are none without.
    pub traces: Option<TracesConfig>,
    /// Where requests are kept; none are without.
    pub payload_log: Option<PayloadLogConfig>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { access_log: true, metrics: true, traces: None, payload_log: None }
    }
}

/// How traces are made and where they go.
#[derive(Debug, Clone, PartialEq)]
pub struct TracesConfig {
    /// The collector: `http://HOST:PORT` or `https://HOST:PORT`, for HTTP maybe with a path.
    pub endpoint: Uri,
    /// What it speaks.
    pub protocol: OtlpProtocol,
    /// How many of the traces that begin here are kept, from 0 to 1. Whoever begins one elsewhere decides
    /// about it.
    pub sample: f64,
    /// What traces call the program; `tfbridge` without, or as `OTEL_RESOURCE_ATTRIBUTES` has it.
    pub service_name: Option<String>,
}

/// How OpenTelemetry's protocol travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// As gRPC.
    Grpc,
    /// As protocol buffers in HTTP/1.1, to `/v1/traces`.
    Http,
}

impl TracesConfig {
    /// The defaults for a collector.
    #[must_use]
    pub fn new(endpoint: Uri, protocol: OtlpProtocol) -> Self {
        Self { endpoint, protocol, sample: 1.0, service_name: None }
    }
}

/// Which requests are kept and where.
#[derive(Debug, Clone, PartialEq)]
pub struct PayloadLogConfig {
    /// The file that they are appended to.
    pub path: PathBuf,
    /// How many of the requests that have been answered are kept, from 0 to 1.
    pub sample: f64,
    /// The most bytes of the file.
    pub max_size: u64,
    /// The inputs whose values are not to be seen.
    pub redact: Vec<String>,
}

impl PayloadLogConfig {
    /// The defaults for a file.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, sample: 0.01, max_size: 1 << 30, redact: Vec::new() }
    }
}
