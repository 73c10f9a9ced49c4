//! What happens on a connection, and whether the client takes too long about it.
//!
//! The connection's socket, its requests and its replies report here; a watchdog asks. Times are
//! milliseconds since the process started. Nothing here ends a connection.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::ServerConfig;
use crate::record::Limit;

/// The piece of a reply that a client must take within the write timeout.
const PIECE: usize = 256 << 10;

/// The time when the process started, near enough.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What there is to say about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All is well.
    Fine,
    /// Nobody has asked for anything for a long time.
    Idle,
    /// The client sends the head of a request, or takes a reply, too slowly for this limit.
    TooSlow(Limit),
}

/// The limits of a connection, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    header: u64,
    idle: u64,
    write: u64,
}

impl Patience {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self {
            header: milliseconds(config.header_timeout),
            idle: milliseconds(config.idle_timeout),
            write: milliseconds(config.write_timeout),
        }
    }

    /// How often to look: often enough to be late by a quarter at most.
    pub(super) fn interval(self) -> Duration {
        let shortest = self.header.min(self.idle).min(self.write);
        Duration::from_millis((shortest / 4).clamp(20, 5_000))
    }
}

/// What happens on a connection.
#[derive(Debug)]
pub(super) struct Activity {
    /// All requests so far, and those that have no reply yet.
    begun: AtomicUsize,
    requests: AtomicUsize,
    /// Since when there are none.
    quiet_since: AtomicU64,
    /// Since when bytes have come in that belong to none of them; 0 if there are no such bytes.
    head_since: AtomicU64,
    /// All bytes that the socket has taken.
    written: AtomicU64,
    /// The replies that have not been written to their end.
    owed: Mutex<Owed>,
}

#[derive(Debug, Default)]
struct Owed {
    next: u64,
    /// By when each must have been taken.
    until: BTreeMap<u64, u64>,
    /// Since when there has been at least one, or a piece was taken, and what was written then.
    since: u64,
    written: u64,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            begun: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            quiet_since: AtomicU64::new(now()),
            head_since: AtomicU64::new(0),
            written: AtomicU64::new(0),
            owed: Mutex::default(),
        }
    }

    /// Bytes have been read.
    pub(super) fn read(&self) {
        if self.requests.load(Ordering::Relaxed) == 0 && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(now(), Ordering::Relaxed);
        }
    }

    /// The socket has taken bytes.
    pub(super) fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How many requests have come in so far.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// A request has come in; it is one until the guard is dropped.
    pub(super) fn request(self: &Arc<Self>) -> Request {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        Request { activity: Arc::clone(self) }
    }

    /// A reply of so many bytes is there to be written; it is owed until the guard is dropped.
    pub(super) fn reply(self: &Arc<Self>, bytes: usize, patience: Patience) -> Reply {
        let pieces = 1 + (bytes / PIECE) as u64;
        let now = now();
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        if owed.until.is_empty() {
            owed.since = now;
            owed.written = self.written.load(Ordering::Relaxed);
        }
        let id = owed.next;
        owed.next += 1;
        owed.until.insert(id, now.saturating_add(patience.write.saturating_mul(pieces)));
        Reply { activity: Arc::clone(self), id }
    }

    /// What there is to say now. `has_heads` tells whether a head of a request is all that can come in
    /// between requests, as it is with HTTP/1.
    pub(super) fn verdict(&self, patience: Patience, has_heads: bool) -> Verdict {
        let now = now();
        {
            let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
            if !owed.until.is_empty() {
                let written = self.written.load(Ordering::Relaxed);
                if written.saturating_sub(owed.written) >= PIECE as u64 {
                    (owed.since, owed.written) = (now, written);
                }
                let is_late = now >= owed.since.saturating_add(patience.write)
                    || owed.until.values().any(|until| now >= *until);
                return if is_late { Verdict::TooSlow(Limit::WriteTimeout) } else { Verdict::Fine };
            }
        }
        if self.requests.load(Ordering::Relaxed) > 0 {
            return Verdict::Fine;
        }
        let head_since = self.head_since.load(Ordering::Relaxed);
        if has_heads && head_since > 0 {
            let is_late = now >= head_since.saturating_add(patience.header);
            return if is_late { Verdict::TooSlow(Limit::HeaderTimeout) } else { Verdict::Fine };
        }
        let quiet_since = self.quiet_since.load(Ordering::Relaxed);
        if now >= quiet_since.saturating_add(patience.idle) { Verdict::Idle } else { Verdict::Fine }
    }
}

/// A request without a reply.
#[derive(Debug)]
pub(super) struct Request {
    activity: Arc<Activity>,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.activity.quiet_since.store(now(), Ordering::Relaxed);
        self.activity.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A reply that has not been written to its end.
#[derive(Debug)]
pub(super) struct Reply {
    activity: Arc<Activity>,
    id: u64,
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.activity.quiet_since.store(now(), Ordering::Relaxed);
        let mut owed = self.activity.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.until.remove(&self.id);
    }
}

/// Notes the time from which the uptime counts.
pub(super) fn start_clock() {
    LazyLock::force(&START);
}

/// How long the process has been running.
pub(super) fn uptime() -> Duration {
    START.elapsed()
}

/// Never 0, which stands for never.
fn now() -> u64 {
    milliseconds(START.elapsed()) + 1
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience(header: u64, idle: u64, write: u64) -> Patience {
        Patience { header, idle, write }
    }

    const LONG: u64 = 1_000_000;

    #[test]
    fn a_quiet_connection_is_idle_after_its_time() {
        let activity = Arc::new(Activity::new());
        assert_eq!(activity.verdict(patience(0, LONG, 0), true), Verdict::Fine);
        assert_eq!(activity.verdict(patience(LONG, 0, LONG), true), Verdict::Idle);
        let request = activity.request();
        assert_eq!(activity.verdict(patience(0, 0, 0), true), Verdict::Fine);
        drop(request);
        assert_eq!(activity.verdict(patience(0, 0, 0), true), Verdict::Idle);
    }

    #[test]
    fn a_head_that_has_begun_must_end() {
        let activity = Arc::new(Activity::new());
        activity.read();
        assert_eq!(activity.verdict(patience(LONG, 0, 0), true), Verdict::Fine);
        assert!(matches!(activity.verdict(patience(0, LONG, LONG), true), Verdict::TooSlow(_)));
        assert_eq!(activity.verdict(patience(0, LONG, LONG), false), Verdict::Fine);
        let request = activity.request();
        activity.read();
        drop(request);
        assert_eq!(activity.verdict(patience(0, LONG, 0), true), Verdict::Fine);
    }

    #[test]
    fn a_reply_must_be_taken() {
        let activity = Arc::new(Activity::new());
        let reply = activity.reply(100, patience(0, 0, LONG));
        assert_eq!(activity.verdict(patience(0, 0, LONG), true), Verdict::Fine);
        assert!(matches!(activity.verdict(patience(0, 0, 0), true), Verdict::TooSlow(_)));
        drop(reply);
        assert_eq!(activity.verdict(patience(0, LONG, 0), true), Verdict::Fine);
        // One that stands still is late, however well others move.
        let _stuck = activity.reply(100, patience(0, 0, 0));
        activity.wrote(PIECE);
        assert!(matches!(activity.verdict(patience(0, 0, LONG), true), Verdict::TooSlow(_)));
    }
}
