//! S8: what was in the store when a client asked is in the reply: a task that was there is not 'not found' unless it was
//! purged meanwhile, and a reply shows no older state of it: not an older run, not a task that lives again after its
//! end, not fewer attempts, and not an older fence. What a client was acknowledged was in the store, so it reads that.
//!
//! No fault suspends it: a gateway that cannot know says so (`NotReady`, `TimedOut`). Records that this version cannot
//! read (`Upgrade`) are not judged. Lists are judged for what they show, not for what they leave out.

use std::collections::BTreeMap;

use windlass_core::gateway::{Reply, Request, RequestId, TaskView};
use windlass_core::ids::{Fence, TaskId};
use windlass_core::time::Mono;

use super::rows::{claim_of, count_of, is_foreign};
use super::{Checker, Findings, Rule};
use crate::book::TaskStep;
use crate::fact::{Fact, NodeIx};

/// Remembers how far every task is, and how far it was when somebody asked for it.
#[derive(Debug, Default)]
pub(super) struct ReadYourAck {
    tasks: BTreeMap<TaskId, (Floor, Mono)>,
    asked: BTreeMap<RequestId, Asked>,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Floor {
    run: u32,
    ended: bool,
    attempts: u32,
    fence: Option<Fence>,
}

#[derive(Debug)]
enum Asked {
    /// For one task, which was so far.
    One(TaskId, Option<Floor>),
    /// For many, at this time.
    Many(Mono),
}

impl ReadYourAck {
    fn step(&mut self, at: Mono, step: &TaskStep) {
        let Some(count) =
            count_of(&step.after).filter(|_| step.after.record.is_some() && !is_foreign(step))
        else {
            self.tasks.remove(&step.task);
            return;
        };
        let before = self.tasks.get(&step.task).map(|(floor, _)| *floor);
        let fence = claim_of(&step.after).map(|claim| claim.fence);
        let floor = Floor {
            run: step.after.run,
            ended: step.after.end.is_some(),
            attempts: count.retries + count.losses,
            fence: fence.max(before.and_then(|floor| floor.fence)),
        };
        self.tasks.insert(step.task, (floor, at));
    }

    fn ask(&mut self, at: Mono, id: RequestId, request: &Request) {
        let asked = match request {
            Request::Get { task, .. }
            | Request::Why(task)
            | Request::Cancel(task)
            | Request::Rerun(task) => {
                Asked::One(*task, self.tasks.get(task).map(|(floor, _)| *floor))
            }
            Request::List { .. } => Asked::Many(at),
            Request::Submit(_)
            | Request::Find { .. }
            | Request::Count(_)
            | Request::Stats
            | Request::Queues
            | Request::Changes { .. }
            | Request::Timings
            | Request::Nodes
            | Request::ConfigureQueue { .. }
            | Request::Drain(_)
            | Request::LockTake { .. }
            | Request::LockRenew { .. }
            | Request::LockRelease { .. }
            | Request::Remote(_) => return,
        };
        self.asked.insert(id, asked);
    }

    fn answer(
        &mut self,
        at: Mono,
        id: RequestId,
        node: NodeIx,
        reply: &Reply,
        found: &mut Findings,
    ) {
        match (self.asked.remove(&id), reply) {
            (Some(Asked::One(task, Some(_))), Reply::NotFound)
                if self.tasks.contains_key(&task) =>
            {
                let what = format!("{task} is in the store, and was not found");
                found.add(self, at, Some(node), Some(task), what);
            }
            (Some(Asked::One(_, Some(floor))), Reply::Task(view)) => {
                self.compare(at, node, view, floor, found);
            }
            (Some(Asked::Many(since)), Reply::Tasks { tasks, .. }) => {
                for view in tasks {
                    let now = self.tasks.get(&view.id).copied();
                    if let Some((floor, _)) = now.filter(|(_, changed)| *changed < since) {
                        self.compare(at, node, view, floor, found);
                    }
                }
            }
            (Some(_) | None, _) => {}
        }
    }

