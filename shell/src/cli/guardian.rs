//! `windlass guardian`, hidden: what a worker starts to run its commands.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

/// What the worker, or the guardian itself, passes on.
#[derive(Debug, Clone, Args)]
pub struct GuardianArgs {
    /// Everything behind the word `guardian`, as it came
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub args: Vec<OsString>,
}

/// Runs until the worker is gone and every command with it. Called before any thread is started.
pub(super) fn run(_args: &GuardianArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build has no guardian")
}
