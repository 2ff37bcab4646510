//! Windlass, the library: workers, clients and whole schedulers inside Rust programs.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use windlass::{Context, Task, TaskError, Worker};
//!
//! #[derive(Serialize, Deserialize)]
//! struct SendEmail { to: String }
//!
//! impl Task for SendEmail {
//!     const TYPE: &'static str = "email.send";
//!     type Output = usize;
//! }
//!
//! async fn send(mail: SendEmail, ctx: Context) -> Result<usize, TaskError> {
//!     ctx.progress("sending");
//!     Ok(mail.to.split(',').count())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), windlass::NodeError> {
//!     Worker::builder().etcd(["http://127.0.0.1:2379"]).slots(8).handler(send).run().await
//! }
//! ```
//!
//! Whoever wants a mail to be sent, in this program or another, asks a scheduler over HTTP:
//!
//! ```no_run
//! # use serde::{Deserialize, Serialize};
//! # use windlass::Task;
//! # #[derive(Serialize, Deserialize)]
//! # struct SendEmail { to: String }
//! # impl Task for SendEmail { const TYPE: &'static str = "email.send"; type Output = usize; }
//! # async fn submit() -> Result<(), Box<dyn std::error::Error>> {
//! let client = windlass::Client::connect("http://127.0.0.1:7070")?;
//! let task = client.submit(&SendEmail { to: "ann@example.org".into() }).key("welcome/ann").await?;
//! let recipients: usize = task.wait().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! An accepted task is never lost. It is started at least once, and its end is recorded exactly once: when a worker
//! vanishes, or its session ends, the task runs again elsewhere, and whatever the former attempt still says is refused. So
//! a handler must bear to be run again, and what it writes to elsewhere should refuse a [fence](Context::fence) that is
//! smaller than one it has seen.
//!
//! # Handlers
//!
//! A [handler](TaskHandler) is an async function of a [`Task`], or of a task and its [`Context`], which tells the attempt,
//! its fence and its deadline, shows progress, and takes locks. Whoever is told to stop ([`Context::cancelled`]) can ask
//! [why](Context::reason): the task was cancelled, its time is over, the session is over, or the worker shuts down.
//!
//! - `?` makes a failure of every error, and the task's policy decides when it is tried again. [`TaskError::fail`] ends the
//!   task, [`TaskError::retry_after`] says when to try again.
//! - A payload that is not what the handler takes fails the task at once, with an error that says what is wrong with it. So
//!   what is added to a payload later should have a `#[serde(default)]`.
//! - Each attempt runs within a span of `tracing` that carries task, attempt and fence.
//! - [`WorkerBuilder::layer`] puts anything that tower has around all handlers.
//!
//! # Whole programs, and tests
//!
//! A [`Scheduler`] with a store of its own, in memory or in a directory, needs no server: everything runs in one process.
//! [`testing`] has the same for tests, where days pass in no time, and runs single handlers with nothing around them.
//!
//! `examples/` has a program for each of these. Beneath them lie the parts that the `windlass` command is made of:
//! [`node`], [`executor`], [`store`], [`api`], and the pure machines of [`core`].
//!
//! With `--cfg madsim` only what drives the machines is built, on a simulated executor, for `windlass-sim shell`.

pub use windlass_core as core;

#[cfg(not(madsim))]
pub mod api;
#[cfg(not(madsim))]
pub mod bench;
#[cfg(not(madsim))]
pub mod cli;
#[cfg(not(madsim))]
pub mod client;
pub mod clock;
#[cfg(not(madsim))]
mod dashboard;
pub mod driver;
#[cfg(not(madsim))]
pub mod executor;
pub mod gateway;
#[cfg(not(madsim))]
pub mod host;
pub mod instruments;
#[cfg(not(madsim))]
pub mod logging;
pub mod node;
#[cfg(not(madsim))]
mod sdk;
#[cfg(not(madsim))]
pub mod store;
#[cfg(not(madsim))]
pub mod testing;
// Of the stores only what the nodes see of them: there they are simulated.
#[cfg(madsim)]
#[path = "store/port.rs"]
pub mod store;
#[cfg(not(madsim))]
mod tls;
#[cfg(not(madsim))]
mod trace;

#[cfg(not(madsim))]
pub use self::client::{Client, ClientError, Submission, TaskHandle, WaitError};
#[cfg(not(madsim))]
pub use self::executor::{Context, Outcome, TaskError, TaskRequest, TaskService};
#[cfg(not(madsim))]
pub use self::host::Store;
#[cfg(not(madsim))]
pub use self::sdk::{
    NodeError, RunningScheduler, RunningWorker, Scheduler, SchedulerBuilder, Task, TaskHandler,
    Worker, WorkerBuilder,
};
#[cfg(not(madsim))]
pub use self::trace::{Collector, CollectorError, Traces};
#[cfg(not(madsim))]
pub use windlass_core::gateway::TaskState;
#[cfg(not(madsim))]
pub use windlass_core::ids::{Fence, Priority, TaskId};
#[cfg(not(madsim))]
pub use windlass_core::record::{Json, StopReason};
