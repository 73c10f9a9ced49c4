//! A place for one HTTP/2 connection: made when it is needed, made again when it is lost.
//!
//! All requests that need the connection wait for the same attempt to make it, and none of them
//! can stop the attempt by going away. A failed attempt is for those who waited: the next
//! request starts another.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;

use super::address::Address;
use super::message::MessageBody;
use super::tls::Tls;
use super::turns::Turns;

/// HTTP/2 windows that let a large tensor through without waiting for updates.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// Replies may come in frames of this size: fewer, for large tensors.
const FRAME: u32 = 1 << 20;

/// The end of a connection that takes requests. Clones share the connection.
pub(super) type Sender = http2::SendRequest<MessageBody>;

/// How connections to one address are made.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) address: Address,
    pub(super) timeout: Duration,
    /// The settings of TLS, and the name of the server as the configuration has it.
    pub(super) tls: Option<(Arc<Tls>, String)>,
}

/// Why a connection could not be made; shared by all who waited for it.
#[derive(Debug, Clone)]
pub(super) struct ConnectError {
    address: Arc<str>,
    cause: Arc<dyn StdError + Send + Sync>,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no connection to {}: {}", self.address, self.cause)
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.cause)
    }
}

type Outcome = Result<Sender, ConnectError>;

/// The place of a connection.
#[derive(Debug)]
pub(super) struct Slot {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
enum State {
    Closed,
    Connecting(watch::Receiver<Option<Outcome>>),
    Open(Sender),
}

impl Slot {
    pub(super) fn new() -> Self {
        Self { state: Arc::new(Mutex::new(State::Closed)) }
    }

    /// The connection, which is made if there is none.
    pub(super) async fn sender(&self, connector: &Arc<Connector>) -> Outcome {
        let mut attempt = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match &*state {
                State::Open(sender) if !sender.is_closed() => return Ok(sender.clone()),
                // An attempt that has ended without an outcome was stopped with its runtime.
                State::Connecting(attempt) if attempt.has_changed().is_ok() => attempt.clone(),
                _ => {
                    let (report, attempt) = watch::channel(None);
                    *state = State::Connecting(attempt.clone());
                    tokio::spawn(fill(Arc::clone(&self.state), Arc::clone(connector), report));
                    attempt
                }
            }
        };
        let lost = || connector.error(io::Error::other("the attempt to connect was given up"));
        match attempt.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(|| Err(lost())),
            Err(_) => Err(lost()),
        }
    }
}

/// Makes the connection of a slot and tells those who wait for it.
async fn fill(state: Arc<Mutex<State>>, connector: Arc<Connector>, report: watch::Sender<Option<Outcome>>) {
    let outcome = match tokio::time::timeout(connector.timeout, connector.connect()).await {
        Ok(outcome) => outcome.map_err(|cause| connector.error(cause)),
        Err(_) => Err(connector.error(io::Error::from(io::ErrorKind::TimedOut))),
    };
    let next = outcome.as_ref().map_or(State::Closed, |sender| State::Open(sender.clone()));
    *state.lock().unwrap_or_else(PoisonError::into_inner) = next;
    report.send_replace(Some(outcome));
}

impl Connector {
    async fn connect(&self) -> Result<Sender, Box<dyn StdError + Send + Sync>> {
        match &self.address {
            Address::Unix(path) => handshake(UnixStream::connect(path).await?).await,
            Address::Name { host, port } => {
                self.over_tcp(TcpStream::connect((host.as_str(), *port)).await?).await
            }
            Address::Socket(address) => self.over_tcp(TcpStream::connect(address).await?).await,
        }
    }

    async fn over_tcp(&self, stream: TcpStream) -> Result<Sender, Box<dyn StdError + Send + Sync>> {
        stream.set_nodelay(true)?;
        watch_over(&stream);
        let Some((tls, host)) = &self.tls else { return handshake(stream).await };
        let name = ServerName::try_from(tls.server_name().unwrap_or(host).to_owned())?;
        let stream = TlsConnector::from(tls.config()?).connect(name, stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err("the server does not agree to HTTP/2".into());
        }
        handshake(stream).await
    }

    fn error(&self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> ConnectError {
        ConnectError { address: self.address.to_string().into(), cause: cause.into().into() }
    }
}

/// Notices a backend that has gone without a word. That is left to the system: gRPC servers end
/// connections that ping too often.
fn watch_over(stream: &TcpStream) {
    const SILENCE: Duration = Duration::from_secs(30);
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 3);
    // Systems without these options take longer to notice.
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(SILENCE));
}

/// Starts HTTP/2. The connection then runs by itself until both sides are done with it.
async fn handshake<S>(socket: S) -> Result<Sender, Box<dyn StdError + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .handshake(TokioIo::new(Turns::new(socket)))
        .await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a backend ended");
        }
    });
    Ok(sender)
}
