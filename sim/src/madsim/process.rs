//! Processes: the shell's own nodes, on the simulated executor, each in a place of its own that can be killed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use windlass::clock::SystemClock;
use windlass::node::{Load, SchedulerNode, WorkerNode};
use windlass_core::config::{ServerConfig, WorkerConfig};
use windlass_core::ids::NodeId;
use windlass_core::rng::Rng;
use windlass_core::worker::Exit;

use super::handlers::{Handlers, TYPES};
use super::port::Port;
use super::scenario::NodeIx;
use super::world::{Who, World};

/// One life of a process, until it ends by itself.
pub(super) async fn run(world: Arc<World>, node: NodeIx) {
    let who = world.born(node);
    let exit = if node < world.scenario.schedulers {
        scheduler(&world, who).await
    } else {
        worker(&world, who).await
    };
    world.ended(who, exit);
}

fn id_of(world: &World, node: NodeIx) -> NodeId {
    let schedulers = world.scenario.schedulers;
    let name = match node.checked_sub(schedulers) {
        None => format!("s{node}"),
        Some(worker) => format!("w{worker}"),
    };
    name.parse().expect("a letter and a number are a name")
}

/// Randomness of this life's own.
fn rng_of(world: &World, who: Who) -> Rng {
    Rng::new(world.scenario.seed).fork(&format!("process {who}"))
}

async fn scheduler(world: &Arc<World>, who: Who) -> Exit {
    let mut config = ServerConfig::new(id_of(world, who.node), "sim".into());
    config.ttl = world.scenario.ttl;
    let mut rng = rng_of(world, who);
    let seed = rng.draw();
    let node = SchedulerNode::launch(
        |answers| Port::open(world, who, answers),
        config,
        SystemClock::start(),
        seed,
    );
    let report = node.load_reporter();
    let mut node = node.with_measuring(tokio::spawn(measure(Arc::clone(world), report, rng)));
    world.open_gateway(who.node, node.gateway());
    let drain = world.drain(who.node);
    loop {
        tokio::select! { biased;
            exit = node.wait() => return exit,
            () = drain.notified() => node.drain(),
        }
    }
}

async fn worker(world: &Arc<World>, who: Who) -> Exit {
    let types = TYPES.map(|kind| kind.parse().expect("a stock type is legal"));
    let mut config = WorkerConfig::new(id_of(world, who.node), types.into(), "sim".into());
    config.ttl = world.scenario.ttl;
    config.slots = world.scenario.workers[who.node - world.scenario.schedulers];
    config.drain_grace = Duration::from_secs(2);
    let mut rng = rng_of(world, who);
    let seed = rng.draw();
    let node = WorkerNode::launch(
        |answers| Port::open(world, who, answers),
        |events| Handlers::new(world, who, events),
        config,
        SystemClock::start(),
        seed,
        None,
    );
    let report = node.load_reporter();
    let mut node = node.with_measuring(tokio::spawn(measure(Arc::clone(world), report, rng)));
    let drain = world.drain(who.node);
    loop {
        tokio::select! { biased;
            exit = node.wait() => return exit,
            () = drain.notified() => node.drain(),
        }
    }
}

/// Reports a load that goes up and down, if it is reported at all in this run.
async fn measure(world: Arc<World>, report: impl Fn(Load), mut rng: Rng) {
    if !world.scenario.measures_load {
        return;
    }
    loop {
        sleep(Duration::from_secs(2)).await;
        report(Load {
            cpu_permille: u16::try_from(rng.below(1_000)).expect("below 1,000"),
            memory_bytes: 1 << 20,
        });
    }
}
