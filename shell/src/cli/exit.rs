//! What a command's end means to the script that called it.

use std::process::ExitCode;

/// The published exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed, with no better code.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// The server refused it: bad input, or its state forbids it.
    Refused = 4,
    /// No server can be reached, or none can serve at the moment.
    Unreachable = 5,
    /// The time for it ran out; it may still take effect.
    TimedOut = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that has an exit code of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    /// What to say.
    pub message: String,
    /// Whether it is certain that nothing was done, so that the same may be asked again.
    pub undone: bool,
}

impl CliError {
    /// An error that ends the command with `exit`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            undone: false,
        }
    }

    /// The same error, when nothing was done for certain.
    #[must_use]
    pub fn undone(self) -> Self {
        Self {
            undone: true,
            ..self
        }
    }
}

/// The exit code of an error: its own, or [`Exit::Failed`].
pub(super) fn of(error: &anyhow::Error) -> Exit {
    error
        .downcast_ref::<CliError>()
        .map_or(Exit::Failed, |error| error.exit)
}
