//! The HTTP server: accepts connections, serves them until told to stop, then drains.
//!
//! The caller owns the listeners and decides the end. Nothing here knows what requests mean.
//!
//! | module | holds |
//! |---|---|
//! | `listener` | the sockets that connections come in on |
//! | `crowd` | how many connections there may be |
//! | `connection`, `stream`, `farewell`, `tls` | one connection |
//! | `activity` | whether its client takes too long |
//! | `slow_start` | how many of its requests are begun at once |
//! | `service`, `exchange`, `response`, `streamed`, `request_id` | from a request to the bridge and back |
//! | `inference` | the same for gRPC, on its own port |
//! | `access_log` | what is told of requests |
//! | `access`, `auth`, `cors`, `compression` | who may call, pages of which origins, and how replies travel |
//! | `docs` | the page for people |
//! | `admin`, `status` | what those see who run the bridge |
//! | `front` | what all connections share |
//! | `watch` | files that may change |
//! | `drain` | how far the process is on its way to its end |

mod access;
mod access_log;
mod activity;
mod admin;
pub(crate) mod auth;
mod compression;
mod connection;
mod cors;
mod crowd;
mod docs;
mod drain;
mod exchange;
mod farewell;
mod front;
mod inference;
mod listener;
mod request_id;
mod response;
mod service;
mod slow_start;
mod status;
mod stream;
mod streamed;
mod tls;
mod watch;

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use drain::{Drain, Phase};
pub use front::Front;
pub(crate) use front::load_tls;
use listener::Accepted;
pub use listener::{Listener, UnixSocket};

use crate::config::ServerConfig;

/// How long to wait before accepting again when the system is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// After so many connections others have their turn, those included that something has just come in for:
/// a flood of connections delays nobody who has one.
const TURN: u32 = 8;

/// The ports of a bridge. The caller has opened them.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For the REST API.
    pub api: Vec<Listener>,
    /// For the gRPC service of the Open Inference Protocol.
    pub inference: Vec<Listener>,
    /// For those who run the bridge.
    pub admin: Option<Listener>,
}

impl From<TcpListener> for Listeners {
    fn from(api: TcpListener) -> Self {
        Self { api: vec![api.into()], ..Self::default() }
    }
}

/// What is served on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// The REST API.
    Api,
    /// State, metrics and commands for those who run the bridge.
    Admin,
    /// The gRPC service of the Open Inference Protocol.
    Inference,
}

/// Serves until `shutdown` resolves, then lets the requests under way finish. The admin port is served
/// until that is done.
pub async fn serve(listeners: Listeners, front: Arc<Front>, shutdown: impl Future<Output = ()>) {
    activity::start_clock();
    let Listeners { api, inference, admin } = listeners;
    let (last_phase, admin_drain) = Drain::new();
    // Those who serve hold it, and the other end learns when all have let go.
    let (alive, mut done) = mpsc::channel::<Infallible>(1);
    let api = api.into_iter().map(|listener| (listener, Face::Api));
    let inference = inference.into_iter().map(|listener| (listener, Face::Inference));
    for (listener, face) in api.chain(inference) {
        let (front, drain, alive) = (Arc::clone(&front), front.drain(), alive.clone());
        tokio::spawn(accept(listener, face, front, drain, alive));
    }
    drop(alive);
    let (admin_alive, mut admin_done) = mpsc::channel::<Infallible>(1);
    match admin {
        Some(admin) => {
            drop(tokio::spawn(accept(admin, Face::Admin, Arc::clone(&front), admin_drain, admin_alive)));
        }
        None => drop(admin_alive),
    }

    shutdown.await;
    let config = front.state().server.clone();
    front.enter(Phase::Leaving);
    if !config.drain_delay.is_zero() {
        tracing::info!(delay = ?config.drain_delay, "leaving: not ready any more");
        tokio::time::sleep(config.drain_delay).await;
    }
    tracing::info!("draining");
    front.enter(Phase::Draining);
    if tokio::time::timeout(config.drain_timeout, done.recv()).await.is_err() {
        tracing::warn!("requests were still running when the drain timeout ended");
    }
    let _ = last_phase.send(Phase::Draining);
    let _ = tokio::time::timeout(config.drain_timeout, admin_done.recv()).await;
}

impl Face {
    /// Its name in metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Admin => "admin",
            Self::Inference => "grpc",
        }
    }
}

/// Accepts connections until the drain, and serves each in a task of its own.
async fn accept(
    listener: Listener,
    face: Face,
    front: Arc<Front>,
    drain: Drain,
    alive: mpsc::Sender<Infallible>,
) {
    let take = |accepted, peer| {
        let state = front.state();
        let (config, metrics) = (&state.server, &state.bridge.metrics);
        let (most, most_per_address) = match face {
            Face::Api | Face::Inference => (config.max_connections, config.max_connections_per_address),
            // It must be there above all when there are too many of the others.
            Face::Admin => (usize::MAX, usize::MAX),
        };
        let crowd = if face == Face::Admin { &front.admin_crowd } else { &front.crowd };
        let member = match crowd.enter(peer, most, most_per_address) {
            Ok(member) => member,
            Err(limit) => {
                metrics.limit_hit(limit);
                // A client of gRPC would not understand it.
                if face != Face::Inference {
                    refuse(&accepted, config);
                }
                return;
            }
        };
        let connected = metrics.connected(face.name());
        let connection = connection::serve(Arc::clone(&front), face, accepted, drain.clone());
        let alive = alive.clone();
        tokio::spawn(async move {
            connection.await;
            drop((member, connected, alive));
        });
    };
    let mut end = pin!(drain.reaches(Phase::Draining, Duration::ZERO));
    let mut in_turn = 0;
    loop {
        if in_turn == TURN {
            tokio::task::yield_now().await;
            in_turn = 0;
        }
        in_turn += 1;
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.as_mut() => break,
        };
        match accepted {
            Ok((accepted, peer)) => take(accepted, peer),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // The system has made these connections already, so that their clients expect answers.
    while let Ok(Ok((accepted, peer))) = tokio::time::timeout(Duration::ZERO, listener.accept()).await {
        take(accepted, peer);
    }
}

/// Tells a client that there are too many connections, as far as that takes no time.
fn refuse(accepted: &Accepted, config: &ServerConfig) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
        Content-Length: 35\r\nRetry-After: 1\r\nConnection: close\r\n\r\n\
        {\"error\": \"Too many connections\"}\r\n";
    tracing::debug!("a connection too many");
    let _ = match accepted {
        Accepted::Tcp(stream) if config.tls.is_none() => stream.try_write(ANSWER),
        Accepted::Unix(stream) => stream.try_write(ANSWER),
        Accepted::Tcp(_) => Ok(0),
    };
}
