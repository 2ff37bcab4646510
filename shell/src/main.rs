//! The one binary of Windlass: `windlass --help`.

use std::process::ExitCode;

/// A task is some hundred small allocations, half of them freed by another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    windlass::cli::main()
}
