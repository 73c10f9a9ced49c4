//! `tfbridge completions`: scripts that let a shell complete our command line.
//!
//! They are made from what clap knows, and only printed: where they belong differs from system to system.

use clap_complete::Shell;

use super::command_line;
use crate::error::Result;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell that the script is for.
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command_line::command(), "tfbridge", &mut script);
    super::print(script)
}
