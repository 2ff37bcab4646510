//! How long what a worker held stays with it after its loss, until others claim it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windlass_sim::book::{Revised, Spot};
use windlass_sim::core::ids::{Fence, TaskId};
use windlass_sim::core::keyspace::Role;
use windlass_sim::fact::{Fact, NodeIx};

use super::clock::Nanos;

/// What workers held when they were lost, and when others got it.
#[derive(Debug, Default)]
pub struct Losses {
    /// After the death of a worker.
    pub killed: Vec<Duration>,
    /// The same, of those during which neither etcd nor a scheduler was broken or recovering.
    pub killed_alone: Vec<Duration>,
    /// After a worker was frozen.
    pub frozen: Vec<Duration>,
    /// The same, of those during which neither etcd nor a scheduler was broken or recovering.
    pub frozen_alone: Vec<Duration>,
    ids: BTreeMap<NodeIx, String>,
    schedulers: BTreeSet<NodeIx>,
    /// Every claim that is there.
    claims: BTreeMap<TaskId, Held>,
    /// Claims whose worker was lost.
    waiting: BTreeMap<TaskId, Lost>,
    /// When the last fault of etcd or a scheduler is over.
    hurt_until: Nanos,
}

#[derive(Debug, Clone)]
struct Held {
    worker: String,
    fence: Fence,
    losses: u32,
}

#[derive(Debug, Clone)]
struct Lost {
    held: Held,
    at: Nanos,
    frozen: bool,
    alone: bool,
}

impl Losses {
    /// Takes note of what happened.
    pub fn other(&mut self, at: Nanos, fact: &Fact) {
        match fact {
            Fact::Booted { node, id, role, .. } => match role {
                Role::Worker => {
                    self.ids.insert(*node, id.as_str().to_owned());
                }
                Role::Scheduler => {
                    self.schedulers.insert(*node);
                }
            },
            Fact::Down { node, exit: None } => self.lose(at, *node, false),
            Fact::Frozen { node } => self.lose(at, *node, true),
            Fact::Fault { node, until, .. } => {
                // Of other workers none is waited for.
                if node.is_none_or(|node| self.schedulers.contains(&node)) {
                    self.spoil(until.as_nanos());
                }
            }
            Fact::Down { .. }
            | Fact::Stored(_)
            | Fact::Leased { .. }
            | Fact::LeaseEnded { .. }
            | Fact::Thawed { .. }
            | Fact::Draining { .. }
            | Fact::SessionUntil { .. }
            | Fact::Started { .. }
            | Fact::StopOrdered { .. }
            | Fact::HandlerEnded { .. }
            | Fact::Locked { .. }
            | Fact::Unlocked { .. }
            | Fact::Asked { .. }
            | Fact::Answered { .. }
            | Fact::Handled { .. }
            | Fact::Sent { .. }
            | Fact::Read { .. }
            | Fact::Decided { .. }
            | Fact::Viewed { .. }
            | Fact::Room { .. }
            | Fact::Repaired { .. }
            | Fact::AskedAgain { .. }
            | Fact::Phase(_) => {}
        }
    }

    fn lose(&mut self, at: Nanos, node: NodeIx, frozen: bool) {
        let Some(id) = self.ids.get(&node) else {
            return;
        };
        let alone = self.hurt_until <= at;
        for (task, held) in self.claims.iter().filter(|(_, held)| held.worker == *id) {
            let lost = Lost {
                held: held.clone(),
                at,
                frozen,
                alone,
            };
            self.waiting.entry(*task).or_insert(lost);
        }
    }

    fn spoil(&mut self, until: Nanos) {
        self.hurt_until = self.hurt_until.max(until);
        self.waiting.values_mut().for_each(|it| it.alone = false);
    }

    /// Takes note of a revision.
    pub fn stored(&mut self, at: Nanos, revised: &Revised) {
        for step in &revised.steps {
            let claim = step.after.spots.iter().find_map(|spot| match spot {
                Spot::Claim(claim) => Some(Held {
                    worker: claim.worker.as_str().to_owned(),
                    fence: claim.fence,
                    losses: claim.count.losses,
                }),
                Spot::Entry { .. } | Spot::Delayed { .. } | Spot::Unreadable { .. } => None,
            });
            match claim {
                Some(claim) => self.claimed(at, step.task, claim),
                None => {
                    self.claims.remove(&step.task);
                    if step.after.spots.is_empty() {
                        self.waiting.remove(&step.task);
                    }
                }
            }
        }
    }

    fn claimed(&mut self, at: Nanos, task: TaskId, claim: Held) {
        let again = |lost: &Lost| claim.fence > lost.held.fence;
        if self.waiting.get(&task).is_some_and(again)
            && let Some(lost) = self.waiting.remove(&task)
            // What its worker gave back by itself was not lost.
            && claim.losses > lost.held.losses
        {
            let took = Duration::from_nanos(at.saturating_sub(lost.at));
            let (all, alone) = match lost.frozen {
                true => (&mut self.frozen, &mut self.frozen_alone),
                false => (&mut self.killed, &mut self.killed_alone),
            };
            all.push(took);
            alone.extend(Some(took).filter(|_| lost.alone));
        }
        self.claims.insert(task, claim);
    }
}
