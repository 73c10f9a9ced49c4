//! `tfbridge serve`: the bridge in front of a model server.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use tonic::transport::Uri;

use crate::codec::NanStyle;
use crate::config::{ApiConfig, Config, ServerConfig, UpstreamConfig};
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The model server's gRPC address.
    #[arg(long, env = "TFBRIDGE_BACKEND", default_value = "http://127.0.0.1:8500", value_name = "URL", value_parser = backend)]
    backend: Uri,
    /// The address to serve the REST API on.
    #[arg(long, env = "TFBRIDGE_LISTEN", default_value = "0.0.0.0:8501", value_name = "ADDRESS")]
    listen: SocketAddr,
    #[command(flatten)]
    api: ApiArguments,
    /// How long a connection attempt to the model server may take.
    #[arg(long, env = "TFBRIDGE_CONNECT_TIMEOUT", default_value = "5s", value_name = "TIME", value_parser = humantime::parse_duration)]
    connect_timeout: Duration,
    /// How many HTTP/2 connections to hold to the model server.
    #[arg(long, env = "TFBRIDGE_CONNECTIONS", default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: u16,
    /// How long to believe the signatures of a model without asking again.
    #[arg(long, env = "TFBRIDGE_SIGNATURE_TTL", default_value = "60s", value_name = "TIME", value_parser = humantime::parse_duration)]
    signature_ttl: Duration,
}

/// What concerns requests and replies, whatever the backend is.
#[derive(Debug, clap::Args)]
pub(super) struct ApiArguments {
    /// How long a request may take in all; 0s for no limit.
    #[arg(long, env = "TFBRIDGE_TIMEOUT", default_value = "30s", value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// The most bytes of a request body, as sent and after decompression.
    #[arg(long, env = "TFBRIDGE_MAX_BODY_SIZE", default_value = "256MiB", value_name = "SIZE", value_parser = size)]
    max_body_size: usize,
    /// How to write NaN and infinities, which JSON has no spelling for.
    #[arg(long, env = "TFBRIDGE_NAN", default_value = "literal", value_name = "STYLE")]
    nan: NanArgument,
    /// Indent all JSON, not only where `?pretty` asks for it.
    #[arg(long, env = "TFBRIDGE_PRETTY")]
    pretty: bool,
    /// Allow web pages of every origin to call the API, as TensorFlow Serving's
    /// `--rest_api_enable_cors_support` does.
    #[arg(long, env = "TFBRIDGE_CORS")]
    cors: bool,
    /// How long a client may take to send the head of a request, and how long its connection may
    /// be idle.
    #[arg(long, env = "TFBRIDGE_HEADER_TIMEOUT", default_value = "2m", value_name = "TIME", value_parser = humantime::parse_duration)]
    header_timeout: Duration,
    /// How long running requests may go on after the signal to stop.
    #[arg(long, env = "TFBRIDGE_DRAIN_TIMEOUT", default_value = "30s", value_name = "TIME", value_parser = humantime::parse_duration)]
    drain_timeout: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum NanArgument {
    /// NaN, Infinity and -Infinity as bare tokens, like TensorFlow Serving.
    Literal,
    /// null.
    Null,
    /// "NaN", "Infinity" and "-Infinity".
    String,
    /// Fail the request.
    Error,
}

impl ApiArguments {
    /// The configuration of a bridge on this address in front of this backend.
    pub(super) fn into_config(self, listen: SocketAddr, upstream: UpstreamConfig) -> Config {
        let nan = match self.nan {
            NanArgument::Literal => NanStyle::Literal,
            NanArgument::Null => NanStyle::Null,
            NanArgument::String => NanStyle::String,
            NanArgument::Error => NanStyle::Error,
        };
        Config {
            server: ServerConfig {
                listen,
                drain_timeout: self.drain_timeout,
                header_timeout: self.header_timeout,
            },
            api: ApiConfig {
                max_body_size: self.max_body_size,
                nan,
                pretty: self.pretty,
                cors: self.cors,
                timeout: self.timeout,
            },
            upstream,
        }
    }
}

pub(super) async fn run(arguments: Arguments, shutdown: impl Future<Output = ()>) -> Result<()> {
    let upstream = UpstreamConfig {
        connect_timeout: arguments.connect_timeout,
        connections: usize::from(arguments.connections),
        signature_ttl: arguments.signature_ttl,
        ..UpstreamConfig::new(arguments.backend)
    };
    let config = arguments.api.into_config(arguments.listen, upstream);
    let listener = super::bind(config.server.listen).await?;
    tracing::info!(listen = %config.server.listen, backend = %config.upstream.backend, "serving");
    crate::run(config, listener, shutdown).await;
    Ok(())
}

/// A backend's address; the scheme may be left out.
fn backend(text: &str) -> Result<Uri, String> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match uri.scheme_str() {
        Some("http") if uri.port().is_some() => Ok(uri),
        Some("http") => Err("the port is missing; TensorFlow Serving's gRPC port is 8500".to_owned()),
        _ => Err("only http:// backends can be called".to_owned()),
    }
}

/// A number of bytes, with an optional unit: `1048576`, `1MiB`, `1MB`.
fn size(text: &str) -> Result<usize, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: usize =
        number.parse().map_err(|_| "a number of bytes such as 64MiB is expected".to_owned())?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        unit => return Err(format!("{unit} is not a unit; use KiB, MiB, GiB, kB, MB or GB")),
    };
    number.checked_mul(factor).ok_or_else(|| "that is more than this machine can count".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_units() {
        let check = |text: &str, expected: usize| assert_eq!(size(text).unwrap(), expected, "{text}");
        check("17", 17);
        check("64KiB", 65_536);
        check("64 kB", 64_000);
        check("1g", 1 << 30);
        for bad in ["", "MiB", "1.5MiB", "3 parsecs", "99999999999999999999", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn backends_need_a_port() {
        assert_eq!(backend("serving:8500").unwrap().to_string(), "http://serving:8500/");
        assert_eq!(backend("http://[::1]:8500").unwrap().to_string(), "http://[::1]:8500/");
        for bad in ["", "http://serving", "ftp://serving:21", "http://a b:1"] {
            assert!(backend(bad).is_err(), "{bad}");
        }
    }
}
