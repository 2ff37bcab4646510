//! Who takes part, and the stores as they are at first.

use std::collections::BTreeMap;

use windlass_core::ids::{NodeId, OpId};
use windlass_core::keyspace::Key;
use windlass_core::kv::{ClientId, Input as KvInput, Kv, Limits};
use windlass_core::machine::Machine;
use windlass_core::record::{OfferRecord, Record, Version};
use windlass_core::rng::Rng;
use windlass_core::store::{Call, Step, Write};
use windlass_core::time::{Millis, Mono, Now};

use super::actor::{Effect, Input, Store};
use super::bug::Planted;
use super::gateway::Gateway;
use super::janitor::Janitor;
use super::mover::Mover;
use super::plan::Plan;
use super::record::{CellId, Tags};
use super::rows::txn;
use super::scheduler::Scheduler;
use super::worker::Worker;

/// Somebody, whatever it does.
pub(super) type Actor = Box<dyn Machine<Input = Input, Effect = Effect, Timer = ()>>;

/// What somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Gateway,
    Mover,
    Scheduler(CellId),
    Worker(CellId, u8),
    Janitor(CellId),
}

/// Everybody, gateways first.
pub(super) fn parts(plan: &Plan) -> Vec<Part> {
    let mut parts = vec![Part::Gateway; usize::from(plan.gateways)];
    parts.extend(vec![Part::Mover; usize::from(plan.movers)]);
    for cell in (0..plan.cells).map(CellId) {
        parts.extend(vec![Part::Scheduler(cell); usize::from(plan.schedulers)]);
        parts.extend((0..plan.workers).map(|n| Part::Worker(cell, n)));
        parts.push(Part::Janitor(cell));
    }
    parts
}

/// What a new life begins with.
#[derive(Debug)]
pub(super) struct Seed {
    pub(super) part: Part,
    /// No other life has it.
    pub(super) name: String,
    pub(super) now: Mono,
    pub(super) is_healed: bool,
    pub(super) bugs: Planted,
}

impl Seed {
    /// Somebody who knows nothing yet.
    pub(super) fn grow(&self, plan: &Plan, rng: Rng) -> Actor {
        let (now, bugs) = (self.now, self.bugs);
        match self.part {
            Part::Gateway => {
                let me = node_id(&self.name);
                let tags = Tags {
                    bits: plan.tag_bits,
                };
                Box::new(Gateway::new(me, plan.cells, tags, rng, now, bugs))
            }
            Part::Mover => Box::new(Mover::new(rng, now, bugs)),
            Part::Scheduler(cell) => {
                let impatience = if self.is_healed { 0 } else { plan.impatience };
                Box::new(Scheduler::new(cell, rng, now, impatience, bugs))
            }
            Part::Worker(cell, number) => {
                let me = worker_id(cell, number);
                let worker = Worker::new(cell, me, rng, now, plan.run_ms_max, bugs);
                Box::new(if self.is_healed {
                    worker.tame()
                } else {
                    worker
                })
            }
            Part::Janitor(cell) => {
                let retention = Millis::new(plan.retention_ms);
                Box::new(Janitor::new(cell, rng, now, retention, bugs))
            }
        }
    }
}

/// The stores, the older ones at higher revisions.
pub(super) fn stores(plan: &Plan) -> BTreeMap<Store, Kv> {
    let mut stores = BTreeMap::new();
    stores.insert(Store::Directory, Kv::new(Limits::default()));
    for cell in 0..plan.cells {
        let mut kv = Kv::new(Limits::default());
        let age = plan.ages.get(usize::from(cell)).copied().unwrap_or(0);
        for _ in 0..age {
            // A cell that has been there for longer is at a higher revision.
            apply(&mut kv, offer("nobody"));
        }
        for worker in 0..plan.workers {
            apply(&mut kv, offer(worker_id(CellId(cell), worker).as_str()));
        }
        let nobody = Key::offer(&"nobody".parse().expect("a legal name"));
        let away = Step::new(Vec::new(), vec![Write::Delete { key: nobody }]);
        apply(&mut kv, away);
        stores.insert(Store::Cell(CellId(cell)), kv);
    }
    stores
}

fn apply(kv: &mut Kv, step: Step) {
    let call = Call::Commit(txn(step));
    let input = KvInput::Call {
        client: ClientId(u64::MAX),
        op: OpId(0),
        call,
    };
    kv.handle(Now::default(), input, &mut Vec::new());
}

fn node_id(text: &str) -> NodeId {
    text.parse().expect("a legal name")
}

fn worker_id(cell: CellId, number: u8) -> NodeId {
    node_id(&format!("w{number}-{cell}"))
}

fn offer(worker: &str) -> Step {
    let record = OfferRecord {
        v: Version,
        slots: 2,
        queues: Vec::new(),
        types: Vec::new(),
        weight: 1,
        labels: BTreeMap::new(),
    };
    let put = Write::Put {
        key: Key::offer(&node_id(worker)),
        value: record.encode(),
        lease: None,
    };
    Step::new(Vec::new(), vec![put])
}
