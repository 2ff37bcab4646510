//! What may handle tasks.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::executor::{Context, TaskError};

/// An async function that handles tasks: of the task alone, or of the task and its [`Context`].
///
/// `async fn(T) -> Result<R, TaskError>` and `async fn(T, Context) -> Result<R, TaskError>` are handlers, and closures
/// that are called like them. `Args` only tells the two apart, and is always inferred.
///
/// What handlers share (a pool of connections, a client) is captured by a closure:
///
/// ```
/// # use std::sync::Arc;
/// # use windlass::{Context, Task, TaskError, Worker};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct SendEmail { to: String }
/// # impl Task for SendEmail { const TYPE: &'static str = "email.send"; type Output = (); }
/// struct Mailer;
///
/// async fn send(mailer: Arc<Mailer>, task: SendEmail, ctx: Context) -> Result<(), TaskError> {
///     Ok(())
/// }
///
/// let mailer = Arc::new(Mailer);
/// let worker = Worker::builder()
///     .handler(move |task: SendEmail, ctx: Context| send(Arc::clone(&mailer), task, ctx));
/// ```
///
/// A handler shares its threads with all others: what blocks belongs into `tokio::task::spawn_blocking`. A panic is a
/// failed attempt.
#[diagnostic::on_unimplemented(
    message = "this cannot handle tasks",
    label = "not an async function of a task, or of a task and its `Context`, that returns `Result<_, TaskError>`"
)]
pub trait TaskHandler<Args>: Send + Sync + 'static {
    /// What it takes.
    type Input: DeserializeOwned + Send + 'static;
    /// What it returns.
    type Output: Serialize + 'static;
    /// Its run.
    type Future: Future<Output = Result<Self::Output, TaskError>> + Send + 'static;

    /// Handles one attempt of a task.
    fn handle(&self, input: Self::Input, context: Context) -> Self::Future;
}

impl<F, T, R, Fut> TaskHandler<(T,)> for F
where
    F: Fn(T) -> Fut + Send + Sync + 'static,
    T: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
    Fut: Future<Output = Result<R, TaskError>> + Send + 'static,
{
    type Input = T;
    type Output = R;
    type Future = Fut;

    fn handle(&self, input: T, _context: Context) -> Fut {
        self(input)
    }
}

impl<F, T, R, Fut> TaskHandler<(T, Context)> for F
where
    F: Fn(T, Context) -> Fut + Send + Sync + 'static,
    T: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
    Fut: Future<Output = Result<R, TaskError>> + Send + 'static,
{
    type Input = T;
    type Output = R;
    type Future = Fut;

    fn handle(&self, input: T, context: Context) -> Fut {
        self(input, context)
    }
}
