//! A histogram of one thread: numbers without locks or atomics, which somebody else adds up.

use std::fmt;

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// The most bounds of a histogram.
const MOST: usize = 20;

/// From 10 microseconds to 30 seconds.
const SECONDS: [f64; MOST] = [
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

/// From 256 bytes to a gibibyte, each four times the one before.
const BYTES: [f64; 12] = [
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// How often values have been within each bound, and their sum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    bounds: &'static [f64],
    /// The last one that is used is for values beyond all bounds.
    counts: [u64; MOST + 1],
    sum: f64,
}

impl Tally {
    /// One of times.
    pub(super) const SECONDS: Self = Self::new(&SECONDS);

    /// One of sizes.
    pub(super) const BYTES: Self = Self::new(&BYTES);

    const fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: [0; MOST + 1], sum: 0.0 }
    }

    /// Counts a value.
    pub(super) fn observe(&mut self, value: f64) {
        let place = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[place] += 1;
        self.sum += value;
    }

    /// Adds what another one of the same bounds has counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }

    /// Writes it as a histogram.
    pub(super) fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        // The library knows the bound that has none by this number.
        let bounds = self.bounds.iter().copied().chain([f64::MAX]);
        let buckets: Vec<_> = bounds.zip(self.counts).collect();
        encoder.encode_histogram::<NoLabelSet>(self.sum, self.counts.iter().sum(), &buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut tally = Tally::BYTES;
        for value in [0.0, 256.0, 257.0, 1e12] {
            tally.observe(value);
        }
        let mut both = tally;
        both.add(&tally);
        assert_eq!((both.counts[0], both.counts[1], both.counts[12]), (4, 2, 2));
        assert_eq!(both.counts.iter().sum::<u64>(), 8);
        assert!((both.sum - 2.0 * (513.0 + 1e12)).abs() < 1e-3);
    }
}
