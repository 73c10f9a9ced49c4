//! The moment by which a request must be answered.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};

/// The moment by which a request must be answered; `None` for no limit.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No limit.
    pub const NEVER: Self = Self(None);

    /// The deadline that lies this far ahead; a zero duration means none, and so does one beyond all
    /// clocks.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self(if timeout.is_zero() { None } else { Instant::now().checked_add(timeout) })
    }

    /// Waits for the future, but not beyond the deadline.
    ///
    /// # Errors
    ///
    /// `DEADLINE_EXCEEDED` once the time is up; `doing` says what was going on.
    pub async fn limit<T>(self, doing: &str, future: impl Future<Output = T>) -> Result<T> {
        let Some(at) = self.0 else { return Ok(future.await) };
        tokio::time::timeout_at(at, future)
            .await
            .map_err(|_| Error::deadline_exceeded(format!("The deadline passed while {doing}")))
    }

    /// The time that is left; `None` for no limit.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// True once the time is up, or so nearly that another clock may say so.
    #[must_use]
    pub fn is_near(self) -> bool {
        self.remaining().is_some_and(|remaining| remaining < Duration::from_millis(5))
    }

    /// The earlier one of this deadline and the one that lies this far behind `start`.
    #[must_use]
    pub fn at_most(self, start: Instant, timeout: Duration) -> Self {
        let other = start.checked_add(timeout);
        Self(match (self.0, other) {
            (Some(at), Some(other)) => Some(at.min(other)),
            (at, other) => at.or(other),
        })
    }
}
