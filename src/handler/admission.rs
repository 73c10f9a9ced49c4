//! Which requests are worked on now: so many at once, and a short queue behind them.
//!
//! A request takes its place when all of its body is there, so that a slow client takes nobody's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::ApiConfig;
use crate::error::{Error, Result};
use crate::metrics::{Metrics, Present};
use crate::record::{Limit, Part, Record};

/// The requests that are worked on, and those that wait.
#[derive(Debug)]
pub(super) struct Admission {
    running: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
    patience: Duration,
    metrics: Arc<Metrics>,
}

/// A request's turn; it is worked on until this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
    _present: Present<'a>,
}

impl Admission {
    pub(super) fn new(config: &ApiConfig, metrics: &Arc<Metrics>) -> Self {
        Self {
            running: Semaphore::new(config.max_in_flight.min(Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            most_waiting: config.max_queue,
            patience: config.queue_timeout,
            metrics: Arc::clone(metrics),
        }
    }

    /// Waits for a request's turn.
    ///
    /// # Errors
    ///
    /// 503 if too many wait already, or it would wait too long.
    pub(super) async fn enter(&self, record: &Record) -> Result<Turn<'_>> {
        let turn = |permit| Turn { _permit: permit, _present: self.metrics.in_flight() };
        if let Ok(permit) = self.running.try_acquire() {
            return Ok(turn(permit));
        }
        let too_many = || {
            record.hit(Limit::InFlight);
            Error::overloaded("Too many requests are being worked on")
        };
        let _timer = record.timer(Part::Queue);
        let _place = Place::take(&self.waiting, self.most_waiting).ok_or_else(too_many)?;
        let _queued = self.metrics.queued();
        match tokio::time::timeout(self.patience, self.running.acquire()).await {
            Ok(Ok(permit)) => Ok(turn(permit)),
            // Nobody closes the semaphore, so that it is the time that is up.
            _ => Err(too_many()),
        }
    }
}

/// A place in the queue.
struct Place<'a> {
    waiting: &'a AtomicUsize,
}

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let place = Self { waiting };
        // Given back when the place is dropped.
        (waiting.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_short_in_length_and_time() {
        let config = ApiConfig { max_in_flight: 1, max_queue: 1, ..ApiConfig::default() };
        let admission = Admission::new(&config, &Arc::default());
        let record = Record::new();
        let running = admission.enter(&record).await.unwrap();
        let (waits, is_refused) = tokio::join!(admission.enter(&record), admission.enter(&record));
        assert_eq!(waits.unwrap_err().status(), 503);
        assert!(is_refused.unwrap_err().retry_after());
        let (next, ()) = tokio::join!(admission.enter(&record), async { drop(running) });
        drop(next.unwrap());
        assert!(admission.enter(&record).await.is_ok());
    }
}
