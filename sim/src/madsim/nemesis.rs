//! Doing harm, and undoing it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::madsim::net::NetSim;
use ::madsim::runtime::Handle;
use ::madsim::task::NodeId;
use tokio::time::sleep;

use super::fault::{Fault, Way};
use super::scenario::{NodeIx, Timed};
use super::world::{World, elapsed, lock};

/// How often it is looked for harm to be undone.
const TEND_EVERY: Duration = Duration::from_millis(10);
/// How long a process that has ended by itself stays down.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// Harm that lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ill {
    Down(NodeIx),
    Paused(NodeIx),
    CutToStore(NodeIx),
    CutFromStore(NodeIx),
    Muted(NodeIx),
    PacketLoss,
    Slow,
    StoreDown,
    StorePaused,
}

/// Who does the harm.
#[derive(Debug)]
pub(super) struct Nemesis {
    world: Arc<World>,
    store: NodeId,
    nodes: Vec<NodeId>,
    /// What is ill, and until when.
    ills: Mutex<BTreeMap<Ill, Duration>>,
}

impl Nemesis {
    pub(super) fn new(world: &Arc<World>, store: NodeId, nodes: Vec<NodeId>) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            store,
            nodes,
            ills: Mutex::default(),
        })
    }

    /// Does all the harm that was planned.
    pub(super) async fn harm(self: Arc<Self>, plan: Vec<Timed<Fault>>) {
        for Timed { at, what } in plan {
            sleep(at.saturating_sub(elapsed())).await;
            self.inflict(&what);
        }
    }

    /// Undoes harm when its time is over, and starts again who has ended by itself, for ever.
    pub(super) async fn tend(self: Arc<Self>) {
        loop {
            sleep(TEND_EVERY).await;
            let now = elapsed();
            for node in 0..self.nodes.len() {
                if self.world.has_ended(node) {
                    let until = now + RESTART_AFTER;
                    lock(&self.ills).entry(Ill::Down(node)).or_insert(until);
                }
            }
            self.cure(|_, until| until <= now);
        }
    }

    /// Undoes all harm, but for `lost` nodes, which die for good.
    pub(super) fn heal(&self, lost: &[NodeIx]) {
        self.world.store.behave();
        self.cure(|_, _| true);
        for node in lost {
            self.inflict(&Fault::Kill {
                node: *node,
                down_for: Duration::MAX,
            });
        }
    }

    fn last(&self, ill: Ill, lasts: Duration) {
        let until = elapsed().saturating_add(lasts);
        let mut ills = lock(&self.ills);
        let before = ills.entry(ill).or_insert(until);
        *before = until.max(*before);
    }

    fn inflict(&self, fault: &Fault) {
        let (world, net) = (&self.world, NetSim::current());
        let kind = fault.kind();
        let happens = match fault {
            Fault::Kill { node, down_for } => self.kill(*node, *down_for),
            Fault::Pause { node, lasts } => self.pause(*node, *lasts),
            Fault::Cut { node, way, lasts } => {
                if *way != Way::FromStore {
                    net.clog_link(self.nodes[*node], self.store);
                    self.last(Ill::CutToStore(*node), *lasts);
                }
                if *way != Way::ToStore {
                    net.clog_link(self.store, self.nodes[*node]);
                    self.last(Ill::CutFromStore(*node), *lasts);
                }
                true
            }
            Fault::PacketLoss { permille, lasts } => {
                let rate = f64::from(*permille) / 1_000.0;
                net.update_config(|config| config.packet_loss_rate = rate);
                self.last(Ill::PacketLoss, *lasts);
                true
            }
            Fault::Slow { latency_max, lasts } => {
                set_latency(*latency_max);
                self.last(Ill::Slow, *lasts);
                true
            }
            Fault::StoreRestart { down_for } => self.store_down(*down_for),
            Fault::StorePause { lasts } => self.pause_store(*lasts),
            // These two are counted when they happen to a call.
            Fault::LoseAnswers { node, count } => {
                world.store.lose_answers(*node, *count);
                false
            }
            Fault::DelayAnswers { node, count, by } => {
                world.store.delay_answers(*node, *count, *by);
                false
            }
            Fault::MuteWatches { node, lasts } => {
                world.store.mute(*node, true);
                self.last(Ill::Muted(*node), *lasts);
                true
            }
            Fault::Reset { node } => world.store.reset(*node),
            Fault::ExpireEarly { node } => {
                self.store_runs() && world.store.expire_early(world, *node)
            }
            Fault::ChangeLeader => {
                let runs = self.store_runs();
                if runs {
                    world.store.change_leader(world);
                }
                runs
            }
            Fault::Compact => {
                let runs = self.store_runs();
                if runs {
                    world.store.compact(world);
                }
                runs
            }
            Fault::Drain { node } => {
                world.drain(*node).notify_one();
                world.is_alive(*node)
            }
        };
        if happens {
            world.count(kind);
        }
    }

    fn kill(&self, node: NodeIx, down_for: Duration) -> bool {
        let was_alive = self.world.is_alive(node);
        Handle::current().kill(self.nodes[node]);
        self.world.killed(node);
        lock(&self.ills).remove(&Ill::Paused(node));
        self.last(Ill::Down(node), down_for);
        was_alive
    }

    fn pause(&self, node: NodeIx, lasts: Duration) -> bool {
        let is_alive = self.world.is_alive(node);
        if is_alive {
            Handle::current().pause(self.nodes[node]);
            self.last(Ill::Paused(node), lasts);
        }
        is_alive
    }

    fn store_runs(&self) -> bool {
        !lock(&self.ills).contains_key(&Ill::StoreDown)
    }

    fn store_down(&self, down_for: Duration) -> bool {
        let ran = self.store_runs();
        if ran {
            Handle::current().kill(self.store);
            self.world.store.go_down();
            lock(&self.ills).remove(&Ill::StorePaused);
            self.last(Ill::StoreDown, down_for);
        }
        ran
    }

    fn pause_store(&self, lasts: Duration) -> bool {
        let runs = self.store_runs();
        if runs {
            Handle::current().pause(self.store);
            self.last(Ill::StorePaused, lasts);
        }
        runs
    }

    fn cure(&self, which: impl Fn(Ill, Duration) -> bool) {
        let cured: Vec<Ill> = {
            let mut ills = lock(&self.ills);
            let cured: Vec<Ill> = ills
                .iter()
                .filter(|(ill, until)| which(**ill, **until))
                .map(|(ill, _)| *ill)
                .collect();
            ills.retain(|ill, _| !cured.contains(ill));
            cured
        };
        for ill in cured {
            self.undo(ill);
        }
    }

    fn undo(&self, ill: Ill) {
        self.world.note(format_args!("cured {ill:?}"));
        let (handle, net) = (Handle::current(), NetSim::current());
        match ill {
            Ill::Down(node) => handle.restart(self.nodes[node]),
            Ill::Paused(node) => handle.resume(self.nodes[node]),
            Ill::CutToStore(node) => net.unclog_link(self.nodes[node], self.store),
            Ill::CutFromStore(node) => net.unclog_link(self.store, self.nodes[node]),
            Ill::Muted(node) => self.world.store.mute(node, false),
            Ill::PacketLoss => net.update_config(|config| config.packet_loss_rate = 0.0),
            Ill::Slow => set_latency(self.world.scenario.latency_max),
            Ill::StoreDown => {
                self.world.store.come_up(&self.world);
                handle.restart(self.store);
            }
            Ill::StorePaused => handle.resume(self.store),
        }
    }
}

/// How long messages take from now on.
pub(super) fn set_latency(max: Duration) {
    let range = Duration::from_micros(100)..max.max(Duration::from_micros(101));
    NetSim::current().update_config(|config| config.send_latency = range);
}
