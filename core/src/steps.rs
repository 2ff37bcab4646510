//! Every row of a task's life: its guards and its writes, and nothing else. Who takes a step, and when, is decided
//! elsewhere; that it is safe, whoever takes it, is decided here.
//!
//! What *ends* a task guards its claim `Alive`; what *keeps or returns* it guards `Unchanged`, so that no flag is lost.
//! Every transaction guards and writes its writer's lane as well; [`crate::lanes`] adds that.

use std::sync::Arc;

use crate::ids::{Fence, LeaseId, NodeId, QueueName, Registration, Revision, TaskId};
use crate::keyspace::{Key, Place, Role};
use crate::record::{
    AttemptEnd, AttemptNote, Carry, ClaimRecord, DeadRecord, DelayedRecord, EntryRecord,
    NodeConfig, NodeRecord, OfferRecord, Outcome, OutcomeRecord, QueueConfig, Record, RunRecord,
    StopReason, TaskRecord, UniqueRecord, Version,
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

fn put_leased(key: Key, record: &impl Record, lease: LeaseId) -> Write {
    Write::Put {
        key,
        value: record.encode(),
        lease: Some(lease),
    }
}

fn unchanged(key: &Key, since: Revision) -> Guard {
    Guard::Unchanged {
        key: key.clone(),
        since,
    }
}

/// A client submits a task.
pub fn submit(id: TaskId, task: &TaskRecord, body: Option<Arc<str>>) -> Step {
    let waits = match task.due {
        None => {
            let place = Place {
                priority: task.priority,
                timestamp: task.created_at,
                task: id,
            };
            put(
                Key::entry(&task.queue, place),
                &EntryRecord {
                    v: Version,
                    carry: task.first_carry(),
                },
            )
        }
        Some(due) => {
            let record = DelayedRecord {
                v: Version,
                carry: task.first_carry(),
                queue: task.queue.clone(),
                priority: task.priority,
            };
            put(Key::delayed(due, id), &record)
        }
    };
    let mut step = Step::new(
        vec![Guard::Absent(Key::task(id))],
        vec![put(Key::task(id), task), waits],
    );
    if let (Some(hash), Some(body)) = (&task.unique, body) {
        let key = Key::unique(hash);
        step.guards.push(Guard::Absent(key.clone()));
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

/// The position of the guard in [`submit`] that fails when the idempotency key is taken.
pub const SUBMIT_UNIQUE_GUARD: usize = 1;

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
    };
    Step::new(
        vec![
            unchanged(&entry, waiting.since),
            Guard::Alive {
                key: Key::offer(&to.worker),
                since: to.offer,
            },
        ],
        vec![
            Write::Delete { key: entry },
            put(Key::claim(&to.worker, place), &claim),
        ],
    )
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
    let mut step = Step::new(
        vec![Guard::Alive {
            key: key.clone(),
            since: fence.0,
        }],
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
    if matches!(ending.outcome, Outcome::Failed(_)) {
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
    Step::new(
        vec![unchanged(&key, since)],
        vec![
            Write::Delete { key },
            put(Key::delayed(due, place.task), &record),
        ],
    )
}

/// A worker hands a task back: it keeps its place, and nothing is counted.
pub fn hand_back(worker: &NodeId, place: Place, since: Revision, claim: &ClaimRecord) -> Step {
    let key = Key::claim(worker, place);
    let entry = put(
        Key::entry(&claim.queue, place),
        &EntryRecord {
            v: Version,
            carry: claim.carry.clone(),
        },
    );
    Step::new(
        vec![unchanged(&key, since)],
        vec![Write::Delete { key }, entry],
    )
}

/// How a claim is taken from a worker that vanished or is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenFrom {
    /// Its registration is gone.
    Lost,
    /// It lives, but did not stop the attempt in time.
    Silent,
}

/// What becomes of a task whose claim is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// It waits again, one loss richer.
    Requeued,
    /// Its losses are spent.
    Failed,
    /// It had been cancelled.
    Cancelled,
}

/// A scheduler takes a claim from a worker.
pub fn take(
    worker: &NodeId,
    place: Place,
    claimed: &Claimed,
    from: TakenFrom,
    losses_max: u32,
    wall: Wall,
) -> (Step, Takeover) {
    let key = Key::claim(worker, place);
    let claim = &*claimed.record;
    let mut guards = vec![unchanged(&key, claimed.since)];
    let node = Key::node(Role::Worker, worker);
    guards.extend((from == TakenFrom::Lost).then_some(Guard::Gone {
        key: node,
        since: claim.registration.0,
    }));
    let mut carry = claim.carry.clone();
    let attempt = carry.attempt();
    carry.note(AttemptNote {
        attempt,
        worker: worker.clone(),
        started_at: None,
        ended_at: wall,
        end: lost_end(from),
    });
    carry.losses = carry.losses.saturating_add(1);
    let takeover = match claim.stop {
        Some(StopReason::Cancel) => Takeover::Cancelled,
        _ if carry.losses > losses_max => Takeover::Failed,
        Some(StopReason::TimeOut | StopReason::Fenced | StopReason::Shutdown) | None => {
            Takeover::Requeued
        }
    };
    let mut writes = vec![Write::Delete { key }];
    let outcome = match takeover {
        Takeover::Requeued => None,
        Takeover::Failed => Some(Outcome::Failed(
            format!("{} workers vanished while they ran it", carry.losses).into(),
        )),
        Takeover::Cancelled => Some(Outcome::Cancelled),
    };
    match outcome {
        None => writes.push(put(
            Key::entry(&claim.queue, place),
            &EntryRecord { v: Version, carry },
        )),
        Some(outcome) => {
            let after = ClaimRecord {
                carry,
                ..claim.clone()
            };
            let ending = Ending {
                outcome,
                started_at: None,
                ended_at: wall,
            };
            writes.extend(ended(worker, place, Fence(claimed.created), &after, ending));
        }
    }
    (Step::new(guards, writes), takeover)
}

fn lost_end(from: TakenFrom) -> AttemptEnd {
    match from {
        TakenFrom::Lost => AttemptEnd::Lost,
        TakenFrom::Silent => AttemptEnd::TimedOut,
    }
}

/// A running attempt is told to stop.
pub fn stop(worker: &NodeId, place: Place, claimed: &Claimed, reason: StopReason) -> Step {
    let key = Key::claim(worker, place);
    let record = ClaimRecord {
        stop: Some(reason),
        ..(*claimed.record).clone()
    };
    Step::new(
        vec![unchanged(&key, claimed.since)],
        vec![put(key, &record)],
    )
}

/// A worker reports progress.
pub fn progress(worker: &NodeId, place: Place, since: Revision, claim: &ClaimRecord) -> Step {
    let key = Key::claim(worker, place);
    Step::new(vec![unchanged(&key, since)], vec![put(key, claim)])
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
    Step::new(
        vec![unchanged(&key, delayed.since)],
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
    };
    Step::new(
        vec![unchanged(&key, since)],
        vec![Write::Delete { key }, put(Key::outcome(task), &record)],
    )
}

/// An ended task is run again, with its counters reset.
pub fn rerun(
    id: TaskId,
    task: &TaskRecord,
    outcome: Revision,
    dead: Option<&Dead>,
    run: u32,
    wall: Wall,
) -> Step {
    let mut guards = vec![unchanged(&Key::outcome(id), outcome)];
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
    Step::new(guards, writes)
}

/// A worker says what it takes.
pub fn offer(
    worker: &NodeId,
    registration: Registration,
    lease: LeaseId,
    offer: &OfferRecord,
) -> Step {
    let key = Key::offer(worker);
    let node = Guard::Alive {
        key: Key::node(Role::Worker, worker),
        since: registration.0,
    };
    Step::new(
        vec![Guard::Absent(key.clone()), node],
        vec![put_leased(key, offer, lease)],
    )
}

/// A worker takes nothing any more.
pub fn withdraw(worker: &NodeId, offer: Revision) -> Step {
    let key = Key::offer(worker);
    Step::new(
        vec![Guard::Alive {
            key: key.clone(),
            since: offer,
        }],
        vec![Write::Delete { key }],
    )
}

/// A node reports: always with its lease, or its key would outlive it.
pub fn beat(
    role: Role,
    node: &NodeId,
    registration: Registration,
    lease: LeaseId,
    record: &NodeRecord,
) -> Step {
    let key = Key::node(role, node);
    Step::new(
        vec![Guard::Alive {
            key: key.clone(),
            since: registration.0,
        }],
        vec![put_leased(key, record, lease)],
    )
}

/// An operator changes a queue's settings.
pub fn configure_queue(queue: &QueueName, before: Option<Revision>, config: &QueueConfig) -> Step {
    let key = Key::queue_config(queue);
    Step::new(vec![same_as(&key, before)], vec![put(key, config)])
}

/// An operator gives a node orders.
pub fn configure_node(node: &NodeId, before: Option<Revision>, config: &NodeConfig) -> Step {
    let key = Key::node_config(node);
    Step::new(vec![same_as(&key, before)], vec![put(key, config)])
}

fn same_as(key: &Key, before: Option<Revision>) -> Guard {
    match before {
        Some(since) => unchanged(key, since),
        None => Guard::Absent(key.clone()),
    }
}
