//! The workers as places to put tasks: grouped by what they take, counted by what they hold, trusted while they report.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::pools::{Kind, Pools, TakersIx, kind_of};
use crate::balance::{Capacity, Name, Strategy};
use crate::ids::{NodeId, QueueName, TaskType};
use crate::planted::planted;
use crate::rng::Rng;
use crate::steps::Recipient;
use crate::time::Mono;
use crate::view::ClusterView;

/// All workers that this scheduler knows.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pools: Pools,
    members: BTreeMap<Name, Member>,
    /// When each worker's last report is too old to be trusted.
    stale_at: BTreeSet<(Mono, NodeId)>,
}

#[derive(Debug, Default)]
struct Member {
    /// Claims that it has, and dispatches to it that are under way.
    held: u32,
    /// Among which workers it can be picked; `None` while it is not to be used.
    kind: Option<Kind>,
    /// What it has there.
    capacity: Option<Capacity>,
    stale_at: Option<Mono>,
    /// A dispatch found its offer gone: not used until the view has caught up.
    suspect: bool,
}

fn name(worker: &NodeId) -> Name {
    Name::from(worker.clone())
}

/// Whether something is given to a worker that offers to take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Yes.
    Full,
    /// It has not reported in time.
    Silent,
    /// Its offer was found gone, and the view does not show that yet.
    Doubted,
}

impl Fleet {
    /// A worker reported. Says whether it can be used now and could not before.
    pub(super) fn beat(&mut self, now: Mono, worker: &NodeId, view: &ClusterView) -> bool {
        let Some(node) = view.workers.get(worker) else {
            return false;
        };
        let trusted_for = Duration::from(node.record.ttl) / 2;
        let at = now.after(trusted_for.max(Duration::from_millis(100)));
        let member = self.members.entry(name(worker)).or_default();
        if let Some(before) = member.stale_at.replace(at) {
            self.stale_at.remove(&(before, worker.clone()));
        }
        self.stale_at.insert((at, worker.clone()));
        let before = self.is_placeable(worker);
        self.refresh(now, worker, view);
        !before && self.is_placeable(worker)
    }

    fn is_placeable(&self, worker: &NodeId) -> bool {
        self.members
            .get(&name(worker))
            .is_some_and(|member| member.kind.is_some())
    }

    /// Puts a worker into the pool where it belongs now, or into none.
    pub(super) fn refresh(&mut self, now: Mono, worker: &NodeId, view: &ClusterView) {
        let offer = view.offers.get(worker).map(|offer| offer.record.clone());
        let node = view.workers.get(worker);
        let member = self.members.entry(name(worker)).or_default();
        let trusted =
            member.stale_at.is_some_and(|at| at > now) && !member.suspect && node.is_some();
        let wanted = offer.filter(|_| trusted);
        let kind = wanted.as_ref().map(|offer| {
            // Nearly always what it was before: workers report often and change their offers seldom.
            let same = |kind: &&Kind| kind.0 == offer.queues && kind.1 == offer.types;
            let known = member.kind.as_ref().filter(same);
            known.map_or_else(|| kind_of(offer), Kind::clone)
        });
        let moves = member.kind != kind;
        if moves && let Some(old) = member.kind.take() {
            self.pools.remove(&old, worker);
        }
        member.kind.clone_from(&kind);
        let before = member.capacity.take().filter(|_| !moves);
        if let (Some(kind), Some(offer), Some(node)) = (kind, wanted, node) {
            let capacity = Capacity {
                slots: offer.slots,
                weight: offer.weight,
                cpu_permille: node.record.cpu_permille,
            };
            member.capacity = Some(capacity);
            // What it holds is counted there as it changes: a report alone seldom tells anything new.
            if before != Some(capacity) {
                self.pools.set(&kind, worker, capacity, member.held);
            }
        }
    }

    /// That life of the worker is over. What it holds stays counted until it is taken.
    pub(super) fn drop_worker(&mut self, worker: &NodeId) {
        let Some(member) = self.members.get_mut(&name(worker)) else {
            return;
        };
        if let Some(at) = member.stale_at.take() {
            self.stale_at.remove(&(at, worker.clone()));
        }
        member.suspect = false;
        member.capacity = None;
        if let Some(kind) = member.kind.take() {
            self.pools.remove(&kind, worker);
        }
        self.forget_if_unused(worker);
    }

    fn forget_if_unused(&mut self, worker: &NodeId) {
        if self
            .members
            .get(&name(worker))
            .is_some_and(|member| member.held == 0 && member.stale_at.is_none())
        {
            self.members.remove(&name(worker));
        }
    }

