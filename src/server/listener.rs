//! The sockets that connections come in on: TCP, UNIX, and those that systemd has opened.
//!
//! Nothing here knows what is spoken on a connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::config::Listen;
use crate::error::{Error, Result};

/// How many connections may wait to be accepted: as many as the system lets, since it loses what comes
/// beyond, and a client learns of that after a second at best.
const BACKLOG: u32 = 65_535;

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
    pub fn bind(listen: &Listen) -> Result<Vec<Self>> {
        let bound = match listen {
            Listen::Tcp(address) => bind(*address).map(|tcp| vec![Self::Tcp(tcp)]),
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

/// Listens on a TCP port.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A successor need not wait until the last connections of its predecessor are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
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

/// Who is at the other end, for people.
pub(super) fn peer(accepted: &Accepted) -> Arc<str> {
    match accepted {
        Accepted::Tcp(stream) => match stream.peer_addr() {
            Ok(peer) => SocketAddr::new(canonical(peer), peer.port()).to_string().into(),
            Err(_) => "gone".into(),
        },
        Accepted::Unix(_) => "unix".into(),
    }
}

/// The address of a peer: one of IPv4 is the same through a socket for both.
fn canonical(peer: SocketAddr) -> IpAddr {
    peer.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn many_connections_may_wait_to_be_accepted() {
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let count = most.trim().parse::<u64>().unwrap().min(2_000).min(files.unwrap_or(4_000) / 2);
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        // One beyond the backlog would wait for the system to try again.
        let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(900)).unwrap();
        let clients: Vec<_> = (0..count).map(|_| connect()).collect();
        for client in &clients {
            assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
        }
    }
}
