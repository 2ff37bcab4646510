//! What an edit of a key means for a task, or for whatever else the key belongs to.

use windlass_core::ids::{Fence, NodeId, QueueName, Revision, TaskId};
use windlass_core::keyspace::{Key, Meaning, Place};
use windlass_core::kv::Entry;
use windlass_core::record::{
    ClaimRecord, DelayedRecord, EntryRecord, LaneRecord, NodeConfig, NodeRecord, OfferRecord,
    Outcome, OutcomeRecord, QueueConfig, Record, RunRecord, TaskRecord, UniqueRecord,
};
use windlass_core::time::Wall;
use xxhash_rust::xxh3::xxh3_64;

use super::{Claim, Count, Drain, End, Ending, Life, Other, Spot, TaskState, Written};

pub(super) fn task_of(meaning: &Meaning) -> Option<TaskId> {
    match meaning {
        Meaning::Task(task)
        | Meaning::Outcome(task)
        | Meaning::Run(task)
        | Meaning::Dead(_, task)
        | Meaning::Delayed(_, task) => Some(*task),
        Meaning::Entry(_, place) | Meaning::Claim(_, place) => Some(place.task),
        Meaning::QueueConfig(_)
        | Meaning::NodeConfig(_)
        | Meaning::LockWaiter(..)
        | Meaning::JanitorWaiter(_)
        | Meaning::Node(..)
        | Meaning::Offer(_)
        | Meaning::Lane(_)
        | Meaning::FoldedTotals
        | Meaning::Unique
        | Meaning::Foreign => None,
    }
}

pub(super) fn edit_task(
    state: &mut TaskState,
    key: &Key,
    meaning: Meaning,
    at: Revision,
    entry: Option<&Entry>,
) {
    state
        .spots
        .retain(|spot| !matches!(spot, Spot::Unreadable { key: known } if known == key));
    match meaning {
        Meaning::Task(_) => {
            let written = entry.map(|it| match TaskRecord::decode(&it.found.value) {
                Ok(task) => Written::of(key, &task),
                Err(_) => Written {
                    key: key.clone(),
                    hash: xxh3_64(it.found.value.as_bytes()),
                    promised: None,
                },
            });
            state.write_down(key, written);
        }
        Meaning::Outcome(_) => {
            let record = entry.and_then(|it| OutcomeRecord::decode(&it.found.value).ok());
            let task = record.and_then(|it| it.task);
            state.write_down(key, task.map(|task| Written::of(key, &task)));
            state.end = entry.map(|it| end_of(at, it));
        }
        Meaning::Run(_) => state.run = entry.map_or(0, run_of),
        Meaning::Dead(queue, _) => state.dead = entry.map(|_| queue),
        Meaning::Entry(queue, place) => {
            state.spots.retain(|spot| !matches!(spot, Spot::Entry { queue: q, place: p, .. } if (q, p) == (&queue, &place)));
            state
                .spots
                .extend(entry.map(|it| waiting_at(key, queue, place, it)));
        }
        Meaning::Delayed(due, _) => {
            state
                .spots
                .retain(|spot| !matches!(spot, Spot::Delayed { due: d, .. } if *d == due));
            state
                .spots
                .extend(entry.map(|it| delayed_until(key, due, it)));
        }
        Meaning::Claim(worker, place) => {
            let record = entry.and_then(|it| ClaimRecord::decode(&it.found.value).ok());
            let task = record.and_then(|it| it.only_copy(place.priority));
            state.write_down(key, task.map(|task| Written::of(key, &task)));
            state.spots.retain(
                |spot| !matches!(spot, Spot::Claim(claim) if claim.worker == worker && claim.place == place),
            );
            state
                .spots
                .extend(entry.map(|it| claimed_by(key, worker, place, it)));
        }
        Meaning::QueueConfig(_)
        | Meaning::NodeConfig(_)
        | Meaning::LockWaiter(..)
        | Meaning::JanitorWaiter(_)
        | Meaning::Node(..)
        | Meaning::Offer(_)
        | Meaning::Lane(_)
        | Meaning::FoldedTotals
        | Meaning::Unique
        | Meaning::Foreign => unreachable!("only keys of tasks come here"),
    }
}

fn waiting_at(key: &Key, queue: QueueName, place: Place, entry: &Entry) -> Spot {
    match EntryRecord::decode(&entry.found.value) {
        Ok(record) => Spot::Entry {
            queue,
            place,
            kind: record.carry.kind.clone(),
            count: (&record.carry).into(),
        },
        Err(_) => Spot::Unreadable { key: key.clone() },
    }
}

