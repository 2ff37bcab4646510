//! The one binary of Windlass: `windlass --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass::cli::main()
}
