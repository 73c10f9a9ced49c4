//! The flag about the page for people.

/// Whether the API explains itself.
#[derive(Debug, clap::Args)]
pub(super) struct DocsArguments {
    /// Whether to serve the page at `/docs`, which shows the models and lets people try them, and the description of
    /// the API at `/openapi.json`.
    #[arg(
        long,
        env = "TFBRIDGE_DOCS",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        value_name = "true|false",
        hide_possible_values = true
    )]
    pub(super) docs: bool,
}
