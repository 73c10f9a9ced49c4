//! `tfbridge check-config`: what `serve` would make of its configuration.
//!
//! It reads every file that `serve` would read, but opens no port and connects to nothing.

use std::path::PathBuf;

use clap::ArgMatches;

use super::file::routes::Routes;
use super::{serve, settings};
use crate::error::Result;

// A group has the name of its struct, and `serve::Arguments` has one already.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// The configuration file, in place of that of `--config`.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print the settings in effect as TOML, each with where it comes from.
    #[arg(long)]
    print: bool,
    /// Print the example of a configuration file, with every key and its default.
    #[arg(long)]
    example: bool,
    #[command(flatten)]
    pub(super) serve: serve::Arguments,
}

/// Checks the configuration, and says so. `matches` are what the arguments were made from, with the
/// settings `from_file` among them; `routes` are from there, too.
pub(super) fn run(
    arguments: Arguments,
    matches: &ArgMatches,
    from_file: &[String],
    routes: &Routes,
) -> Result<()> {
    if arguments.example {
        return super::print(settings::example());
    }
    let file = arguments.file.or(arguments.serve.config.clone());
    let name = file.map_or("without a file".to_owned(), |file| file.display().to_string());
    arguments.serve.into_config()?;
    let text = if arguments.print {
        // The first line is a comment here, so that all of it is a file again.
        format!("# {name}: ok\n{}", settings::effective(matches, from_file, routes))
    } else {
        format!("{name}: ok\n")
    };
    super::print(text)
}
