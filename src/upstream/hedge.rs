//! When a call that takes long gets a second attempt beside the first: after the latency that
//! only the slowest few calls exceed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How far the estimate moves with one call: far enough to follow a change within some hundred.
const STEP: f64 = 0.05;

/// Second attempts never start sooner than this.
const MIN_DELAY: Duration = Duration::from_millis(1);

/// An estimate of a percentile of the latencies of recent calls.
#[derive(Debug)]
pub(super) struct Hedge {
    /// Between 0 and 1, such as 0.95.
    quantile: f64,
    /// The bits of the estimate in seconds; zero before the first call.
    seconds: AtomicU64,
}

impl Hedge {
    /// For a percentile such as 95.
    pub(super) fn new(percentile: f64) -> Self {
        Self { quantile: percentile / 100.0, seconds: AtomicU64::new(0) }
    }

    /// Takes note of a call that has been answered.
    ///
    /// The estimate goes up a long way for each call above it, and down a short way for each one
    /// below, such that it stays where the percentile is. Lost updates do no harm.
    pub(super) fn observe(&self, latency: Duration) {
        let (seen, estimate) = (latency.as_secs_f64(), self.estimate());
        let next = if estimate == 0.0 {
            seen
        } else if seen > estimate {
            estimate * (1.0 + STEP * self.quantile)
        } else {
            estimate * (1.0 - STEP * (1.0 - self.quantile))
        };
        self.seconds.store(next.to_bits(), Ordering::Relaxed);
    }

    /// How long to wait for the first attempt alone; `None` as long as nothing is known.
    pub(super) fn delay(&self) -> Option<Duration> {
        let estimate = Duration::try_from_secs_f64(self.estimate()).ok()?;
        (!estimate.is_zero()).then(|| estimate.max(MIN_DELAY))
    }

    fn estimate(&self) -> f64 {
        f64::from_bits(self.seconds.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_finds_the_percentile() {
        let hedge = Hedge::new(90.0);
        assert_eq!(hedge.delay(), None);
        // From 1 to 100 ms, in an order without a pattern: the 90th percentile is 90 ms.
        for index in 0..10_000_u64 {
            hedge.observe(Duration::from_millis(1 + index * 37 % 100));
        }
        let delay = hedge.delay().unwrap();
        assert!((75..=99).contains(&delay.as_millis()), "{delay:?}");
    }
}
