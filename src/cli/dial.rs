//! Connections that commands make by themselves, where they look closer than a client of HTTP does: over TCP or a
//! UNIX socket, with TLS or without.
//!
//! Nothing here waits for a bounded time: that is for who connects.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::config::{Backend, Place};

/// Where connections go, and how they are made.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    pub(super) to: To,
    /// The settings of TLS, and the name that the certificate must have.
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// The other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    /// A name, or an address without brackets, that is looked up for every connection.
    Name { host: String, port: u16 },
    /// One of the addresses of a name.
    Socket(SocketAddr),
    /// A UNIX socket.
    Unix(PathBuf),
}

/// A connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection of any kind.
pub(super) type AnyStream = Box<dyn Stream>;

impl Dial {
    /// Makes a connection.
    pub(super) async fn connect(&self) -> io::Result<AnyStream> {
        let stream = self.to.connect().await?;
        match &self.tls {
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                Ok(Box::new(connector.connect(name.clone(), stream).await?))
            }
            None => Ok(stream),
        }
    }
}

impl To {
    /// Makes a connection without TLS.
    pub(super) async fn connect(&self) -> io::Result<AnyStream> {
        let stream = match self {
            Self::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Name { host, port } => TcpStream::connect((host.as_str(), *port)).await?,
            Self::Socket(address) => TcpStream::connect(address).await?,
        };
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    /// The host that a certificate must be for.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Name { host, .. } => host,
            Self::Socket(_) | Self::Unix(_) => "localhost",
        }
    }
}

impl From<&Backend> for To {
    fn from(backend: &Backend) -> Self {
        match &backend.place {
            Place::Unix(path) => Self::Unix(path.clone()),
            Place::Address { host, port } | Place::Dns { name: host, port } => {
                Self::Name { host: host.clone(), port: *port }
            }
        }
    }
}
