//! What is counted when it ends: guards, which count upon being dropped, whatever the reason.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use tonic::Code;

use super::Metrics;

/// One of the things that a gauge counts.
#[derive(Debug)]
pub struct Present<'a>(&'a Gauge);

impl<'a> Present<'a> {
    pub(super) fn enter(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// An attempt at a call to a backend, which is counted when this is dropped.
#[derive(Debug)]
pub struct BackendCall<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) code: Code,
    pub(super) deadline: Option<Instant>,
}

impl BackendCall<'_> {
    /// It has ended with this code.
    pub fn ended(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for BackendCall<'_> {
    fn drop(&mut self) {
        // A backend that was told of the same deadline may have cancelled the call a moment before.
        const MOMENT: Duration = Duration::from_millis(5);
        let is_late = || self.deadline.is_some_and(|deadline| Instant::now() + MOMENT >= deadline);
        let code = match self.code {
            Code::Cancelled if is_late() => Code::DeadlineExceeded,
            code => code,
        };
        self.metrics.backend_calls[code as usize].inc();
    }
}

/// A connection that is open.
#[derive(Debug)]
pub struct Connected {
    pub(super) metrics: Arc<Metrics>,
    pub(super) face: usize,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.metrics.connections[self.face].dec();
    }
}

/// A TLS handshake, which is counted when this is dropped.
#[derive(Debug)]
pub struct Handshake<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) outcome: usize,
}

impl Handshake<'_> {
    /// Client and bridge have agreed.
    pub fn succeeded(mut self) {
        self.outcome = 0;
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.metrics.handshakes[self.outcome].inc();
    }
}
