//! `windlass-sim`: simulates deployments under faults, and shows what went wrong.

mod cli;

use std::process::ExitCode;

/// A run makes and drops many small things.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
