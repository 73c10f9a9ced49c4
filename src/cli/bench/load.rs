//! When requests are sent: one after the other by a number of workers, or at a rate.
//!
//! At a rate a request has a time at which it is due, whatever became of those before it. If all workers are busy
//! by then it waits for one, and the wait counts: what a stall keeps others from is not left out.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use super::shot::Shot;
use super::summary::time;
use super::tally::Tally;
use crate::error::{Error, Result};

/// How often the line on the terminal is written.
const TICK: Duration = Duration::from_millis(250);

/// How requests are sent.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) shot: Arc<Shot>,
    pub(super) concurrency: usize,
    /// How many are due in a second, if there is a rate.
    pub(super) rate: Option<f64>,
    pub(super) until: Until,
    /// What it is called on the terminal.
    pub(super) label: &'static str,
}

/// When it is enough.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    Time(Duration),
    Count(u64),
}

/// How it went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ran {
    pub(super) time: Duration,
    pub(super) is_interrupted: bool,
    /// How many requests were due and could not be sent in time, where there is a rate.
    pub(super) unsent: u64,
}

/// Requests that are numbered, and when each of them is due.
#[derive(Debug)]
struct Schedule {
    start: Instant,
    next: AtomicU64,
    rate: Option<f64>,
    until: Until,
}

impl Schedule {
    /// When the next request is to be sent; `None` if there is no further one. Without a rate it is due at once.
    fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "nobody waits for 2^53 requests")]
        let due = self.rate.map_or(now, |rate| self.start + Duration::from_secs_f64(number as f64 / rate));
        let is_over = match self.until {
            Until::Count(count) => number >= count,
            Until::Time(time) => due.max(now) >= self.start + time,
        };
        (!is_over).then_some(due)
    }
}

impl Load {
    /// Sends requests until it is enough, or until it is interrupted: then those under way do not count.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if a worker has panicked: what the others have counted is not what was asked for.
    pub(super) async fn run(
        &self,
        tally: Arc<Mutex<Tally>>,
        mut interrupted: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Ran> {
        let start = Instant::now();
        let schedule =
            Arc::new(Schedule { start, next: AtomicU64::new(0), rate: self.rate, until: self.until });
        let mut workers = JoinSet::new();
        for worker in 0..self.concurrency {
            let (shot, schedule, tally) = (Arc::clone(&self.shot), Arc::clone(&schedule), Arc::clone(&tally));
            workers.spawn(async move {
                while let Some(due) = schedule.next() {
                    let is_late = due <= Instant::now();
                    if !is_late {
                        tokio::time::sleep_until(due).await;
                    }
                    // What the timer is late, if a worker was free in time, is not the server's.
                    let begun = if is_late { due } else { Instant::now() };
                    let outcome = shot.fire(worker).await;
                    tally.lock().unwrap_or_else(PoisonError::into_inner).add(begun.elapsed(), outcome);
                }
            });
        }
        let is_shown = std::io::stderr().is_terminal();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_interrupted = false;
        loop {
            tokio::select! {
                () = &mut interrupted => {
                    is_interrupted = true;
                    workers.shutdown().await;
                    break;
                }
                ended = workers.join_next() => match ended {
                    Some(ended) => ended.map_err(|error| broken(&error))?,
                    None => break,
                },
                _ = tick.tick(), if is_shown => {
                    show(&format!("\r\x1b[K{}", self.line(start.elapsed(), &tally)));
                }
            }
        }
        if is_shown {
            show("\r\x1b[K");
        }
        let time = start.elapsed();
        // What an interrupt keeps from being sent is not the server's.
        let due = if is_interrupted { 0 } else { self.due(time) };
        let sent = tally.lock().unwrap_or_else(PoisonError::into_inner).requests();
        Ok(Ran { time, is_interrupted, unsent: due.saturating_sub(sent) })
    }

    /// How many requests were due in this time at the rate, if there is one and no number of them.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates and times are positive, and bounded"
    )]
    fn due(&self, time: Duration) -> u64 {
        match (self.rate, self.until) {
            (Some(rate), Until::Time(limit)) => (time.min(limit).as_secs_f64() * rate) as u64,
            _ => 0,
        }
    }

    /// How it goes, in a line.
    fn line(&self, elapsed: Duration, tally: &Mutex<Tally>) -> String {
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        let (requests, seconds) = (tally.requests(), elapsed.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "it is for people")]
        let rate = requests as f64 / seconds.max(1e-3);
        let of = match self.until {
            Until::Time(limit) => format!("{seconds:.1} of {:.1} s", limit.as_secs_f64()),
            Until::Count(count) => format!("{seconds:.1} s, {requests} of {count}"),
        };
        let (median, late) = (time(tally.quantile(0.5)), time(tally.quantile(0.99)));
        format!("{}: {of}, {rate:.0}/s, p50 {median}, p99 {late}, {} failed", self.label, tally.failed())
    }
}

/// A worker that has not ended by itself.
fn broken(error: &JoinError) -> Error {
    Error::internal(format!("Requests are no longer sent, for the program is at fault: {error}"))
}

/// Writes to the terminal. Nobody to read it is no reason to fail.
fn show(text: &str) {
    let mut terminal = std::io::stderr();
    let _ = terminal.write_all(text.as_bytes());
    let _ = terminal.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_panics_is_an_error() {
        let ended = tokio::spawn(async { assert!(std::hint::black_box(false), "no worker") }).await;
        let error = broken(&ended.unwrap_err());
        assert_eq!(error.code(), tonic::Code::Internal);
        assert!(error.message().contains("panicked"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_due_at_even_intervals_until_it_is_enough() {
        let start = Instant::now();
        let schedule = |rate, until| Schedule { start, next: AtomicU64::new(0), rate, until };
        let limit = Until::Time(Duration::from_secs(1));
        let at_rate = schedule(Some(4.0), limit);
        let due: Vec<_> =
            std::iter::from_fn(|| at_rate.next()).map(|due| (due - start).as_millis()).collect();
        assert_eq!(due, [0, 250, 500, 750]);
        let counted = schedule(None, Until::Count(3));
        assert_eq!(std::iter::from_fn(|| counted.next()).collect::<Vec<_>>(), [start; 3]);
        let (late, timed) = (schedule(Some(100.0), limit), schedule(None, limit));
        tokio::time::advance(Duration::from_millis(900)).await;
        assert_eq!(late.next(), Some(start));
        assert!(timed.next().is_some());
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!((late.next(), timed.next()), (None, None));
    }
}
