//! Every row of a task's life: its guards and its writes, and nothing else. Who takes a step, and when, is decided
//! elsewhere; that it is safe, whoever takes it, is decided here.
//!
//! What *ends* a task guards its claim `Alive`; what *keeps or returns* it guards `Unchanged`, so that no flag is lost.
//! Every transaction guards and writes its writer's lane as well; [`crate::lanes`] adds that.

mod lock;
mod node;
mod take;

use std::sync::Arc;

pub use self::lock::{get_in_line, leave_line};
pub use self::node::{beat, configure_node, configure_queue, offer, withdraw};
pub use self::take::{TakenFrom, Takeover, take};
use crate::ids::{Fence, NodeId, Priority, QueueName, Registration, Revision, TaskId};
use crate::keyspace::{Key, Place};
use crate::planted::{loosened, planted, unless_planted};
use crate::record::{
    CarriedTask, Carry, ClaimRecord, DeadRecord, DelayedRecord, EntryRecord, Json, Outcome,
    OutcomeRecord, Record, RunRecord, StopReason, TaskRecord, UniqueRecord, Version,
};
use crate::store::{Guard, Step, Write};
use crate::time::Wall;
use crate::view::{Claimed, Dead, Delayed, Waiting};

fn put(key: Key, record: &impl Record) -> Write {
    Write::Put {
        key,
        value: record.encode(),
        lease: None,
    }
}

fn unchanged(key: &Key, since: Revision) -> Guard {
    Guard::Unchanged {
        key: key.clone(),
        since,
    }
}

/// A client submits a task. With `to`, it never waits: that worker has it at once.
pub fn submit(
    id: TaskId,
    task: &TaskRecord,
    body: Option<Arc<str>>,
    to: Option<(&Recipient, Wall)>,
) -> Step {
    let priority = if planted!("M-19") {
        Priority::new(9 - task.priority.get()).unwrap_or_default()
    } else {
        task.priority
    };
    let place = Place {
        priority,
        timestamp: task.created_at,
        task: id,
    };
    let mut step = begin(id, task, place, to);
    if let Some((to, _)) = to {
        step.guards
            .push(unless_planted!("P-submit-offer-unguarded", offer_alive(to)));
    }
    if let (Some(hash), Some(body)) = (&task.unique, body) {
        let key = Key::unique(hash);
        step.guards.push(unless_planted!(
            "P-submit-unique-unguarded",
            Guard::Absent(key.clone())
        ));
        step.writes.push(put(
            key,
            &UniqueRecord {
                v: Version,
                task: id,
                body,
            },
        ));
    }
    step
}

/// The task comes into being: as its record and the place where it waits, or as a claim alone.
fn begin(id: TaskId, task: &TaskRecord, place: Place, to: Option<(&Recipient, Wall)>) -> Step {
    let carry = task.first_carry();
    let at = match (task.due, to) {
        (None, None) => {
            let entry = EntryRecord { v: Version, carry };
            put(Key::entry(&task.queue, place), &entry)
        }
        (None, Some((to, wall))) => {
            let key = Key::claim(&to.worker, place);
            let claim = first_claim(task, to, wall);
            if claim.is_only_copy() {
                let free = Guard::Absent(key.clone());
                return Step::new(vec![free], vec![put(key, &claim)]);
            }
            put(key, &claim)
        }
        (Some(due), _) => {
            let record = DelayedRecord {
                v: Version,
                carry,
                queue: task.queue.clone(),
                priority: place.priority,
            };
            put(Key::delayed(due, id), &record)
        }
    };
    let key = Key::task(id);
    let free = Guard::Absent(key.clone());
    Step::new(vec![free], vec![put(key, task), at])
}

/// The first claim of a task that never waited: who submits it has it at hand, and lets the claim carry it.
fn first_claim(task: &TaskRecord, to: &Recipient, wall: Wall) -> ClaimRecord {
    let mut carried = CarriedTask::of(task);
    if let Some(carried) = carried
        .as_mut()
        .filter(|_| planted!("P-carried-payload-lost"))
    {
        carried.payload = Json::null();
    }
    ClaimRecord {
        v: Version,
        carry: task.first_carry(),
        queue: task.queue.clone(),
        registration: to.registration,
        assigned_at: wall,
        stop: None,
        progress: None,
        task: carried.map(Box::new),
    }
}

