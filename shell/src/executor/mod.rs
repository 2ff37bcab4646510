//! Runs attempts: [`Handlers`] says with what, [`Executor`] starts and stops them. It decides nothing: when an attempt
//! starts, when it is stopped and what follows from its end is the worker machine's.
//!
//! Each start is answered by exactly one ending event, whatever the handler does: return, panic, be dropped with its
//! runtime, or die with its process. Nothing follows the ending.

mod context;
mod failure;
pub mod guardian;
mod handlers;
mod locks;
mod process;
mod service;
mod stock;

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tracing::{Instrument, Span, info_span};
use windlass_core::ids::{Fence, LockAsk, OpId};
use windlass_core::record::{Json, StopReason};
use windlass_core::worker::{LockRefusal, RunEvent, Start};

pub use self::context::{Context, PROGRESS_LEN_MAX, TRACE_PARENT};
pub(crate) use self::context::{Control, Events};
pub use self::failure::{ERROR_LEN_MAX, TaskError};
use self::handlers::{Handler, Trouble};
pub use self::handlers::{Handlers, RegisterError};
pub use self::locks::{LockError, LockGuard};
pub(crate) use self::service::{AnyLayer, service};
pub use self::service::{Outcome, TaskRequest, TaskService};
use crate::node::Runner;
use crate::trace::{AttemptEnd, AttemptSpan, Traces};

/// The default of [`ExecutorOptions::result_len_max`].
pub const RESULT_LEN_DEFAULT: usize = 256 * 1_024;

/// The largest value of [`ExecutorOptions::result_len_max`]: what a record in the store has room for.
pub const RESULT_LEN_MAX: usize = 1_024 * 1_024;

/// How an executor runs attempts.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// The longest result, in bytes of JSON, at most [`RESULT_LEN_MAX`]. A longer one fails the task.
    pub result_len_max: usize,
    /// How long a command that is to stop has between SIGTERM and SIGKILL; a fenced one has less.
    pub grace: Duration,
    /// How this program is started as a guardian of commands.
    pub guardian: guardian::Launch,
    /// Where the spans of attempts go; there are none unless given.
    pub traces: Option<Traces>,
}

impl Default for ExecutorOptions {
    fn default() -> Self {
        Self {
            result_len_max: RESULT_LEN_DEFAULT,
            grace: Duration::from_secs(2),
            guardian: guardian::Launch::default(),
            traces: None,
        }
    }
}

/// A run that has not ended.
struct Run {
    control: Arc<Control>,
    /// Of the task that runs it, once that is there.
    handle: Option<AbortHandle>,
}

type Runs = Mutex<HashMap<OpId, Run>>;

/// Starts and stops attempts. Cheap to clone. Runs go on when the last clone is dropped; those of its runtime do not
/// outlive that.
#[derive(Clone)]
pub struct Executor {
    handlers: Arc<Handlers>,
    events: Events,
    runs: Arc<Runs>,
    aborted: Arc<AtomicBool>,
    runtime: Handle,
    result_len_max: usize,
    grace: Duration,
    guardian: Option<guardian::Link>,
    traces: Option<Traces>,
}

impl Executor {
    /// An executor that tells `events` what becomes of each run. `events` must not block; it may be called within
    /// [`Executor::start`]. To be called within a tokio runtime, which then runs the handlers.
    pub fn new(
        handlers: Handlers,
        events: impl Fn(OpId, RunEvent) + Send + Sync + Clone + 'static,
        options: ExecutorOptions,
    ) -> Self {
        assert!(
            options.result_len_max <= RESULT_LEN_MAX,
            "a result fits into a record"
        );
        Self {
            events: Arc::new(events),
            runs: Arc::default(),
            aborted: Arc::default(),
            runtime: Handle::current(),
            result_len_max: options.result_len_max,
            grace: options.grace,
            guardian: handlers
                .have_commands()
                .then(|| guardian::Link::open(options.guardian)),
            handlers: Arc::new(handlers),
            traces: options.traces,
        }
    }

