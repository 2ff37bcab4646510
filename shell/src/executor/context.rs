//! What a handler knows of the attempt it runs, and how it hears and is heard.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_core::ids::{Attempt, Fence, OpId, Priority, QueueName, TaskId, TaskType};
use windlass_core::record::{Json, StopReason};
use windlass_core::worker::{RunEvent, Start};

use super::locks::{self, Asks, LockError, LockGuard};

/// The longest progress, in bytes of JSON: it is written into the claim again and again.
pub const PROGRESS_LEN_MAX: usize = 4 * 1_024;

/// Where the events of all runs go.
pub(crate) type Events = Arc<dyn Fn(OpId, RunEvent) + Send + Sync>;

/// One run, as the executor sees it: whether it was stopped, and whether it has ended.
pub(crate) struct Control {
    run: OpId,
    stop: CancellationToken,
    reason: OnceLock<StopReason>,
    events: Events,
    /// Held while an event is sent, so that nothing follows the ending.
    ended: Mutex<bool>,
    asks: Mutex<Asks>,
}

impl Control {
    pub(crate) fn new(run: OpId, events: Events) -> Self {
        Self {
            run,
            stop: CancellationToken::new(),
            reason: OnceLock::new(),
            events,
            ended: Mutex::new(false),
            asks: Mutex::default(),
        }
    }

    /// Orders the handler to stop. The first reason stays.
    pub(crate) fn stop(&self, reason: StopReason) {
        let _ = self.reason.set(reason);
        self.stop.cancel();
    }

    /// Tells how the run ended, unless it has been told.
    pub(super) fn end(&self, event: impl FnOnce() -> RunEvent) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if !*ended {
            *ended = true;
            (self.events)(self.run, event());
        }
    }

    /// Tells something of a run that goes on, unless it has ended.
    pub(super) fn say(&self, event: RunEvent) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if !*ended {
            (self.events)(self.run, event);
        }
    }

    /// The run's questions for locks.
    pub(crate) fn asks(&self) -> MutexGuard<'_, Asks> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when the handler is to stop.
    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    pub(super) fn run(&self) -> OpId {
        self.run
    }

    pub(super) fn reason(&self) -> Option<StopReason> {
        self.reason.get().copied()
    }
}

/// The label of a task that carries its W3C trace context.
pub const TRACE_PARENT: &str = "traceparent";

struct Facts {
    task: TaskId,
    kind: TaskType,
    queue: QueueName,
    name: Option<Arc<str>>,
    attempt: Attempt,
    fence: Fence,
    metadata: BTreeMap<String, String>,
    own_trace: Option<String>,
    timeout: Duration,
    deadline: Option<Instant>,
    priority: Priority,
    control: Arc<Control>,
}

/// An attempt, as its handler sees it. Cheap to clone.
#[derive(Clone)]
pub struct Context(Arc<Facts>);

impl Context {
    /// The context of `start`, and its payload. `own_trace` names the span of this very attempt, if it has one.
    pub(crate) fn new(
        start: Start,
        own_trace: Option<String>,
        control: Arc<Control>,
    ) -> (Self, Json) {
        let facts = Facts {
            task: start.task,
            kind: start.kind,
            queue: start.queue,
            name: start.name,
            attempt: start.attempt,
            fence: start.fence,
            metadata: start.metadata,
            own_trace,
            deadline: Instant::now().checked_add(start.timeout.into()),
            timeout: start.timeout.into(),
            priority: start.priority,
            control,
        };
        (Self(Arc::new(facts)), start.payload)
    }

    /// Shows `progress` to people: a number, a text, or whatever serde makes JSON of. The newest wins; some may be
    /// skipped; none is shown once the attempt has ended. What is no JSON, or longer than [`PROGRESS_LEN_MAX`] bytes, is
    /// not shown.
    pub fn progress(&self, progress: impl Serialize) {
        match serde_json::value::to_raw_value(&progress) {
            Ok(json) if json.get().len() <= PROGRESS_LEN_MAX => {
                self.0.control.say(RunEvent::Progress(json.into()));
            }
            Ok(json) => {
                let bytes = json.get().len();
                tracing::warn!(
                    bytes,
                    "progress is not shown: it is longer than {PROGRESS_LEN_MAX} bytes"
                );
            }
            Err(error) => tracing::warn!(%error, "progress is not shown: it is no JSON"),
        }
    }

    /// Takes the lock `name`, which one holder at a time has in the whole cluster, clients of the API included. Waits in
    /// line, in order of arrival, until it has it; whoever gives up waiting leaves the line by dropping the future. An
    /// attempt may hold and wait for [`LOCKS_MAX`](windlass_core::worker::LOCKS_MAX) locks at a time; take them in one
    /// order everywhere, or two attempts wait for each other until their time is over. [`LockGuard`] says what a lock
    /// promises, and what it cannot. A command has no context; it runs `windlass lock run`.
    pub async fn lock(&self, name: &str) -> Result<LockGuard, LockError> {
        locks::take(&self.0.control, name).await
    }

    /// Resolves when the handler is to stop.
    pub async fn cancelled(&self) {
        self.0.control.stopped().await;
    }

    /// Whether the handler is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.control.stop.is_cancelled()
    }

    /// Fires when the handler is to stop. For everything that the handler calls.
    pub fn token(&self) -> &CancellationToken {
        &self.0.control.stop
    }

    /// Why the handler is to stop, if it is.
    pub fn reason(&self) -> Option<StopReason> {
        self.0.control.reason()
    }

    /// Which task.
    pub fn task(&self) -> TaskId {
        self.0.task
    }

    /// The task's type.
    pub fn kind(&self) -> &TaskType {
        &self.0.kind
    }

    /// Where the task waited.
    pub fn queue(&self) -> &QueueName {
        &self.0.queue
    }

    /// What people call the task.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// How many attempts there were, this one included.
    pub fn attempt(&self) -> Attempt {
        self.0.attempt
    }

    /// Larger than that of every earlier attempt: whatever this handler writes to should refuse smaller ones.
    pub fn fence(&self) -> Fence {
        self.0.fence
    }

    /// The task's labels.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    /// How long the attempt may run before it is stopped.
    pub fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// When the attempt is stopped because its time is over, as this process knows it; nothing if that is beyond what
    /// its clock can tell.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// How urgent the task is.
    pub fn priority(&self) -> Priority {
        self.0.priority
    }

    /// The trace that the task belongs to, as W3C's `traceparent` spells it, for whatever the handler calls. Where the
    /// worker exports traces, it names the span of this attempt, else what the task carries.
    pub fn trace_parent(&self) -> Option<&str> {
        let own = self.0.own_trace.as_ref();
        own.or_else(|| self.0.metadata.get(TRACE_PARENT))
            .map(String::as_str)
    }

    pub(super) fn run(&self) -> OpId {
        self.0.control.run
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("task", &self.0.task)
            .field("kind", &self.0.kind)
            .field("attempt", &self.0.attempt)
            .field("fence", &self.0.fence)
            .field("reason", &self.reason())
            .finish_non_exhaustive()
    }
}
