//! Simulated handlers: tasks on the worker's own process, which take time, fail, and do not always stop when told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;
use windlass::node::{RunEvents, Runner};
use windlass_core::ids::{Fence, LockAsk, OpId};
use windlass_core::record::{Json, StopReason};
use windlass_core::retry::Verdict;
use windlass_core::worker::{HandlerError, LockRefusal, RunEvent, Start};

use super::world::{Who, World, lock};

/// What workers can run.
pub(super) const TYPES: [&str; 5] = ["noop", "echo", "sleep", "fail", "stubborn"];

/// How long a well-behaved handler takes to stop.
const STOPS_WITHIN: Duration = Duration::from_millis(5);
/// How long a stubborn one does: less than the margin of the shortest session.
const STUBBORN_FOR: Duration = Duration::from_millis(250);

/// The handlers of one life of a worker.
pub(super) struct Handlers {
    world: Arc<World>,
    who: Who,
    events: RunEvents,
    stops: Arc<Mutex<BTreeMap<OpId, oneshot::Sender<StopReason>>>>,
}

impl Handlers {
    pub(super) fn new(world: &Arc<World>, who: Who, events: RunEvents) -> Self {
        Self {
            world: Arc::clone(world),
            who,
            events,
            stops: Arc::default(),
        }
    }
}

impl Runner for Handlers {
    fn start(&self, start: Start) {
        self.world.handler_starts(self.who, start.task, start.fence);
        let run = start.run;
        let (stop, stopped) = oneshot::channel();
        let earlier = lock(&self.stops).insert(run, stop);
        assert!(earlier.is_none(), "no run is started twice");
        let (world, who) = (Arc::clone(&self.world), self.who);
        let (events, stops) = (self.events.clone(), Arc::clone(&self.stops));
        tokio::spawn(async move {
            let event = perform(&start, stopped).await;
            world.note(format_args!("{who} ends {} {event:?}", start.task));
            lock(&stops).remove(&run);
            events.tell(run, event);
        });
    }

    fn stop(&self, run: OpId, reason: StopReason) {
        self.world
            .note(format_args!("{} stops {} {reason:?}", self.who, run.0));
        if let Some(stop) = lock(&self.stops).remove(&run) {
            // A run that has just ended needs no stopping.
            let _ = stop.send(reason);
        }
    }

    fn locked(&self, run: OpId, ask: LockAsk, answer: Result<Fence, LockRefusal>) {
        // No handler of this tier asks for locks.
        self.world
            .note(format_args!("{} {run:?} {ask} {answer:?}", self.who));
    }

    fn renew(&self, remaining: Duration) {
        self.world
            .note(format_args!("{} may go on for {remaining:?}", self.who));
    }
}

/// What a number in the payload says.
fn number(start: &Start, field: &str) -> Option<u64> {
    let payload: BTreeMap<String, u64> = start.payload.to().ok()?;
    payload.get(field).copied()
}

async fn perform(start: &Start, stopped: oneshot::Receiver<StopReason>) -> RunEvent {
    let takes = Duration::from_millis(number(start, "ms").unwrap_or(0));
    tokio::select! { biased;
        // The other end lives until the run has ended, or was told to stop.
        _ = stopped => {
            let stubborn = start.kind.as_str() == "stubborn";
            sleep(if stubborn { STUBBORN_FOR } else { STOPS_WITHIN }).await;
            RunEvent::Stopped
        }
        () = sleep(takes) => result_of(start),
    }
}

fn result_of(start: &Start) -> RunEvent {
    let times = number(start, "times").unwrap_or(0);
    match start.kind.as_str() {
        "echo" => RunEvent::Completed(start.payload.clone()),
        "fail" if u64::from(start.attempt.0) <= times => RunEvent::Failed(HandlerError {
            message: "as ordered".into(),
            verdict: Verdict::Retry,
        }),
        _ => RunEvent::Completed(Json::null()),
    }
}
