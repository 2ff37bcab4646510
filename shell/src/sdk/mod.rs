//! Workers and schedulers inside other programs.

mod error;
mod handler;
mod running;
mod scheduler;
mod store;
mod task;
mod worker;

pub use self::error::NodeError;
pub use self::handler::TaskHandler;
pub use self::running::RunningWorker;
pub(crate) use self::scheduler::launch as launch_scheduler;
pub use self::scheduler::{RunningScheduler, Scheduler, SchedulerBuilder};
pub use self::task::Task;
pub use self::worker::{Worker, WorkerBuilder};
