//! How a handler says that it failed.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use windlass_core::retry::Verdict;
use windlass_core::time::Millis;
use windlass_core::worker::HandlerError;

/// The longest error message that is recorded, in bytes: it travels in every later record of the task.
pub const ERROR_LEN_MAX: usize = 4 * 1_024;

/// A failed attempt. Every standard error becomes one by `?`, and so do texts and boxed errors, to be tried again as the
/// task's policy says. It is no [`std::error::Error`] itself: otherwise that conversion could not exist.
#[derive(Clone, PartialEq, Eq)]
pub struct TaskError {
    message: String,
    verdict: Verdict,
}

impl TaskError {
    /// A failure after which the task's own policy decides.
    pub fn retry(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            verdict: Verdict::Retry,
        }
    }

    /// A failure that no other attempt can mend.
    pub fn fail(message: impl Into<String>) -> Self {
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

impl<E: Into<Box<dyn Error>>> From<E> for TaskError {
    /// Tells the error and everything that caused it.
    fn from(error: E) -> Self {
        let error: Box<dyn Error> = error.into();
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

/// A failed attempt on its way through a layer that knows boxed errors only.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct InTransit(TaskError);

impl From<TaskError> for Box<dyn Error + Send + Sync> {
    fn from(failure: TaskError) -> Self {
        Box::new(InTransit(failure))
    }
}

impl TaskError {
    /// What a layer's error means: a failure of the handler that it passed on, or an error of its own.
    pub(super) fn of_layer(error: Box<dyn Error + Send + Sync>) -> Self {
        match error.downcast::<InTransit>() {
            Ok(failure) => failure.0,
            Err(error) => {
                let error: Box<dyn Error> = error;
                error.into()
            }
        }
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.verdict, self.message)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(text: &str) -> Result<u16, TaskError> {
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
        let failure = TaskError::from(Outer(outer));
        assert_eq!(
            failure.message(),
            "outer: outer: invalid digit found in string"
        );
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn texts_and_boxed_errors_become_failures_too() {
        fn text() -> Result<(), TaskError> {
            Err("no room")?
        }
        fn boxed() -> Result<(), TaskError> {
            Ok(Err(anyhow::anyhow!("inner").context("outer"))?)
        }
        assert_eq!(text().unwrap_err().message(), "no room");
        assert_eq!(boxed().unwrap_err().message(), "outer: inner");
    }

    #[test]
    fn a_failure_comes_through_layers_as_it_was() {
        let failure = TaskError::fail("for good");
        assert_eq!(TaskError::of_layer(failure.clone().into()), failure);
        let own = TaskError::of_layer("too slow".into());
        assert_eq!(own, TaskError::retry("too slow"));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let failure = TaskError::fail("é".repeat(ERROR_LEN_MAX) + "x");
        let error = failure.into_error();
        assert!(error.message.len() <= ERROR_LEN_MAX);
        assert!(error.message.chars().all(|c| c == 'é'));
        let odd = TaskError::retry("x".to_owned() + &"é".repeat(ERROR_LEN_MAX)).into_error();
        assert_eq!(odd.message.len(), ERROR_LEN_MAX - 1);
    }

    #[test]
    fn a_failure_names_its_own_wait() {
        let failure = TaskError::retry_after("busy", Duration::from_secs(7));
        assert_eq!(failure.verdict(), Verdict::RetryAfter(Millis::from_secs(7)));
    }
}
