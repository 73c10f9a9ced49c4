//! How many requests of an HTTP/2 connection are begun at once: more as more of them are answered.
//!
//! A client may send a hundred requests in one packet and be gone before any of them is answered. Those
//! that wait here for a moment cost nothing then. A client that stays notices little of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many requests are begun at once on a new connection.
const FIRST: usize = 8;

/// How long a request waits at most.
const LONGEST: Duration = Duration::from_millis(10);

/// The requests of a connection that may be under way.
#[derive(Debug)]
pub(super) struct SlowStart {
    permits: Semaphore,
    granted: AtomicUsize,
    most: usize,
}

/// A request that has begun.
#[derive(Debug)]
pub(super) struct Begun<'a> {
    slow_start: &'a SlowStart,
    _permit: Option<SemaphorePermit<'a>>,
}

impl SlowStart {
    /// A connection that may have so many requests under way in the end.
    pub(super) fn new(most: usize) -> Self {
        let first = FIRST.min(most);
        Self { permits: Semaphore::new(first), granted: AtomicUsize::new(first), most }
    }

    /// Waits until another request may begin.
    pub(super) async fn begin(&self) -> Begun<'_> {
        let permit = match self.permits.try_acquire() {
            Ok(permit) => Some(permit),
            // After so long it begins in any case.
            Err(_) => tokio::time::timeout(LONGEST, self.permits.acquire()).await.ok().and_then(Result::ok),
        };
        Begun { slow_start: self, _permit: permit }
    }
}

impl Begun<'_> {
    /// It has been answered, so that one more may be under way from now on.
    pub(super) fn answered(self) {
        let SlowStart { permits, granted, most } = self.slow_start;
        if granted.load(Ordering::Relaxed) < *most {
            granted.fetch_add(1, Ordering::Relaxed);
            permits.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_begin_once_others_are_answered() {
        let connection = SlowStart::new(FIRST + 1);
        let start = Instant::now();
        let mut begun = Vec::new();
        for _ in 0..FIRST {
            begun.push(connection.begin().await);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        let late = connection.begin().await;
        assert_eq!(start.elapsed(), LONGEST);
        drop(late);
        // One that is answered makes room for itself and one more, but not beyond the limit.
        for expected in [2, 3] {
            begun.pop().unwrap().answered();
            assert_eq!(connection.permits.available_permits(), expected);
        }
        begun.clear();
        assert_eq!(connection.permits.available_permits(), FIRST + 1);
    }
}
