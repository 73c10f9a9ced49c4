//! `tfbridge man`: the manual, a page for the program and one for each command.
//!
//! The pages are made from what clap knows, so that they say what `--help` says.

use std::fs;
use std::path::{Path, PathBuf};

use clap_mangen::Man;

use super::command_line;
use crate::error::{Error, Result};

// A group has the name of its struct, and so have others.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Arguments {
    /// Write all pages into this directory, which is made if need be; without it, the page of the
    /// program is printed.
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    // The commands with their full names and the flags that all of them have.
    let mut command = command_line::command().disable_help_subcommand(true);
    command.build();
    let Some(directory) = arguments.directory else {
        return super::print(page(&command)?);
    };
    let fails = |path: &Path, error: &std::io::Error| {
        Error::unavailable(format!("Cannot write {}: {error}", path.display()))
    };
    fs::create_dir_all(&directory).map_err(|error| fails(&directory, &error))?;
    for command in [&command].into_iter().chain(command.get_subcommands()) {
        let path = directory.join(format!("{}.1", command.get_display_name().unwrap_or(command.get_name())));
        fs::write(&path, page(command)?).map_err(|error| fails(&path, &error))?;
    }
    Ok(())
}

/// The page of a command, in roff.
fn page(command: &clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone())
        .source(concat!("tfbridge ", env!("TFBRIDGE_VERSION")))
        .render(&mut page)
        .map_err(|error| Error::internal("The page cannot be made").with_source(error))?;
    Ok(page)
}
