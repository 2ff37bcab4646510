//! A whole cluster for one test.

use std::sync::Arc;

use windlass_core::config::ServerConfig;

use super::clock::TokioClock;
use crate::client::Client;
use crate::host::{self, Store};
use crate::node;
use crate::sdk::{NodeError, RunningScheduler, RunningWorker, WorkerBuilder, launch_scheduler};
use crate::store::embedded::MemoryStore;

/// A whole Windlass for one test: a store in memory, a scheduler and a worker, with no file, no network and no thread of
/// their own. What runs are the real machines: tasks are retried, time out, wait in line and are refused as anywhere else.
///
/// With `#[tokio::test(start_paused = true)]` time leaps whenever everything waits: delays and back-offs of hours take
/// no time at all. That needs tokio's feature `test-util`, and handlers that wait for nothing but tokio's clock and each
/// other: while one waits for a socket or a thread, time leaps as well.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use windlass::testing::Windlass;
/// # use windlass::{Task, TaskError, Worker};
/// # #[derive(Serialize, Deserialize)]
/// # struct Double(u32);
/// # impl Task for Double { const TYPE: &'static str = "double"; type Output = u32; }
/// # async fn double(Double(n): Double) -> Result<u32, TaskError> { Ok(n * 2) }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let windlass = Windlass::start(Worker::builder().handler(double)).await?;
/// let task = windlass.client().submit(&Double(21)).await?;
/// assert_eq!(task.wait().await?, 42);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Windlass {
    // Dropped in this order: nobody outlives what it lives on.
    _workers: Vec<RunningWorker>,
    scheduler: RunningScheduler,
    store: Store,
    clock: TokioClock,
}

impl Windlass {
    /// Starts a cluster with one worker. Where the builder says that the store is, does not matter here.
    pub async fn start(worker: WorkerBuilder) -> Result<Self, NodeError> {
        let plan = worker.plan()?;
        let clock = TokioClock::start();
        let store = Store::Memory(Arc::new(MemoryStore::start(clock.clone())));
        let config = ServerConfig::new(host::fresh_id(), node::VERSION.into());
        let mut scheduler = launch_scheduler(store.clone(), config, clock.clone(), None, None);
        scheduler.ready().await?;
        Ok(Self {
            _workers: vec![plan.launch(store.clone(), clock.clone())],
            scheduler,
            store,
            clock,
        })
    }

    /// Starts one more worker: to show what happens between two, or when one of them ends.
    pub fn worker(&self, worker: WorkerBuilder) -> Result<RunningWorker, NodeError> {
        Ok(worker
            .plan()?
            .launch(self.store.clone(), self.clock.clone()))
    }

    /// A client of this cluster.
    pub fn client(&self) -> Client {
        self.scheduler.client()
    }
}
