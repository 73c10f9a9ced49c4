//! One connection of a client: what it speaks, and its requests until one side has enough.
//!
//! A watchdog ends it when the client takes too long about something. When the process drains, it
//! ends after the requests that are under way.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsAcceptor;

use super::activity::{Activity, Patience, Verdict};
use super::drain::{Drain, Phase};
use super::front::{Front, State};
use super::listener::{self, Accepted};
use super::slow_start::SlowStart;
use super::stream::{Protocol, Socket, Stream};
use super::{Face, service};
use crate::config::ServerConfig;
use crate::metrics::Metrics;
use crate::record::Limit;

/// The most that is read from a connection at once. Bodies arrive in pieces of this size: more would
/// delay others without being any faster.
const READ_BUFFER: usize = 128 << 10;

/// What is set aside for the requests of an HTTP/2 connection that nobody reads: of each, and of all.
const STREAM_WINDOW: u32 = 512 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// How many requests may be under way on an HTTP/2 connection.
const STREAMS: u32 = 128;

/// After so many requests with mistakes in their frames a client of HTTP/2 is told to calm down.
const MISTAKES: usize = 100;

/// For how long a client that uses its connection all the time still gets answers on it when the
/// process drains, so that it is told to go and not cut off.
const LINGER: Duration = Duration::from_millis(500);

/// How long a connection may take to end once it has nothing more to do.
const ENDING: Duration = Duration::from_secs(5);

/// Serves a connection to its end.
pub(super) async fn serve(front: Arc<Front>, face: Face, accepted: Accepted, drain: Drain) {
    let state = front.state();
    let metrics = Arc::clone(&state.bridge.metrics);
    let activity = Arc::new(Activity::new());
    let header_timeout = state.server.header_timeout;
    let peer = listener::peer(&accepted);
    let opening = open(&state, face, accepted, &activity);
    let opened = tokio::select! {
        opened = tokio::time::timeout(header_timeout, opening) => opened,
        () = drain.reaches(Phase::Draining, LINGER) => return,
    };
    let (stream, protocol) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return tracing::debug!(%error, "a connection was not opened"),
        Err(_) => {
            metrics.limit_hit(Limit::HeaderTimeout);
            return tracing::debug!("a client took too long to open a connection");
        }
    };
    let patience = Patience::new(&state.server);
    let slow_start = Arc::new(SlowStart::new(STREAMS as usize));
    let client =
        service::Client { activity: Arc::clone(&activity), patience, drain: drain.clone(), slow_start, peer };
    let service = TowerToHyperService::new(service::new(face, front, client));
    let io = TokioIo::new(stream);
    match protocol {
        Protocol::Http1 => {
            let connection = http1(&state.server).serve_connection(io, service);
            // The operators of the admin port know what they ended.
            let linger = if face == Face::Admin { Duration::ZERO } else { LINGER };
            let drains = drain.reaches(Phase::Draining, linger);
            watch(pin!(connection), protocol, &activity, patience, drains, &metrics).await;
        }
        Protocol::Http2 => {
            let connection = http2(&state.server).serve_connection(io, service);
            // A client of HTTP/2 is told at once, and no request is lost by that.
            let drains = drain.reaches(Phase::Draining, Duration::ZERO);
            watch(pin!(connection), protocol, &activity, patience, drains, &metrics).await;
        }
    }
}

/// Opens a connection: TLS where it is configured, and what the client speaks.
async fn open(
    state: &State,
    face: Face,
    accepted: Accepted,
    activity: &Arc<Activity>,
) -> io::Result<(Stream, Protocol)> {
    let socket = match accepted {
        Accepted::Unix(stream) => Socket::Unix(stream),
        Accepted::Tcp(stream) => {
            // Without this, replies larger than a segment wait for the client's delayed acknowledgement.
            stream.set_nodelay(true)?;
            match state.tls.as_deref().filter(|_| face != Face::Admin) {
                Some(tls) => {
                    let handshake = state.bridge.metrics.handshake();
                    let tls = TlsAcceptor::from(tls.load_full()).accept(stream).await?;
                    handshake.succeeded();
                    Socket::Tls(Box::new(tls))
                }
                None => Socket::Tcp(stream),
            }
        }
    };
    let mut stream = Stream::new(socket, Arc::clone(activity));
    let protocol = stream.protocol().await?;
    Ok((stream, protocol))
}

/// Lets a connection run, and ends it when there is a reason to.
async fn watch<C: GracefulConnection<Error = hyper::Error>>(
    mut connection: Pin<&mut C>,
    protocol: Protocol,
    activity: &Activity,
    patience: Patience,
    drains: impl Future<Output = ()>,
    metrics: &Metrics,
) {
    let is_http1 = protocol == Protocol::Http1;
    let mut ticks = tokio::time::interval(patience.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut drains = pin!(drains);
    let mut ends: Option<Instant> = None;
    let mut is_draining = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended early");
                }
                return;
            }
            () = drains.as_mut(), if !is_draining => {
                is_draining = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = ticks.tick() => match activity.verdict(patience, is_http1) {
                Verdict::Fine => ends = None,
                Verdict::TooSlow(limit) => {
                    metrics.limit_hit(limit);
                    return tracing::debug!(limit = limit.name(), "a client took too long");
                }
                Verdict::Idle => match ends {
                    None => {
                        metrics.limit_hit(Limit::IdleTimeout);
                        ends = Some(Instant::now() + ENDING);
                        connection.as_mut().graceful_shutdown();
                    }
                    Some(at) if Instant::now() >= at => return,
                    Some(_) => {}
                },
            },
        }
    }
}

fn http1(config: &ServerConfig) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The watchdog tells an idle connection from a slow head, which this timeout does not.
        .header_read_timeout(None)
        .max_header_size(config.max_header_size)
        .max_buf_size(READ_BUFFER.max(config.max_header_size));
    // A number of its own costs an allocation for each request.
    if config.max_headers != ServerConfig::default().max_headers {
        builder.max_headers(config.max_headers);
    }
    builder
}

fn http2(config: &ServerConfig) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_local_error_reset_streams(Some(MISTAKES))
        .max_header_list_size(u32::try_from(config.max_header_size).unwrap_or(u32::MAX));
    builder
}
