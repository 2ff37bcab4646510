//! Why a server did not do what it was asked.

/// What kind of failure it was: what a program may decide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was to be sent cannot be spelled, or a server cannot be named so. Nothing was sent.
    Input,
    /// There is no such task, queue or node.
    NotFound,
    /// The server refused it: bad input, its state forbids it, or whoever asks may not do it.
    Refused,
    /// No server can be reached.
    Unreachable,
    /// A server was reached, but cannot serve at the moment.
    Unavailable,
    /// No answer came in time. What was asked for may still happen.
    TimedOut,
    /// Anything else: the server failed, or answered nonsense.
    Failed,
}

impl ErrorKind {
    /// What an answer with this HTTP status means, unless it is a success.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            404 => Self::NotFound,
            408 | 504 => Self::TimedOut,
            400..=499 => Self::Refused,
            502 | 503 => Self::Unavailable,
            _ => Self::Failed,
        }
    }
}

/// Why a server did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    kind: ErrorKind,
    message: String,
    undone: bool,
}

impl ClientError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            undone: false,
        }
    }

    /// The same error, when nothing was done for certain.
    #[must_use]
    pub(crate) fn undone(self) -> Self {
        Self {
            undone: true,
            ..self
        }
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether it is certain that nothing was done, and the same may well succeed a little later.
    pub fn is_undone(&self) -> bool {
        self.undone
    }
}
