//! A port where nobody listens, which nobody else is given in the meantime.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// Bound, but not listened on: connections to it are refused, no other test gets it, neither to listen on nor
/// to connect from, and a program that is told to can listen on it all the same.
pub struct Port {
    pub address: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    pub fn new() -> Self {
        let held = TcpSocket::new_v4().unwrap();
        // With this on both sides two may be bound to one port, as long as one of them listens at most.
        held.set_reuseaddr(true).unwrap();
        held.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { address: held.local_addr().unwrap(), _held: held }
    }
}
