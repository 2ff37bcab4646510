//! Which task types a worker can run, and with what.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;
use windlass_core::ids::{IdError, TaskType};
use windlass_core::record::Json;
use windlass_core::worker::Start;

use super::context::Context;
use super::failure::TaskError;
use super::service::{TaskRequest, TaskService, service};
use super::stock;

/// Why an attempt has no result.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The handler failed.
    Failed(TaskError),
    /// The handler panicked.
    Panicked(TaskError),
    /// It was ended from outside.
    Stopped,
}

impl From<TaskError> for Trouble {
    fn from(failure: TaskError) -> Self {
        Self::Failed(failure)
    }
}

/// Runs one attempt.
type Run = Arc<dyn Fn(Json, Context) -> BoxFuture<'static, Result<Json, Trouble>> + Send + Sync>;

/// What runs attempts of one type.
pub(super) enum Handler {
    /// Answers at once, never waits and never panics: it runs where the order to start it arrives.
    Instant(fn(Start) -> Result<Json, TaskError>),
    /// Runs in a tokio task of its own.
    Task(Run),
    /// Runs a command.
    Process(super::process::CommandLine),
}

/// Why a handler was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Not a name.
    #[error("{0:?} cannot be a task type: {1}")]
    Name(String, #[source] IdError),
    /// The type has a handler already; the stock types always do.
    #[error("the task type {0} has a handler already")]
    Twice(TaskType),
    /// Not a command.
    #[error("{0:?} is not a command: {1}")]
    Command(String, String),
}

/// The task types that a worker can run. The stock types are always among them: `noop`, `echo`, `sleep` and `fail`.
pub struct Handlers(BTreeMap<TaskType, Handler>);

impl Handlers {
    /// The stock types.
    pub fn new() -> Self {
        let stock = stock::handlers().map(|(kind, handler)| {
            let kind = TaskType::new(kind).expect("the stock types have legal names");
            (kind, handler)
        });
        Self(BTreeMap::from(stock))
    }

    /// Runs tasks of the type `kind` with `handler`. A payload that is no `T` fails the task at once; a panic fails
    /// the attempt. The handler shares tokio's threads: what blocks belongs into `spawn_blocking`.
    pub fn add<T, R, F, Fut>(&mut self, kind: &str, handler: F) -> Result<&mut Self, RegisterError>
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize,
        F: Fn(T, Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, TaskError>> + Send + 'static,
    {
        self.add_service(kind, service(handler))
    }

    /// Runs tasks of the type `kind` with `service`.
    pub(crate) fn add_service(
        &mut self,
        kind: &str,
        service: TaskService,
    ) -> Result<&mut Self, RegisterError> {
        let run = move |payload: Json, ctx: Context| {
            let run = service.clone().oneshot(TaskRequest::new(payload, ctx));
            async move { Ok(run.await?) }.boxed()
        };
        self.insert(kind, Handler::Task(Arc::new(run)))
    }

    /// Runs tasks of the type `kind` with the local command `command`, which is split into words and run without a
    /// shell.
    pub fn add_command(&mut self, kind: &str, command: &str) -> Result<&mut Self, RegisterError> {
        self.insert(kind, Handler::Process(command.parse()?))
    }

    /// The same, from the text `TYPE=COMMAND`.
    pub fn add_command_spec(&mut self, spec: &str) -> Result<&mut Self, RegisterError> {
        let (kind, command) = spec.split_once('=').ok_or_else(|| {
            RegisterError::Command(spec.to_owned(), "it must be TYPE=COMMAND".to_owned())
        })?;
        self.add_command(kind, command)
    }

    fn insert(&mut self, kind: &str, handler: Handler) -> Result<&mut Self, RegisterError> {
        let kind =
            TaskType::new(kind).map_err(|error| RegisterError::Name(kind.to_owned(), error))?;
        match self.0.entry(kind) {
            Entry::Occupied(taken) => Err(RegisterError::Twice(taken.key().clone())),
            Entry::Vacant(free) => {
                free.insert(handler);
                Ok(self)
            }
        }
    }

    /// All types, in order.
    pub fn types(&self) -> impl ExactSizeIterator<Item = &TaskType> {
        self.0.keys()
    }

    pub(super) fn get(&self, kind: &TaskType) -> Option<&Handler> {
        self.0.get(kind)
    }
    pub(super) fn have_commands(&self) -> bool {
        self.0
            .values()
            .any(|handler| matches!(handler, Handler::Process(_)))
    }
}

impl Default for Handlers {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The payload as a `T`, or a failure that names both.
pub(super) fn parse<T: DeserializeOwned>(payload: &Json, kind: &TaskType) -> Result<T, TaskError> {
    payload.to().map_err(|error| {
        let wanted = std::any::type_name::<T>();
        TaskError::fail(format!("the payload of {kind} is no {wanted}: {error}"))
    })
}

pub(super) fn spell<R: Serialize>(result: &R) -> Result<Json, TaskError> {
    serde_json::value::to_raw_value(result)
        .map(Json::from)
        .map_err(|error| TaskError::fail(format!("the result is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_has_the_stock_types_in_order() {
        let handlers = Handlers::new();
        let names: Vec<_> = handlers.types().map(TaskType::as_str).collect();
        assert_eq!(names, ["echo", "fail", "noop", "sleep"]);
    }

    #[test]
    fn a_type_has_one_handler() {
        let mut handlers = Handlers::new();
        handlers.add_command("a", "true").unwrap();
        let again = handlers.add("a", |(): (), _| async { Ok(()) });
        assert!(matches!(again, Err(RegisterError::Twice(_))));
        assert!(matches!(
            handlers.add_command("noop", "true"),
            Err(RegisterError::Twice(_))
        ));
    }

    #[test]
    fn a_spec_that_is_no_type_and_command_is_refused() {
        for bad in [
            "",
            "a",
            "=true",
            "a=",
            "a=  ",
            "a b=true",
            "a='",
            "a=x\0y",
            "../a=true",
        ] {
            assert!(Handlers::new().add_command_spec(bad).is_err(), "{bad:?}");
        }
        let mut handlers = Handlers::new();
        handlers.add_command_spec("a=sh -c 'echo \"x=1\"'").unwrap();
        assert_eq!(handlers.types().len(), 5);
    }
}
