//! A running worker: its machine, and the executor of its handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument, debug, info, info_span, warn};
use windlass_core::config::WorkerConfig;
use windlass_core::worker::{Effect, Exit, Input, Start, Worker};

use super::{Reins, Store, entropy, load};
use crate::clock::{Clock, SystemClock};
use crate::driver::{self, Ports};
use crate::executor::{Executor, ExecutorOptions, Handlers};
use crate::store::{Answers, StorePort};

/// A worker that runs in this process. Dropping it ends it at once, as a crash would.
#[derive(Debug)]
pub struct WorkerNode {
    reins: Reins<Input>,
    status: Arc<WorkerStatus>,
    measuring: tokio::task::JoinHandle<()>,
}

/// What a worker is doing, for metrics.
#[derive(Debug, Default)]
pub struct WorkerStatus {
    ready: AtomicBool,
    running: AtomicU64,
    holding: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    refused_stale: AtomicU64,
}

impl WorkerStatus {
    /// Whether it takes tasks.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Handlers that run.
    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    /// Claims that it holds.
    pub fn holding(&self) -> u64 {
        self.holding.load(Ordering::Relaxed)
    }

    /// Outcomes that are known to be recorded as completed, in all lives of its id.
    pub fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }

    /// Outcomes that are known to be recorded as failed, in all lives of its id.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Completions and failures that were refused because their claim was gone.
    pub fn refused_stale(&self) -> u64 {
        self.refused_stale.load(Ordering::Relaxed)
    }

    fn look(&self, machine: &Worker) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let totals = machine.totals();
        self.running
            .store(count(machine.running()), Ordering::Relaxed);
        self.holding
            .store(count(machine.holding()), Ordering::Relaxed);
        self.completed.store(totals.completed, Ordering::Relaxed);
        self.failed.store(totals.failed, Ordering::Relaxed);
        self.refused_stale
            .store(totals.refused_stale, Ordering::Relaxed);
    }
}

/// Is told of every attempt that starts.
pub type StartHook = Arc<dyn Fn(&Start) + Send + Sync>;

impl WorkerNode {
    /// Starts a worker on `store` with these handlers; `config.types` is set from them.
    pub fn start(
        store: &Store,
        config: WorkerConfig,
        handlers: Handlers,
        options: ExecutorOptions,
        clock: SystemClock,
    ) -> Self {
        Self::start_with_hook(store, config, handlers, options, clock, None)
    }

    /// The same, and tells `hook` of every attempt that starts.
    pub fn start_with_hook(
        store: &Store,
        mut config: WorkerConfig,
        handlers: Handlers,
        options: ExecutorOptions,
        clock: SystemClock,
        hook: Option<StartHook>,
    ) -> Self {
        config.types = handlers.types().cloned().collect();
        let span = info_span!("worker", node = %config.id);
        let (inbox, receiver) = mpsc::unbounded_channel();
        let (exit_sender, exit) = oneshot::channel();
        let status = Arc::new(WorkerStatus::default());
        let events = inbox.clone();
        let executor = span.in_scope(|| {
            Executor::new(
                handlers,
                move |run, event| {
                    let _ = events.send(Input::Run { run, event });
                },
                options,
            )
        });
        let answered = inbox.clone();
        let answers = Answers::new(move |op, answer| {
            let _ = answered.send(Input::Store { op, answer });
        });
        let ports = WorkerPorts {
            store: store.client(answers),
            executor,
            status: Arc::clone(&status),
            clock: clock.clone(),
            hook,
            exit: Some(exit_sender),
        };
        let machine = Worker::new(config, entropy(), clock.now());
        let driver = tokio::spawn(driver::run(machine, clock, ports, receiver).instrument(span));
        let measured = inbox.clone();
        let measuring = tokio::spawn(load::measure(move |load| {
            let _ = measured.send(Input::Load {
                cpu_permille: load.cpu_permille,
                memory_bytes: load.memory_bytes,
            });
        }));
        Self {
            reins: Reins {
                inbox,
                exit,
                driver,
            },
            status,
            measuring,
        }
    }

    /// What it is doing; may be asked at any time, also after its end.
    pub fn status(&self) -> Arc<WorkerStatus> {
        Arc::clone(&self.status)
    }

    /// Tells it to hand back what is not started, finish the rest, and leave.
    pub fn drain(&self) {
        self.reins.send(Input::Drain);
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> Exit {
        let exit = self.reins.wait().await;
        self.status.ready.store(false, Ordering::Relaxed);
        exit
    }
}

impl Drop for WorkerNode {
    fn drop(&mut self) {
        self.measuring.abort();
    }
}

struct WorkerPorts {
    store: Box<dyn StorePort>,
    executor: Executor,
    status: Arc<WorkerStatus>,
    clock: SystemClock,
    hook: Option<StartHook>,
    exit: Option<oneshot::Sender<Exit>>,
}

impl Ports<Worker> for WorkerPorts {
    fn dispatch(&mut self, machine: &Worker, effects: &mut Vec<Effect>) {
        let ready = machine.is_ready();
        if self.status.ready.swap(ready, Ordering::Relaxed) != ready {
            if ready {
                info!("takes tasks");
            } else {
                warn!("takes no tasks");
            }
        }
        self.status.look(machine);
        for effect in effects.drain(..) {
            match effect {
                Effect::Store(call) => self.store.call(call.op, call.call),
                Effect::Start(start) => {
                    debug!(task = %start.task, attempt = %start.attempt, fence = %start.fence, "starts");
                    if let Some(hook) = &self.hook {
                        hook(&start);
                    }
                    self.executor.start(*start);
                }
                Effect::Stop { run, reason } => self.executor.stop(run, reason),
                Effect::Fence { at } => self.executor.renew(at.since(self.clock.now().mono)),
                Effect::Exit(reason) => {
                    info!(?reason, "ends");
                    if let Some(exit) = self.exit.take() {
                        let _ = exit.send(reason);
                    }
                }
            }
        }
    }
}
