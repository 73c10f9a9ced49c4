//! The flags about connections: TLS, how many there may be, and how long clients may take.

use std::path::PathBuf;
use std::time::Duration;

use super::serve::{limit, size, time};
use crate::config::{ServerConfig, ServerTls};
use crate::error::{Error, Result};
use crate::server;

/// What connections may take.
#[derive(Debug, clap::Args)]
pub(super) struct FrontArguments {
    /// The file with our certificate, and those between it and its root, in PEM: serve the API over
    /// TLS. It is read again when it changes.
    #[arg(long, env = "TFBRIDGE_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The file with the key of that certificate, in PEM.
    #[arg(long, env = "TFBRIDGE_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The file with the certificates that clients' own must be signed by, in PEM. Clients need no
    /// certificate without it.
    #[arg(long, env = "TFBRIDGE_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// The most connections at once.
    #[arg(long, env = "TFBRIDGE_MAX_CONNECTIONS", default_value_t = 10_000, value_name = "COUNT")]
    max_connections: usize,
    /// The most of them from one address: raise it behind a proxy.
    #[arg(long, env = "TFBRIDGE_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = 1_000, value_name = "COUNT")]
    max_connections_per_address: usize,
    /// The most bytes of a request's head.
    #[arg(long, env = "TFBRIDGE_MAX_HEADER_SIZE", default_value = "64KiB", value_name = "SIZE", value_parser = size)]
    max_header_size: usize,
    /// The most headers of a request.
    #[arg(long, env = "TFBRIDGE_MAX_HEADERS", default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    max_headers: u16,
    /// How long a client may take for the TLS handshake and the head of a request.
    #[arg(long, env = "TFBRIDGE_HEADER_TIMEOUT", default_value = "10s", value_name = "TIME", value_parser = limit)]
    header_timeout: Duration,
    /// How long a connection may be without a request.
    #[arg(long, env = "TFBRIDGE_IDLE_TIMEOUT", default_value = "2m", value_name = "TIME", value_parser = limit)]
    idle_timeout: Duration,
    /// How long a client may take to receive 256 KiB of a reply, or the rest of it.
    #[arg(long, env = "TFBRIDGE_WRITE_TIMEOUT", default_value = "30s", value_name = "TIME", value_parser = limit)]
    write_timeout: Duration,
    /// How long to serve on after the signal to stop, with `/readyz` saying no and HTTP/1 connections
    /// told to close, so that load balancers look elsewhere.
    #[arg(long, env = "TFBRIDGE_DRAIN_DELAY", default_value = "0s", value_name = "TIME", value_parser = time)]
    drain_delay: Duration,
    /// How long running requests may go on after that.
    #[arg(long, env = "TFBRIDGE_DRAIN_TIMEOUT", default_value = "30s", value_name = "TIME", value_parser = time)]
    drain_timeout: Duration,
}

impl FrontArguments {
    /// The configuration, with files that have been read once to see that they can be used.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for certificates that cannot be read, or one without its key.
    pub(super) fn into_config(self) -> Result<ServerConfig> {
        let tls = match (self.tls_cert, self.tls_key, self.tls_client_ca) {
            (Some(certificate), Some(key), client_ca) => Some(ServerTls { certificate, key, client_ca }),
            (None, None, None) => None,
            (None, None, Some(_)) => {
                return Err(Error::invalid_argument("--tls-client-ca needs --tls-cert and --tls-key"));
            }
            _ => return Err(Error::invalid_argument("--tls-cert and --tls-key need each other")),
        };
        if let Some(tls) = &tls {
            server::load_tls(tls)?;
        }
        Ok(ServerConfig {
            tls,
            drain_delay: self.drain_delay,
            drain_timeout: self.drain_timeout,
            header_timeout: self.header_timeout,
            idle_timeout: self.idle_timeout,
            write_timeout: self.write_timeout,
            require_models: Vec::new(),
            max_header_size: self.max_header_size,
            max_headers: usize::from(self.max_headers),
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
        })
    }
}
