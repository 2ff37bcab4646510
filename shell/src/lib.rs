//! Windlass, the library: embed a worker or a client, or run the whole scheduler in your own process.
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
pub mod driver;
#[cfg(not(madsim))]
pub mod executor;
pub mod gateway;
#[cfg(not(madsim))]
pub mod host;
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
pub use windlass_core::gateway::TaskState;
#[cfg(not(madsim))]
pub use windlass_core::ids::{Fence, Priority, TaskId};
#[cfg(not(madsim))]
pub use windlass_core::record::{Json, StopReason};
