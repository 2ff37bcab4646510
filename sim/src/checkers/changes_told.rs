//! S24: who asks what has changed since a revision is told of every task that has moved since, as it was at the revision of
//! the answer, or that something was missed.
//!
//! Only an event that was lost without a word suspends it, for the node that should have been told: until it must have
//! noticed. Records that this version cannot read (`Upgrade`) are not judged.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::gateway::{ChangedStatus, ChangesView, Reply, Request, RequestId, TaskState};
use windlass_core::ids::{NodeId, Revision, TaskId};
use windlass_core::time::Mono;

use super::roster::Roster;
use super::rows::is_foreign;
use super::{Checker, Findings, Rule};
use crate::book::{Ending, Spot, TaskState as Stored};
use crate::fact::{Fact, NodeIx};

/// Remembers where every task was, and who asked for what.
#[derive(Debug, Default)]
pub(super) struct ChangesTold {
    roster: Roster,
    /// The tasks that moved, in order.
    moves: Vec<(Revision, TaskId)>,
    tasks: BTreeMap<TaskId, Vec<(Revision, Place)>>,
    unjudged: BTreeSet<TaskId>,
    asked: BTreeMap<RequestId, Revision>,
}

/// Where a task is, as clients are told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    state: TaskState,
    worker: Option<NodeId>,
}

impl Place {
    fn of(stored: &Stored) -> Option<Self> {
        let at = |state| {
            Some(Self {
                state,
                worker: None,
            })
        };
        match (stored.spots.first(), &stored.end) {
            (Some(Spot::Entry { .. }), _) => at(TaskState::Pending),
            (Some(Spot::Delayed { count, .. }), _) if count.retries > 0 => at(TaskState::Retrying),
            (Some(Spot::Delayed { .. }), _) => at(TaskState::Scheduled),
            (Some(Spot::Claim(claim)), _) => Some(Self {
                state: TaskState::Running,
                worker: Some(claim.worker.clone()),
            }),
            (Some(Spot::Unreadable { .. }), _) | (None, None) => None,
            (None, Some(end)) => at(match end.how {
                Ending::Completed => TaskState::Completed,
                Ending::Failed => TaskState::Failed,
                Ending::Cancelled => TaskState::Cancelled,
            }),
        }
    }

    /// Whether what was told of the task says so.
    fn is_told(&self, status: ChangedStatus, worker: Option<&NodeId>) -> bool {
        let right_end = matches!(self.state, TaskState::Completed | TaskState::Cancelled);
        match status {
            ChangedStatus::State(TaskState::Running) => {
                self.state == TaskState::Running && self.worker.as_ref() == worker
            }
            ChangedStatus::State(state) => self.state == state,
            ChangedStatus::Ended => right_end,
            ChangedStatus::Unread => false,
        }
    }
}

impl ChangesTold {
    /// Where a task was at a revision.
    fn place(&self, task: TaskId, at: Revision) -> Option<&Place> {
        let places = self.tasks.get(&task)?;
        let behind = places.partition_point(|(since, _)| *since <= at);
        let (_, place) = places.get(behind.checked_sub(1)?)?;
        Some(place)
    }

    fn judge(
        &self,
        at: Mono,
        node: NodeIx,
        after: Revision,
        told: &ChangesView,
        found: &mut Findings,
    ) {
        let mut add = |task, what| found.add(self, at, Some(node), Some(task), what);
        let listed: BTreeSet<TaskId> = told.tasks.iter().map(|it| it.id).collect();
        let first = self.moves.partition_point(|(moved, _)| *moved <= after);
        let moved = self.moves[first..].iter();
        for (moved, task) in moved.take_while(|(moved, _)| *moved <= told.revision) {
            let known = listed.contains(task) || self.unjudged.contains(task);
            if !known && told.tasks_omitted == 0 {
                let span = format!("after {after} up to {}", told.revision);
                add(
                    *task,
                    format!("{task} moved at {moved}, and {span} it was not told"),
                );
            }
        }
        for change in &told.tasks {
            if self.unjudged.contains(&change.id) {
                continue;
            }
            // A task that was removed since is told as it ended.
            let Some(place) = self.place(change.id, told.revision) else {
                add(change.id, format!("{} is told, and never was", change.id));
                continue;
            };
            if !place.is_told(change.status, change.worker.as_ref()) {
                let as_what = change.status.as_str();
                let what = format!("{} is told as {as_what}, and it was {place:?}", change.id);
                add(change.id, what);
            }
        }
    }
}

impl Checker for ChangesTold {
    fn rule(&self) -> Rule {
        Rule::S24
    }

