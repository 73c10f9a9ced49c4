//! What is looked at: where it is, what is to be spoken there, and what is odd about its address.

use std::path::Path;

use http::Uri;
use http::uri::Scheme;

use super::report::{Fault, Found, Not};
use crate::cli::client::{Address, ServerArguments};
use crate::cli::dial::To;
use crate::config::UpstreamTls;

/// The ports that TensorFlow Serving listens on by custom.
const GRPC_PORT: u16 = 8500;
const REST_PORT: u16 = 8501;

/// What is expected at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A server of the REST API.
    Bridge,
    /// A model server, over gRPC.
    Backend,
}

/// What is looked at.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) to: To,
    pub(super) is_tls: bool,
    /// It as it was given.
    pub(super) name: String,
    /// What is in front of all paths.
    pub(super) prefix: String,
}

impl Target {
    /// That of the arguments.
    pub(super) fn new(arguments: &ServerArguments) -> Self {
        let prefix = String::new();
        if let Some(backend) = arguments.backend() {
            let (to, name) = (To::from(backend), backend.to_string());
            return Self { kind: Kind::Backend, to, is_tls: backend.tls, name, prefix };
        }
        match arguments.address() {
            Address::Unix(path) => Self {
                kind: Kind::Bridge,
                to: To::Unix(path.clone()),
                is_tls: false,
                name: format!("unix:{}", path.display()),
                prefix,
            },
            Address::Http(uri) => Self {
                kind: Kind::Bridge,
                to: name_of(uri),
                is_tls: uri.scheme() == Some(&Scheme::HTTPS),
                name: uri.to_string().trim_end_matches('/').to_owned(),
                prefix: uri.path().trim_end_matches('/').to_owned(),
            },
        }
    }

    /// The port, where there is one.
    pub(super) fn port(&self) -> Option<u16> {
        match &self.to {
            To::Name { port, .. } => Some(*port),
            To::Socket(address) => Some(address.port()),
            To::Unix(_) => None,
        }
    }

    /// What `Host` is in a request.
    pub(super) fn authority(&self) -> String {
        match &self.to {
            To::Name { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            To::Name { host, port } => format!("{host}:{port}"),
            To::Socket(address) => address.to_string(),
            To::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The address with which it would be called over TLS, or without it.
    pub(super) fn with_scheme(&self, scheme: &str) -> String {
        format!("{scheme}://{}{}", self.authority(), self.prefix)
    }

    /// What the flag for it is.
    pub(super) fn flag(&self) -> &'static str {
        match self.kind {
            Kind::Bridge => "--server",
            Kind::Backend => "--backend",
        }
    }

    /// The flag for the other kind, with the port that this one has by custom.
    pub(super) fn other_kind(&self) -> String {
        let host = match &self.to {
            To::Name { host, .. } if host.contains(':') => format!("[{host}]"),
            To::Name { host, .. } => host.clone(),
            To::Socket(_) | To::Unix(_) => "HOST".to_owned(),
        };
        match self.kind {
            Kind::Bridge => format!("--backend http://{}", self.authority()),
            Kind::Backend => format!("--backend http://{host}:{GRPC_PORT}"),
        }
    }

    /// What the address and the files say, before anything is sent.
    pub(super) fn check_settings(&self, tls: &UpstreamTls) -> Result<Found<()>, Not> {
        if self.is_tls {
            crate::upstream::client_tls(tls).map_err(|error| {
                Fault::new(
                    error.to_string(),
                    "A file of --ca, --cert or --key cannot be read, or is not what it should be.",
                    "Each of them is a file in PEM; the key belongs to the certificate.",
                )
            })?;
        }
        let protocol = match self.kind {
            Kind::Bridge => "HTTP",
            Kind::Backend => "gRPC",
        };
        let security = if self.is_tls { "over TLS" } else { "in clear text" };
        let place = match &self.to {
            To::Name { host, port } => format!("{host}, port {port}"),
            To::Socket(address) => address.to_string(),
            To::Unix(path) => format!("the socket {}", path.display()),
        };
        let detail = format!("{protocol} {security} to {place}");
        Ok(Found::new((), detail).advise(self.odd_port()))
    }

    /// What to think of the port, if it is that of something else by custom.
    pub(super) fn odd_port(&self) -> Option<String> {
        let advice = match (self.kind, self.port()?) {
            (Kind::Bridge, GRPC_PORT) => {
                "By custom that is TensorFlow Serving's gRPC port: its REST port, and that of a bridge, is 8501. To \
                 look at a gRPC port give --backend in place of --server."
            }
            (Kind::Backend, REST_PORT) => "By custom that is TensorFlow Serving's REST port: gRPC is 8500.",
            _ => return None,
        };
        Some(advice.to_owned())
    }
}

fn name_of(uri: &Uri) -> To {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let usual = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    To::Name { host, port: uri.port_u16().unwrap_or(usual) }
}

/// Where a socket is that nobody can connect to.
pub(super) fn socket_fault(path: &Path, error: &std::io::Error) -> Fault {
    use std::io::ErrorKind;
    let (cause, advice) = match error.kind() {
        ErrorKind::NotFound => ("There is no such socket.", "Check the path, and that the server runs."),
        ErrorKind::PermissionDenied => {
            ("This user may not write to the socket.", "Ask for access to the file and its directory.")
        }
        ErrorKind::ConnectionRefused => {
            ("The socket is there, but nobody listens on it.", "Start the server, which makes it anew.")
        }
        _ => ("The socket cannot be used.", "Check the path, and that the server runs."),
    };
    Fault::new(format!("{}: {error}", path.display()), cause, advice)
}
