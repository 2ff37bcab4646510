//! Workers and schedulers inside other programs.

mod error;
mod handler;
mod running;
mod scheduler;
mod store;
mod task;
mod worker;

use windlass_core::ids::NodeId;
use windlass_core::keyspace::Role;

pub use self::error::NodeError;
pub use self::handler::TaskHandler;
pub use self::running::RunningWorker;
pub(crate) use self::scheduler::launch as launch_scheduler;
pub use self::scheduler::{RunningScheduler, Scheduler, SchedulerBuilder};
pub use self::task::Task;
pub use self::worker::{Worker, WorkerBuilder};
use crate::trace::{Collector, Traces};

/// Where a node's spans go, if its builder was told so by `otlp()`.
fn traces(url: Option<&str>, role: Role, node: &NodeId) -> Result<Option<Traces>, NodeError> {
    let Some(url) = url else { return Ok(None) };
    let collector = url.parse::<Collector>();
    collector
        .and_then(|collector| Traces::export(&collector, role, node))
        .map(Some)
        .map_err(|error| NodeError::option("otlp", error))
}
