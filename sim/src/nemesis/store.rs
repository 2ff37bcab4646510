//! Faults of the store as a whole, and of what strangers put into it.

use std::collections::BTreeSet;
use std::time::Duration;

use windlass_core::ids::{LeaseId, NodeId, OpId, Priority, QueueName, TaskId};
use windlass_core::keyspace::{Key, Place, Role};
use windlass_core::kv;
use windlass_core::record::{QueueConfig, Record as _};
use windlass_core::store::{Call, Guard, Step, Txn, Value, Write};
use windlass_core::time::{Millis, Mono, Wall};

use super::FaultKind;
use crate::fact::NodeIx;
use crate::node::NodeConfig;
use crate::world::{Happening, World};

/// What the store as a whole suffers from.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// It serves nobody since then, until then.
    down: Option<(Mono, Mono)>,
    /// How long it was down in all: its own clock stood still.
    pub(crate) lost: Duration,
    /// It takes no puts until then.
    pub(crate) no_space_until: Mono,
    /// The store's quota, if it has one.
    pub(crate) quota: Option<u64>,
    /// It refuses half of all transactions until then.
    pub(crate) busy_until: Mono,
    /// Calls that were refused for certain: no other copy of them is taken either.
    pub(crate) refused: BTreeSet<(NodeIx, u64, OpId)>,
    /// The leases that live.
    pub(crate) leases: BTreeSet<LeaseId>,
    /// What strangers put, and will take away.
    strange: Vec<Key>,
}

impl Outage {
    pub(crate) fn is_down(&self) -> bool {
        self.down.is_some()
    }

    /// The last time at which the store's clock ran.
    pub(crate) fn stood_still(&self, now: Mono) -> Mono {
        self.down.map_or(now, |(since, _)| since)
    }
}

impl World {
    pub(super) fn store_down(&mut self, lasts: Millis) {
        let now = self.now().mono;
        if self.outage.is_down() {
            return;
        }
        let until = now.after(lasts.into());
        self.hit(FaultKind::StoreDown, None, until);
        self.outage.down = Some((now, until));
        self.lose_answers_under_way();
        for node in 0..self.nodes.len() {
            self.lose_watches(node);
        }
        self.schedule(until, Happening::EndOutage);
    }

    /// The store is back: all leases begin anew.
    pub(crate) fn end_outage(&mut self) {
        if let Some((since, _)) = self.outage.down.take() {
            self.outage.lost += self.now().mono.since(since);
            self.store(kv::Input::LeaderChanged);
        }
    }

    pub(super) fn no_space(&mut self, lasts: Millis) {
        self.outage.no_space_until = self.now().mono.after(lasts.into());
    }

    pub(super) fn busy(&mut self, lasts: Millis) {
        self.outage.busy_until = self.now().mono.after(lasts.into());
    }

    pub(super) fn compact(&mut self) {
        let now = self.now().mono;
        self.hit(FaultKind::Compact, None, now);
        let at = self.kv().revision();
        if !self.outage.is_down() {
            self.stranger(Call::Compact { at });
        }
        self.lose_late_news();
    }

    pub(super) fn move_leader(&mut self) {
        let now = self.now().mono;
        if self.outage.is_down() {
            return;
        }
        self.hit(
            FaultKind::MoveLeader,
            None,
            now.after(Duration::from_secs(1)),
        );
        self.lose_answers_under_way();
        self.store(kv::Input::LeaderChanged);
    }

    pub(super) fn expire_lease(&mut self, node: NodeIx) {
        let key = match &self.nodes[node].config {
            NodeConfig::Server(config) => Key::node(Role::Scheduler, &config.id),
            NodeConfig::Worker(config) | NodeConfig::Remote(config) => {
                Key::node(Role::Worker, &config.id)
            }
        };
        let lease = self.kv().entry(&key).and_then(|entry| entry.lease);
        if let Some(lease) = lease.filter(|_| !self.outage.is_down()) {
            // Of several processes under one id, the key's is any.
            for same in 0..self.nodes.len() {
                if self.id_of(same) == self.id_of(node) {
                    self.hit(FaultKind::ExpireLease, Some(same), self.now().mono);
                }
            }
            self.stranger(Call::Revoke { lease });
        }
    }

    pub(super) fn expire_all(&mut self) {
        if self.outage.is_down() {
            return;
        }
        self.hit(FaultKind::ExpireAll, None, self.now().mono);
        for lease in self.leases() {
            self.stranger(Call::Revoke { lease });
        }
    }

