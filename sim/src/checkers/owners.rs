//! What two checkers remember of claims: for which life of which worker each is, and when that life ended.

use std::collections::BTreeMap;

use windlass_core::ids::{Fence, NodeId, Registration, TaskId};
use windlass_core::keyspace::Role;
use windlass_core::time::Mono;

use super::rows::claim_of;
use crate::book::{Other, Revised};

/// One life of a worker, as the store knows it.
pub(super) type Life = (NodeId, Registration);

/// Every claim that is there, and every life that is over.
#[derive(Debug, Default)]
pub(super) struct Owners {
    claims: BTreeMap<(TaskId, Fence), Life>,
    alive: BTreeMap<NodeId, Registration>,
    over: BTreeMap<Life, Mono>,
}

impl Owners {
    /// The life that the store believes a worker to live.
    pub(super) fn life_of(&self, id: &NodeId) -> Option<Life> {
        self.alive.get(id).map(|life| (id.clone(), *life))
    }

    /// That life ended, unless it had before.
    pub(super) fn end(&mut self, life: Life, at: Mono) {
        self.over.entry(life).or_insert(at);
    }

    /// Takes what a revision did. Returns the claims that went, with when their owner's life had ended, if it had; and
    /// the lives whose key went.
    pub(super) fn revise(&mut self, revised: &Revised) -> (Vec<(TaskId, Mono)>, Vec<Life>) {
        let mut went = Vec::new();
        for step in &revised.steps {
            let (before, after) = (claim_of(&step.before), claim_of(&step.after));
            if let Some(claim) = after {
                self.claims
                    .entry((step.task, claim.fence))
                    .or_insert_with(|| (claim.worker.clone(), claim.registration));
            }
            let removed = before.filter(|it| after.is_none_or(|now| now.fence != it.fence));
            let life = removed.and_then(|it| self.claims.remove(&(step.task, it.fence)));
            let over = life.and_then(|life| self.over.get(&life).copied());
            went.extend(over.map(|over| (step.task, over)));
        }
        let mut ended = Vec::new();
        for other in &revised.others {
            if let Other::Node {
                role: Role::Worker,
                id,
                life,
            } = other
            {
                let before = match life {
                    Some(life) => self.alive.insert(id.clone(), Registration(life.created)),
                    None => self.alive.remove(id),
                };
                let now = self.alive.get(id).copied();
                ended.extend(before.filter(|_| before != now).map(|it| (id.clone(), it)));
            }
        }
        (went, ended)
    }

    /// The claims that are still there though their owner's life has ended, and when it had.
    pub(super) fn orphans(&self) -> impl Iterator<Item = (TaskId, Mono)> {
        self.claims
            .iter()
            .filter_map(|((task, _), life)| Some((*task, *self.over.get(life)?)))
    }
}
