//! The flags about the model servers and how they are called.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::serve::time;
use crate::codec::signature::{self, Signatures};
use crate::config::{Backend, UpstreamConfig, UpstreamTls};
use crate::error::{Error, Result};
use crate::upstream;

/// Where the model servers are and how they are called.
#[derive(Debug, clap::Args)]
pub(super) struct UpstreamArguments {
    /// A model server's gRPC address: `http://HOST:PORT`, `https://HOST:PORT`, `unix:/PATH`, or
    /// `dns:///NAME:PORT` (`dns+tls:///NAME:PORT`) for all addresses of a name. Repeat it for more;
    /// all must serve the same models.
    #[arg(
        long,
        env = "TFBRIDGE_BACKEND",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:8500",
        value_name = "URL"
    )]
    backend: Vec<Backend>,
    /// How long a connection attempt to a model server may take.
    #[arg(long, env = "TFBRIDGE_CONNECT_TIMEOUT", default_value = "5s", value_name = "TIME", value_parser = time)]
    connect_timeout: Duration,
    /// How many HTTP/2 connections to hold to each model server, and as many more for requests above 256 KiB.
    #[arg(long, env = "TFBRIDGE_CONNECTIONS", default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: u16,
    /// How often to look the names of `dns:///` backends up.
    #[arg(long, env = "TFBRIDGE_DNS_INTERVAL", default_value = "5s", value_name = "TIME", value_parser = interval)]
    dns_interval: Duration,
    /// The file with the certificates to trust for `https://` backends, in PEM. The system's are
    /// trusted without it.
    #[arg(long, env = "TFBRIDGE_BACKEND_CA", value_name = "FILE")]
    backend_ca: Option<PathBuf>,
    /// The file with our certificate for backends that ask for one, in PEM.
    #[arg(long, env = "TFBRIDGE_BACKEND_CERT", value_name = "FILE", requires = "backend_key")]
    backend_cert: Option<PathBuf>,
    /// The file with the key of that certificate, in PEM.
    #[arg(long, env = "TFBRIDGE_BACKEND_KEY", value_name = "FILE", requires = "backend_cert")]
    backend_key: Option<PathBuf>,
    /// The name that the certificates of the backends have, if it is not that of the backend.
    #[arg(long, env = "TFBRIDGE_BACKEND_SERVER_NAME", value_name = "NAME")]
    backend_server_name: Option<String>,
    /// How many attempts to make at a call, the first one included, when connections fail or break
    /// or a model server is UNAVAILABLE.
    #[arg(long, env = "TFBRIDGE_MAX_ATTEMPTS", default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=16))]
    max_attempts: u8,
    /// How many further attempts to make for each call, on average over all calls.
    #[arg(long, env = "TFBRIDGE_RETRY_BUDGET", default_value_t = 0.2, value_name = "SHARE", value_parser = share)]
    retry_budget: f64,
    /// Make a second attempt beside the first when a call takes longer than this percentile of all
    /// calls, such as 95. Never without it.
    #[arg(long, env = "TFBRIDGE_HEDGE_PERCENTILE", value_name = "PERCENTILE", value_parser = percentile)]
    hedge_percentile: Option<f64>,
    /// How long to believe the signatures of a model without asking again.
    #[arg(long, env = "TFBRIDGE_SIGNATURE_TTL", default_value = "60s", value_name = "TIME", value_parser = time)]
    signature_ttl: Duration,
    /// The file with the signatures of models, for model servers that do not tell them: JSON, an
    /// object from the name of a model to what `GET /v1/models/NAME/metadata` answers, or to
    /// `{"SIGNATURE": {"inputs": {"NAME": {"dtype": "DT_FLOAT"}}}}`.
    #[arg(long, env = "TFBRIDGE_SIGNATURE_FILE", value_name = "FILE")]
    signature_file: Option<PathBuf>,
}

impl UpstreamArguments {
    /// The configuration, with files that have been read once to see that they can be used.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for certificates that cannot be read.
    pub(super) fn into_config(self) -> Result<UpstreamConfig> {
        let tls = UpstreamTls {
            ca: self.backend_ca,
            identity: self.backend_cert.zip(self.backend_key),
            server_name: self.backend_server_name,
        };
        if self.backend.iter().any(|backend| backend.tls) {
            upstream::check_tls(&tls).map_err(|error| {
                Error::invalid_argument(format!("The certificates for the backends cannot be used: {error}"))
            })?;
        }
        let signatures = self.signature_file.as_deref().map(read_signatures).transpose()?;
        Ok(UpstreamConfig {
            signatures: Arc::new(signatures.unwrap_or_default()),
            connect_timeout: self.connect_timeout,
            connections: usize::from(self.connections),
            dns_interval: self.dns_interval,
            tls,
            max_attempts: usize::from(self.max_attempts),
            retry_budget: self.retry_budget,
            hedge_percentile: self.hedge_percentile,
            signature_ttl: self.signature_ttl,
            ..UpstreamConfig::new(self.backend)
        })
    }
}

fn read_signatures(path: &Path) -> Result<BTreeMap<String, Signatures>> {
    let unusable = |error: String| {
        Error::invalid_argument(format!("The signature file {} cannot be used: {error}", path.display()))
    };
    let text = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    signature::file::parse(&text).map_err(unusable)
}

/// A time between two of something.
fn interval(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    if time < Duration::from_millis(10) { Err("that is too often".to_owned()) } else { Ok(time) }
}

fn share(text: &str) -> Result<f64, String> {
    number_in(text, 0.0, 10.0)
}

fn percentile(text: &str) -> Result<f64, String> {
    number_in(text, 50.0, 99.99)
}

fn number_in(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "a number is expected".to_owned())?;
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(format!("a number from {least} to {most} is expected"))
}
