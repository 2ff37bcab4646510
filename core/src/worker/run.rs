//! What a worker asks of the handlers, and what they tell it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Effect;
use super::held::{End, Failed};
use crate::ids::{Attempt, Fence, LockAsk, LockName, OpId, Priority, QueueName, TaskId, TaskType};
use crate::keyspace::Place;
use crate::planted::planted;
use crate::record::{Json, Outcome, StopReason, TaskRecord};
use crate::retry::Verdict;
use crate::steps::Ending;
use crate::time::{Millis, Wall};

/// An attempt that is to start now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Names the execution in all that follows.
    pub run: OpId,
    /// Which task.
    pub task: TaskId,
    /// Selects the handler.
    pub kind: TaskType,
    /// Where it waited.
    pub queue: QueueName,
    /// How urgent it is.
    pub priority: Priority,
    /// What people call it.
    pub name: Option<Arc<str>>,
    /// What the handler gets.
    pub payload: Json,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
    /// When the task was accepted.
    pub created_at: Wall,
    /// How many attempts of this run there were, this one included.
    pub attempt: Attempt,
    /// Larger than that of every earlier attempt.
    pub fence: Fence,
    /// How long it may run; the worker stops it then.
    pub timeout: Millis,
}

/// What a handler tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunEvent {
    /// It succeeded with this result. It has ended.
    Completed(Json),
    /// It failed. It has ended.
    Failed(HandlerError),
    /// It was stopped, and has ended without a result.
    Stopped,
    /// It goes on, and wants people to see this.
    Progress(Json),
    /// It goes on, and wants a lock: it will be told [`Effect::Locked`] or [`Effect::LockRefused`].
    Lock {
        /// Names the question; larger than those before.
        ask: LockAsk,
        /// Which lock.
        lock: LockName,
    },
    /// It goes on, and gives back the lock that it asked for, or waits for it no more.
    Unlock {
        /// The question that it asked.
        ask: LockAsk,
    },
}

/// Why a handler failed, and what it advises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerError {
    /// For people.
    pub message: Arc<str>,
    /// Whether to try again.
    pub verdict: Verdict,
}

/// Handlers that run: each holds a slot until it ends, whatever became of its claim.
#[derive(Debug, Default)]
pub(super) struct Runs(BTreeMap<OpId, Running>);

#[derive(Debug)]
pub(super) struct Running {
    pub(super) place: Place,
    pub(super) fence: Fence,
    task: Box<TaskRecord>,
    started_at: Wall,
    stopping: Option<StopReason>,
}

impl Runs {
    pub(super) fn len(&self) -> usize {
        if planted!("P-slot-freed-at-stop") {
            return self.0.values().filter(|it| it.stopping.is_none()).count();
        }
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn place(&self, run: OpId) -> Option<Place> {
        self.0.get(&run).map(|running| running.place)
    }

    /// The attempt that the run is of.
    pub(super) fn attempt(&self, run: OpId) -> Option<(Place, Fence)> {
        let running = self.0.get(&run)?;
        Some((running.place, running.fence))
    }

    pub(super) fn is_stopping(&self, run: OpId) -> bool {
        self.0.get(&run).is_some_and(|it| it.stopping.is_some())
    }

    pub(super) fn start(
        &mut self,
        run: OpId,
        (place, fence): (Place, Fence),
        task: Box<TaskRecord>,
        wall: Wall,
    ) {
        let before = self.0.insert(
            run,
            Running {
                place,
                fence,
                task,
                started_at: wall,
                stopping: None,
            },
        );
        assert!(before.is_none(), "an execution starts once");
    }

    pub(super) fn end(&mut self, run: OpId) -> Option<Running> {
        self.0.remove(&run)
    }

    /// Orders a handler to stop. The first reason counts, but for fencing, which says that its end must not be recorded
    /// as anybody's fault.
    pub(super) fn stop(&mut self, run: OpId, reason: StopReason, out: &mut Vec<Effect>) {
        let Some(running) = self.0.get_mut(&run) else {
            return;
        };
        if running.stopping.is_none()
            || (reason == StopReason::Fenced && running.stopping != Some(StopReason::Fenced))
        {
            running.stopping = Some(reason);
            out.push(Effect::Stop { run, reason });
        }
    }

    pub(super) fn all(&self) -> Vec<OpId> {
        self.0.keys().copied().collect()
    }
}

impl Running {
    /// What the handler's last word means for its task.
    pub(super) fn judge(self, event: RunEvent, wall: Wall) -> End {
        let started_at = self.started_at;
        let failure = |error: Option<Arc<str>>, verdict| {
            End::Failure(Box::new(Failed {
                task: *self.task,
                started_at,
                ended_at: wall,
                error,
                verdict,
            }))
        };
        match (event, self.stopping) {
            (RunEvent::Completed(result), _) => End::Final(Ending {
                outcome: Outcome::Completed(result),
                started_at: Some(started_at),
                ended_at: wall,
            }),
            (RunEvent::Failed(_) | RunEvent::Stopped, Some(StopReason::Cancel)) => {
                End::Final(Ending {
                    outcome: Outcome::Cancelled,
                    started_at: Some(started_at),
                    ended_at: wall,
                })
            }
            (RunEvent::Failed(_) | RunEvent::Stopped, Some(StopReason::TimeOut)) => {
                failure(None, Verdict::Retry)
            }
            (
                RunEvent::Failed(_) | RunEvent::Stopped,
                Some(StopReason::Fenced | StopReason::Shutdown),
            ) => End::HandBack,
            (RunEvent::Failed(error), None) => failure(Some(error.message), error.verdict),
            (
                RunEvent::Stopped
                | RunEvent::Progress(_)
                | RunEvent::Lock { .. }
                | RunEvent::Unlock { .. },
                _,
            ) => failure(
                Some("the handler stopped without a result".into()),
                Verdict::Retry,
            ),
        }
    }
}
