//! Faults of processes.

use std::time::Duration;

use windlass_core::time::Millis;

use super::FaultKind;
use crate::fact::NodeIx;
use crate::node::NodeConfig;
use crate::world::{Happening, World};

impl World {
    pub(super) fn break_process(&mut self, node: NodeIx, down_for: Millis) {
        if self.nodes[node].brain.is_none() {
            return;
        }
        let until = self.now().mono.after(down_for.into());
        self.hit(FaultKind::Crash, Some(node), until);
        self.crash(node);
        self.schedule(until, Happening::Boot { node });
    }

    pub(super) fn freeze(&mut self, node: NodeIx, lasts: Millis) {
        if self.nodes[node].brain.is_some() {
            let until = self.now().mono.after(lasts.into());
            self.hit(FaultKind::Pause, Some(node), until);
            self.pause(node, lasts.into());
        }
    }

    /// A second process under the same id: an operator's mistake. It gives up by itself, or takes over once the first
    /// has gone; nobody starts it again.
    pub(super) fn double(&mut self, node: NodeIx) {
        let config = self.nodes[node].config.clone();
        let id = config.id().as_str().to_owned();
        let until = self.now().mono.after(Duration::from_secs(60));
        self.hit(FaultKind::Double, Some(node), until);
        match config {
            NodeConfig::Server(config) => self.add_server(&id, |it| *it = config),
            NodeConfig::Worker(config) => self.add_worker(&id, |it| *it = config),
            NodeConfig::Remote(config) => {
                let node = self.plan_remote(&id, |it| *it = config);
                self.boot(node);
                node
            }
        };
    }
}
