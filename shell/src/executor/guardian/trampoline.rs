//! Becomes a command, after having asked the kernel to kill it when the guardian dies.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// The exit code of a trampoline that could not become the command: that of shells.
const EXEC_FAILED: u8 = 127;

/// What precedes the reason on stderr.
const MARK: &str = "windlass guardian: ";

/// Runs the words in `args` as a command, if the first of them, the guardian's process id, still names the parent.
/// Returns only if it cannot, with the reason.
pub(super) fn main(args: &[OsString]) -> String {
    let [guardian, program, rest @ ..] = args else {
        return "no command".to_owned();
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return format!("cannot bind the command to the guardian: {error}");
    }
    let parent = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if parent.is_none_or(|parent| *guardian != *parent) {
        return "the guardian is gone".to_owned();
    }
    let error = Command::new(program).args(rest).exec();
    format!("cannot run {}: {error}", program.display())
}

/// Tells why this process did not become a guardian or a command.
pub(super) fn fail(message: &str) -> ExitCode {
    // Nobody may be left to read it.
    let _ = writeln!(std::io::stderr(), "{MARK}{message}");
    ExitCode::from(EXEC_FAILED)
}

/// The reason, if this exit code and stderr are those of a trampoline that could not become the command.
pub(in crate::executor) fn is_exec_failure(code: Option<i32>, stderr: &str) -> Option<&str> {
    (code == Some(i32::from(EXEC_FAILED)))
        .then(|| stderr.strip_prefix(MARK))
        .flatten()
}
