//! A worker at work, and what becomes of its handlers when it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::error;
use windlass_core::config::WorkerConfig;
use windlass_core::ids::NodeId;
use windlass_core::worker::Exit;

use super::NodeError;
use crate::clock::Clock;
use crate::executor::{Executor, ExecutorOptions, Handlers};
use crate::host::{self, Store};
use crate::node::{WorkerNode, WorkerStatus};
use crate::trace::Traces;

/// How long handlers that were dropped, because their worker has ended without having stopped them, may take to go.
const ABORT_MAX: Duration = Duration::from_secs(1);
/// How often it is looked whether they are gone.
const ABORT_LOOK: Duration = Duration::from_millis(10);

/// A worker that only lacks its store.
pub(crate) struct Plan {
    pub(super) config: WorkerConfig,
    pub(super) handlers: Handlers,
    pub(super) options: ExecutorOptions,
    pub(super) on_wedged: Arc<dyn Fn() + Send + Sync>,
}

impl Plan {
    /// The worker, at work.
    pub(crate) fn launch(self, store: Store, clock: impl Clock) -> RunningWorker {
        let Self {
            config,
            handlers,
            options,
            on_wedged,
        } = self;
        let id = config.id.clone();
        let traces = options.traces.clone();
        let mut executor = None;
        let node = WorkerNode::launch(
            |answers| store.client(answers),
            |events| {
                let tell = move |run, event| events.tell(run, event);
                executor
                    .insert(Executor::new(handlers, tell, options))
                    .clone()
            },
            config,
            clock,
            host::entropy(),
            None,
        );
        let executor = executor.expect("a node makes its runner when it is launched");
        let load = tokio::spawn(host::measure(node.load_reporter()));
        let node = node.with_measuring(load);
        let status = node.status();
        let stop = CancellationToken::new();
        let life = Life {
            node,
            store,
            handlers: Abandon(executor),
            traces,
            on_wedged,
        };
        RunningWorker {
            id,
            status,
            life: Some(tokio::spawn(life.live(stop.clone()))),
            stop,
        }
    }
}

/// Drops all handlers with itself: they never outlive their worker.
struct Abandon(Executor);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Life {
    node: WorkerNode,
    store: Store,
    handlers: Abandon,
    traces: Option<Traces>,
    on_wedged: Arc<dyn Fn() + Send + Sync>,
}

impl Life {
    async fn live(mut self, stop: CancellationToken) -> Result<(), NodeError> {
        let node = &mut self.node;
        let life = async {
            let by_itself = tokio::select! { biased;
                exit = node.wait() => Some(exit),
                () = stop.cancelled() => None,
            };
            match by_itself {
                Some(exit) => exit,
                None => {
                    node.drain();
                    node.wait().await
                }
            }
        };
        let ended = tokio::select! { biased;
            exit = life => NodeError::of_exit(exit),
            why = self.store.gone() => Err(NodeError::StoreGone(why)),
        };
        drop(self.node);
        if !abandoned(&self.handlers.0).await {
            error!("a handler that blocks its thread goes on, though its worker has ended");
            (self.on_wedged)();
            return Err(NodeError::Ended(Exit::HandlerWedged));
        }
        if let Some(traces) = &self.traces {
            traces.close().await;
        }
        ended
    }
}

/// Drops what handlers still run, as the end of their process would; says whether they are all gone.
async fn abandoned(executor: &Executor) -> bool {
    let mut waited = Duration::ZERO;
    while executor.live() > 0 {
        if waited >= ABORT_MAX {
            return false;
        }
        executor.abort();
        tokio::time::sleep(ABORT_LOOK).await;
        waited += ABORT_LOOK;
    }
    true
}

/// A worker at work. Dropping it ends it at once, as a crash would: what runs is dropped, and runs again elsewhere when
/// the worker's session is over. To end well, [`stop`](Self::stop) it and [`wait`](Self::wait).
#[derive(Debug)]
#[must_use = "a worker ends when this is dropped"]
pub struct RunningWorker {
    id: NodeId,
    status: Arc<WorkerStatus>,
    stop: CancellationToken,
    life: Option<JoinHandle<Result<(), NodeError>>>,
}

impl RunningWorker {
    /// Its id.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// What it is doing, in numbers.
    pub fn status(&self) -> &WorkerStatus {
        &self.status
    }

    /// Tells it to hand back what is not started, finish the rest within the grace, and leave. Returns at once.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for its end, told to or by itself. Nothing is lost when this is dropped and called again; once it has said
    /// how the worker ended, it says no more than that it has.
    pub async fn wait(&mut self) -> Result<(), NodeError> {
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        let ended = life.await.unwrap_or(Err(NodeError::Dropped));
        self.life = None;
        ended
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        if let Some(life) = &self.life {
            life.abort();
        }
    }
}
