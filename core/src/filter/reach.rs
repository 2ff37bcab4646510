//! Where tasks that a query means can be at most: so that nobody looks where none can be.

use std::collections::BTreeSet;

use super::Filter;
use super::moment::Moment;
use super::term::{Pattern, Relation, Test};
use crate::ids::{NodeId, QueueName, TaskId};
use crate::task_state::TaskState;
use crate::time::{Millis, Wall};

/// Where tasks that a query means can be at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// In these states.
    pub states: BTreeSet<TaskState>,
    /// In these queues; any when absent.
    pub queues: Option<BTreeSet<QueueName>>,
    /// With these workers; any, or none, when absent.
    pub workers: Option<BTreeSet<NodeId>>,
    /// With ids from this number
    pub first: u128,
    /// to this one.
    pub last: u128,
    /// Every task there is meant: the query asks for nothing else.
    pub is_exact: bool,
}

impl Reach {
    /// Whether a task of this id can be meant.
    pub fn has(&self, id: TaskId) -> bool {
        (self.first..=self.last).contains(&id.as_u128())
    }

    /// Whether some task in one of these states can be meant.
    pub fn has_any(&self, states: &[TaskState]) -> bool {
        states.iter().any(|state| self.states.contains(state))
    }

    fn only_states(&mut self, fits: impl Fn(TaskState) -> bool) {
        self.states.retain(|state| fits(*state));
    }

    fn only_ids(&mut self, spans: impl Iterator<Item = (u128, u128)>) {
        let hull = spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let (first, last) = hull.unwrap_or((1, 0));
        self.first = self.first.max(first);
        self.last = self.last.min(last);
    }
}

impl Filter {
    /// Where tasks that are meant at `now` can be at most.
    pub fn reach(&self, now: Wall) -> Reach {
        let mut reach = Reach {
            states: TaskState::ALL.into(),
            queues: None,
            workers: None,
            first: 0,
            last: u128::MAX,
            is_exact: true,
        };
        for term in self.terms() {
            if term.negated {
                if let Test::State(states) = &term.test {
                    reach.only_states(|it| !states.contains(&it));
                } else {
                    reach.is_exact = false;
                }
            } else {
                narrow(&mut reach, &term.test, now);
            }
        }
        reach
    }
}

fn narrow(reach: &mut Reach, test: &Test, now: Wall) {
    match test {
        Test::State(states) => return reach.only_states(|it| states.contains(&it)),
        Test::Queue(patterns) => {
            if let Some(names) = exact::<QueueName>(patterns) {
                let both = |known: BTreeSet<_>| known.intersection(&names).cloned().collect();
                reach.queues = Some(reach.queues.take().map_or_else(|| names.clone(), both));
                return;
            }
        }
        Test::Worker(patterns) => {
            // What waits has no worker.
            reach.only_states(|it| it == TaskState::Running || it.has_ended());
            if let Some(names) = exact::<NodeId>(patterns) {
                let both = |known: BTreeSet<_>| known.intersection(&names).cloned().collect();
                reach.workers = Some(reach.workers.take().map_or_else(|| names.clone(), both));
            }
        }
        Test::Id(prefixes) => reach.only_ids(prefixes.iter().map(|it| it.ids())),
        Test::Created(moments) => reach.only_ids(moments.iter().map(|it| ids_of(*it, now))),
        Test::Ended(_) => reach.only_states(TaskState::has_ended),
        Test::Kind(_)
        | Test::Name(_)
        | Test::Priority(_)
        | Test::Error(_)
        | Test::Retries(_)
        | Test::Losses(_)
        | Test::Meta(..)
        | Test::Word(_) => {}
    }
    reach.is_exact = false;
}

/// The names that are meant, if no pattern leaves one open.
fn exact<T: std::str::FromStr + Ord>(patterns: &[Pattern]) -> Option<BTreeSet<T>> {
    let names = patterns.iter().map(|it| match it {
        Pattern::Exact(name) => name.parse().ok(),
        Pattern::Prefix(_) => None,
    });
    names.collect()
}

/// Ids begin with the time at which their tasks were accepted.
fn ids_of(moment: Moment, now: Wall) -> (u128, u128) {
    let at = moment.when.at(now);
    let from = |at: Wall| TaskId::floor_of(at).as_u128();
    let after = from(at.after(Millis::new(1)));
    match moment.relation {
        Relation::Less => (0, from(at)),
        Relation::AtMost => (0, after),
        Relation::Equal => (from(at), after),
        Relation::AtLeast => (from(at), u128::MAX),
        Relation::More => (from(at), u128::MAX),
    }
}
