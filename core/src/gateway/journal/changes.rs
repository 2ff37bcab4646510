//! Putting changes together: each task once, as it is now.

use std::collections::{BTreeMap, BTreeSet};

use super::{CHANGED_QUEUES_MAX, CHANGES_MAX, Last, What};
use crate::gateway::shown::{ChangedStatus, ChangesView, TaskChange};
use crate::ids::{QueueName, Revision, TaskId};
use crate::task_state::TaskState;
use crate::view::{ClusterView, Spot};

/// Changes, each task once.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    tasks: BTreeMap<TaskId, TaskChange>,
    omitted: Vec<TaskId>,
    queues: BTreeSet<&'a QueueName>,
    nodes: bool,
}

impl<'a> Changes<'a> {
    /// Adds a change that is older than those which were added before.
    pub(super) fn add(&mut self, what: &'a What, view: &ClusterView) {
        match what {
            What::Task(task, queue) => {
                self.queues.insert(queue);
                self.add_task(*task, None, view);
            }
            What::Gone(task, last) => {
                self.queues.insert(&last.queue);
                self.add_task(*task, Some(last), view);
            }
            What::Unread(task) => self.add_task(*task, None, view),
            What::Queue(queue) => {
                self.queues.insert(queue);
            }
            What::Nodes => self.nodes = true,
        }
    }

    fn add_task(&mut self, task: TaskId, last: Option<&Last>, view: &ClusterView) {
        if self.tasks.contains_key(&task) {
            return;
        }
        if self.tasks.len() < CHANGES_MAX {
            self.tasks.insert(task, task_change(task, last, view));
        } else {
            self.omitted.push(task);
        }
    }

    pub(super) fn finish(mut self, revision: Revision) -> ChangesView {
        self.omitted.sort_unstable();
        self.omitted.dedup();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        ChangesView {
            revision,
            tasks: self.tasks.into_values().collect(),
            tasks_omitted: count(self.omitted.len()),
            queues_omitted: count(self.queues.len().saturating_sub(CHANGED_QUEUES_MAX)),
            queues: (self.queues.into_iter().take(CHANGED_QUEUES_MAX))
                .cloned()
                .collect(),
            nodes: self.nodes,
        }
    }
}

/// What is to be told of a task: where it is now, or what is known of its end.
fn task_change(id: TaskId, last: Option<&Last>, view: &ClusterView) -> TaskChange {
    let mut change = TaskChange {
        id,
        status: last.map_or(ChangedStatus::Unread, |last| last.status),
        queue: last.map(|last| last.queue.clone()),
        kind: last.map(|last| last.kind.clone()),
        worker: last.and_then(|last| last.worker.clone()),
    };
    let Some(spot) = view.spot(id) else {
        return change;
    };
    let (state, queue, carry) = match spot {
        Spot::Entry(queue, rank) => {
            let entry = view.entry(queue, rank.of(id));
            (TaskState::Pending, Some(queue), entry.map(|it| &it.carry))
        }
        Spot::Claim(worker, rank) => {
            let claim = view.claim(worker, rank.of(id)).map(|it| &it.record);
            let (queue, carry) = claim.map(|it| (&it.queue, &it.carry)).unzip();
            (TaskState::Running, queue, carry)
        }
        Spot::Delayed(due) => {
            let delayed = view.delayed.get(&(*due, id)).map(|it| &it.record);
            let (queue, carry) = delayed.map(|it| (&it.queue, &it.carry)).unzip();
            let has_failed = carry.is_some_and(|carry| carry.retries > 0);
            let state = match has_failed {
                true => TaskState::Retrying,
                false => TaskState::Scheduled,
            };
            (state, queue, carry)
        }
        Spot::Dead(queue) => {
            change.status = ChangedStatus::State(TaskState::Failed);
            change.queue = Some(queue.clone());
            return change;
        }
    };
    change.status = ChangedStatus::State(state);
    change.queue = queue.cloned();
    change.kind = carry.map(|carry| carry.kind.clone());
    change.worker = match spot {
        Spot::Claim(worker, _) => Some(worker.clone()),
        Spot::Entry(..) | Spot::Delayed(_) | Spot::Dead(_) => None,
    };
    change
}
