//! Healing a core of the deployment, and telling why it has not come to its end yet.

use std::time::Duration;

use windlass_core::ids::TaskId;
use windlass_core::keyspace::Range;
use windlass_core::time::Mono;

use crate::book::{Claim, Ending, Spot, TaskState};
use crate::fact::NodeIx;
use crate::nemesis::{FaultKind, Way};
use crate::network::{Link, Rudeness};
use crate::scenario::{Broken, Scenario};
use crate::world::World;

/// The nodes that are healed.
pub fn core(scenario: &Scenario) -> Vec<NodeIx> {
    let broken = |node: &NodeIx| scenario.broken.iter().any(|it| it.node() == *node);
    (0..scenario.nodes()).filter(|node| !broken(node)).collect()
}

/// How long the core has to bring everything to its end: hundreds of tasks that time out again and again, on one slot.
pub const BUDGET: Duration = Duration::from_secs(20_000);

/// How long the core may go on without ending a single task. What takes longest is one task whose every attempt is lost
/// or timed out: seconds each, and few of them.
pub const STALL: Duration = Duration::from_secs(900);

/// The least that a healed store has room for beside what must stay: the new work, until it is removed.
const ROOM_MIN: u64 = 10_000;

/// How many tasks have ended, for telling progress.
pub fn ended(world: &World) -> usize {
    world
        .book
        .tasks()
        .values()
        .filter(|state| state.end.is_some())
        .count()
}

/// Whether nothing is unfinished but, at most, tasks of one type.
pub fn only_open(world: &World, kind: &str) -> bool {
    let of_kind = |spot: &Spot| match spot {
        Spot::Entry { kind: it, .. } | Spot::Claim(Claim { kind: it, .. }) => it.as_str() == kind,
        Spot::Delayed { .. } | Spot::Unreadable { .. } => false,
    };
    let mut open = world.book.tasks().values().filter(|it| it.end.is_none());
    open.all(|state| state.spots.iter().all(of_kind))
}

/// Whether some task's time has not come yet.
pub fn awaits_due(world: &World) -> bool {
    let now = world.now().wall;
    let mut spots = world.book.tasks().values().flat_map(|it| &it.spots);
    spots.any(|spot| matches!(spot, Spot::Delayed { due, .. } if *due > now))
}

/// Ends every fault, but for what the scenario leaves broken.
pub fn heal(world: &mut World, scenario: &Scenario) {
    world.network.rudeness = Rudeness::default();
    world.end_outage();
    world.outage.no_space_until = Mono::ZERO;
    world.outage.busy_until = Mono::ZERO;
    world.end_upgrade();
    for node in 0..world.nodes.len() {
        let gap = world.nodes[node].link.gap;
        world.nodes[node].link = Link {
            gap,
            ..Link::default()
        };
        world.nodes[node].clock.set_right();
        if world.nodes[node].clock.drifts() {
            world.set_drift(node, 0);
        }
    }
    // News that are on their way through what was broken need not be waited for.
    world.lose_late_news();
    // Second copies under an id of somebody else's: the operator has noticed.
    for copy in scenario.nodes()..world.nodes.len() {
        world.given_up.insert(copy);
        world.crash(copy);
    }
    for broken in &scenario.broken {
        leave_broken(world, broken);
    }
    let core = core(scenario);
    for node in core {
        let pause = world.nodes[node].frozen_until.is_some();
        if pause {
            world.thaw_now(node);
        }
        if world.nodes[node].brain.is_none() {
            world.boot(node);
        }
    }
}

/// An operator raises a quota that is almost used up by what nobody may remove: the rest is the janitors' to do.
pub fn make_room(world: &mut World) {
    let removable = |state: &&TaskState| {
        let end = state.end.as_ref();
        end.is_some_and(|end| end.how != Ending::Failed)
    };
    let tasks = world.book.tasks().iter();
    let ended = tasks.filter(|(_, state)| removable(state));
    let bytes = |(task, _): (&TaskId, &TaskState)| {
        let range = Range::of_task(*task);
        let entries = world.kv().entries(&range);
        let each =
            entries.map(|(key, entry)| key.as_str().len() + entry.found.value.as_bytes().len());
        each.sum::<usize>() as u64
    };
    let kept = world.kv().bytes() - ended.map(bytes).sum::<u64>();
    let enough = kept * 3 + ROOM_MIN;
    world.outage.quota = world.outage.quota.map(|quota| quota.max(enough));
}

fn leave_broken(world: &mut World, broken: &Broken) {
    let for_ever = Duration::from_secs(1_000_000);
    match broken {
        Broken::Down(node) => {
            let now = world.now().mono;
            world.hit(FaultKind::Crash, Some(*node), now);
            world.given_up.insert(*node);
            world.crash(*node);
        }
        Broken::Frozen(node) => {
            world.given_up.insert(*node);
            world.pause(*node, for_ever);
        }
        Broken::Cut(node, way) => {
            let until = world.now().mono.after(for_ever);
            world.hit(way.kind(), Some(*node), until);
            let link = &mut world.nodes[*node].link;
            match way {
                Way::ToStore => link.to_store_cut = until,
                Way::FromStore => link.from_store_cut = until,
                Way::Both => (link.to_store_cut, link.from_store_cut) = (until, until),
            }
        }
    }
}

/// Why the run has not come to its end; `None` when it has.
pub fn unfinished(world: &World, core: &[NodeIx]) -> Option<String> {
    let ready = |node: &NodeIx| {
        world.server(*node).is_some_and(|it| it.is_ready()) || world.is_taking(*node) == Some(true)
    };
    if let Some(node) = core.iter().find(|node| !ready(node)) {
        let state = &world.nodes[*node];
        return Some(format!(
            "{} (n{node}) is not ready: life {}, up {}",
            state.config.id(),
            state.life,
            state.brain.is_some()
        ));
    }
    let open = world
        .book
        .tasks()
        .iter()
        .find(|(_, state)| state.end.is_none());
    open.map(|(task, state)| match &state.spots[..] {
        [Spot::Entry { queue, .. }] => format!("{task} waits in queue {queue}"),
        [Spot::Delayed { due, .. }] => format!("{task} waits until {}", due.as_millis()),
        [Spot::Claim(claim)] => format!(
            "{task} is claimed by {} under fence {}",
            claim.worker, claim.fence
        ),
        spots => format!("{task} is at {spots:?}"),
    })
}
