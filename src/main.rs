//! The `tfbridge` program: see `tfbridge --help` and the crate's docs.

use std::process::ExitCode;

/// A request allocates on one thread and frees on another all the time, which the system's
/// allocators are slow at, musl's above all. Without transparent huge pages: with them, a large
/// request takes a fifth more memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tfbridge::cli::main()
}
