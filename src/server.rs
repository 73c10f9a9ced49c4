//! The HTTP server: accepts connections, serves them until told to stop, then drains.
//!
//! The caller owns the listener and decides the end. Nothing here knows what requests mean.

mod admin;
mod service;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::config::ServerConfig;
use crate::handler::Bridge;

/// How long to wait before accepting again when the system is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The most that is read from a connection at once, and the largest head of a request. Bodies
/// arrive in pieces of this size: more would delay others without being any faster.
const READ_BUFFER: usize = 128 << 10;

/// What is served on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// The REST API.
    Api,
    /// State, metrics and commands for those who run the bridge.
    Admin,
}

/// Serves until `shutdown` resolves, then lets the requests under way finish.
pub async fn serve(
    listener: TcpListener,
    face: Face,
    bridge: Arc<Bridge>,
    config: &ServerConfig,
    shutdown: impl Future<Output = ()>,
) {
    admin::start_clock();
    let builder = connection_builder(config);
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let watcher = graceful.watcher();
        let (builder, bridge) = (builder.clone(), Arc::clone(&bridge));
        let first_bytes = config.header_timeout;
        tokio::spawn(async move {
            // The server tells HTTP/1 from HTTP/2 by the first bytes and waits for them for ever.
            if tokio::time::timeout(first_bytes, wait_for_protocol(&stream)).await.is_ok() {
                serve_connection(&builder, stream, face, bridge, watcher).await;
            }
        });
    }
    drop(listener);
    if face == Face::Api {
        tracing::info!("draining");
    }
    if tokio::time::timeout(config.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still running when the drain timeout ended");
    }
}

/// Serves one connection to its end.
async fn serve_connection(
    builder: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    face: Face,
    bridge: Arc<Bridge>,
    watcher: Watcher,
) {
    // Without this, replies larger than a segment wait for the client's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let service = TowerToHyperService::new(service::new(face, bridge));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error, "a connection ended early");
    }
}

/// Waits until the first bytes tell which protocol the client speaks.
async fn wait_for_protocol(stream: &TcpStream) {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const PAUSE: Duration = Duration::from_millis(10);
    let mut start = [0; PREFACE.len()];
    // An error or an end shows again to whoever reads.
    while let Ok(length @ 1..) = stream.peek(&mut start).await {
        if length == PREFACE.len() || !PREFACE.starts_with(&start[..length]) {
            return;
        }
        // Part of a preface is there, and more of it cannot be waited for without taking it.
        tokio::time::sleep(PAUSE).await;
    }
}

fn connection_builder(config: &ServerConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(READ_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(256);
    builder
}