    fn compare(&self, at: Mono, node: NodeIx, view: &TaskView, floor: Floor, found: &mut Findings) {
        let attempts = view.retry_count + view.losses;
        let why = if view.run != floor.run {
            (view.run < floor.run).then(|| format!("run {}, and not {}", view.run, floor.run))
        } else if floor.ended && !view.state.has_ended() {
            Some(format!("{}, and it had ended", view.state))
        } else if attempts < floor.attempts {
            Some(format!("{attempts} attempts, and not {}", floor.attempts))
        } else {
            let older = view.fence.filter(|fence| Some(*fence) < floor.fence);
            older.map(|fence| format!("fence {fence}, and there was a newer one"))
        };
        if let Some(why) = why {
            let what = format!("{} is shown as it was before: {why}", view.id);
            found.add(self, at, Some(node), Some(view.id), what);
        }
    }
}

impl Checker for ReadYourAck {
    fn rule(&self) -> Rule {
        Rule::S8
    }

    fn name(&self) -> &'static str {
        "read_your_ack"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            for step in &revised.steps {
                self.step(at, step);
            }
        }
        if let Fact::Asked { id, request, .. } = fact {
            self.ask(at, *id, request);
        }
        if let Fact::Answered { id, node, reply } = fact {
            self.answer(at, *id, *node, reply, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::filter::Filter;
    use windlass_core::gateway::{Order, TaskState};

    use super::super::testing::{History, get, shown};
    use super::*;
    use crate::book::Ending;

    #[test]
    fn a_reply_may_show_what_was_or_what_became_of_it() {
        let mut h = History::of(ReadYourAck::default());
        let task = h.submit(None);
        let fence = h.dispatch(task, "w1");
        h.ask(1, get(task));
        h.finish_task(task, Ending::Completed);
        h.answer(1, shown(task, TaskState::Running, 0, Some(fence)));
        h.ask(2, get(task));
        h.answer(2, shown(task, TaskState::Completed, 0, Some(fence)));
        h.ask(3, get(task));
        h.purge(task);
        h.answer(3, Reply::NotFound);
        h.assert_clean();
    }

    #[test]
    fn what_was_acknowledged_is_found() {
        let mut h = History::of(ReadYourAck::default());
        let task = h.submit(None);
        h.acknowledge(1, task);
        h.ask(2, get(task));
        h.answer(2, Reply::NotFound);
        h.assert_tripped("was not found");
    }

    #[test]
    fn an_older_state_than_the_one_at_the_question_is_found() {
        let mut h = History::of(ReadYourAck::default());
        let task = h.submit(None);
        let old = h.dispatch(task, "w1");
        h.lose(task);
        h.dispatch(task, "w1");
        h.ask(1, get(task));
        h.answer(1, shown(task, TaskState::Running, 0, Some(old)));
        h.assert_tripped("0 attempts");
        h.ask(2, get(task));
        h.answer(2, shown(task, TaskState::Running, 1, Some(old)));
        h.assert_tripped("a newer one");
        h.finish_task(task, Ending::Failed);
        h.ask(3, get(task));
        h.answer(3, shown(task, TaskState::Pending, 1, None));
        h.assert_tripped("it had ended");
        h.rerun(task);
        h.ask(4, get(task));
        h.answer(4, shown(task, TaskState::Failed, 1, None));
        h.assert_tripped("run 0, and not 1");
    }

    #[test]
    fn a_list_shows_no_older_state_either() {
        let mut h = History::of(ReadYourAck::default());
        let task = h.submit(None);
        h.cancel_waiting(task);
        h.pass(1);
        let list = Request::List {
            filter: Filter::default(),
            order: Order::Oldest,
            limit: 10,
            after: None,
        };
        h.ask(1, list);
        let Reply::Task(view) = shown(task, TaskState::Pending, 0, None) else {
            unreachable!("a task is shown")
        };
        let tasks = vec![*view];
        h.answer(1, Reply::Tasks { tasks, next: None });
        h.assert_tripped("it had ended");
    }
}