/// The record of a task whose only copy leaves its claim and lives on.
fn set_down(place: Place, claim: &ClaimRecord) -> Option<Write> {
    let task = claim.only_copy(place.priority)?;
    (!planted!("P-only-copy-dropped")).then(|| put(Key::task(place.task), &task))
}

/// The position of the guard in [`submit`] that fails when the worker takes nothing any more.
pub const SUBMIT_OFFER_GUARD: usize = 1;

/// The position of the guard in [`submit`] that fails when the idempotency key is taken.
pub fn submit_unique_guard(placed: bool) -> usize {
    1 + usize::from(placed)
}

fn offer_alive(to: &Recipient) -> Guard {
    Guard::Alive {
        key: Key::offer(&to.worker),
        since: to.offer,
    }
}

/// Which life of which worker a task is given to.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// The worker.
    pub worker: NodeId,
    /// Its life.
    pub registration: Registration,
    /// Its offer's creation revision.
    pub offer: Revision,
}

/// A scheduler gives a waiting task to a worker.
pub fn dispatch(
    queue: &QueueName,
    place: Place,
    waiting: &Waiting,
    to: &Recipient,
    wall: Wall,
) -> Step {
    let entry = Key::entry(queue, place);
    let claim = ClaimRecord {
        v: Version,
        carry: waiting.carry.clone(),
        queue: queue.clone(),
        registration: to.registration,
        assigned_at: wall,
        stop: None,
        progress: None,
        task: None,
    };
    let mut step = Step::new(
        vec![
            unless_planted!(
                "P-dispatch-entry-unguarded",
                unchanged(&entry, waiting.since)
            ),
            unless_planted!("P-dispatch-offer-unguarded", offer_alive(to)),
        ],
        vec![
            Write::Delete { key: entry },
            put(Key::claim(&to.worker, place), &claim),
        ],
    );
    if planted!("P-dispatch-entry-kept") {
        step.writes.remove(0);
    }
    step
}

/// How an attempt ended the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// How the task ended.
    pub outcome: Outcome,
    /// When the handler started, if it did.
    pub started_at: Option<Wall>,
    /// When it ended.
    pub ended_at: Wall,
}

/// A worker completes a task, fails it for good, or cancels it.
pub fn end(
    worker: &NodeId,
    place: Place,
    fence: Fence,
    claim: &ClaimRecord,
    ending: Ending,
) -> Step {
    let key = Key::claim(worker, place);
    let own = Guard::Alive {
        key: key.clone(),
        since: fence.0,
    };
    let mut step = Step::new(
        vec![unless_planted!("M-01", own)],
        vec![Write::Delete { key }],
    );
    step.writes
        .extend(ended(worker, place, fence, claim, ending));
    step
}

fn ended(
    worker: &NodeId,
    place: Place,
    fence: Fence,
    claim: &ClaimRecord,
    ending: Ending,
) -> Vec<Write> {
    let mut writes = Vec::with_capacity(2);
    if matches!(ending.outcome, Outcome::Failed(_)) && !planted!("M-34") {
        let dead = DeadRecord {
            v: Version,
            carry: claim.carry.clone(),
            priority: place.priority,
            died_at: ending.ended_at,
        };
        writes.push(put(Key::dead(&claim.queue, place.task), &dead));
    }
    let record = OutcomeRecord {
        v: Version,
        outcome: ending.outcome,
        worker: Some(worker.clone()),
        fence: Some(fence),
        assigned_at: Some(claim.assigned_at),
        started_at: ending.started_at,
        ended_at: ending.ended_at,
        carry: claim.carry.clone(),
        task: claim
            .only_copy(place.priority)
            .filter(|_| !planted!("P-only-copy-not-kept"))
            .map(Box::new),
    };
    writes.push(put(Key::outcome(place.task), &record));
    writes
}

/// A worker's attempt failed and is tried again at `due`, with `carry`.
pub fn retry(
    worker: &NodeId,
    place: Place,
    since: Revision,
    claim: &ClaimRecord,
    carry: Carry,
    due: Wall,
) -> Step {
    let key = Key::claim(worker, place);
    let record = DelayedRecord {
        v: Version,
        carry,
        queue: claim.queue.clone(),
        priority: place.priority,
    };
    let mut step = Step::new(
        vec![unless_planted!(
            "P-retry-claim-unguarded",
            unchanged(&key, since)
        )],
        vec![
            Write::Delete { key },
            put(Key::delayed(due, place.task), &record),
        ],
    );
    step.writes.extend(set_down(place, claim));
    step
}

