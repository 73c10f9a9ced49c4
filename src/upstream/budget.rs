//! How many further attempts are allowed: a share of the calls, so that a pool in trouble is not
//! finished off by those who try again.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one further attempt takes: the unit is a thousandth of it.
const ATTEMPT: u64 = 1000;

/// How many attempts can be saved up, which is also what there is in the beginning.
const SAVED: u64 = 100;

/// The budget of a pool.
#[derive(Debug)]
pub(super) struct Budget {
    balance: AtomicU64,
    /// What a call pays in.
    deposit: u64,
}

impl Budget {
    /// A budget of so many further attempts for each call, such as 0.2.
    pub(super) fn new(share: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped before")]
        let deposit = (share.clamp(0.0, 10.0) * 1000.0) as u64;
        let balance = if deposit == 0 { 0 } else { SAVED * ATTEMPT };
        Self { balance: AtomicU64::new(balance), deposit }
    }

    /// Counts a call.
    pub(super) fn deposit(&self) {
        // Not exact when many do it at once, and need not be.
        let balance = self.balance.load(Ordering::Relaxed);
        if balance < SAVED * ATTEMPT {
            self.balance.fetch_add(self.deposit, Ordering::Relaxed);
        }
    }

    /// Takes one further attempt; false if there is none left.
    pub(super) fn withdraw(&self) -> bool {
        let take = |balance: u64| balance.checked_sub(ATTEMPT);
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_attempts_are_a_share_of_the_calls() {
        let budget = Budget::new(0.2);
        let withdrawn = |budget: &Budget| (0..1000).take_while(|_| budget.withdraw()).count();
        assert_eq!(withdrawn(&budget), 100);
        (0..50).for_each(|_| budget.deposit());
        assert_eq!(withdrawn(&budget), 10);
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!(withdrawn(&budget), 100);
        assert_eq!(withdrawn(&Budget::new(0.0)), 0);
    }
}
