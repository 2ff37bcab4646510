//! The rows of a task's life as they are in `windlass_core::steps`, with what cells add: guards on the queue's mark, and
//! fences that begin at its base. The rows of a move are new.

use std::sync::Arc;

use windlass_core::ids::{Fence, NodeId, QueueName, Revision, TaskId};
use windlass_core::keyspace::{Key, LaneName, Meaning, Place};
use windlass_core::record::{
    Carry, ClaimRecord, LaneRecord, OutcomeRecord, Record, StopReason, TaskRecord, Totals, Version,
};
use windlass_core::steps::{self, Ending, Recipient};
use windlass_core::store::{Guard, GuardIx, Step, Txn, Value, Write};
use windlass_core::time::{Mono, Wall};
use windlass_core::view::{Claimed, Delayed, Waiting};

use super::bug::{Bug, Planted};
use super::record::{BasedClaim, CellId, Epoch, MapRecord, MarkRecord, Stand, map_key, mark_key};
use super::snapshot::Dated;

/// A step as a transaction of its own.
pub(super) fn txn(step: Step) -> Txn {
    let mut txn = Txn::default();
    txn.push(step)
        .expect("the plan's steps are small and write no key twice");
    txn
}

fn put(key: Key, record: &impl Record) -> Write {
    Write::Put {
        key,
        value: record.encode(),
        lease: None,
    }
}

pub(super) fn unchanged(key: Key, since: Revision) -> Guard {
    Guard::Unchanged { key, since }
}

/// The key is as it was read: absent, or last written then.
fn same(key: Key, since: Option<Revision>) -> Guard {
    match since {
        Some(since) => unchanged(key, since),
        None => Guard::Absent(key),
    }
}

/// The step, under the queue's mark as it was read.
fn under(mut step: Step, queue: &QueueName, since: Revision, is_guarded: bool) -> Step {
    if is_guarded {
        step.guards.push(unchanged(mark_key(queue), since));
    }
    step
}

/// The step with its claims and the fences of its outcomes reckoned from `base`.
fn based(mut step: Step, base: u64) -> Step {
    for write in &mut step.writes {
        let Write::Put { key, value, .. } = write else {
            continue;
        };
        if matches!(Meaning::of(key), Meaning::Claim(..)) {
            *value = with_base(value, base);
        } else if matches!(Meaning::of(key), Meaning::Outcome(_)) {
            *value = with_fence(value, base);
        }
    }
    step
}

fn with_base(claim: &Value, base: u64) -> Value {
    let claim = ClaimRecord::decode(claim).expect("the core's rows write claims");
    BasedClaim {
        v: Version,
        base,
        claim,
    }
    .encode()
}

fn with_fence(outcome: &Value, base: u64) -> Value {
    let mut record = OutcomeRecord::decode(outcome).expect("the core's rows write outcomes");
    record.fence = record.fence.map(|fence| Fence(Revision(base + fence.0.0)));
    record.encode()
}

/// The first mark of a queue, in its first cell.
pub(super) fn first_mark(queue: &QueueName) -> Step {
    let key = mark_key(queue);
    let mark = MarkRecord {
        v: Version,
        epoch: Epoch::FIRST,
        base: 0,
        stand: Stand::Here,
    };
    Step::new(vec![Guard::Absent(key.clone())], vec![put(key, &mark)])
}

/// A gateway's own count of its submissions in a cell. What follows an unknown fate finds there what landed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct LaneAt {
    /// Its last number that is known to have landed.
    pub(super) number: u64,
    /// When it was written; `None` before the first.
    pub(super) since: Option<Revision>,
}

/// The one lane of a gateway.
pub(super) fn lane_key(gateway: &NodeId) -> Key {
    let name = LaneName {
        part: 'g',
        index: 0,
    };
    Key::lane(gateway, name)
}

/// Writes the lane, so many numbers further. Of all that is sent under one state of the lane, one lands at most.
pub(super) fn step_lane(gateway: &NodeId, lane: &LaneAt, by: u64) -> Step {
    let key = lane_key(gateway);
    let record = LaneRecord {
        v: Version,
        number: lane.number + by,
        totals: Totals::default(),
    };
    Step::new(vec![same(key.clone(), lane.since)], vec![put(key, &record)])
}

/// The guard of [`submit`] that fails when a copy of the same submission was first.
pub(super) const SUBMIT_LANE_GUARD: GuardIx = GuardIx(0);

/// A client submits a task, in a cell that serves its queue. With `to`, that worker of the cell has it at once.
pub(super) fn submit(
    id: TaskId,
    task: &TaskRecord,
    mark: &Dated<MarkRecord>,
    to: Option<(&Recipient, Wall)>,
    lane: Step,
    bugs: Planted,
) -> Step {
    let body = task.unique.is_some().then(|| Arc::from("body"));
    let mut step = lane;
    let submit = based(steps::submit(id, task, body, to), mark.record.base);
    step.guards.extend(submit.guards);
    step.writes.extend(submit.writes);
    let is_guarded = !bugs.has(Bug::SubmitUnguarded);
    under(step, &task.queue, mark.since, is_guarded)
}

