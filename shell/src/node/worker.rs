//! A running worker: its machine, and the executor of its handlers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument, debug, info, info_span, warn};
use windlass_core::config::WorkerConfig;
use windlass_core::ids::{Fence, LockAsk, OpId};
use windlass_core::record::StopReason;
use windlass_core::time::Mono;
use windlass_core::worker::{Effect, Exit, Input, LockRefusal, RunEvent, Start, Worker};

use super::{Load, Reins};
use crate::clock::Clock;
use crate::driver::{self, Ports};
use crate::instruments::Runs;
use crate::store::{Answers, StorePort};

/// A worker that runs in this process. Dropping it ends it at once, as a crash would.
#[derive(Debug)]
pub struct WorkerNode {
    reins: Reins<Input>,
    status: Arc<WorkerStatus>,
    measuring: Option<tokio::task::JoinHandle<()>>,
}

/// What a worker is doing, for metrics.
#[derive(Debug, Default)]
pub struct WorkerStatus {
    ready: AtomicBool,
    session_ends: AtomicU64,
    running: AtomicU64,
    holding: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    refused_stale: AtomicU64,
    drift_repaired: AtomicU64,
    slots: AtomicU64,
    runs: Arc<Runs>,
}

impl WorkerStatus {
    /// Whether it takes tasks.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Whether its session lasts beyond `now`, as its own clock reads it. A worker that stands still has none before long.
    pub fn has_session(&self, now: Mono) -> bool {
        now < Mono::from_nanos(self.session_ends.load(Ordering::Relaxed))
    }

    /// Handlers that run.
    pub fn running(&self) -> u64 {
        self.running.load(Ordering::Relaxed)
    }

    /// Handlers that may run at the same time.
    pub fn slots(&self) -> u64 {
        self.slots.load(Ordering::Relaxed)
    }

    /// How long its handlers run.
    pub fn runs(&self) -> &Runs {
        &self.runs
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

    /// How often what it knew of its claims, its own key or its orders was found to differ from the store.
    pub fn drift_repaired(&self) -> u64 {
        self.drift_repaired.load(Ordering::Relaxed)
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
        let repaired = machine.drift_repaired();
        if self.drift_repaired.swap(repaired, Ordering::Relaxed) < repaired {
            warn!(
                repaired,
                "what this worker knew was not what the store holds: the store has lost an event; reading anew"
            );
        }
    }
}

/// What runs a worker's attempts. Every run ends in exactly one event that ends it, and tells nothing after that.
pub trait Runner: Send + 'static {
    /// Starts an attempt. Never waits.
    fn start(&self, start: Start);
    /// Orders a run to stop. Never waits; a run that has ended is left alone.
    fn stop(&self, run: OpId, reason: StopReason);
    /// Answers a run's question for a lock: its fence, or why it does not get it. Never waits.
    fn locked(&self, run: OpId, ask: LockAsk, answer: Result<Fence, LockRefusal>);
    /// Tells that the worker's session lasts for `remaining` from now.
    fn renew(&self, remaining: Duration);
}

/// Where the events of a worker's runs go.
#[derive(Clone)]
pub struct RunEvents {
    inbox: mpsc::UnboundedSender<Input>,
    ended: Arc<dyn Fn(OpId) + Send + Sync>,
}

impl fmt::Debug for RunEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunEvents")
    }
}

impl RunEvents {
    /// Hands over one event. Never waits.
    pub fn tell(&self, run: OpId, event: RunEvent) {
        match &event {
            RunEvent::Completed(_) | RunEvent::Failed(_) | RunEvent::Stopped => (self.ended)(run),
            RunEvent::Progress(_) | RunEvent::Lock { .. } | RunEvent::Unlock { .. } => {}
        }
        // A machine that has ended needs no inputs.
        let _ = self.inbox.send(Input::Run { run, event });
    }
}

/// Is told of every attempt that starts.
pub type StartHook = Arc<dyn Fn(&Start) + Send + Sync>;

impl WorkerNode {
    /// Starts a worker on the store that `client` is a way into, whose attempts run on what `runner` makes.
    /// `config.types` are the types that it runs. No other process may have the same `seed`.
    pub fn launch<R: Runner>(
        client: impl FnOnce(Answers) -> Box<dyn StorePort>,
        runner: impl FnOnce(RunEvents) -> R,
        config: WorkerConfig,
        clock: impl Clock,
        seed: u64,
        hook: Option<StartHook>,
    ) -> Self {
        let span = info_span!("worker", node = %config.id);
        let (inbox, receiver) = mpsc::unbounded_channel();
        let (exit_sender, exit) = oneshot::channel();
        let status = Arc::new(WorkerStatus::default());
        status
            .slots
            .store(u64::from(config.slots), Ordering::Relaxed);
        let (reads, runs) = (clock.clone(), Arc::clone(&status.runs));
        let events = RunEvents {
            inbox: inbox.clone(),
            ended: Arc::new(move |run| runs.end(reads.now().mono, run)),
        };
        let runner = span.in_scope(|| runner(events));
        let answered = inbox.clone();
        let answers = Answers::new(move |op, answer| {
            let _ = answered.send(Input::Store { op, answer });
        });
        let ports = WorkerPorts {
            store: client(answers),
            runner,
            status: Arc::clone(&status),
            clock: clock.clone(),
            hook,
            exit: Some(exit_sender),
        };
        let machine = Worker::new(config, seed, clock.now());
        let driver = tokio::spawn(driver::run(machine, clock, ports, receiver).instrument(span));
        Self {
            reins: Reins {
                inbox,
                exit,
                driver,
            },
            status,
            measuring: None,
        }
    }

    /// Where measurements of the computer go.
    pub fn load_reporter(&self) -> impl Fn(Load) + Send + use<> {
        let inbox = self.reins.inbox.clone();
        move |load| {
            // A machine that has ended needs no inputs.
            let _ = inbox.send(Input::Load {
                cpu_permille: load.cpu_permille,
                memory_bytes: load.memory_bytes,
            });
        }
    }

    /// The same node, which ends `measuring` when it ends.
    #[must_use]
    pub fn with_measuring(mut self, measuring: tokio::task::JoinHandle<()>) -> Self {
        self.measuring = Some(measuring);
        self
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
        if let Some(measuring) = &self.measuring {
            measuring.abort();
        }
    }
}

struct WorkerPorts<R, C> {
    store: Box<dyn StorePort>,
    runner: R,
    status: Arc<WorkerStatus>,
    clock: C,
    hook: Option<StartHook>,
    exit: Option<oneshot::Sender<Exit>>,
}

impl<R: Runner, C: Clock> Ports<Worker> for WorkerPorts<R, C> {
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
                    let now = self.clock.now().mono;
                    self.status.runs.begin(now, start.run, &start.kind);
                    self.runner.start(*start);
                }
                Effect::Stop { run, reason } => self.runner.stop(run, reason),
                Effect::Locked { run, ask, fence } => self.runner.locked(run, ask, Ok(fence)),
                Effect::LockRefused { run, ask, why } => self.runner.locked(run, ask, Err(why)),
                Effect::Fence { at } => {
                    let ends = at.as_nanos();
                    self.status.session_ends.store(ends, Ordering::Relaxed);
                    self.runner.renew(at.since(self.clock.now().mono));
                }
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
