//! `windlass-sim`: simulates deployments under faults, and shows what went wrong.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
