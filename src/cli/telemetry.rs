//! The flags about what those learn of requests who run the bridge.

use std::path::PathBuf;

use clap::ValueEnum;
use http::Uri;
use http::uri::Scheme;

use super::serve::size;
use crate::config::{OtlpProtocol, PayloadLogConfig, TelemetryConfig, TracesConfig};
use crate::error::{Error, Result};

/// The variable that OpenTelemetry's own libraries take the collector from.
const COMMON_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The one that they take the name of the program from.
const COMMON_NAME: &str = "OTEL_SERVICE_NAME";

/// What is told of requests.
#[derive(Debug, clap::Args)]
pub(super) struct TelemetryArguments {
    /// Whether to log a line for every request, at the level info.
    #[arg(
        long,
        env = "TFBRIDGE_ACCESS_LOG",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        value_name = "true|false",
        hide_possible_values = true
    )]
    access_log: bool,
    /// Whether requests are in the metrics. Those of connections and of the process are there in any case.
    #[arg(
        long,
        env = "TFBRIDGE_METRICS",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        value_name = "true|false",
        hide_possible_values = true
    )]
    metrics: bool,
    /// Send traces to this OpenTelemetry collector, such as `http://127.0.0.1:4317`. Without it, the
    /// variable OTEL_EXPORTER_OTLP_ENDPOINT counts; without that, there are no traces.
    #[arg(long, env = "TFBRIDGE_OTLP_ENDPOINT", value_name = "URL", value_parser = endpoint)]
    otlp_endpoint: Option<Uri>,
    /// What the collector speaks.
    #[arg(long, env = "TFBRIDGE_OTLP_PROTOCOL", default_value = "grpc", value_name = "PROTOCOL")]
    otlp_protocol: ProtocolArgument,
    /// How many of the traces that begin here to keep, from 0 to 1. Of a trace that a client has begun, the
    /// client decides.
    #[arg(long, env = "TFBRIDGE_TRACE_SAMPLE", default_value = "1.0", value_name = "RATIO", value_parser = ratio)]
    trace_sample: f64,
    /// What traces call the program. Without it, the variable OTEL_SERVICE_NAME counts; without that, it is
    /// tfbridge.
    #[arg(long, env = "TFBRIDGE_SERVICE_NAME", value_name = "NAME")]
    service_name: Option<String>,
    /// Keep a sample of predict requests in this file, as `PredictionLog` records in TFRecord format, which
    /// TensorFlow Serving takes for warming a model up.
    #[arg(long, env = "TFBRIDGE_PAYLOAD_LOG", value_name = "FILE")]
    payload_log: Option<PathBuf>,
    /// How many of the answered predict requests to keep, from 0 to 1.
    #[arg(long, env = "TFBRIDGE_PAYLOAD_LOG_SAMPLE", default_value = "0.01", value_name = "RATIO", value_parser = ratio)]
    payload_log_sample: f64,
    /// The most bytes of that file: then no more requests are kept, and the log says so.
    #[arg(long, env = "TFBRIDGE_PAYLOAD_LOG_MAX_SIZE", default_value = "1GiB", value_name = "SIZE", value_parser = size)]
    payload_log_max_size: usize,
    /// An input whose values are replaced there by zeros or empty strings. Repeat it for more.
    #[arg(long, env = "TFBRIDGE_PAYLOAD_LOG_REDACT", value_delimiter = ',', value_name = "INPUT")]
    payload_log_redact: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProtocolArgument {
    /// gRPC, on port 4317 of most collectors.
    Grpc,
    /// Protocol buffers in HTTP/1.1, on port 4318.
    Http,
}

impl TelemetryArguments {
    /// The configuration.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a collector in OpenTelemetry's own variable that is none.
    pub(super) fn into_config(self) -> Result<TelemetryConfig> {
        let endpoint_of_all = match (&self.otlp_endpoint, common(COMMON_ENDPOINT)) {
            (None, Some(text)) => Some(endpoint(&text).map_err(|error| {
                Error::invalid_argument(format!("The variable {COMMON_ENDPOINT} cannot be {text:?}: {error}"))
            })?),
            _ => None,
        };
        let protocol = match self.otlp_protocol {
            ProtocolArgument::Grpc => OtlpProtocol::Grpc,
            ProtocolArgument::Http => OtlpProtocol::Http,
        };
        let traces = self.otlp_endpoint.or(endpoint_of_all).map(|endpoint| TracesConfig {
            endpoint,
            protocol,
            sample: self.trace_sample,
            service_name: self.service_name.or_else(|| common(COMMON_NAME)),
        });
        let payload_log = self.payload_log.map(|path| PayloadLogConfig {
            path,
            sample: self.payload_log_sample,
            max_size: self.payload_log_max_size as u64,
            redact: self.payload_log_redact,
        });
        Ok(TelemetryConfig { access_log: self.access_log, metrics: self.metrics, traces, payload_log })
    }
}

/// A variable of OpenTelemetry's own; an empty one is none.
fn common(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// The address of a collector.
fn endpoint(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    let is_known = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
    if !is_known || uri.host().is_none_or(str::is_empty) {
        return Err("an address such as http://127.0.0.1:4317 is expected".to_owned());
    }
    if uri.query().is_some() || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a collector has neither a user nor a query".to_owned());
    }
    Ok(uri)
}

/// A share of all.
fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "a number from 0 to 1 is expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_are_addresses() {
        for good in ["http://127.0.0.1:4317", "https://collector", "http://[::1]:4318/base/"] {
            assert_eq!(endpoint(good).unwrap().to_string().trim_end_matches('/'), good.trim_end_matches('/'));
        }
        for bad in ["", "localhost:4317", "ftp://x", "http://", "http://a@b", "http://a?b"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ratios_are_shares() {
        assert_eq!((ratio("0"), ratio("0.25"), ratio("1")), (Ok(0.0), Ok(0.25), Ok(1.0)));
        for bad in ["", "-1", "1.5", "NaN", "half"] {
            assert!(ratio(bad).is_err(), "{bad}");
        }
    }
}
