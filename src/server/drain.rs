//! How far the process is on its way to its end, for all who must know.

use std::time::Duration;

use tokio::sync::watch;

/// How far the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It serves.
    Serving,
    /// It serves, but says that it is not ready, and that connections are not to be used again.
    Leaving,
    /// It finishes what is under way, and takes nothing more.
    Draining,
}

/// The end as those see it who wait for it.
#[derive(Debug, Clone)]
pub(super) struct Drain(watch::Receiver<Phase>);

impl Drain {
    /// The phases of a process that serves, and who sets them.
    pub(super) fn new() -> (watch::Sender<Phase>, Self) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        (sender, Self(receiver))
    }

    /// The phase now.
    pub(super) fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the process has come to a phase, and for a time after that.
    pub(super) async fn reaches(&self, phase: Phase, and: Duration) {
        let mut receiver = self.0.clone();
        // Who sets the phases has gone: there is nothing more to wait for, and no reason to end.
        if receiver.wait_for(|now| *now >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
        if !and.is_zero() {
            tokio::time::sleep(and).await;
        }
    }
}
