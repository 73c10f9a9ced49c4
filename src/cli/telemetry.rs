//! The flags about what those learn of requests who run the bridge.

use crate::config::TelemetryConfig;

/// What is told of requests.
#[derive(Debug, clap::Args)]
pub(super) struct TelemetryArguments {
    /// Whether to log a line for every request, at the level info.
    #[arg(
        long,
        env = "TFBRIDGE_ACCESS_LOG",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        value_name = "true|false",
        hide_possible_values = true
    )]
    access_log: bool,
}

impl TelemetryArguments {
    /// The configuration.
    pub(super) fn into_config(self) -> TelemetryConfig {
        TelemetryConfig { access_log: self.access_log }
    }
}
