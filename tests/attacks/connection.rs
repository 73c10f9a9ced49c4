//! Sockets of attackers: from addresses of their own, so that honest clients share none of their
//! limits.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How many addresses attackers come from where one does not matter.
const ADDRESSES: u32 = 100;

/// How long an attacker waits for a first answer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing must come before a connection counts as left open.
pub const QUIET: Duration = Duration::from_millis(400);

/// A connection from one of the attackers' addresses, all in turn.
pub async fn connect(bridge: SocketAddr) -> io::Result<TcpStream> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    connect_from(NEXT.fetch_add(1, Ordering::Relaxed) % ADDRESSES, bridge).await
}

/// A connection from the attackers' address of this number, of which there are some hundred.
pub async fn connect_from(attacker: u32, bridge: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let address = std::net::Ipv4Addr::new(127, 0, 1, 1 + (attacker % 250) as u8);
    socket.bind(SocketAddr::from((address, 0)))?;
    let stream = socket.connect(bridge).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Makes sense of what a server sends.
pub trait Reader {
    /// Takes what it understands from the front of the bytes.
    fn take(&mut self, bytes: &mut Vec<u8>);
    /// Whether there has been an answer, so that silence means that there is no more.
    fn is_answered(&self) -> bool;
    /// What the bridge must be told in reply.
    fn reply(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server closed the connection.
    Closed,
    /// It is still open.
    Open,
}

impl From<Option<Duration>> for End {
    /// After how long it was closed, if it was.
    fn from(closed: Option<Duration>) -> Self {
        if closed.is_some() { Self::Closed } else { Self::Open }
    }
}

/// Sends bytes and reads at the same time, until the connection ends or nothing more comes.
pub async fn converse<S>(stream: S, bytes: &[u8], reader: &mut impl Reader, patience: Duration) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from, mut to) = tokio::io::split(stream);
    let mut unsent = bytes;
    let mut replies = Vec::new();
    let mut received = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let sends = !unsent.is_empty();
        let quiet = if reader.is_answered() && !sends { QUIET } else { patience };
        tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return End::Closed,
                Ok(length) => {
                    received.extend_from_slice(&buffer[..length]);
                    reader.take(&mut received);
                    replies.extend(reader.reply());
                }
            },
            // A server that no longer reads may still have said why.
            written = to.write(unsent), if sends => unsent = &unsent[written.unwrap_or(unsent.len())..],
            () = tokio::time::sleep(quiet) => return End::Open,
        }
        if unsent.is_empty() && !replies.is_empty() {
            let _ = to.write_all(&std::mem::take(&mut replies)).await;
        }
    }
}
