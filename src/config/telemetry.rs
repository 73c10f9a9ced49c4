//! What is told of requests besides their answers: the access log.

/// What those learn who run the bridge.
#[derive(Debug, Clone, PartialEq)]
pub struct TelemetryConfig {
    /// Whether there is a line in the log for every request.
    pub access_log: bool,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { access_log: true }
    }
}
