//! What the view knows of a task that was not read.

use crate::filter::{Fact, Facts};
use crate::gateway::show::error_of;
use crate::ids::{NodeId, Priority, QueueName, TaskId};
use crate::keyspace::Place;
use crate::record::Carry;
use crate::task_state::TaskState;
use crate::view::{Claimed, ClusterView, Dead, Delayed, Spot, Waiting};

/// What the task's place in the view tells.
pub(super) fn of_spot<'a>(id: TaskId, spot: &'a Spot, view: &'a ClusterView) -> Option<Facts<'a>> {
    match spot {
        Spot::Entry(queue, rank) => {
            let place = rank.of(id);
            Some(of_entry(queue, &place, view.entry(queue, place)?))
        }
        Spot::Claim(worker, rank) => {
            let place = rank.of(id);
            Some(of_claim(worker, &place, view.claim(worker, place)?))
        }
        Spot::Delayed(due) => Some(of_delayed(id, view.delayed.get(&(*due, id))?)),
        Spot::Dead(queue) => Some(of_dead(queue, id, view.dead.get(queue)?.get(&id)?)),
    }
}

pub(super) fn of_entry<'a>(queue: &'a QueueName, place: &Place, waiting: &'a Waiting) -> Facts<'a> {
    Facts {
        priority: place.priority,
        ..of_carry(place.task, TaskState::Pending, queue, &waiting.carry)
    }
}

pub(super) fn of_claim<'a>(worker: &'a NodeId, place: &Place, claimed: &'a Claimed) -> Facts<'a> {
    let record = &claimed.record;
    Facts {
        priority: place.priority,
        worker: Fact::Known(Some(worker)),
        ..of_carry(place.task, TaskState::Running, &record.queue, &record.carry)
    }
}

pub(super) fn of_delayed(id: TaskId, delayed: &Delayed) -> Facts<'_> {
    let record = &delayed.record;
    let state = if record.carry.retries > 0 {
        TaskState::Retrying
    } else {
        TaskState::Scheduled
    };
    Facts {
        priority: record.priority,
        ..of_carry(id, state, &record.queue, &record.carry)
    }
}

/// Who ran it last, and how that failed, only its outcome tells.
pub(super) fn of_dead<'a>(queue: &'a QueueName, id: TaskId, dead: &'a Dead) -> Facts<'a> {
    let record = &dead.record;
    Facts {
        priority: record.priority,
        ended_at: Some(record.died_at),
        worker: Fact::Unknown,
        error: Fact::Unknown,
        ..of_carry(id, TaskState::Failed, queue, &record.carry)
    }
}

fn of_carry<'a>(id: TaskId, state: TaskState, queue: &'a QueueName, carry: &'a Carry) -> Facts<'a> {
    Facts {
        id,
        state,
        queue,
        kind: &carry.kind,
        priority: Priority::NORMAL,
        created_at: id.created_at(),
        ended_at: None,
        retries: carry.retries,
        losses: carry.losses,
        worker: Fact::Known(None),
        error: Fact::Known(error_of(carry)),
        name: Fact::Unknown,
        metadata: Fact::Unknown,
    }
}