    fn name(&self) -> &'static str {
        "changes_told"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        self.roster.observe(at, fact);
        if let Fact::Stored(revised) = fact {
            for step in &revised.steps {
                if is_foreign(step) {
                    self.unjudged.insert(step.task);
                }
                let Some(place) = Place::of(&step.after) else {
                    continue;
                };
                if step.before.spots != step.after.spots {
                    self.moves.push((revised.at, step.task));
                }
                let places = self.tasks.entry(step.task).or_default();
                places.push((revised.at, place));
            }
        }
        if let Fact::Asked { id, request, .. } = fact
            && let Request::Changes {
                after: Some(after), ..
            } = **request
        {
            self.asked.insert(*id, after);
        }
        if let Fact::Answered { id, node, reply } = fact
            && let Some(after) = self.asked.remove(id)
            && let Reply::Changes(told) = &**reply
            && (self.roster.misled_until(*node)).is_none_or(|until| until < at)
        {
            self.judge(at, *node, after, told, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::gateway::TaskChange;
    use windlass_core::keyspace::Role;

    use super::super::testing::History;
    use super::*;
    use crate::nemesis::FaultKind;

    const TOLD: fn(TaskState) -> ChangedStatus = ChangedStatus::State;

    fn history() -> History {
        let mut h = History::of(ChangesTold::default());
        h.boot(0, Role::Scheduler, "s1", 0);
        h
    }

    fn last(h: &History) -> Revision {
        Revision(h.next_revision().0 - 1)
    }

    fn ask(h: &mut History, id: u64, after: Revision) {
        let after = Some(after);
        h.ask(id, Request::Changes { after, wait: None });
    }

    /// The answer that tells this of tasks.
    fn tell(h: &mut History, id: u64, told: &[(TaskId, ChangedStatus, Option<&str>)]) {
        let tasks = told.iter().map(|(id, status, worker)| TaskChange {
            id: *id,
            status: *status,
            queue: None,
            kind: None,
            worker: worker.map(|it| it.parse().unwrap()),
        });
        let view = ChangesView {
            tasks: tasks.collect(),
            ..ChangesView::none(last(h))
        };
        h.answer(id, Reply::Changes(Box::new(view)));
    }

    #[test]
    fn who_is_told_of_everything_as_it_was_is_told_well() {
        let mut h = history();
        let before = last(&h);
        let (one, two) = (h.submit(None), h.submit(None));
        ask(&mut h, 1, before);
        h.dispatch(one, "w1");
        let told = [
            (one, TOLD(TaskState::Running), Some("w1")),
            (two, TOLD(TaskState::Pending), None),
        ];
        tell(&mut h, 1, &told);
        let before = last(&h);
        h.cancel_running(one);
        h.finish_task(one, Ending::Cancelled);
        h.cancel_waiting(two);
        ask(&mut h, 2, before);
        let told = [
            (one, ChangedStatus::Ended, Some("w1")),
            (two, TOLD(TaskState::Cancelled), None),
        ];
        tell(&mut h, 2, &told);
        h.assert_clean();
    }

    #[test]
    fn a_move_that_is_not_told_is_found() {
        let mut h = history();
        let task = h.submit(None);
        let before = last(&h);
        ask(&mut h, 1, before);
        tell(&mut h, 1, &[]);
        h.assert_clean();
        h.dispatch(task, "w1");
        ask(&mut h, 2, before);
        h.answer(2, Reply::Missed { at: last(&h) });
        h.assert_clean();
        ask(&mut h, 3, before);
        tell(&mut h, 3, &[]);
        h.assert_tripped("it was not told");
    }

    #[test]
    fn a_task_that_is_told_as_it_never_was_is_found() {
        let mut h = history();
        let before = last(&h);
        let task = h.submit(None);
        h.dispatch(task, "w1");
        ask(&mut h, 1, before);
        tell(&mut h, 1, &[(task, TOLD(TaskState::Running), Some("w2"))]);
        h.assert_tripped("is told as running");
        ask(&mut h, 2, before);
        tell(&mut h, 2, &[(task, TOLD(TaskState::Pending), None)]);
        h.assert_tripped("is told as pending");
        h.finish_task(task, Ending::Failed);
        ask(&mut h, 3, before);
        tell(&mut h, 3, &[(task, ChangedStatus::Ended, None)]);
        h.assert_tripped("is told as ended");
    }

    #[test]
    fn who_was_not_told_of_an_event_need_not_tell_of_it() {
        let mut h = history();
        let before = last(&h);
        h.submit(None);
        h.fault(FaultKind::LoseEvent, Some(0), 0);
        ask(&mut h, 1, before);
        tell(&mut h, 1, &[]);
        h.assert_clean();
    }
}
