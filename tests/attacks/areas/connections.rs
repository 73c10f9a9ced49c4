//! Connections, many of them.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::attack::{Answer, Attack};
use crate::connection::{connect, connect_from};
use crate::http2;

/// How many connections there may be in all here, where the limit of open files allows it.
const MANY: usize = 10_000;

/// The same for those that make the bridge work, and run beside others.
const BUSY: usize = 2000;

/// The same for those that begin to speak, of whom a program that is not optimized gets fewer.
const TALKING: usize = if cfg!(debug_assertions) { 2000 } else { MANY };

/// Files that a process needs besides.
const SPARE: usize = 1000;

/// How many connections to open: [`MANY`], or less where processes may not have so many files.
fn many() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let limit = limit.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX);
    let many = MANY.min(limit.saturating_sub(SPARE));
    if many < MANY {
        println!("only {many} of {MANY} connections: no more than {limit} files may be open");
    }
    many
}

/// Opens so many connections from so many addresses; what fails is left out.
async fn open(bridge: SocketAddr, count: usize, addresses: u32, first: &[u8]) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(count);
    for index in 0..count {
        // Others on this runtime shall get on, too.
        if index % 100 == 0 {
            tokio::task::yield_now().await;
        }
        if let Ok(mut stream) = connect_from(index as u32 % addresses, bridge).await {
            let _ = stream.write_all(first).await;
            streams.push(stream);
        }
    }
    streams
}

/// How many of these connections are closed within some time.
async fn closed(streams: Vec<TcpStream>, limit: Duration) -> usize {
    let mut waiting = tokio::task::JoinSet::new();
    for mut stream in streams {
        waiting.spawn(async move {
            let ended = async { while matches!(stream.read(&mut [0; 256]).await, Ok(1..)) {} };
            let is_closed = tokio::time::timeout(limit, ended).await.is_ok();
            (is_closed, stream)
        });
    }
    // None of them is given up before the last one has had its time.
    let ended = waiting.join_all().await;
    ended.iter().filter(|(is_closed, _)| *is_closed).count()
}

/// Many connections that have said this and no more: all of them are closed in the end.
async fn hold(bridge: SocketAddr, most: usize, first: &'static [u8]) -> Answer {
    let many = many().min(most);
    let streams = open(bridge, many, 40, first).await;
    let opened = streams.len();
    let closed = closed(streams, Duration::from_secs(12)).await;
    match (many - opened, opened - closed) {
        (0, 0) => "closed".to_owned(),
        (refused, open) => format!("{refused} refused, {open} open"),
    }
}

/// Three thousand connections from one address, of which only a thousand may stay.
async fn one_address(bridge: SocketAddr) -> Answer {
    let count = 3000.min(many());
    let streams = open(bridge, count, 1, b"").await;
    let refused = count - streams.len();
    // Long before those that are let in have been silent for too long.
    let closed = refused + closed(streams, Duration::from_millis(300)).await;
    match count - closed {
        0..=1000 => "at most 1000 open".to_owned(),
        open => format!("{open} open"),
    }
}

/// A connection that is closed again, or broken off, as soon as it is there.
async fn come_and_go(bridge: SocketAddr, is_broken: bool) -> Answer {
    let mut stream = connect(bridge).await.unwrap();
    if is_broken {
        stream.set_zero_linger().unwrap();
        drop(stream);
    } else {
        let _ = stream.shutdown().await;
    }
    "left".to_owned()
}

pub fn attacks() -> Vec<Attack> {
    let attack = |name, expect, story| Attack::story("connections", name, expect, story);
    vec![
        attack("10 000 that say nothing", &["closed"], |bridge| Box::pin(hold(bridge, MANY, b"")))
            .attackers(1),
        attack("10 000 that say one letter", &["closed"], |bridge| Box::pin(hold(bridge, TALKING, b"P")))
            .attackers(1),
        attack("10 000 heads without an end", &["closed"], |bridge| {
            Box::pin(hold(
                bridge,
                MANY,
                b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nHost: attacked\r\n",
            ))
        })
        .attackers(1),
        attack("2000 prefaces", &["closed"], |bridge| Box::pin(hold(bridge, BUSY, http2::PREFACE)))
            .attackers(1)
            .slow(),
        attack("2000 requests and then nothing", &["closed"], |bridge| {
            Box::pin(hold(bridge, BUSY, b"GET /v1/models/half_plus_two HTTP/1.1\r\nHost: attacked\r\n\r\n"))
        })
        .attackers(1)
        .slow(),
        attack("3000 from one address", &["at most 1000 open"], |bridge| Box::pin(one_address(bridge)))
            .attackers(1)
            .needs(&["--max-connections-per-address"]),
        attack("come and go", &["left"], |bridge| Box::pin(come_and_go(bridge, false))).attackers(2),
        attack("come and break off", &["left"], |bridge| Box::pin(come_and_go(bridge, true))).attackers(2),
    ]
}
