//! The executor with real processes. This program is its own guardian, and its own worker to be killed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "all of this is a test, though not in a form that clippy knows"
)]

mod commands;
mod deaths;
mod rig;
mod rust_handlers;
mod stops;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(word) if word == "guardian" => return windlass::executor::guardian::main(args),
        Some(word) if word == "worker" => return deaths::worker(args),
        _ => {}
    }
    let trials: Vec<Trial> = [
        rust_handlers::trials(),
        commands::trials(),
        stops::trials(),
        deaths::trials(),
    ]
    .into_iter()
    .flatten()
    .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
