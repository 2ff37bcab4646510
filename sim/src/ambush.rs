//! Users that ask about a task just when it takes a step: cancels that meet dispatches, reruns that meet each other.

use std::time::Duration;

use windlass_core::gateway::Request;
use windlass_core::ids::TaskId;
use windlass_core::time::Mono;

use crate::book::{Ending, Spot, TaskStep};
use crate::fact::{Fact, NodeIx};
use crate::scenario::{Move, Wish};

/// A user that lies in wait.
#[derive(Debug, Clone)]
pub(crate) struct Ambush {
    /// What a task must do.
    pub(crate) step: Move,
    /// How many such steps pass before.
    pub(crate) skip: u32,
    /// How much later it is asked.
    pub(crate) after: Duration,
    /// What is asked.
    pub(crate) wish: Wish,
    /// Through which scheduler processes.
    pub(crate) servers: Vec<NodeIx>,
}

/// All of them, and what they are about to ask.
#[derive(Debug, Default)]
pub(crate) struct Ambushes {
    waiting: Vec<Ambush>,
    due: Vec<(Mono, NodeIx, Wish, TaskId)>,
}

impl Ambushes {
    pub(crate) fn lay(&mut self, ambush: Ambush) {
        self.waiting.push(ambush);
    }

    /// Everybody goes home.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes note of what tasks did.
    pub(crate) fn observe(&mut self, at: Mono, fact: &Fact) {
        if let Fact::Stored(revised) = fact
            && !self.waiting.is_empty()
        {
            for step in &revised.steps {
                self.step(at, step);
            }
        }
    }

    fn step(&mut self, at: Mono, step: &TaskStep) {
        let Some(took) = move_of(step) else {
            return;
        };
        let mut sprung = Vec::new();
        for (nth, ambush) in self.waiting.iter_mut().enumerate() {
            if ambush.step == took {
                match ambush.skip.checked_sub(1) {
                    Some(less) => ambush.skip = less,
                    None => sprung.push(nth),
                }
            }
        }
        for nth in sprung.into_iter().rev() {
            let ambush = self.waiting.remove(nth);
            let when = at.after(ambush.after);
            let asked = ambush.servers.iter();
            self.due
                .extend(asked.map(|server| (when, *server, ambush.wish, step.task)));
        }
    }

    /// What is to be asked now.
    pub(crate) fn take_due(&mut self, now: Mono) -> Vec<(NodeIx, Request)> {
        if self.due.iter().all(|(at, ..)| *at > now) {
            return Vec::new();
        }
        let due = self.due.extract_if(.., |(at, ..)| *at <= now);
        due.map(|(_, server, wish, task)| (server, request(wish, task)))
            .collect()
    }
}

/// What is asked about a task.
pub(crate) fn request(wish: Wish, task: TaskId) -> Request {
    match wish {
        Wish::Get => Request::Get { task, wait: None },
        Wish::Cancel => Request::Cancel(task),
        Wish::Rerun => Request::Rerun(task),
    }
}

fn move_of(step: &TaskStep) -> Option<Move> {
    if let Some(end) = &step.after.end {
        let badly = end.how != Ending::Completed && step.before.end.is_none();
        return badly.then_some(Move::Ended);
    }
    match (&step.before.spots[..], &step.after.spots[..]) {
        // Reports on progress and flags are no steps.
        ([Spot::Claim(_)], [Spot::Claim(_)]) => None,
        (_, [Spot::Claim(_)]) => Some(Move::Claimed),
        (_, [Spot::Entry { .. }]) => Some(Move::Waits),
        (_, [Spot::Delayed { .. }]) => Some(Move::Delayed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::ids::Revision;

    use super::*;
    use crate::book::{Revised, TaskState};

    fn ended(task: TaskId, how: Ending) -> Fact {
        let step = TaskStep {
            task,
            before: TaskState::default(),
            after: TaskState {
                end: Some(crate::book::End {
                    how,
                    worker: None,
                    fence: None,
                    hash: 1,
                    written: Revision(1),
                    ended_at: windlass_core::time::Wall::from_millis(1),
                    count: Default::default(),
                }),
                ..TaskState::default()
            },
        };
        Fact::Stored(Revised {
            at: Revision(1),
            steps: vec![step],
            others: Vec::new(),
        })
    }

    #[test]
    fn an_ambush_asks_once_through_everybody_at_the_step_that_it_waits_for() {
        let task = TaskId::floor_of(windlass_core::time::Wall::from_millis(7));
        let mut all = Ambushes::default();
        all.lay(Ambush {
            step: Move::Ended,
            skip: 1,
            after: Duration::from_millis(5),
            wish: Wish::Rerun,
            servers: vec![0, 2],
        });
        let at = Mono::from_nanos(1);
        all.observe(at, &ended(task, Ending::Completed));
        all.observe(at, &ended(task, Ending::Failed));
        assert!(all.take_due(at.after(Duration::from_secs(1))).is_empty());
        all.observe(at, &ended(task, Ending::Cancelled));
        assert!(all.take_due(at).is_empty(), "it is not time yet");
        let due = all.take_due(at.after(Duration::from_millis(5)));
        let asked: Vec<NodeIx> = due.iter().map(|(server, _)| *server).collect();
        assert_eq!(asked, [0, 2]);
        assert!(all.take_due(at.after(Duration::from_secs(9))).is_empty());
    }
}
