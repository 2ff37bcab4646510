//! What stands in the way of a waiting task: what people are told when they ask why it waits.

use super::Scheduler;
use super::fleet::Trust;
use crate::gateway::{WhyReason, Workers};
use crate::ids::{NodeId, QueueName, TaskType};
use crate::view::{ClusterView, Offer};

/// What stands in a task's way.
#[derive(Debug)]
pub(crate) struct Obstacles {
    /// The first thing first; at least one.
    pub(crate) reasons: Vec<WhyReason>,
    /// Whether only time does: there are workers that take such tasks.
    pub(crate) can_flow: bool,
}

impl Scheduler {
    /// Why a waiting task of this queue and type, with so many before it, is not placed.
    pub(crate) fn why(
        &self,
        queue: &QueueName,
        kind: &TaskType,
        ahead: u64,
        view: &ClusterView,
    ) -> Obstacles {
        let mut reasons = Vec::new();
        let is_paused = view.config(queue).paused;
        if is_paused {
            reasons.push(WhyReason::QueuePaused);
        }
        let has_takers = self.find_takers(queue, kind, view, &mut reasons);
        if ahead > 0 {
            reasons.push(WhyReason::Behind { ahead });
        }
        if reasons.is_empty() {
            reasons.push(WhyReason::Next);
        }
        Obstacles {
            reasons,
            can_flow: has_takers && !is_paused,
        }
    }

    /// Whether there are workers that take such tasks, free or not; and why none does now.
    fn find_takers(
        &self,
        queue: &QueueName,
        kind: &TaskType,
        view: &ClusterView,
        reasons: &mut Vec<WhyReason>,
    ) -> bool {
        if view.workers.is_empty() && view.offers.is_empty() {
            reasons.push(WhyReason::NoWorkers);
            return false;
        }
        let serves = |offer: &&(&NodeId, &Offer)| {
            let queues = &offer.1.record.queues;
            queues.is_empty() || queues.contains(queue)
        };
        let offers: Vec<_> = view.offers.iter().collect();
        let serving: Vec<_> = offers.iter().filter(serves).collect();
        let able: Vec<&NodeId> = serving
            .iter()
            .filter(|(_, offer)| offer.record.types.contains(kind))
            .map(|(id, _)| *id)
            .collect();
        let of = |trust| {
            let these = able
                .iter()
                .filter(move |id| self.fleet.trust_in(id) == trust);
            these.copied().collect::<Workers>()
        };
        let (usable, silent, doubted) = (of(Trust::Full), of(Trust::Silent), of(Trust::Doubted));
        let (free, slots) = self.fleet.capacity(queue, kind);
        let has_takers = usable.count > 0;
        if serving.is_empty() && !offers.is_empty() {
            let workers = offers.iter().map(|(id, _)| *id).collect();
            reasons.push(WhyReason::NoWorkerServesQueue { workers });
        } else if able.is_empty() && !serving.is_empty() {
            let workers = serving.iter().map(|(id, _)| *id).collect();
            reasons.push(WhyReason::NoWorkerRunsType { workers });
        } else if has_takers && free == 0 {
            let workers = usable;
            reasons.push(WhyReason::NoFreeSlot { slots, workers });
        }
        if free > 0 {
            return has_takers;
        }
        if silent.count > 0 {
            reasons.push(WhyReason::WorkersSilent { workers: silent });
        }
        if doubted.count > 0 {
            reasons.push(WhyReason::ViewStale);
        }
        let takes_nothing = |id: &&NodeId| !view.offers.contains_key(*id);
        let workers: Workers = view.workers.keys().filter(takes_nothing).collect();
        if workers.count > 0 {
            reasons.push(WhyReason::WorkersDraining { workers });
        }
        has_takers
    }
}
