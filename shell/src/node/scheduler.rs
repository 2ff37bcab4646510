//! A running scheduler: gateway, scheduler and janitor in one machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument, info, info_span, warn};
use windlass_core::config::ServerConfig;
use windlass_core::room::{Level, Room};
use windlass_core::server::{Effect, Input, Server};
use windlass_core::worker::Exit;

use super::{Load, Reins};
use crate::clock::Clock;
use crate::driver::{self, Ports};
use crate::gateway::Gateway;
use crate::instruments::Instruments;
use crate::store::{Answers, StorePort};

/// A scheduler that runs in this process. Dropping it ends it at once, as a crash would.
#[derive(Debug)]
pub struct SchedulerNode {
    reins: Reins<Input>,
    gateway: Gateway,
    status: Arc<Status>,
    measuring: Option<tokio::task::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Status {
    ready: AtomicBool,
}

impl SchedulerNode {
    /// Starts a scheduler on the store that `client` is a way into. No other process may have the same `seed`.
    pub fn launch(
        client: impl FnOnce(Answers) -> Box<dyn StorePort>,
        config: ServerConfig,
        clock: impl Clock,
        seed: u64,
    ) -> Self {
        let span = info_span!("scheduler", node = %config.id);
        let (inbox, receiver) = mpsc::unbounded_channel();
        let (exit_sender, exit) = oneshot::channel();
        let status = Arc::new(Status::default());
        let asked = inbox.clone();
        let forgotten = inbox.clone();
        let reads = clock.clone();
        let instruments = Arc::new(Instruments::new(move || reads.now().mono));
        let gateway = Gateway::measured(
            move |id, request| {
                let _ = asked.send(Input::Request { id, request });
            },
            move |id| {
                let _ = forgotten.send(Input::Forget { id });
            },
            Arc::clone(&instruments),
        );
        let (answered, measured) = (inbox.clone(), Arc::clone(&instruments));
        let answers = Answers::new(move |op, answer| {
            measured.answered(op, &answer);
            let _ = answered.send(Input::Store { op, answer });
        });
        let ports = SchedulerPorts {
            store: client(answers),
            gateway: gateway.clone(),
            status: Arc::clone(&status),
            instruments,
            level: Level::Roomy,
            repaired: 0,
            exit: Some(exit_sender),
        };
        let machine = Server::new(config, seed, clock.now());
        let driver = tokio::spawn(driver::run(machine, clock, ports, receiver).instrument(span));
        Self {
            reins: Reins {
                inbox,
                exit,
                driver,
            },
            gateway,
            status,
            measuring: None,
        }
    }

    /// Where measurements of the computer go.
    pub fn load_reporter(&self) -> impl Fn(Load) + Send + use<> {
        let inbox = self.reins.inbox.clone();
        move |load| {
            // A machine that has ended needs no inputs.
            let _ = inbox.send(Input::Load {
                cpu_permille: load.cpu_permille,
                memory_bytes: load.memory_bytes,
            });
        }
    }

    /// The same node, which ends `measuring` when it ends.
    #[must_use]
    pub fn with_measuring(mut self, measuring: tokio::task::JoinHandle<()>) -> Self {
        self.measuring = Some(measuring);
        self
    }

    /// The way in for requests.
    pub fn gateway(&self) -> Gateway {
        self.gateway.clone()
    }

    /// Whether it serves now; may be asked at any time, also after its end.
    pub fn readiness(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let status = Arc::clone(&self.status);
        move || status.ready.load(Ordering::Relaxed)
    }

    /// Tells it to finish what is under way and leave.
    pub fn drain(&self) {
        self.reins.send(Input::Drain);
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> Exit {
        let exit = self.reins.wait().await;
        self.status.ready.store(false, Ordering::Relaxed);
        self.gateway.close();
        exit
    }
}

impl Drop for SchedulerNode {
    fn drop(&mut self) {
        if let Some(measuring) = &self.measuring {
            measuring.abort();
        }
    }
}

struct SchedulerPorts {
    store: Box<dyn StorePort>,
    gateway: Gateway,
    status: Arc<Status>,
    instruments: Arc<Instruments>,
    level: Level,
    repaired: u64,
    exit: Option<oneshot::Sender<Exit>>,
}

impl SchedulerPorts {
    /// Tells an operator when the view was not what the store holds.
    fn note_drift(&mut self, repaired: u64) {
        if repaired > self.repaired {
            self.repaired = repaired;
            warn!(
                repaired,
                "the view was not what the store holds: the store has lost an event; reading anew"
            );
        }
    }

    /// Tells an operator when the store's room has become another.
    fn note_room(&mut self, room: &Room) {
        if room.level == self.level {
            return;
        }
        self.level = room.level;
        let usage = room.usage.unwrap_or_default();
        let (used, size, quota) = (usage.used, usage.size, usage.quota.unwrap_or(0));
        match room.level {
            Level::Roomy => info!(used, size, quota, "the store has room again"),
            Level::Tight => warn!(
                used,
                size,
                quota,
                "the store is tight: ended tasks are removed before their retention, oldest first; raise its quota, or choose a shorter retention"
            ),
            Level::Full if usage.full => warn!(
                used,
                size,
                quota,
                "the store takes no writes (NOSPACE): new tasks are refused, and nothing can be recorded until it is mended; raise the quota or remove what else it holds, then run `etcdctl defrag` on each member and `etcdctl alarm disarm`"
            ),
            Level::Full => warn!(
                used,
                size,
                quota,
                "the store is full: new tasks are refused until tasks have ended; what cannot be removed are tasks that wait, run or are dead: work them off, or raise the quota"
            ),
        }
    }
}

impl Ports<Server> for SchedulerPorts {
    fn decided(&mut self, span: Duration) {
        self.instruments.decided(span);
    }

    fn dispatch(&mut self, machine: &Server, effects: &mut Vec<Effect>) {
        let ready = machine.is_ready();
        if self.status.ready.swap(ready, Ordering::Relaxed) != ready {
            if ready {
                info!("ready");
            } else {
                warn!("not ready: no session, or the view of the store has a gap, or it leaves");
            }
        }
        self.instruments
            .look(machine.session_ends(), machine.view_at());
        self.note_room(&machine.room());
        self.note_drift(machine.drift_repaired());
        for effect in effects.drain(..) {
            match effect {
                Effect::Store(call) => {
                    self.instruments.called(call.op, &call.call);
                    self.store.call(call.op, call.call);
                }
                Effect::Reply { id, reply } => self.gateway.reply(id, reply),
                Effect::Exit(reason) => {
                    info!(?reason, "ends");
                    if let Some(exit) = self.exit.take() {
                        let _ = exit.send(reason);
                    }
                }
            }
        }
    }
}
