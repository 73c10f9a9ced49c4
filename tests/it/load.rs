//! Load on a bridge: clients over kept-alive connections, for a bounded time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::{Client, Response};

/// Held by tests that load the machine or measure time: they run one at a time.
pub static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Fails if something takes longer than this each time of a few. A single time may meet a machine that stands
/// still for a moment, which says nothing of the bridge.
pub async fn check_time(limit: Duration, mut something: impl AsyncFnMut()) {
    const TIMES: usize = 3;
    let mut seen = Vec::new();
    for _ in 0..TIMES {
        let start = Instant::now();
        something().await;
        seen.push(start.elapsed());
        if seen.last().is_some_and(|&time| time < limit) {
            return;
        }
    }
    panic!("{seen:?}, where less than {limit:?} is right");
}

/// What the clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// How many requests got which status and, unless it is 200, which body.
    pub answers: BTreeMap<(u16, String), usize>,
    pub latencies: Vec<Duration>,
}

impl Seen {
    pub fn requests(&self) -> usize {
        self.latencies.len()
    }

    /// The latency that all but one in a hundred stay below.
    pub fn p99(&mut self) -> Duration {
        self.latencies.sort_unstable();
        self.latencies[self.latencies.len() * 99 / 100]
    }

    /// Fails unless all requests were answered with 200.
    pub fn assert_no_failures(&self) {
        let failed: Vec<_> = self.answers.iter().filter(|((status, _), _)| *status != 200).collect();
        assert!(failed.is_empty(), "{failed:?} of {} requests", self.requests());
        assert!(self.requests() > 0);
    }
}

/// Posts a body from so many clients, one request after the other each, until the time is over.
/// Each reply of status 200 goes through `check`.
pub async fn run(
    address: SocketAddr,
    clients: usize,
    time: Duration,
    path: &'static str,
    body: &'static str,
    check: fn(&Response),
) -> Seen {
    let end = Instant::now() + time;
    let mut running = JoinSet::new();
    for _ in 0..clients {
        running.spawn(async move {
            let mut client = Client::connect(address).await;
            let mut seen = Seen::default();
            while Instant::now() < end {
                let start = Instant::now();
                let response = client.post(path, body).await;
                seen.latencies.push(start.elapsed());
                let text = match response.status {
                    200 => {
                        check(&response);
                        String::new()
                    }
                    _ => response.text().to_owned(),
                };
                *seen.answers.entry((response.status, text)).or_default() += 1;
            }
            seen
        });
    }
    let mut all = Seen::default();
    while let Some(seen) = running.join_next().await {
        let seen = seen.unwrap();
        all.latencies.extend(seen.latencies);
        for (answer, count) in seen.answers {
            *all.answers.entry(answer).or_default() += count;
        }
    }
    all
}
