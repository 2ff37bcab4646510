//! What follows for a request from what was read and what the view shows. Pure; the view has reached what was read.

use std::collections::BTreeMap;

use super::Own;
use super::errand::{Errand, Next, Read};
use super::request::Reply;
use super::show;
use super::shown::StatsView;
use crate::balance::Strategy;
use crate::ids::{NodeId, QueueName, TaskId};
use crate::keyspace::{Key, Meaning, Range};
use crate::planted::planted;
use crate::record::{LaneRecord, NodeConfig, Record, StopReason, Totals, Version};
use crate::steps;
use crate::store::{Call, Query};
use crate::task_state::TaskState;
use crate::time::Now;
use crate::view::{ClusterView, Spot};

/// The most lanes that are counted.
const LANES_MAX: u32 = 100_000;

pub(super) fn read_task(id: TaskId) -> Next {
    Next::Ask(Call::Read(Query::Keys(vec![
        Key::task(id),
        Key::outcome(id),
        Key::run(id),
    ])))
}

/// A task that was neither read nor is in the view may have moved in between: its claim may have been the only copy, and
/// gone by now. What is read next is younger than the view, and shows what became of it.
pub(super) fn missed(errand: &mut Errand, id: TaskId) -> Next {
    if std::mem::replace(&mut errand.missed, true) || planted!("P-moved-task-not-found") {
        Next::Reply(Reply::NotFound)
    } else {
        read_task(id)
    }
}

/// Whether a task at this place has not ended.
pub(super) fn is_live(spot: Option<&Spot>) -> bool {
    matches!(
        spot,
        Some(Spot::Entry(..) | Spot::Claim(..) | Spot::Delayed(_))
    )
}

fn forbidden(state: TaskState) -> Next {
    Next::Reply(Reply::Forbidden {
        because: format!("the task is {state}").into(),
    })
}

pub(super) fn get(errand: &mut Errand, id: TaskId, wait: bool, view: &ClusterView) -> Next {
    if wait && errand.read.is_none() && is_live(view.spot(id)) {
        return Next::AwaitEnd(id);
    }
    let Some(read) = errand.read.take() else {
        return read_task(id);
    };
    let Some(found) = show::Found::of(id, &read.items, view) else {
        return missed(errand, id);
    };
    if found.outcome.is_none() {
        if !is_live(view.spot(id)) {
            // The view is ahead of what was read: it has ended in between.
            return read_task(id);
        }
        if wait {
            return Next::AwaitEnd(id);
        }
    }
    Next::Reply(Reply::Task(Box::new(found.show(view))))
}

pub(super) fn cancel(errand: &mut Errand, id: TaskId, now: Now, view: &ClusterView) -> Next {
    if errand.committed {
        return get(errand, id, false, view);
    }
    let Some(read) = errand.read.take() else {
        return read_task(id);
    };
    let Some(found) = show::Found::of(id, &read.items, view) else {
        return missed(errand, id);
    };
    let counted = Totals {
        cancelled: 1,
        ..Totals::default()
    };
    if let Some((since, outcome)) = &found.outcome {
        if planted!("M-24") {
            let (key, carry) = (Key::outcome(id), &outcome.carry);
            let mut step = steps::cancel_waiting(key, *since, id, carry, now.wall);
            step.writes.remove(0);
            return Next::Commit(step, counted);
        }
        return forbidden(show::state_of(&outcome.outcome));
    }
    match view.spot(id) {
        Some(Spot::Entry(queue, rank)) => {
            let waiting = view
                .entry(queue, rank.of(id))
                .expect("a spot and its entry are kept together");
            let key = Key::entry(queue, rank.of(id));
            Next::Commit(
                steps::cancel_waiting(key, waiting.since, id, &waiting.carry, now.wall),
                counted,
            )
        }
        Some(Spot::Delayed(due)) => {
            let delayed = &view.delayed[&(*due, id)];
            let key = Key::delayed(*due, id);
            Next::Commit(
                steps::cancel_waiting(key, delayed.since, id, &delayed.record.carry, now.wall),
                counted,
            )
        }
        Some(Spot::Claim(worker, rank)) => {
            let claimed = view
                .claim(worker, rank.of(id))
                .expect("a spot and its claim are kept together");
            if claimed.record.stop == Some(StopReason::Cancel) {
                errand.committed = true;
                return read_task(id);
            }
            Next::Commit(
                steps::stop(worker, rank.of(id), claimed, StopReason::Cancel),
                Totals::default(),
            )
        }
        Some(Spot::Dead(_)) | None => read_task(id),
    }
}