/// A scheduler gives a waiting task to a worker of its cell.
pub(super) fn dispatch(
    queue: &QueueName,
    place: Place,
    waiting: &Waiting,
    to: &Recipient,
    mark: &Dated<MarkRecord>,
    wall: Wall,
    bugs: Planted,
) -> Step {
    let step = steps::dispatch(queue, place, waiting, to, wall);
    let step = based(step, mark.record.base);
    under(step, queue, mark.since, !bugs.has(Bug::DispatchUnguarded))
}

/// A delayed task is due.
pub(super) fn release(due: Wall, task: TaskId, delayed: &Delayed, mark: Revision) -> Step {
    let step = steps::release(due, task, delayed);
    under(step, &delayed.record.queue, mark, true)
}

/// A waiting or delayed task is cancelled, where its queue is served.
pub(super) fn cancel_waiting(
    key: Key,
    since: Revision,
    task: TaskId,
    carry: &Carry,
    (queue, mark): (&QueueName, Revision),
    wall: Wall,
    bugs: Planted,
) -> Step {
    let step = steps::cancel_waiting(key, since, task, carry, wall);
    under(step, queue, mark, !bugs.has(Bug::CancelUnguarded))
}

/// A claim as its worker or a scheduler read it.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) worker: NodeId,
    pub(super) place: Place,
    pub(super) created: Revision,
    pub(super) since: Revision,
    pub(super) record: BasedClaim,
}

impl Held {
    fn claimed(&self) -> Claimed {
        Claimed {
            created: self.created,
            since: self.since,
            seen: Mono::ZERO,
            flagged: None,
            record: Box::new(self.record.claim.clone()),
        }
    }

    /// An attempt ends its task. Wherever the queue is by now: the claim is still here, and nowhere else.
    pub(super) fn end(&self, ending: Ending) -> Step {
        let claim = &self.record.claim;
        let step = steps::end(&self.worker, self.place, Fence(self.created), claim, ending);
        based(step, self.record.base)
    }

    /// An attempt failed, and its task is tried again. Its back-off may lie in a cell that the queue has left.
    pub(super) fn retry(&self, due: Wall) -> Step {
        let mut carry = self.record.claim.carry.clone();
        carry.retries = carry.retries.saturating_add(1);
        steps::retry(
            &self.worker,
            self.place,
            self.since,
            &self.record.claim,
            carry,
            due,
        )
    }

    /// A worker hands the task back.
    pub(super) fn hand_back(&self) -> Step {
        steps::hand_back(&self.worker, self.place, self.since, &self.record.claim)
    }

    /// A scheduler takes the claim of a worker that does not answer.
    pub(super) fn take(&self, wall: Wall) -> Step {
        const NEVER_SPENT: u32 = u32::MAX;
        let from = steps::TakenFrom::Silent;
        let claimed = self.claimed();
        let (step, _) = steps::take(&self.worker, self.place, &claimed, from, NEVER_SPENT, wall);
        based(step, self.record.base)
    }

    /// The attempt is told to stop.
    pub(super) fn stop(&self) -> Step {
        let reason = StopReason::Cancel;
        let step = steps::stop(&self.worker, self.place, &self.claimed(), reason);
        based(step, self.record.base)
    }
}

/// A queue is named for the first time.
pub(super) fn name_queue(queue: &QueueName, cell: CellId) -> Step {
    let map = MapRecord {
        v: Version,
        cell,
        epoch: Epoch::FIRST,
        to: None,
    };
    let key = map_key(queue);
    Step::new(vec![Guard::Absent(key.clone())], vec![put(key, &map)])
}

/// An operator orders a settled queue to another cell.
pub(super) fn order(queue: &QueueName, map: &Dated<MapRecord>, to: CellId) -> Step {
    let record = MapRecord {
        epoch: map.record.epoch.next(),
        to: Some(to),
        ..map.record
    };
    remap(queue, map.since, &record)
}

/// The move is over.
pub(super) fn settle(queue: &QueueName, map: &Dated<MapRecord>, at: CellId) -> Step {
    let record = MapRecord {
        cell: at,
        to: None,
        ..map.record
    };
    remap(queue, map.since, &record)
}

fn remap(queue: &QueueName, since: Revision, record: &MapRecord) -> Step {
    let key = map_key(queue);
    Step::new(vec![unchanged(key.clone(), since)], vec![put(key, record)])
}

/// Writes a mark over the one that was read.
pub(super) fn remark(queue: &QueueName, before: Option<Revision>, mark: &MarkRecord) -> Step {
    let key = mark_key(queue);
    Step::new(vec![same(key.clone(), before)], vec![put(key, mark)])
}