/// A worker hands a task back: it keeps its place, and nothing is counted.
pub fn hand_back(worker: &NodeId, place: Place, since: Revision, claim: &ClaimRecord) -> Step {
    let key = Key::claim(worker, place);
    let mut carry = claim.carry.clone();
    if planted!("P-hand-back-counted") {
        carry.losses = carry.losses.saturating_add(1);
    }
    let entry = put(
        Key::entry(&claim.queue, place),
        &EntryRecord { v: Version, carry },
    );
    let own = unchanged(&key, since);
    let mut step = Step::new(
        vec![unless_planted!("P-hand-back-claim-unguarded", own)],
        vec![Write::Delete { key }, entry],
    );
    step.writes.extend(set_down(place, claim));
    step
}

/// A running attempt is told to stop.
pub fn stop(worker: &NodeId, place: Place, claimed: &Claimed, reason: StopReason) -> Step {
    let key = Key::claim(worker, place);
    let mut record = ClaimRecord {
        stop: Some(reason),
        ..(*claimed.record).clone()
    };
    let mut own = unchanged(&key, claimed.since);
    if reason == StopReason::Cancel {
        own = unless_planted!("P-cancel-running-unguarded", own);
    } else {
        own = unless_planted!("P-time-out-flag-unguarded", own);
        if planted!("M-23") {
            record.carry.losses = record.carry.losses.saturating_add(1);
        }
    }
    let step = Step::new(vec![own], vec![put(key, &record)]);
    if planted!("P-alive-for-unchanged-flag") {
        return loosened(step, claimed.created);
    }
    step
}

/// A worker reports progress.
pub fn progress(worker: &NodeId, place: Place, since: Revision, claim: &ClaimRecord) -> Step {
    let key = Key::claim(worker, place);
    let own = unchanged(&key, since);
    Step::new(
        vec![unless_planted!("P-progress-unguarded", own)],
        vec![put(key, claim)],
    )
}

/// A delayed task is due: it gets its due time as its place.
pub fn release(due: Wall, task: TaskId, delayed: &Delayed) -> Step {
    let key = Key::delayed(due, task);
    let place = Place {
        priority: delayed.record.priority,
        timestamp: due,
        task,
    };
    let entry = put(
        Key::entry(&delayed.record.queue, place),
        &EntryRecord {
            v: Version,
            carry: delayed.record.carry.clone(),
        },
    );
    let own = unchanged(&key, delayed.since);
    Step::new(
        vec![unless_planted!("P-release-unguarded", own)],
        vec![Write::Delete { key }, entry],
    )
}

/// A waiting or delayed task is cancelled.
pub fn cancel_waiting(key: Key, since: Revision, task: TaskId, carry: &Carry, wall: Wall) -> Step {
    let record = OutcomeRecord {
        v: Version,
        outcome: Outcome::Cancelled,
        worker: None,
        fence: None,
        assigned_at: None,
        started_at: None,
        ended_at: wall,
        carry: carry.clone(),
        task: None,
    };
    let own = unchanged(&key, since);
    Step::new(
        vec![unless_planted!("P-cancel-waiting-unguarded", own)],
        vec![Write::Delete { key }, put(Key::outcome(task), &record)],
    )
}

/// An ended task is run again, with its counters reset.
pub fn rerun(
    id: TaskId,
    task: &TaskRecord,
    (since, outcome): (Revision, &OutcomeRecord),
    dead: Option<&Dead>,
    run: u32,
    wall: Wall,
) -> Step {
    let ended = unchanged(&Key::outcome(id), since);
    let mut guards = vec![unless_planted!("P-rerun-outcome-unguarded", ended)];
    let mut writes = vec![Write::Delete {
        key: Key::outcome(id),
    }];
    if let Some(dead) = dead {
        let key = Key::dead(&task.queue, id);
        guards.push(unchanged(&key, dead.since));
        writes.push(Write::Delete { key });
    }
    let place = Place {
        priority: task.priority,
        timestamp: wall,
        task: id,
    };
    let carry = Carry {
        run,
        ..task.first_carry()
    };
    writes.push(put(
        Key::run(id),
        &RunRecord {
            v: Version,
            run,
            at: wall,
        },
    ));
    writes.push(put(
        Key::entry(&task.queue, place),
        &EntryRecord { v: Version, carry },
    ));
    if outcome.task.is_some() {
        writes.push(put(Key::task(id), task));
    }
    Step::new(guards, writes)
}