    /// Half of the cluster runs the next version for a while: its nodes, queues and tasks are there and cannot be read.
    /// One key is nobody's, and one record nobody can read.
    /// The record of one of our own nodes may be written anew by the next version: it lives on, and its like cannot read it.
    pub(super) fn upgrade(&mut self, node: Option<NodeIx>, lasts: Millis) {
        if !self.outage.strange.is_empty() || self.outage.is_down() {
            return;
        }
        let until = self.now().mono.after(lasts.into());
        self.hit(FaultKind::Upgrade, None, until);
        let name = |text: &str| text.parse::<NodeId>().expect("a legal name");
        let queue: QueueName = "a".parse().expect("a legal name");
        let place = |queue: &QueueName, priority| {
            let task = TaskId::floor_of(Wall::from_millis(1));
            let priority = Priority::new(priority).expect("a digit");
            Key::entry(
                queue,
                Place {
                    priority,
                    timestamp: Wall::from_millis(1),
                    task,
                },
            )
        };
        let plain = QueueConfig::default().encode();
        let plain = String::from_utf8_lossy(plain.as_bytes()).into_owned();
        let newer = r#"{"v":2,"carry":{"type":"noop","timeout":1,"colour":"blue"}}"#;
        let strange = [
            (
                Key::node(Role::Worker, &name("next-w")),
                r#"{"v":2,"life":1,"zone":"a"}"#,
            ),
            (
                Key::node(Role::Scheduler, &name("next-s")),
                r#"{"v":2,"life":1,"zone":"a"}"#,
            ),
            (Key::offer(&name("next-w")), r#"{"v":2,"slots":{"cpu":64}}"#),
            // Before every other task of its queue.
            (place(&queue, 0), newer),
            (
                place(&"later".parse().expect("a legal name"), 0),
                "{not json",
            ),
            (
                Key::queue_config(&"next".parse().expect("a legal name")),
                r#"{"v":3}"#,
            ),
            (Key::from_store("/nobody/gateway/x"), "whatever"),
            // Behind all that cannot be read, in the same revision: one that can.
            (
                Key::queue_config(&"last".parse().expect("a legal name")),
                plain.as_str(),
            ),
        ];
        let writes = strange.iter().map(|(key, value)| Write::Put {
            key: key.clone(),
            value: Value::from(value.as_bytes().to_vec()),
            lease: None,
        });
        self.meddle(step(writes.collect()));
        self.outage.strange = strange.into_iter().map(|(key, _)| key).collect();
        self.schedule(until, Happening::EndUpgrade);
        let ready = |world: &Self, node| {
            let server = world.server(node).is_some_and(|it| it.is_ready());
            server || world.worker(node).is_some_and(|it| it.is_ready())
        };
        // Whoever is about to register knows its record by what it wrote there.
        if let Some(node) = node.filter(|node| ready(self, *node)) {
            self.upgrade_node(node);
        }
    }

    fn upgrade_node(&mut self, node: NodeIx) {
        let config = &self.nodes[node].config;
        let key = Key::node(config.role(), config.id());
        let Some(entry) = self.kv().entry(&key) else {
            return;
        };
        let (lease, created) = (entry.lease, entry.found.created);
        let alive = Guard::Alive {
            key: key.clone(),
            since: created,
        };
        let write = Write::Put {
            key,
            value: Value::from(br#"{"v":2,"life":1,"zone":"a"}"#.to_vec()),
            lease,
        };
        let mut txn = Txn::default();
        txn.push(Step::new(vec![alive], vec![write]))
            .expect("one key makes a legal transaction");
        self.meddle(txn);
    }

    /// The next version's nodes have left, and their tasks have ended.
    pub(crate) fn end_upgrade(&mut self) {
        if self.outage.is_down() {
            let later = self.now().mono.after(Duration::from_secs(1));
            return self.schedule(later, Happening::EndUpgrade);
        }
        let keys = std::mem::take(&mut self.outage.strange);
        if !keys.is_empty() {
            self.meddle(step(
                keys.into_iter().map(|key| Write::Delete { key }).collect(),
            ));
        }
    }
}

fn step(writes: Vec<Write>) -> Txn {
    let mut txn = Txn::default();
    txn.push(Step::new(Vec::new(), writes))
        .expect("a few different keys make a legal transaction");
    txn
}