fn delayed_until(key: &Key, due: Wall, entry: &Entry) -> Spot {
    match DelayedRecord::decode(&entry.found.value) {
        Ok(record) => Spot::Delayed {
            due,
            queue: record.queue,
            count: (&record.carry).into(),
        },
        Err(_) => Spot::Unreadable { key: key.clone() },
    }
}

fn claimed_by(key: &Key, worker: NodeId, place: Place, entry: &Entry) -> Spot {
    match ClaimRecord::decode(&entry.found.value) {
        Ok(record) => Spot::Claim(Claim {
            worker,
            registration: record.registration,
            fence: Fence(entry.found.created),
            queue: record.queue,
            place,
            kind: record.carry.kind.clone(),
            stop: record.stop,
            count: (&record.carry).into(),
        }),
        Err(_) => Spot::Unreadable { key: key.clone() },
    }
}

fn end_of(at: Revision, entry: &Entry) -> End {
    let hash = xxh3_64(entry.found.value.as_bytes());
    let unreadable = End {
        how: Ending::Failed,
        worker: None,
        fence: None,
        hash,
        written: at,
        ended_at: Wall::default(),
        count: Count::default(),
    };
    let Ok(record) = OutcomeRecord::decode(&entry.found.value) else {
        return unreadable;
    };
    End {
        how: match record.outcome {
            Outcome::Completed(_) => Ending::Completed,
            Outcome::Failed(_) => Ending::Failed,
            Outcome::Cancelled => Ending::Cancelled,
        },
        worker: record.worker,
        fence: record.fence,
        ended_at: record.ended_at,
        count: (&record.carry).into(),
        ..unreadable
    }
}

fn is_unreadable<R: Record>(entry: &Entry) -> bool {
    R::decode(&entry.found.value).is_err()
}

fn run_of(entry: &Entry) -> u32 {
    RunRecord::decode(&entry.found.value).map_or(0, |record| record.run)
}

pub(super) fn other(key: &Key, meaning: Meaning, entry: Option<&Entry>) -> Other {
    let life = entry.map(|it| Life {
        created: it.found.created,
        lease: it.lease,
    });
    let foreign = || Other::Foreign { key: key.clone() };
    // Ours are leased; what is not is ours, and wrong, or nobody's whom this version knows.
    let unleased = entry.filter(|it| it.lease.is_none());
    match meaning {
        Meaning::Node(..) if unleased.is_some_and(is_unreadable::<NodeRecord>) => foreign(),
        Meaning::Offer(_) if unleased.is_some_and(is_unreadable::<OfferRecord>) => foreign(),
        Meaning::Node(role, id) => Other::Node { role, id, life },
        Meaning::Offer(id) => Other::Offer { id, life },
        Meaning::LockWaiter(lock, waiter) => Other::Waiter {
            lock: Some(lock),
            waiter,
            life,
        },
        Meaning::JanitorWaiter(waiter) => Other::Waiter {
            lock: None,
            waiter,
            life,
        },
        Meaning::Unique => {
            let record = entry.and_then(|it| UniqueRecord::decode(&it.found.value).ok());
            Other::Unique {
                hash: key.as_str().to_owned(),
                task: record.as_ref().map(|record| record.task),
                body: record.map(|record| record.body),
            }
        }
        Meaning::Lane(_) | Meaning::FoldedTotals => {
            match entry.map(|it| LaneRecord::decode(&it.found.value)) {
                None => Other::Lane {
                    key: key.clone(),
                    lane: None,
                },
                Some(Ok(lane)) => Other::Lane {
                    key: key.clone(),
                    lane: Some((lane.number, lane.totals)),
                },
                Some(Err(_)) => foreign(),
            }
        }
        Meaning::QueueConfig(queue) => Other::Queue {
            queue,
            settings: entry
                .and_then(|it| QueueConfig::decode(&it.found.value).ok())
                .map(|config| (config.paused, config.strategy)),
        },
        Meaning::NodeConfig(node) => match entry.map(|it| NodeConfig::decode(&it.found.value)) {
            None => Other::Orders { node, drain: None },
            Some(Ok(config)) => Other::Orders {
                node,
                drain: config.drain.then_some(Drain { life: config.life }),
            },
            Some(Err(_)) => foreign(),
        },
        Meaning::Foreign
        | Meaning::Task(_)
        | Meaning::Outcome(_)
        | Meaning::Run(_)
        | Meaning::Dead(..)
        | Meaning::Delayed(..)
        | Meaning::Entry(..)
        | Meaning::Claim(..) => foreign(),
    }
}