    /// Starts an attempt. Never waits.
    pub fn start(&self, start: Start) {
        let (id, limit) = (start.run, self.result_len_max);
        let exported = self.traces.as_ref().map(|traces| traces.process(&start));
        match self.handlers.get(&start.kind) {
            None => {
                let failure = TaskError::retry(format!("no handler for {}", start.kind));
                let event = RunEvent::Failed(failure.into_error());
                (self.events)(id, traced(exported, AttemptEnd::NoHandler, event));
            }
            Some(Handler::Instant(run)) => {
                let result = run(start).map_err(Trouble::Failed);
                let (end, event) = ending(result, limit, None);
                (self.events)(id, traced(exported, end, event));
            }
            Some(Handler::Task(run)) => {
                let (ending, ctx, payload, span) = self.track(start, exported);
                let run = Arc::clone(run);
                // Called within the task: even before its first await it may panic.
                let run = async move { run(payload, ctx).await };
                self.spawn(id, ending.of(limit, run).instrument(span));
            }
            Some(Handler::Process(command)) => {
                let (ending, ctx, payload, span) = self.track(start, exported);
                let link = self.guardian.clone();
                let link = link.expect("a guardian is linked when there are commands");
                let run = process::run(link, command.clone(), payload, ctx, limit, self.grace);
                self.spawn(id, ending.of(limit, run).instrument(span));
            }
        }
    }

    fn spawn(&self, run: OpId, attempt: impl Future<Output = ()> + Send + 'static) {
        let handle = self.runtime.spawn(attempt).abort_handle();
        // A run that has ended meanwhile needs no handle.
        if let Some(tracked) = lock(&self.runs).get_mut(&run) {
            tracked.handle = Some(handle.clone());
        }
        if self.aborted.load(Ordering::SeqCst) {
            handle.abort();
        }
    }

    /// Drops every handler that runs, as the end of the process would, and each that is started later. One that blocks
    /// its thread goes on until it waits for something: [`Executor::live`] tells.
    pub fn abort(&self) {
        self.aborted.store(true, Ordering::SeqCst);
        let handles: Vec<_> = lock(&self.runs)
            .values()
            .filter_map(|run| run.handle.clone())
            .collect();
        for handle in handles {
            handle.abort();
        }
    }

    /// Orders a run to stop. Never waits; a run that has ended is left alone.
    pub fn stop(&self, run: OpId, reason: StopReason) {
        if let Some(control) = self.control(run) {
            control.stop(reason);
        }
    }

    /// Answers a run's question for a lock. Never waits; an answer to nobody is dropped.
    pub fn locked(&self, run: OpId, ask: LockAsk, answer: Result<Fence, LockRefusal>) {
        if let Some(control) = self.control(run) {
            control.asks().answer(ask, answer);
        }
    }

    fn control(&self, run: OpId) -> Option<Arc<Control>> {
        lock(&self.runs)
            .get(&run)
            .map(|run| Arc::clone(&run.control))
    }

    /// Tells that the worker's session lasts for `remaining` from now. Commands are killed when that time is over and
    /// was not renewed, even if this process cannot do anything by then. Before the first call they run unbounded.
    pub fn renew(&self, remaining: Duration) {
        if let Some(link) = &self.guardian {
            link.renew(remaining);
        }
    }

    /// The handlers that it runs.
    pub fn handlers(&self) -> &Handlers {
        &self.handlers
    }

    /// How many runs have been started by a task or process of their own and have not ended.
    pub fn live(&self) -> usize {
        lock(&self.runs).len()
    }

    /// A run that is told of until it has ended: how it ends, what its handler gets, and what its log lines are told with.
    fn track(&self, start: Start, exported: Option<AttemptSpan>) -> (Ending, Context, Json, Span) {
        let run = start.run;
        let control = Arc::new(Control::new(run, Arc::clone(&self.events)));
        let tracked = Run {
            control: Arc::clone(&control),
            handle: None,
        };
        let earlier = lock(&self.runs).insert(run, tracked);
        assert!(earlier.is_none(), "no run is started twice");
        let own_trace = exported.as_ref().and_then(AttemptSpan::trace_parent);
        let (ctx, payload) = Context::new(start, own_trace, Arc::clone(&control));
        let span = span_of(&ctx);
        let ending = Ending {
            control,
            runs: Arc::clone(&self.runs),
            exported,
        };
        (ending, ctx, payload, span)
    }
}

