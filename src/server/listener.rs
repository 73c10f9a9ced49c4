//! The sockets that connections come in on: TCP, UNIX, and those that systemd has opened.
//!
//! Nothing here knows what is spoken on a connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::Listen;
use crate::error::{Error, Result};

/// A socket that connections come in on.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A UNIX socket.
    Unix(UnixSocket),
}

/// A UNIX socket, and the file that goes when it does.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    /// The path, and which file we made there; `None` if somebody else made it.
    file: Option<(PathBuf, u64)>,
}

/// A connection as it comes in.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Listens on an address.
    ///
    /// # Errors
    ///
    /// `UNAVAILABLE` if it is taken or not ours.
    pub async fn bind(listen: &Listen) -> Result<Vec<Self>> {
        let bound = match listen {
            Listen::Tcp(address) => TcpListener::bind(address).await.map(|tcp| vec![Self::Tcp(tcp)]),
            Listen::Unix(path) => UnixSocket::bind(path).map(|unix| vec![Self::Unix(unix)]),
            Listen::Systemd => from_systemd(),
        };
        bound.map_err(|error| Error::unavailable(format!("Cannot listen on {listen}: {error}")))
    }

    /// Where it listens, for people.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(tcp) => {
                tcp.local_addr().map_or_else(|_| "TCP".to_owned(), |address| address.to_string())
            }
            Self::Unix(UnixSocket { file: Some((path, _)), .. }) => format!("unix:{}", path.display()),
            Self::Unix(_) => "UNIX".to_owned(),
        }
    }

    /// The next connection, and the address of the peer if it has one.
    pub(super) async fn accept(&self) -> io::Result<(Accepted, Option<IpAddr>)> {
        match self {
            Self::Tcp(tcp) => {
                tcp.accept().await.map(|(stream, peer)| (Accepted::Tcp(stream), Some(canonical(peer))))
            }
            Self::Unix(unix) => {
                unix.listener.accept().await.map(|(stream, _)| (Accepted::Unix(stream), None))
            }
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl UnixSocket {
    /// Listens on a path. The socket of a process that has died gives way.
    fn bind(path: &Path) -> io::Result<Self> {
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
        if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        let inode = std::fs::symlink_metadata(path)?.ino();
        Ok(Self { listener, file: Some((path.to_owned(), inode)) })
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let Some((path, inode)) = &self.file else { return };
        // A successor may have put its own socket there.
        if std::fs::symlink_metadata(path).is_ok_and(|file| file.ino() == *inode) {
            // What cannot be removed is in nobody's way: the next one to listen there removes it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// All sockets that systemd passes.
fn from_systemd() -> io::Result<Vec<Listener>> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        if let Ok(Some(unix)) = passed.take_unix_listener(index) {
            unix.set_nonblocking(true)?;
            listeners
                .push(Listener::Unix(UnixSocket { listener: UnixListener::from_std(unix)?, file: None }));
        } else if let Some(tcp) = passed.take_tcp_listener(index)? {
            tcp.set_nonblocking(true)?;
            listeners.push(Listener::Tcp(TcpListener::from_std(tcp)?));
        }
    }
    if listeners.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "systemd has passed no socket"));
    }
    Ok(listeners)
}

/// The address of a peer: one of IPv4 is the same through a socket for both.
fn canonical(peer: SocketAddr) -> IpAddr {
    peer.ip().to_canonical()
}
