//! Is what a scheduler believes what the store holds, when both are at the same revision?

use windlass_core::keyspace::Range;
use windlass_core::time::Mono;
use windlass_core::view::ClusterView;

use super::{NodeIx, World};
use crate::fact::Fact;

/// One of this many chances is taken: a comparison reads the whole store.
const SAMPLED: u64 = 16;

impl World {
    /// Sometimes compares a node's view with the store, if both are at the same revision.
    pub(super) fn compare_view(&mut self, node: NodeIx) {
        if self.is_recorded() && self.server(node).is_some() && self.network.below(SAMPLED) == 0 {
            self.compare_view_now(node);
        }
    }

    /// Compares a node's view with the store, if both are at the same revision. Says whether they were.
    pub fn compare_view_now(&mut self, node: NodeIx) -> bool {
        let at = self.kv.revision();
        let Some(server) = self.server(node).filter(|it| it.view_at() == Some(at)) else {
            return false;
        };
        let difference = difference(server.view(), &self.truth());
        self.tell(|| Fact::Viewed {
            node,
            at,
            difference,
        });
        true
    }

    /// The view of somebody who reads the whole store now.
    fn truth(&self) -> ClusterView {
        let items = self
            .kv
            .entries(&Range::cluster())
            .map(|(key, entry)| entry.item(key))
            .collect();
        let mut view = ClusterView::default();
        view.fill(Mono::ZERO, items, &mut Vec::new());
        view
    }
}

/// The first thing in which two views differ, but for when something was seen.
fn difference(view: &ClusterView, truth: &ClusterView) -> Option<String> {
    let claims = |view: &ClusterView| -> Vec<_> {
        let all = view
            .claims
            .iter()
            .flat_map(|(worker, claims)| claims.iter().map(move |it| (worker, it)));
        all.map(|(worker, (place, it))| {
            (
                worker.clone(),
                *place,
                it.created,
                it.since,
                it.record.clone(),
            )
        })
        .collect()
    };
    let entries = |view: &ClusterView| -> Vec<_> {
        let all = view
            .entries
            .iter()
            .flat_map(|(queue, entries)| entries.iter().map(move |it| (queue, it)));
        all.map(|(queue, (place, it))| (queue.clone(), *place, it.clone()))
            .collect()
    };
    let dead = |view: &ClusterView| -> Vec<_> {
        let all = view
            .dead
            .iter()
            .flat_map(|(queue, dead)| dead.iter().map(move |it| (queue, it)));
        all.map(|(queue, (task, it))| (queue.clone(), *task, it.clone()))
            .collect()
    };
    [
        differs("entries", &entries(view), &entries(truth)),
        differs("claims", &claims(view), &claims(truth)),
        differs("dead", &dead(view), &dead(truth)),
        differs("delayed", &view.delayed, &truth.delayed),
        differs("workers", &view.workers, &truth.workers),
        differs("schedulers", &view.schedulers, &truth.schedulers),
        differs("offers", &view.offers, &truth.offers),
        differs("queue settings", &view.queue_configs, &truth.queue_configs),
        differs("orders", &view.node_configs, &truth.node_configs),
        differs("locks", &view.locks, &truth.locks),
        differs("janitors", &view.janitors, &truth.janitors),
    ]
    .into_iter()
    .flatten()
    .next()
}

fn differs<T: PartialEq + std::fmt::Debug>(what: &str, known: &T, true_one: &T) -> Option<String> {
    (known != true_one).then(|| format!("{what}: believed {known:?}, true {true_one:?}"))
}
