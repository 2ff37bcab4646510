//! Orders to nodes, as the store has them.

use windlass_core::keyspace::Key;
use windlass_core::record::{NodeConfig, Record};

use super::World;
use crate::fact::NodeIx;
use crate::node::Brain;

impl World {
    /// Whether somebody ordered the node to drain, in this life or one before.
    pub fn has_orders(&self, node: NodeIx) -> bool {
        self.orders(node).is_some()
    }

    /// Whether a worker was ordered to drain in this life.
    pub fn is_drained(&self, node: NodeIx) -> bool {
        let life = match &self.nodes[node].brain {
            Some(Brain::Worker(worker)) => worker.registration(),
            Some(Brain::Remote(remote)) => remote.registration(),
            Some(Brain::Server(_)) | None => None,
        };
        let orders = self.orders(node);
        orders.is_some_and(|orders| orders.life.is_none() || orders.life == life)
    }

    fn orders(&self, node: NodeIx) -> Option<NodeConfig> {
        let entry = self.kv.entry(&Key::node_config(self.id_of(node)))?;
        Record::decode(&entry.found.value).ok()
    }
}
