//! Whether an endpoint gets calls, and for how long it does not after it has failed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an endpoint is left out at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// An endpoint that has been well for this long starts over with short pauses.
const WELL: Duration = Duration::from_secs(10);

/// Whether an endpoint gets calls.
#[derive(Debug, Default)]
pub(super) struct Health {
    state: Mutex<State>,
    /// A copy that is read without the lock.
    ejected: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    unavailable_in_a_row: u32,
    /// How often it was ejected without being well for long in between.
    ejections: u32,
    well_since: Option<Instant>,
}

impl Health {
    /// True while the endpoint is left out.
    pub(super) fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a good sign: an ejected endpoint gets calls again.
    pub(super) fn is_well(&self) {
        let mut state = self.state();
        state.unavailable_in_a_row = 0;
        if self.ejected.swap(false, Ordering::Relaxed) {
            state.well_since = Some(Instant::now());
        }
    }

    /// Takes note of a refusal, and says how many there were in a row.
    pub(super) fn is_unavailable(&self) -> u32 {
        let mut state = self.state();
        state.unavailable_in_a_row += 1;
        state.unavailable_in_a_row
    }

    /// Leaves the endpoint out, and says for how long at first.
    pub(super) fn eject(&self) -> Duration {
        let mut state = self.state();
        if state.well_since.is_some_and(|since| since.elapsed() >= WELL) {
            state.ejections = 0;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << state.ejections.min(10)).min(LONGEST_PAUSE);
        state.ejections += 1;
        state.unavailable_in_a_row = 0;
        self.ejected.store(true, Ordering::Relaxed);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_an_endpoint_stays_well() {
        let health = Health::default();
        assert!(!health.is_ejected());
        assert_eq!(health.eject(), FIRST_PAUSE);
        assert!(health.is_ejected());
        health.is_well();
        assert!(!health.is_ejected());
        assert_eq!(health.eject(), 2 * FIRST_PAUSE);
        (0..20).for_each(|_| assert!(health.eject() > FIRST_PAUSE));
        assert_eq!(health.eject(), LONGEST_PAUSE);
        health.is_well();
        health.state().well_since = Instant::now().checked_sub(WELL);
        assert_eq!(health.eject(), FIRST_PAUSE);
    }
}