    /// The worker's offer was found gone: it is not used until [`Fleet::trust`].
    pub(super) fn suspect(&mut self, now: Mono, worker: &NodeId, view: &ClusterView) {
        if let Some(member) = self.members.get_mut(&name(worker)) {
            member.suspect = true;
        }
        self.refresh(now, worker, view);
    }

    /// The view has caught up with what made the worker suspect.
    pub(super) fn trust(&mut self, now: Mono, worker: &NodeId, view: &ClusterView) {
        if let Some(member) = self.members.get_mut(&name(worker)) {
            member.suspect = planted!("P-suspect-kept");
            self.refresh(now, worker, view);
        }
    }

    /// One more claim, or dispatch under way.
    pub(super) fn hold(&mut self, worker: &NodeId) {
        let member = self.members.entry(name(worker)).or_default();
        member.held += 1;
        if let Some(kind) = &member.kind {
            self.pools.hold(kind, worker);
        }
    }

    /// One fewer.
    pub(super) fn release(&mut self, worker: &NodeId) {
        let Some(member) = self.members.get_mut(&name(worker)) else {
            return;
        };
        assert!(member.held > 0, "what is released was held");
        member.held -= 1;
        let is_idle = member.held == 0;
        if let Some(kind) = &member.kind {
            self.pools.release(kind, worker);
        }
        if is_idle {
            self.forget_if_unused(worker);
        }
    }

    /// A worker with a free slot for this class.
    pub(super) fn pick(
        &mut self,
        queue: &QueueName,
        kind: &TaskType,
        strategy: Strategy,
        rng: &mut Rng,
        view: &ClusterView,
    ) -> Option<Recipient> {
        let worker = self.pools.pick(queue, kind, strategy, rng)?;
        let (node, offer) = (view.workers.get(&worker)?, view.offers.get(&worker)?);
        Some(Recipient {
            registration: node.registration,
            offer: offer.created,
            worker,
        })
    }

    /// Who takes tasks of this class.
    pub(super) fn takers_of(&mut self, queue: &QueueName, kind: &TaskType) -> TakersIx {
        self.pools.takers_of(queue, kind)
    }

    /// The takers that the worker is among; none while it is not to be used.
    pub(super) fn takers_with(&self, worker: &NodeId) -> &[TakersIx] {
        let kind = self
            .members
            .get(&name(worker))
            .and_then(|it| it.kind.as_ref());
        kind.map_or(&[], |kind| self.pools.takers_with(kind))
    }

    /// Grows whenever what was said of takers does not hold any more.
    pub(super) fn epoch(&self) -> u64 {
        self.pools.epoch()
    }

    /// Free slots, and all slots, for this class.
    pub(super) fn capacity(&self, queue: &QueueName, kind: &TaskType) -> (u64, u64) {
        self.pools.capacity(queue, kind)
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.stale_at.first().map(|(at, _)| *at)
    }

    /// Workers that did not report in time are not used any more. Never says that there is something to send.
    pub(super) fn on_time(&mut self, now: Mono, view: &ClusterView) -> bool {
        while let Some((_, worker)) = self.stale_at.first().filter(|(at, _)| *at <= now).cloned() {
            self.stale_at.pop_first();
            self.members
                .get_mut(&name(&worker))
                .expect("only members have a report")
                .stale_at = None;
            self.refresh(now, &worker, view);
            self.forget_if_unused(&worker);
        }
        false
    }

    /// Whether something is given to this worker.
    pub(super) fn trust_in(&self, worker: &NodeId) -> Trust {
        let member = self.members.get(&name(worker));
        match member.filter(|member| member.stale_at.is_some()) {
            None => Trust::Silent,
            Some(member) if member.suspect => Trust::Doubted,
            Some(_) => Trust::Full,
        }
    }

    /// Whether the worker waits for [`Fleet::trust`].
    pub(super) fn is_suspect(&self, worker: &NodeId) -> bool {
        self.members
            .get(&name(worker))
            .is_some_and(|member| member.suspect)
    }
}

#[cfg(test)]
impl Fleet {
    /// A worker is there that takes this type from every queue.
    pub(super) fn join(&mut self, worker: &str, takes: &str, slots: u32) {
        let worker: NodeId = worker.parse().unwrap();
        let kind = Kind::new((Vec::new(), vec![takes.parse().unwrap()]));
        let capacity = Capacity {
            slots,
            weight: 1,
            cpu_permille: 0,
        };
        self.pools.set(&kind, &worker, capacity, 0);
        let member = self.members.entry(worker.into()).or_default();
        member.kind = Some(kind);
        member.capacity = Some(capacity);
    }
}
