//! Attackers who take their time. They run beside each other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::replies::large;
use crate::attack::{Answer, Attack};
use crate::connection::{PATIENCE, Reader, connect};
use crate::http1::{self, ECHO, HALF, Responses};
use crate::http2::{self, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, SETTINGS, frame};

/// What a connection must come to in the two seconds that a head or a part of a body may take, with
/// something for a machine that is busy.
pub const SOON: Duration = Duration::from_secs(7);

/// The same for connections that are idle, which have three seconds, and then five to end well.
const LATER: Duration = Duration::from_secs(11);

/// How long to wait between two drips.
const DRIP: Duration = Duration::from_millis(100);

/// Sends a start and then the same few bytes again and again; `None` if the connection lasts
/// beyond the limit.
pub async fn drip<S>(
    stream: S,
    start: &[u8],
    drip: &[u8],
    limit: Duration,
    reader: &mut impl Reader,
) -> Option<Duration>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let begin = Instant::now();
    let (mut from, mut to) = tokio::io::split(stream);
    let _ = to.write_all(start).await;
    let mut received = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    while begin.elapsed() < limit {
        tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return Some(begin.elapsed()),
                Ok(length) => {
                    received.extend_from_slice(&buffer[..length]);
                    reader.take(&mut received);
                    let reply = reader.reply();
                    if !reply.is_empty() {
                        let _ = to.write_all(&reply).await;
                    }
                }
            },
            () = tokio::time::sleep(DRIP) => {
                let _ = to.write_all(drip).await;
            }
        }
    }
    None
}

/// The answers of version 1 to a start and drips.
async fn drip1(bridge: SocketAddr, start: Vec<u8>, drops: &[u8], limit: Duration) -> Answer {
    let mut responses = Responses::default();
    let stream = connect(bridge).await.unwrap();
    let end = drip(stream, &start, drops, limit, &mut responses).await;
    responses.answer(crate::connection::End::from(end))
}

/// The answers of version 2 to a start behind the preface, and drips.
async fn drip2(bridge: SocketAddr, start: Vec<u8>, drops: Vec<u8>, limit: Duration) -> Answer {
    drip2_to(Frames::greedy(), bridge, start, drops, limit).await
}

/// The same to a reader of its own.
async fn drip2_to(
    mut frames: Frames,
    bridge: SocketAddr,
    start: Vec<u8>,
    drops: Vec<u8>,
    limit: Duration,
) -> Answer {
    let stream = connect(bridge).await.unwrap();
    let start = [http2::hello(), start].concat();
    let end = drip(stream, &start, &drops, limit, &mut frames).await;
    frames.answer(crate::connection::End::from(end))
}

/// A request after which the client's side is closed.
pub async fn half_closed(bridge: SocketAddr, request: Vec<u8>) -> Answer {
    let mut stream = connect(bridge).await.unwrap();
    let _ = stream.write_all(&request).await;
    let _ = stream.shutdown().await;
    http1::exchange_over(stream, b"", PATIENCE).await
}

/// Asks for some MB and reads a KB now and then; whether the rest still comes in the end.
async fn read_slowly(bridge: SocketAddr, start: Vec<u8>, size: usize) -> Answer {
    // Without a large buffer of its own to take what it does not read.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 2, 1], 0))).unwrap();
    let (mut from, mut to) = socket.connect(bridge).await.unwrap().into_split();
    let mut received = 0;
    let mut buffer = vec![0; 1 << 10];
    let writing = tokio::spawn(async move {
        let _ = to.write_all(&start).await;
        to
    });
    // The time starts with the first byte.
    match tokio::time::timeout(PATIENCE, from.read(&mut buffer)).await {
        Ok(Ok(length @ 1..)) => received += length,
        _ => return "closed".to_owned(),
    }
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(2 * DRIP).await;
        match tokio::time::timeout(DRIP, from.read(&mut buffer)).await {
            Ok(Ok(length @ 1..)) => received += length,
            Ok(_) => return "cut".to_owned(),
            Err(_) => {}
        }
    }
    buffer.resize(1 << 20, 0);
    while let Ok(Ok(length @ 1..)) =
        tokio::time::timeout(Duration::from_secs(1), from.read(&mut buffer)).await
    {
        received += length;
    }
    drop(writing.await);
    if received < size { "cut".to_owned() } else { format!("whole: {received}") }
}