pub(super) fn rerun(errand: &mut Errand, id: TaskId, now: Now, view: &ClusterView) -> Next {
    if errand.committed {
        return get(errand, id, false, view);
    }
    let Some(read) = errand.read.take() else {
        return read_task(id);
    };
    let Some(found) = show::Found::of(id, &read.items, view) else {
        return missed(errand, id);
    };
    let Some((since, outcome)) = &found.outcome else {
        return match view.spot(id).filter(|spot| is_live(Some(spot))) {
            Some(_) => forbidden(found.show(view).state),
            None => read_task(id),
        };
    };
    let state = show::state_of(&outcome.outcome);
    let dead = view
        .dead
        .get(&found.task.queue)
        .and_then(|dead| dead.get(&id));
    match state {
        TaskState::Failed if dead.is_none() => read_task(id),
        TaskState::Failed | TaskState::Cancelled => {
            let step = steps::rerun(
                id,
                &found.task,
                (*since, outcome),
                dead,
                found.run.saturating_add(1),
                now.wall,
            );
            Next::Commit(
                step,
                Totals {
                    rerun: 1,
                    ..Totals::default()
                },
            )
        }
        TaskState::Completed
        | TaskState::Scheduled
        | TaskState::Pending
        | TaskState::Running
        | TaskState::Retrying => forbidden(state),
    }
}

fn read_lanes() -> Next {
    Next::Ask(Call::Read(lanes()))
}

/// All lanes, with what they have counted.
pub(super) fn lanes() -> Query {
    Query::Range {
        range: Range::all_lanes(),
        limit: LANES_MAX,
    }
}

/// What the lanes have counted in sum, and how many of them nobody can read.
pub(super) fn sum(lanes: &Read) -> (Totals, u64) {
    let mut totals = Totals::default();
    let mut unreadable = 0;
    for item in &lanes.items {
        match (
            Meaning::of(&item.key),
            LaneRecord::decode(&item.found.value),
        ) {
            (Meaning::Lane(_) | Meaning::FoldedTotals, Ok(lane)) => totals.add(&lane.totals),
            _ => unreadable += 1,
        }
    }
    (totals, unreadable)
}

/// The nodes, with what each has recorded: that stands in its lanes, which no view has.
pub(super) fn nodes(errand: &mut Errand, view: &ClusterView) -> Next {
    let Some(read) = errand.read.take() else {
        return read_lanes();
    };
    let mut recorded: BTreeMap<NodeId, Totals> = BTreeMap::new();
    for item in &read.items {
        if let (Meaning::Lane(node), Ok(lane)) = (
            Meaning::of(&item.key),
            LaneRecord::decode(&item.found.value),
        ) {
            recorded.entry(node).or_default().add(&lane.totals);
        }
    }
    Next::Reply(Reply::Nodes(show::nodes(view, Some(&recorded))))
}

pub(super) fn stats(errand: &mut Errand, view: &ClusterView, own: &Own) -> Next {
    let Some(read) = errand.read.take() else {
        return read_lanes();
    };
    let (totals, unreadable) = sum(&read);
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let delayed = view.delayed_in_all();
    Next::Reply(Reply::Stats(Box::new(StatsView {
        totals,
        scheduled: delayed.scheduled,
        pending: count(view.entries.values().map(BTreeMap::len).sum()),
        running: count(view.claims.values().map(BTreeMap::len).sum()),
        retrying: delayed.retrying,
        dead: count(view.dead.values().map(BTreeMap::len).sum()),
        schedulers: count(view.schedulers.len()),
        workers: count(view.workers.len()),
        slots: view
            .offers
            .values()
            .map(|offer| u64::from(offer.record.slots))
            .sum(),
        foreign: view.foreign() + unreadable,
        drift_repaired: own.drift_repaired,
        room: own.room,
    })))
}

pub(super) fn configure_queue(
    errand: &Errand,
    queue: &QueueName,
    strategy: Option<Strategy>,
    paused: Option<bool>,
    view: &ClusterView,
) -> Next {
    if errand.committed {
        return Next::Reply(Reply::Queues(vec![show::queue(queue, view)]));
    }
    let before = view.queue_configs.get(queue);
    let mut config = view.config(queue);
    config.strategy = strategy.unwrap_or(config.strategy);
    config.paused = paused.unwrap_or(config.paused);
    Next::Commit(
        steps::configure_queue(queue, before.map(|(since, _)| *since), &config),
        Totals::default(),
    )
}

pub(super) fn drain(errand: &Errand, node: &NodeId, view: &ClusterView) -> Next {
    let Some(worker) = view.workers.get(node) else {
        return Next::Reply(Reply::NotFound);
    };
    if errand.committed {
        let shown = show::nodes(view, None)
            .into_iter()
            .filter(|it| it.id == *node && it.role == crate::keyspace::Role::Worker);
        return Next::Reply(Reply::Nodes(shown.collect()));
    }
    let before = view.node_configs.get(node).map(|(since, _)| *since);
    let config = NodeConfig {
        v: Version,
        drain: true,
        life: Some(worker.registration),
    };
    Next::Commit(
        steps::configure_node(node, before, &config),
        Totals::default(),
    )
}
