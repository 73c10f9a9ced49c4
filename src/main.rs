//! The `tfbridge` program: see `tfbridge --help` and the crate's docs.

use std::process::ExitCode;

fn main() -> ExitCode {
    tfbridge::cli::main()
}