pub fn attacks() -> Vec<Attack> {
    let attack = |name, expect, story| Attack::story("slow", name, expect, story).slow().attackers(20);
    vec![
        attack("a silent connection", &["closed"], |bridge| Box::pin(drip1(bridge, vec![], b"", SOON))),
        attack("one letter and then nothing", &["closed"], |bridge| {
            Box::pin(drip1(bridge, b"P".to_vec(), b"", SOON))
        }),
        attack("the head of a request, a letter at a time", &["closed", "408 closed"], |bridge| {
            Box::pin(drip1(bridge, format!("POST {HALF} HTTP/1.1\r\nHost: attacked\r\nX-Slow: ").into(), b"a", SOON))
        })
        .attackers(200),
        attack("headers without an end, one at a time", &["closed", "408 closed"], |bridge| {
            Box::pin(drip1(bridge, format!("POST {HALF} HTTP/1.1\r\n").into(), b"X-Slow: a\r\n", SOON))
        }),
        attack("empty lines, one at a time", &["closed", "408 closed"], |bridge| {
            Box::pin(drip1(bridge, vec![], b"\r\n", SOON))
        }),
        attack("a body, a byte at a time", &["408 closed"], |bridge| {
            let start = format!("POST {HALF} HTTP/1.1\r\nHost: attacked\r\nContent-Length: 10000\r\n\r\n");
            Box::pin(drip1(bridge, start.into(), b" ", SOON))
        })
        .attackers(200)
        .needs(&["--body-timeout"]),
        attack("a body of chunks, one at a time", &["408 closed"], |bridge| {
            let start = format!("POST {HALF} HTTP/1.1\r\nHost: attacked\r\nTransfer-Encoding: chunked\r\n\r\n");
            Box::pin(drip1(bridge, start.into(), b"1\r\n \r\n", SOON))
        })
        .needs(&["--body-timeout"]),
        attack("a chunk's extension, a letter at a time", &["408 closed"], |bridge| {
            let start = format!("POST {HALF} HTTP/1.1\r\nHost: attacked\r\nTransfer-Encoding: chunked\r\n\r\n1;");
            Box::pin(drip1(bridge, start.into(), b"a", SOON))
        })
        .needs(&["--body-timeout"]),
        attack("trailers, one at a time", &["408 closed"], |bridge| {
            let start = format!("POST {HALF} HTTP/1.1\r\nHost: attacked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
            Box::pin(drip1(bridge, start.into(), b"a: b\r\n", SOON))
        })
        .needs(&["--body-timeout"]),
        attack("a body for nobody, a byte at a time", &["404 closed", "408 closed"], |bridge| {
            let start = "POST /nowhere HTTP/1.1\r\nHost: attacked\r\nContent-Length: 10000\r\n\r\n";
            Box::pin(drip1(bridge, start.into(), b" ", LATER))
        }),
        attack("a body of gzip, a byte at a time", &["408 closed"], |bridge| {
            let start = format!(
                "POST {HALF} HTTP/1.1\r\nHost: attacked\r\nContent-Encoding: gzip\r\nContent-Length: 10000\r\n\r\n"
            );
            Box::pin(drip1(bridge, start.into(), b"\x1f", SOON))
        })
        .needs(&["--body-timeout"]),
        attack("a body that is announced and never comes", &["408 closed"], |bridge| {
            let start = format!("POST {HALF} HTTP/1.1\r\nHost: attacked\r\nContent-Length: 30000000\r\n\r\n");
            Box::pin(drip1(bridge, start.into(), b"", SOON))
        })
        .needs(&["--body-timeout"]),
        attack("a body that waits to be asked for, and never comes", &["100 408 closed"], |bridge| {
            let start = format!(
                "POST {HALF} HTTP/1.1\r\nHost: attacked\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n"
            );
            Box::pin(drip1(bridge, start.into(), b"", SOON))
        })
        .needs(&["--body-timeout"]),
        attack("a connection that is kept for nothing", &["200 closed"], |bridge| {
            let start = "GET /v1/models/half_plus_two HTTP/1.1\r\nHost: attacked\r\n\r\n";
            Box::pin(drip1(bridge, start.into(), b"", LATER))
        }),
        attack("a client that closes its side at once", &["closed"], |bridge| Box::pin(half_closed(bridge, vec![]))),
        attack("a client that closes its side within the head", &["closed", "400 closed"], |bridge| {
            Box::pin(half_closed(bridge, b"GET / HTTP/1.1\r\nHost: attac".to_vec()))
        }),
        attack("a client that asks and closes its side", &["200 closed", "200 open", "closed"], |bridge| {
            Box::pin(half_closed(bridge, http1::post(HALF, "", r#"{"instances":[1.0,2.0]}"#)))
        }),
        attack("the preface, a letter at a time", &["closed"], |bridge| {
            // As far as the first line, of which there is more than there is time.
            Box::pin(async move {
                let mut responses = Responses::default();
                let stream = connect(bridge).await.unwrap();
                let end = drip(stream, b"PRI * HTTP/2.0\r\n\r\nSM\r\n", b"", SOON, &mut responses).await;
                responses.answer(crate::connection::End::from(end))
            })
        }),
        attack("the preface without settings", &["closed", "goaway SETTINGS_TIMEOUT, closed", "goaway NO_ERROR, closed"], |bridge| {
            Box::pin(async move {
                let mut frames = Frames::default();
                let stream = connect(bridge).await.unwrap();
                let end = drip(stream, http2::PREFACE, b"", SOON, &mut frames).await;
                frames.answer(crate::connection::End::from(end))
            })
        })
        .needs(&["--idle-timeout"]),
        attack("settings and then nothing", &["closed", "goaway NO_ERROR, closed"], |bridge| {
            Box::pin(drip2(bridge, vec![], vec![], LATER))
        })
        .needs(&["--idle-timeout"]),
        attack("pings for ever and nothing else", &["closed", "goaway NO_ERROR, closed", "goaway ENHANCE_YOUR_CALM, closed"], |bridge| {
            Box::pin(drip2(bridge, vec![], frame(PING, 0, 0, &[0; 8]), LATER))
        })
        .needs(&["--idle-timeout"]),
        attack("settings for ever and nothing else", &["closed", "goaway NO_ERROR, closed", "goaway ENHANCE_YOUR_CALM, closed"], |bridge| {
            Box::pin(drip2(bridge, vec![], frame(SETTINGS, 0, 0, &[]), LATER))
        })
        .needs(&["--idle-timeout"]),
        attack("a request of version 2 and then nothing", &["200, closed", "200, goaway NO_ERROR, closed"], |bridge| {
            Box::pin(drip2(bridge, http2::predict(1), vec![], LATER))
        })
        .needs(&["--idle-timeout"]),
        attack("headers of version 2 without an end", &["closed", "goaway NO_ERROR, closed"], |bridge| {
            let start = frame(HEADERS, END_STREAM, 1, &http2::head("GET", HALF, &[]));
            Box::pin(drip2_to(Frames::mute(), bridge, start, vec![], LATER))
        })
        .needs(&["--idle-timeout"]),
        attack("continuations, a byte at a time", &["closed", "goaway NO_ERROR, closed", "goaway ENHANCE_YOUR_CALM, closed"], |bridge| {
            let start = frame(HEADERS, END_STREAM, 1, &http2::head("GET", HALF, &[]));
            Box::pin(drip2_to(Frames::mute(), bridge, start, frame(http2::CONTINUATION, 0, 1, &[]), LATER))
        })
        .needs(&["--idle-timeout"]),
        attack("a body of version 2, a byte at a time", &["408, open", "408, closed", "408, reset NO_ERROR, open", "408, reset NO_ERROR, reset STREAM_CLOSED, open"], |bridge| {
            Box::pin(drip2(bridge, http2::open(1), frame(DATA, 0, 1, b" "), Duration::from_secs(4)))
        })
        .needs(&["--body-timeout"]),
        attack("a hundred bodies of version 2 that never come", &["408, open", "408, closed", "408, reset NO_ERROR, open"], |bridge| {
            Box::pin(drip2(bridge, http2::streams(100).flat_map(http2::open).collect(), vec![], Duration::from_secs(4)))
        })
        .attackers(5)
        .needs(&["--body-timeout"]),
        attack("a reply of 10 MB, a KB at a time", &["cut"], |bridge| {
            Box::pin(read_slowly(bridge, large(2_500_000), 10_000_000))
        })
        .attackers(2)
        .needs(&["--write-timeout"]),
        attack("a window that stays closed", &["200, reset CANCEL, open", "200, closed", "200, goaway NO_ERROR, closed", "200, reset NO_ERROR, open", "200, reset INTERNAL_ERROR, open"], |bridge| {
            Box::pin(async move {
                let start = [
                    http2::PREFACE,
                    &http2::settings(&[(1, 0), (4, 0)]),
                    &http2::predict(1),
                ]
                .concat();
                let mut frames = Frames::default();
                let stream = connect(bridge).await.unwrap();
                let end = drip(stream, &start, b"", LATER, &mut frames).await;
                frames.answer(crate::connection::End::from(end))
            })
        })
        .needs(&["--write-timeout"]),
        attack("a window that opens by a byte", &["200, reset CANCEL, open", "200, closed", "200, goaway NO_ERROR, closed", "200, reset NO_ERROR, open", "200, reset INTERNAL_ERROR, open"], |bridge| {
            Box::pin(async move {
                let body = format!("{{\"instances\":[{}1.5]}}", "1.5,".repeat(4000));
                let start = [
                    http2::PREFACE,
                    &http2::settings(&[(1, 0), (4, 0)]),
                    &frame(HEADERS, END_HEADERS, 1, &http2::head("POST", ECHO, &[])),
                    &frame(DATA, END_STREAM, 1, body.as_bytes()),
                ]
                .concat();
                let mut frames = Frames::default();
                let stream = connect(bridge).await.unwrap();
                let open = frame(http2::WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes());
                let end = drip(stream, &start, &open, LATER, &mut frames).await;
                frames.answer(crate::connection::End::from(end))
            })
        })
        .needs(&["--write-timeout"]),
    ]
}
