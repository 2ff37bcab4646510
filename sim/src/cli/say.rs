//! What the commands print.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _, stdout};

/// Prints a line. Whoever reads no further, as `head` does, is told no more: the verdict is in the exit code.
pub(super) fn say(line: Arguments<'_>) {
    match writeln!(stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("windlass-sim: what is printed cannot be written: {error}");
        }
        Ok(()) | Err(_) => {}
    }
}
