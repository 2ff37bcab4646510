//! How a handler says that it failed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use windlass_core::retry::Verdict;
use windlass_core::time::Millis;
use windlass_core::worker::HandlerError;

/// The longest error message that is recorded, in bytes: it travels in every later record of the task.
pub const ERROR_LEN_MAX: usize = 4 * 1_024;

/// A failed attempt. Every standard error becomes one by `?`, to be tried again as the task's policy says. It is no
/// [`std::error::Error`] itself: otherwise that conversion could not exist.
#[derive(Clone, PartialEq, Eq)]
pub struct HandlerFailure {
    message: String,
    verdict: Verdict,
}

impl HandlerFailure {
    /// A failure after which the task's own policy decides.
    pub fn retry(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            verdict: Verdict::Retry,
        }
    }

    /// A failure that no other attempt can mend.
    pub fn fail_now(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            verdict: Verdict::FailNow,
        }
    }

    /// A failure to be tried again after `wait`, if attempts are left.
    pub fn retry_after(message: impl Into<String>, wait: Duration) -> Self {
        let wait = Millis::new(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Self {
            message: message.into(),
            verdict: Verdict::RetryAfter(wait),
        }
    }

    /// What people read.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the handler advises.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The failure as the worker records it, its message cut to [`ERROR_LEN_MAX`].
    pub(super) fn into_error(self) -> HandlerError {
        let end = self.message.floor_char_boundary(ERROR_LEN_MAX);
        HandlerError {
            message: Arc::from(&self.message[..end]),
            verdict: self.verdict,
        }
    }
}

impl<E: std::error::Error> From<E> for HandlerFailure {
    /// Tells the error and everything that caused it.
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::retry(message)
    }
}

impl fmt::Debug for HandlerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.verdict, self.message)
    }
}

impl fmt::Display for HandlerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(text: &str) -> Result<u16, HandlerFailure> {
        Ok(text.parse::<u16>()?)
    }

    #[test]
    fn a_standard_error_becomes_a_failure_to_retry() {
        let failure = port("x").unwrap_err();
        assert_eq!(failure.verdict(), Verdict::Retry);
        assert_eq!(failure.message(), "invalid digit found in string");
    }

    #[test]
    fn the_causes_of_an_error_are_told_with_it() {
        let cause = std::io::Error::other(port("x").unwrap_err().to_string());
        let outer = std::io::Error::other(Outer(cause));
        let failure = HandlerFailure::from(Outer(outer));
        assert_eq!(
            failure.message(),
            "outer: outer: invalid digit found in string"
        );
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let failure = HandlerFailure::fail_now("é".repeat(ERROR_LEN_MAX) + "x");
        let error = failure.into_error();
        assert!(error.message.len() <= ERROR_LEN_MAX);
        assert!(error.message.chars().all(|c| c == 'é'));
        let odd = HandlerFailure::retry("x".to_owned() + &"é".repeat(ERROR_LEN_MAX)).into_error();
        assert_eq!(odd.message.len(), ERROR_LEN_MAX - 1);
    }

    #[test]
    fn a_failure_names_its_own_wait() {
        let failure = HandlerFailure::retry_after("busy", Duration::from_secs(7));
        assert_eq!(failure.verdict(), Verdict::RetryAfter(Millis::from_secs(7)));
    }
}
