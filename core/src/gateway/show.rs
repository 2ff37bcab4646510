//! Showing: records and the view, joined for people.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::shown::{NodeView, QueueView, TaskView};
use crate::ids::{NodeId, Priority, QueueName, Revision, TaskId};
use crate::keyspace::{Key, Place, Role};
use crate::record::{
    AttemptEnd, Carry, Outcome, OutcomeRecord, Record, RunRecord, TaskRecord, Totals,
};
use crate::store::Item;
use crate::task_state::TaskState;
use crate::time::Wall;
use crate::view::{ClusterView, Spot, Waiting};

/// What is stored about a task.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) id: TaskId,
    pub(super) task: TaskRecord,
    /// How it ended, and when that was last written.
    pub(super) outcome: Option<(Revision, OutcomeRecord)>,
    pub(super) run: u32,
}

impl Found {
    /// The task among `items` or in the view, if it is there and this build can read it.
    pub(super) fn of(id: TaskId, items: &[Item], view: &ClusterView) -> Option<Self> {
        let item = |key: Key| items.iter().find(|item| item.key == key);
        let outcome = item(Key::outcome(id)).and_then(|item| {
            Some((
                item.found.modified,
                OutcomeRecord::decode(&item.found.value).ok()?,
            ))
        });
        let task = match (item(Key::task(id)), &outcome) {
            (Some(own), _) => TaskRecord::decode(&own.found.value).ok()?,
            (None, Some((_, outcome))) => (**outcome.task.as_ref()?).clone(),
            (None, None) => view.only_copy(id)?,
        };
        let run = item(Key::run(id))
            .and_then(|item| RunRecord::decode(&item.found.value).ok())
            .map_or(0, |record| record.run);
        Some(Self {
            id,
            task,
            outcome,
            run,
        })
    }

    /// Everything about the task. What has not ended is as the view shows it.
    pub(super) fn show(&self, view: &ClusterView) -> TaskView {
        let task = &self.task;
        let mut shown = TaskView {
            id: self.id,
            name: task.name.clone(),
            kind: task.kind.clone(),
            queue: task.queue.clone(),
            state: TaskState::Pending,
            priority: task.priority,
            payload: task.payload.clone(),
            metadata: task.metadata.clone(),
            created_at: task.created_at,
            due_at: None,
            assigned_at: None,
            started_at: None,
            completed_at: None,
            worker: None,
            fence: None,
            retry_count: 0,
            losses: 0,
            retries_max: task.retries_max,
            timeout: task.timeout,
            result: None,
            error: None,
            progress: None,
            run: self.run,
            attempts: Vec::new(),
        };
        match &self.outcome {
            Some((_, outcome)) => show_ended(&mut shown, outcome),
            None => show_live(&mut shown, view),
        }
        shown
    }
}

/// The state that an outcome stands for.
pub(super) fn state_of(outcome: &Outcome) -> TaskState {
    match outcome {
        Outcome::Completed(_) => TaskState::Completed,
        Outcome::Failed(_) => TaskState::Failed,
        Outcome::Cancelled => TaskState::Cancelled,
    }
}

fn show_carry(shown: &mut TaskView, carry: &Carry) {
    // The view may be ahead of what was read: what is shown of a run is all of the same one.
    shown.run = carry.run;
    shown.retry_count = carry.retries;
    shown.losses = carry.losses;
    shown.attempts.clone_from(&carry.notes);
    shown.error = match carry.notes.last().map(|note| &note.end) {
        Some(AttemptEnd::Failed(error)) => Some(error.clone()),
        Some(AttemptEnd::TimedOut | AttemptEnd::Lost | AttemptEnd::Cancelled) | None => {
            error_of(carry).map(Arc::from)
        }
    };
}

/// Why the last attempt that a task remembers did not complete it.
pub(super) fn error_of(carry: &Carry) -> Option<&str> {
    match &carry.notes.last()?.end {
        AttemptEnd::Failed(error) => Some(error),
        AttemptEnd::TimedOut => Some("it ran longer than its time-out"),
        AttemptEnd::Lost => Some("its worker vanished"),
        AttemptEnd::Cancelled => None,
    }
}

fn show_ended(shown: &mut TaskView, outcome: &OutcomeRecord) {
    show_carry(shown, &outcome.carry);
    shown.state = state_of(&outcome.outcome);
    shown.assigned_at = outcome.assigned_at;
    shown.started_at = outcome.started_at;
    shown.completed_at = Some(outcome.ended_at);
    shown.worker.clone_from(&outcome.worker);
    shown.fence = outcome.fence;
    match &outcome.outcome {
        Outcome::Completed(result) => {
            shown.result = Some(result.clone());
            shown.error = None;
        }
        Outcome::Failed(error) => shown.error = Some(error.clone()),
        Outcome::Cancelled => {}
    }
}

