//! The guardian: the process that runs commands for a worker, and outlives it just long enough to kill them.
//!
//! A worker that is killed or frozen can stop nothing any more. So commands are not its children but those of a second
//! process, the same program started anew. Worker and guardian share a socket:
//!
//! - The worker passes the command and its three pipes; what flows through those never passes through the guardian.
//! - When the socket closes, the worker is dead: the guardian kills everything and exits.
//! - When the worker's session was not renewed in time, it may be frozen: the guardian kills everything and stays.
//!   The deadline is a point on the machine's monotonic clock, so that no delay on the way can move it.
//!
//! Each command leads its own process group, which is killed when the command has ended, however it ended: nothing that
//! an attempt has started outlives it. The guardian adopts what leaves its group and its parent (it is their
//! subreaper), and kills that too. If the guardian itself is killed, the kernel kills the commands (by their parent
//! death signal), and the worker kills what they started and starts another guardian.
//!
//! Linux only: it needs subreapers, parent death signals and `/proc`.

mod keeper;
mod link;
mod processes;
mod trampoline;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

pub(super) use self::link::{Link, Running};
pub(super) use self::trampoline::is_exec_failure;
pub(super) use self::wire::{COMMAND_LEN_MAX, End};

/// How long commands have between SIGTERM and SIGKILL when the worker may no longer run them: some other worker may
/// already be running the same task.
pub const FENCED_GRACE: Duration = Duration::from_millis(200);

/// Names the run to which a process belongs, in its environment.
const RUN_VAR: &str = "WINDLASS_RUN";

/// Names the guardian to which a process belongs, in its environment: unlike everything else, that outlives it.
const GUARDIAN_VAR: &str = "WINDLASS_GUARDIAN";

/// The word that makes the guardian's program a trampoline.
const EXEC_WORD: &str = "exec";

/// How to start this program as a guardian: it must then call [`main`] with no arguments, and with every further
/// argument that it is given after these.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// What makes it a guardian.
    pub args: Vec<OsString>,
}

impl Default for Launch {
    /// This very program, with `guardian` as its only argument.
    fn default() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
            args: vec![OsString::from("guardian")],
        }
    }
}

/// Runs the guardian; to be called first of all, from the main thread, before there is any other. `args` are the
/// arguments after those in [`Launch`].
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<_> = args.into_iter().collect();
    let outcome = match args.split_first() {
        None => keeper::main(),
        Some((word, rest)) if word == EXEC_WORD => Err(trampoline::main(rest)),
        Some((word, _)) => Err(format!("unknown argument {}", word.display())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => trampoline::fail(&message),
    }
}