impl Runner for Executor {
    fn start(&self, start: Start) {
        self.start(start);
    }

    fn stop(&self, run: OpId, reason: StopReason) {
        self.stop(run, reason);
    }

    fn locked(&self, run: OpId, ask: LockAsk, answer: Result<Fence, LockRefusal>) {
        self.locked(run, ask, answer);
    }

    fn renew(&self, remaining: Duration) {
        self.renew(remaining);
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("handlers", &self.handlers)
            .field("live", &self.live())
            .finish_non_exhaustive()
    }
}

/// Sees to it that a run ends with one event, even if its task is dropped.
struct Ending {
    control: Arc<Control>,
    runs: Arc<Runs>,
    exported: Option<AttemptSpan>,
}

impl Ending {
    async fn of(mut self, limit: usize, handler: impl Future<Output = Result<Json, Trouble>>) {
        let result = AssertUnwindSafe(handler)
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| {
                let message = format!("the handler panicked: {}", words_of(&*panic));
                Err(Trouble::Panicked(TaskError::retry(message)))
            });
        self.tell(|reason| ending(result, limit, reason));
    }

    fn tell(&mut self, ending: impl FnOnce(Option<StopReason>) -> (AttemptEnd, RunEvent)) {
        lock(&self.runs).remove(&self.control.run());
        let exported = self.exported.take();
        self.control.end(|| {
            let (end, event) = ending(self.control.reason());
            traced(exported, end, event)
        });
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.tell(|reason| {
            let failure = TaskError::retry("the handler was dropped before it ended");
            ending(Err(failure.into()), 0, reason)
        });
    }
}

/// How a run ended. What failed after it was told to stop was stopped; what succeeded nevertheless succeeded.
fn ending(
    result: Result<Json, Trouble>,
    limit: usize,
    stop: Option<StopReason>,
) -> (AttemptEnd, RunEvent) {
    match result {
        Ok(result) if result.as_str().len() > limit => {
            let message = format!(
                "the result has {} bytes, more than the {limit} that are allowed",
                result.as_str().len()
            );
            let event = RunEvent::Failed(TaskError::fail(message).into_error());
            (AttemptEnd::ResultTooLong, event)
        }
        Ok(result) => (AttemptEnd::Completed, RunEvent::Completed(result)),
        Err(Trouble::Failed(_) | Trouble::Panicked(_)) if stop.is_some() => {
            (AttemptEnd::Stopped(stop), RunEvent::Stopped)
        }
        Err(Trouble::Stopped) => (AttemptEnd::Stopped(stop), RunEvent::Stopped),
        Err(Trouble::Failed(failure)) => {
            (AttemptEnd::Failed, RunEvent::Failed(failure.into_error()))
        }
        Err(Trouble::Panicked(failure)) => {
            (AttemptEnd::Panicked, RunEvent::Failed(failure.into_error()))
        }
    }
}

/// Ends the span that is exported of an attempt, if there is one, before anybody hears of the end.
fn traced(exported: Option<AttemptSpan>, end: AttemptEnd, event: RunEvent) -> RunEvent {
    if let Some(exported) = exported {
        let error = match &event {
            RunEvent::Failed(error) => Some(&*error.message),
            RunEvent::Completed(_)
            | RunEvent::Stopped
            | RunEvent::Progress(_)
            | RunEvent::Lock { .. }
            | RunEvent::Unlock { .. } => None,
        };
        exported.end(end, error);
    }
    event
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// What every log line of a handler is told with.
fn span_of(ctx: &Context) -> Span {
    info_span!(
        "task",
        id = %ctx.task(),
        r#type = %ctx.kind(),
        attempt = %ctx.attempt(),
        fence = %ctx.fence(),
        traceparent = ctx.trace_parent(),
    )
}

fn lock(runs: &Runs) -> std::sync::MutexGuard<'_, HashMap<OpId, Run>> {
    runs.lock().unwrap_or_else(PoisonError::into_inner)
}
