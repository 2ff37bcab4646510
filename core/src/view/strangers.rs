//! Nodes that live, whose records say what this version cannot read: a later version's, while a deployment is rolled
//! over. Nothing is placed on them, and nothing that is theirs is taken for a dead node's.

use std::collections::BTreeSet;

use super::cluster::ClusterView;
use crate::ids::{NodeId, Registration};
use crate::keyspace::{Meaning, Role};
use crate::planted::planted;
use crate::store::Found;

impl ClusterView {
    /// A key whose record cannot be read: if it is a node's, the node lives all the same.
    pub(super) fn note_stranger(&mut self, meaning: Meaning, found: &Found) {
        if let Meaning::Node(role, id) = meaning
            && !planted!("P-stranger-taken-for-dead")
        {
            self.strangers
                .insert((role, id), Registration(found.created));
        }
    }

    /// Which life a worker has; `None` when it does not live.
    pub fn worker_life(&self, worker: &NodeId) -> Option<Registration> {
        let known = self.workers.get(worker).map(|node| node.registration);
        known.or_else(|| self.strangers.get(&(Role::Worker, worker.clone())).copied())
    }

    /// Whether a scheduler lives.
    pub fn has_scheduler(&self, scheduler: &NodeId) -> bool {
        self.schedulers.contains_key(scheduler)
            || self
                .strangers
                .contains_key(&(Role::Scheduler, scheduler.clone()))
    }

    /// The nodes that live: whose lanes are in use.
    pub fn live_nodes(&self) -> BTreeSet<NodeId> {
        let strangers = self.strangers.keys().map(|(_, id)| id);
        self.workers
            .keys()
            .chain(self.schedulers.keys())
            .chain(strangers)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Revision;
    use crate::keyspace::Key;
    use crate::store::{Change, Item, Value};
    use crate::time::Mono;
    use crate::view::News;

    fn heard(view: &mut ClusterView, change: Change) -> Vec<News> {
        let mut news = Vec::new();
        view.apply(Mono::ZERO, vec![change], &mut news);
        news
    }

    #[test]
    fn a_node_of_a_later_version_lives_until_its_key_goes() {
        let mut view = ClusterView::default();
        let id: NodeId = "w".parse().unwrap();
        let key = Key::node(Role::Worker, &id);
        let value = Value::from(br#"{"v":999}"#.to_vec());
        let item = Item::new(key.clone(), Revision(5), Revision(7), value);
        heard(&mut view, Change::Put(item));
        assert!(view.workers.is_empty(), "there is nothing to place on");
        assert_eq!(view.worker_life(&id), Some(Registration(Revision(5))));
        assert!(view.live_nodes().contains(&id));
        let at = Revision(8);
        let news = heard(&mut view, Change::Delete { key, at });
        assert_eq!(view.worker_life(&id), None);
        assert!(
            matches!(&news[..], [News::WorkerWent(gone, _)] if *gone == id),
            "its claims are taken now: {news:?}"
        );
    }
}