fn show_live(shown: &mut TaskView, view: &ClusterView) {
    match view.spot(shown.id) {
        Some(Spot::Entry(queue, rank)) => {
            if let Some(waiting) = view.entry(queue, rank.of(shown.id)) {
                show_carry(shown, &waiting.carry);
            }
        }
        Some(Spot::Delayed(due)) => {
            shown.due_at = Some(*due);
            let carry = view
                .delayed
                .get(&(*due, shown.id))
                .map(|delayed| &delayed.record.carry);
            shown.state = if carry.is_some_and(|carry| carry.retries > 0) {
                TaskState::Retrying
            } else {
                TaskState::Scheduled
            };
            if let Some(carry) = carry {
                show_carry(shown, carry);
            }
        }
        Some(Spot::Claim(worker, rank)) => {
            shown.state = TaskState::Running;
            shown.worker = Some(worker.clone());
            if let Some(claimed) = view.claim(worker, rank.of(shown.id)) {
                show_carry(shown, &claimed.record.carry);
                shown.assigned_at = Some(claimed.record.assigned_at);
                shown.fence = Some(crate::ids::Fence(claimed.created));
                shown.progress.clone_from(&claimed.record.progress);
            }
        }
        Some(Spot::Dead(_)) | None => {}
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// One queue.
pub(super) fn queue(name: &QueueName, view: &ClusterView) -> QueueView {
    let config = view.config(name);
    let entries = view.entries.get(name);
    QueueView {
        name: name.clone(),
        strategy: config.strategy,
        paused: config.paused,
        pending: count(entries.map_or(0, BTreeMap::len)),
        running: view.running(name),
        delayed: view.delayed_of(name).all(),
        dead: count(view.dead.get(name).map_or(0, BTreeMap::len)),
        oldest: entries.and_then(oldest),
    }
}

/// When the oldest of these entries was put there: of each priority, the first is the oldest.
fn oldest(entries: &BTreeMap<Place, Waiting>) -> Option<Wall> {
    let first = |digit| {
        let place = Place {
            priority: Priority::new(digit).ok()?,
            timestamp: Wall::from_millis(0),
            task: TaskId::from_u128(0),
        };
        let (found, _) = entries.range(place..).next()?;
        (found.priority == place.priority).then_some(found.timestamp)
    };
    (0..=9).filter_map(first).min()
}

/// Every queue that has tasks or settings.
pub(super) fn queues(view: &ClusterView) -> Vec<QueueView> {
    let mut names: std::collections::BTreeSet<&QueueName> = view.entries.keys().collect();
    names.extend(view.queue_configs.keys());
    names.extend(view.dead.keys());
    names.extend(view.running_queues());
    names.extend(view.delayed_queues());
    names.into_iter().map(|name| queue(name, view)).collect()
}

/// Every live node.
/// Every node; `recorded` is what the lanes of each say, if they were read.
pub(super) fn nodes(
    view: &ClusterView,
    recorded: Option<&BTreeMap<NodeId, Totals>>,
) -> Vec<NodeView> {
    let run = |id: &NodeId| {
        let totals = recorded?.get(id).copied().unwrap_or_default();
        Some(totals.completed + totals.failed + totals.cancelled + totals.retried)
    };
    let schedulers = view
        .schedulers
        .iter()
        .map(|(id, node)| (Role::Scheduler, id, node));
    let workers = view
        .workers
        .iter()
        .map(|(id, node)| (Role::Worker, id, node));
    let shown = schedulers.chain(workers).map(|(role, id, node)| {
        let offer = view
            .offers
            .get(id)
            .filter(|_| role == Role::Worker)
            .map(|offer| &offer.record);
        NodeView {
            id: id.clone(),
            role,
            version: node.record.version.clone(),
            started_at: node.record.started_at,
            slots: offer.map_or(0, |offer| offer.slots),
            claims: if role == Role::Worker {
                count(view.claims.get(id).map_or(0, BTreeMap::len))
            } else {
                0
            },
            total_run: if role == Role::Worker { run(id) } else { None },
            weight: offer.map_or(0, |offer| offer.weight),
            queues: offer.map(|offer| offer.queues.clone()).unwrap_or_default(),
            types: offer.map(|offer| offer.types.clone()).unwrap_or_default(),
            labels: offer.map(|offer| offer.labels.clone()).unwrap_or_default(),
            draining: view
                .node_configs
                .get(id)
                .is_some_and(|(_, config)| config.drains(node.registration)),
            cpu_permille: node.record.cpu_permille,
            memory_bytes: node.record.memory_bytes,
        }
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{EntryRecord, Json, Version};
    use crate::retry::RetryPolicy;
    use crate::store::Change;
    use crate::time::{Millis, Mono};

    fn task() -> TaskRecord {
        TaskRecord {
            v: Version,
            kind: "noop".parse().unwrap(),
            queue: "q".parse().unwrap(),
            priority: Priority::NORMAL,
            name: None,
            payload: Json::null(),
            metadata: BTreeMap::new(),
            retries_max: 3,
            retry: RetryPolicy::default(),
            timeout: Millis::from_secs(1),
            created_at: Wall::from_millis(1),
            due: None,
            unique: None,
        }
    }

    #[test]
    fn what_is_shown_of_a_run_is_all_of_the_same_one() {
        let at = Wall::from_millis(1);
        let task = task();
        let place = Place {
            priority: task.priority,
            timestamp: at,
            task: TaskId::floor_of(at),
        };
        let mut carry = task.first_carry();
        carry.run = 1;
        let value = EntryRecord { v: Version, carry }.encode();
        let key = Key::entry(&task.queue, place);
        let item = Item::new(key, Revision(9), Revision(9), value);
        let mut view = ClusterView::default();
        view.apply(Mono::ZERO, vec![Change::Put(item)], &mut Vec::new());
        let read_before_the_rerun = Found {
            id: place.task,
            task,
            outcome: None,
            run: 0,
        };
        assert_eq!(read_before_the_rerun.show(&view).run, 1);
    }
}
