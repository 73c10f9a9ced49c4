//! The HTTP side of the configuration: where to listen, and what a connection may take.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::socket;

/// How connections of clients are served.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// TLS on the ports for the API and for gRPC, but for UNIX sockets; clear text without it.
    pub tls: Option<ServerTls>,
    /// How long the bridge goes on as before once it is told to stop, with its readiness off, so that
    /// those who send requests learn of it.
    pub drain_delay: Duration,
    /// How long requests that run may go on after that.
    pub drain_timeout: Duration,
    /// How long a client may take for the TLS handshake, for telling its protocol, and for the head
    /// of a request.
    pub header_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// How long a client may take to receive a piece of a reply, which is of 256 KiB but for the last.
    pub write_timeout: Duration,
    /// The models that a backend must have for the bridge to be ready.
    pub require_models: Vec<String>,
    /// The most bytes of a request's head.
    pub max_header_size: usize,
    /// The most headers of a request.
    pub max_headers: usize,
    /// The most connections to those ports at once.
    pub max_connections: usize,
    /// The most of them from one address.
    pub max_connections_per_address: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            tls: None,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            write_timeout: Duration::from_secs(30),
            require_models: Vec::new(),
            max_header_size: 64 << 10,
            max_headers: 100,
            max_connections: 10_000,
            max_connections_per_address: 1_000,
        }
    }
}

/// The files of TLS to the clients. They are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Our certificate, with those between it and its root, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// The certificates that clients' own must be signed by, in PEM; clients need none without it.
    pub client_ca: Option<PathBuf>,
}

impl ServerTls {
    /// The files that are in use.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_ca)
    }
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// On a TCP port; port 0 picks a free one.
    Tcp(SocketAddr),
    /// On a UNIX socket.
    Unix(PathBuf),
    /// On the sockets that systemd has opened for the process.
    Systemd,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = socket(text)? {
            return Ok(Self::Unix(path));
        }
        match (text, text.parse()) {
            ("systemd", _) => Ok(Self::Systemd),
            (_, Ok(address)) => Ok(Self::Tcp(address)),
            _ => Err("an address such as 0.0.0.0:8501, [::]:8501 or unix:/PATH is expected".to_owned()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Systemd => formatter.write_str("systemd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_listen_are_written_in_many_ways() {
        for text in ["0.0.0.0:8501", "[::1]:8501", "unix:/run/tfbridge.sock", "systemd"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        assert_eq!("unix:///run/a".parse(), Ok(Listen::Unix("/run/a".into())));
        for bad in ["", "8501", "localhost", "unix:", "http://0.0.0.0:8501"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }
}
