//! Where a backend listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One address to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Address {
    /// A name that is looked up for every connection.
    Name {
        /// Without the brackets of an IPv6 address.
        host: String,
        port: u16,
    },
    /// One of the addresses of a name.
    Socket(SocketAddr),
    /// A UNIX socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { host, port } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Self::Name { host, port } => write!(formatter, "{host}:{port}"),
            Self::Socket(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}
