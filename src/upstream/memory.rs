//! How many bytes the bodies, tensors and replies of all requests hold, and that it is not too many.
//!
//! Bytes are counted before they are allocated. Nothing here allocates them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::record::Limit;

/// The bytes that there are for all requests. Clones share them.
#[derive(Debug, Clone)]
pub struct Memory {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    limit: usize,
    held: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl Memory {
    /// So many bytes, none of them held.
    #[must_use]
    pub fn new(limit: usize, metrics: &Arc<Metrics>) -> Self {
        let metrics = Arc::clone(metrics);
        Self { pool: Arc::new(Pool { limit, held: AtomicUsize::new(0), metrics }) }
    }

    /// An account of nothing so far.
    #[must_use]
    pub fn account(&self) -> Account {
        Account { memory: self.clone(), held: AtomicUsize::new(0) }
    }

    /// How many bytes are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.pool.held.load(Ordering::Relaxed)
    }
}

/// Bytes that an account holds for an attempt at something: given back unless it succeeds.
#[derive(Debug)]
pub(super) struct Part<'a> {
    account: &'a Account,
    bytes: usize,
}

impl<'a> Part<'a> {
    /// Nothing so far.
    pub(super) fn of(account: &'a Account) -> Self {
        Self { account, bytes: 0 }
    }

    /// Holds so many bytes in all, if it holds fewer.
    ///
    /// # Errors
    ///
    /// As [`Account::hold`].
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.bytes {
            self.account.hold(bytes - self.bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }

    /// Leaves the bytes to the account.
    pub(super) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.account.release(self.bytes);
    }
}

/// The bytes that one request holds, or one reply. They are free again when this is dropped.
#[derive(Debug)]
pub struct Account {
    memory: Memory,
    held: AtomicUsize,
}

impl Account {
    /// Holds more bytes.
    ///
    /// # Errors
    ///
    /// 503 if others hold too many, 413 if there could never be so many; none are held then.
    pub fn hold(&self, bytes: usize) -> Result<()> {
        let Pool { limit, held, metrics } = &*self.memory.pool;
        let add = |held: usize| held.checked_add(bytes).filter(|held| held <= limit);
        if held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok() {
            self.held.fetch_add(bytes, Ordering::Relaxed);
            return Ok(());
        }
        metrics.limit_hit(Limit::Memory);
        let all = self.held().saturating_add(bytes);
        if all > *limit {
            return Err(Error::payload_too_large(format!(
                "The request takes up to {all} bytes of memory, more than the {limit} that there are for all"
            )));
        }
        Err(Error::overloaded("Too much memory is taken by other requests"))
    }

    /// Holds more bytes if that leaves half of all for others: true if it does.
    pub fn hold_if_plenty(&self, bytes: usize) -> bool {
        let Pool { limit, held, .. } = &*self.memory.pool;
        let add = |held: usize| held.checked_add(bytes).filter(|held| *held <= limit / 2);
        let is_held = held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok();
        if is_held {
            self.held.fetch_add(bytes, Ordering::Relaxed);
        }
        is_held
    }

    /// Gives bytes back that were held for nothing.
    pub fn release(&self, bytes: usize) {
        let _ = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            let returned = bytes.min(held);
            self.memory.pool.held.fetch_sub(returned, Ordering::Relaxed);
            Some(held - returned)
        });
    }

    /// Gives back what it holds beyond so many bytes.
    pub fn settle(&self, bytes: usize) {
        self.release(self.held().saturating_sub(bytes));
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Another account with the same memory behind it.
    #[must_use]
    pub fn another(&self) -> Self {
        self.memory.account()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.memory.pool.held.fetch_sub(*self.held.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_comes_back() {
        let memory = Memory::new(100, &Arc::default());
        let (one, other) = (memory.account(), memory.account());
        one.hold(60).unwrap();
        other.hold(40).unwrap();
        assert_eq!(other.hold(1).unwrap_err().status(), 503);
        assert_eq!(other.hold(usize::MAX).unwrap_err().status(), 413);
        assert_eq!((one.held(), other.held(), memory.held()), (60, 40, 100));
        one.release(70);
        assert_eq!((one.held(), memory.held()), (0, 40));
        drop(other);
        assert_eq!(memory.held(), 0);
        let mut attempt = Part::of(&one);
        attempt.grow_to(60).unwrap();
        attempt.grow_to(50).unwrap();
        assert!(attempt.grow_to(101).is_err());
        assert_eq!(memory.held(), 60);
        drop(attempt);
        assert_eq!(memory.held(), 0);
        let mut attempt = Part::of(&one);
        attempt.grow_to(60).unwrap();
        attempt.keep();
        assert_eq!(one.held(), 60);
        one.settle(0);
        assert!(one.hold_if_plenty(50) && !one.hold_if_plenty(1));
        assert_eq!((one.held(), memory.held()), (50, 50));
        one.settle(0);
        one.hold(100).unwrap();
        drop(one);
        assert_eq!(memory.held(), 0);
    }
}
