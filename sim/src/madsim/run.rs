//! One run: the storm, then calm. All is healed, or a core of it; everything comes to rest; new work is done; nothing that
//! was acknowledged is lost.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use ::madsim::Config;
use ::madsim::runtime::Runtime;
use tokio::time::sleep;
use windlass_core::gateway::TaskState;
use windlass_core::record::Outcome;

use super::clients::Clients;
use super::nemesis::{Nemesis, set_latency};
use super::report::{Report, Violation};
use super::scenario::{NodeIx, Scenario};
use super::wire::{node_ip, store_address};
use super::world::{World, elapsed};
use super::{process, store};
use crate::audit::{Audit, audit};

/// How long it may take, once all is healed, until one more task ends. The longest takes 7 s, and leases end before.
const PROGRESS_MAX: Duration = Duration::from_secs(120);
/// How long after everything was healed a scheduler may need to accept work, and to have it done.
const SERVED_WITHIN: Duration = Duration::from_secs(30);
/// After that long the leases of those who are lost have ended, and whatever clients asked is answered or given up.
const SETTLED_AFTER: Duration = Duration::from_secs(20);
/// How long it is watched that nothing happens while there is nothing to do: no lease may end, and no process.
const QUIET_FOR: Duration = Duration::from_secs(60);
/// How often it is looked whether everything is at rest.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Long after every run has ended.
const TIME_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Runs a seed to its end; tells everything that happens if `told`. `real` tells the time that has passed outside.
pub(super) fn run(seed: u64, told: bool, real: impl Fn() -> Duration) -> Report {
    let scenario = Scenario::draw(seed);
    let mut runtime = Runtime::with_seed_and_config(seed, Config::default());
    runtime.set_time_limit(TIME_MAX);
    let world = Arc::new(World::new(scenario));
    if told {
        world.trace().tell();
        let text = format!("{:#?}\n", world.scenario);
        // Who does not listen misses nothing that cannot be repeated.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    let whole = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(live(Arc::clone(&world)))
    }));
    let (simulated, tasks, mut violations) = match whole {
        Ok((simulated, tasks)) => (simulated, tasks, world.violations()),
        Err(panic) => {
            let mut violations = world.violations();
            violations.push(Violation::Panic(words_of(&*panic)));
            (Duration::ZERO, 0, violations)
        }
    };
    violations.dedup();
    let trace = world.trace();
    Report {
        seed,
        simulated,
        real: real(),
        events: trace.events(),
        tasks,
        faults: world.faults(),
        violations,
        trace: trace.hash(),
        tail: trace.tail().map(str::to_owned).collect(),
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()))
        .unwrap_or_else(|| "no message".to_owned())
}

/// Everything that happens within the simulation. Says how long it lasted, and how many tasks there were.
async fn live(world: Arc<World>) -> (Duration, u64) {
    let scenario = world.scenario.clone();
    set_latency(scenario.latency_max);
    let nemesis = build(&world);
    let clients = Clients::new(&world);
    tokio::spawn(Arc::clone(&nemesis).tend());
    let working = tokio::spawn(Arc::clone(&clients).work(scenario.workload));
    let harming = tokio::spawn(Arc::clone(&nemesis).harm(scenario.faults));
    sleep(scenario.healed_at).await;
    for plan in [working, harming] {
        plan.abort();
    }
    world.note(format_args!("heals"));
    nemesis.heal(&scenario.lost);
    let kept = |node: &NodeIx| !scenario.lost.contains(node);
    let schedulers: Vec<NodeIx> = (0..scenario.schedulers).filter(kept).collect();
    let found = match calm(&world, &clients, &schedulers).await {
        Ok(()) => world.store.look(audit),
        Err((why, found)) => {
            world.blame(Violation::NotAtRest(why));
            found
        }
    };
    world.look_for_debts();
    judge(&world, &clients, &found);
    let tasks = u64::try_from(found.tasks.len()).unwrap_or(u64::MAX);
    (elapsed(), tasks)
}

/// After the storm: rest, new work, rest again, and then nothing at all. Or else what does not come to rest.
async fn calm(
    world: &Arc<World>,
    clients: &Arc<Clients>,
    schedulers: &[NodeIx],
) -> Result<(), (String, Audit)> {
    let at_rest = rest(world, clients, schedulers).await?;
    judge(world, clients, &at_rest);
    for via in schedulers {
        if let Err(why) = clients.new_work(*via, SERVED_WITHIN).await {
            world.blame(Violation::NotServed(why));
        }
    }
    sleep(SETTLED_AFTER).await;
    rest(world, clients, schedulers).await?;
    sleep(SETTLED_AFTER).await;
    world.be_quiet();
    sleep(QUIET_FOR).await;
    world.look_for_askers();
    Ok(())
}

/// The store's process and all nodes.
fn build(world: &Arc<World>) -> Arc<Nemesis> {
    let handle = ::madsim::runtime::Handle::current();
    let serving = Arc::clone(world);
    let store = handle
        .create_node()
        .name("store")
        .ip(store_address().ip())
        .init(move || store::run(Arc::clone(&serving)))
        .build();
    let nodes = (0..world.scenario.nodes()).map(|node| {
        let world = Arc::clone(world);
        let built = handle
            .create_node()
            .name(format!("node {node}"))
            .ip(node_ip(node))
            .init(move || process::run(Arc::clone(&world), node))
            .build();
        built.id()
    });
    Nemesis::new(world, store.id(), nodes.collect())
}

/// Waits until every task has ended, and looks at what the store holds; or says what does not end.
async fn rest(
    world: &Arc<World>,
    clients: &Arc<Clients>,
    schedulers: &[NodeIx],
) -> Result<Audit, (String, Audit)> {
    let mut ended = 0;
    let mut until = elapsed() + PROGRESS_MAX;
    let mut unpaused_at = Duration::ZERO;
    loop {
        if elapsed() >= unpaused_at {
            unpaused_at = elapsed() + Duration::from_secs(10);
            for via in schedulers.iter().copied() {
                let clients = Arc::clone(clients);
                tokio::spawn(async move { clients.pause(via, false).await });
            }
        }
        sleep(LOOK_EVERY).await;
        let found = world.store.look(audit);
        if found.live.is_empty() && found.tasks.values().all(Option::is_some) {
            return Ok(found);
        }
        let ends = found.tasks.values().filter(|it| it.is_some()).count();
        if ends > ended {
            (ended, until) = (ends, elapsed() + PROGRESS_MAX);
        }
        if elapsed() >= until {
            let live: BTreeMap<_, _> = found.live.iter().take(10).collect();
            let exits: Vec<_> = (0..world.scenario.nodes())
                .filter(|node| !world.is_alive(*node))
                .collect();
            let why = format!("{live:?}; nodes that do not run: {exits:?}");
            return Err((why, found));
        }
    }
}

fn judge(world: &World, clients: &Clients, found: &Audit) {
    for text in &found.violations {
        world.blame(Violation::Audit(text.clone()));
    }
    let ended = found.tasks.iter().filter_map(|(task, outcome)| {
        let state = match outcome.as_ref()? {
            Outcome::Completed(_) => TaskState::Completed,
            Outcome::Failed(_) => TaskState::Failed,
            Outcome::Cancelled => TaskState::Cancelled,
        };
        Some((*task, state))
    });
    clients.judge(&ended.collect());
}
