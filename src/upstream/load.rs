//! How busy and how fast an endpoint is, as far as the calls through it show.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How fast what was seen is forgotten: to about a third in this time.
const MEMORY: Duration = Duration::from_secs(10);

/// So many latencies it takes for that. What fewer have said is forgotten sooner: the first calls of an
/// endpoint may have met nothing worse than its start.
const CERTAIN: u32 = 50;

/// The weight of a new latency against those before it, if it is shorter and if it is longer. What
/// is slow by nature is slow every time; what is slow by chance is fast the next time.
const DOWN: f64 = 0.5;
const UP: f64 = 0.05;

/// A single latency counts as this many times the average at most: one of them may be chance.
const MOST: f64 = 4.0;

/// Fewer latencies than this say nothing; until then the shortest one is kept.
const ENOUGH: u32 = 3;

/// A latency this many times another one is a slower endpoint, not chance.
const SLOWER: f64 = 3.0;

/// Loads that differ by less than this factor count as equal, so that calls spread.
const CLOSE: f64 = 2.0;

/// The load of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Load {
    in_flight: AtomicUsize,
    latency: Mutex<Option<Latency>>,
}

/// A moving average that leans to the shorter ones, and when it last moved.
#[derive(Debug, Clone, Copy)]
struct Latency {
    seconds: f64,
    seen: Instant,
    /// How many there were.
    count: u32,
}

/// A load at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Snapshot {
    /// Calls that have not been answered.
    pub(super) in_flight: usize,
    /// Seconds of a recent call; zero before enough of them have been answered.
    pub(super) latency: f64,
}

impl Load {
    /// Counts a call in until what is returned is dropped.
    pub(super) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { load: self, start: Instant::now(), answered: false }
    }

    /// The load now. An endpoint that nobody calls is forgotten to be slow: it gets another try.
    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        let latency = *self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        Snapshot {
            in_flight: self.in_flight.load(Ordering::Relaxed),
            latency: latency
                .filter(|latency| latency.count >= ENOUGH)
                .map_or(0.0, |latency| latency.seconds * latency.kept(now)),
        }
    }

    fn observe(&self, start: Instant, only_if_slower: bool) {
        let now = Instant::now();
        let seconds = now.duration_since(start).as_secs_f64();
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        *latency = Some(match *latency {
            None if only_if_slower => return,
            Some(before) if only_if_slower && seconds <= before.seconds => return,
            None => Latency { seconds, seen: now, count: 1 },
            Some(before) => {
                let average = if before.count < ENOUGH {
                    before.seconds.min(seconds)
                } else if seconds < before.seconds {
                    before.seconds + DOWN * (seconds - before.seconds)
                } else {
                    before.seconds + UP * (seconds.min(MOST * before.seconds) - before.seconds)
                };
                Latency { seconds: average, seen: now, count: before.count.saturating_add(1) }
            }
        });
    }
}

impl Latency {
    /// What is left of it in memory.
    fn kept(&self, now: Instant) -> f64 {
        let certainty = f64::from(self.count.min(CERTAIN)) / f64::from(CERTAIN);
        let passed = now.saturating_duration_since(self.seen);
        (-passed.as_secs_f64() / (MEMORY.as_secs_f64() * certainty)).exp()
    }
}

/// A call under way.
#[derive(Debug)]
pub(super) struct InFlight<'a> {
    load: &'a Load,
    start: Instant,
    answered: bool,
}

impl InFlight<'_> {
    /// The request is about to be sent: from now on the time counts.
    pub(super) fn sent(&mut self) {
        self.start = Instant::now();
    }

    /// The call has been answered: its latency counts.
    pub(super) fn answered(mut self) {
        self.answered = true;
        self.load.observe(self.start, false);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !self.answered {
            // It was given up. How long it took in vain says something only if that was long.
            self.load.observe(self.start, true);
        }
    }
}

impl Snapshot {
    /// True if the next call should rather go to the other one.
    pub(super) fn is_worse_than(self, other: Self) -> bool {
        let known = self.latency > 0.0 && other.latency > 0.0;
        // The faster one may well have more calls: once it is busy, it is no longer faster.
        if known && self.latency > SLOWER * other.latency {
            return true;
        }
        if known && other.latency > SLOWER * self.latency {
            return false;
        }
        let (own, others) = (self.cost(), other.cost());
        if known && own > CLOSE * others {
            return true;
        }
        if known && others > CLOSE * own {
            return false;
        }
        self.in_flight > other.in_flight
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody counts calls in flight beyond 2^52")]
    fn cost(self) -> f64 {
        (self.in_flight + 1) as f64 * self.latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_calls_and_shorter_ones_win() {
        let load = |in_flight, latency| Snapshot { in_flight, latency };
        let check = |worse: Snapshot, better: Snapshot| {
            assert!(worse.is_worse_than(better), "{worse:?} {better:?}");
            assert!(!better.is_worse_than(worse), "{worse:?} {better:?}");
        };
        check(load(2, 0.010), load(1, 0.010));
        check(load(2, 0.0), load(1, 0.010));
        check(load(0, 0.100), load(30, 0.005));
        check(load(4, 0.010), load(4, 0.004));
        // What is about the same is left to chance.
        assert!(!load(0, 0.010).is_worse_than(load(0, 0.006)));
        assert!(!load(0, 0.006).is_worse_than(load(0, 0.010)));
    }

    #[test]
    fn latency_follows_the_calls_and_is_forgotten() {
        let load = Load::default();
        load.begin().answered();
        assert_eq!(load.snapshot(Instant::now()).latency.to_bits(), 0);
        load.begin().answered();
        load.begin().answered();
        let first = load.snapshot(Instant::now());
        assert_eq!(first.in_flight, 0);
        assert!(first.latency > 0.0);
        // Three calls may be chance.
        assert!(load.snapshot(Instant::now() + MEMORY / 4).latency < first.latency / 20.0);
        for _ in 0..CERTAIN {
            load.begin().answered();
        }
        let certain = load.snapshot(Instant::now());
        let later = load.snapshot(Instant::now() + MEMORY / 4);
        assert!(later.latency > certain.latency / 2.0);
        let later = load.snapshot(Instant::now() + 2 * MEMORY);
        assert!(later.latency < certain.latency / 5.0);
        // A call that is given up at once does not make the endpoint fast.
        drop(load.begin());
        assert!(load.snapshot(Instant::now()).latency >= later.latency);
    }
}
