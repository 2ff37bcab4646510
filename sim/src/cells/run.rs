//! A run from its beginning to its judgement.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use windlass_core::ids::QueueName;
use windlass_core::record::Record;
use windlass_core::time::Mono;

use super::actor::Store;
use super::bug::{Bug, Planted};
use super::check::{Rule, Violation};
use super::plan::Plan;
use super::record::{MapRecord, Stand, map_key};
use super::world::World;

/// How long moves and tasks may take once nothing breaks any more.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was broken: a run ends with the first.
    pub violations: Vec<Violation>,
    /// How many tasks were accepted.
    pub tasks: u64,
    /// How many moves ended.
    pub moves: u64,
    /// How many things happened.
    pub events: u64,
    /// How much time passed within, in milliseconds.
    pub simulated_ms: u64,
    /// How many calls movers made before all was healed.
    pub mover_calls: u64,
    /// How often each thing happened to calls and requests.
    pub counts: BTreeMap<&'static str, u64>,
    /// The witness of determinism: the same for the same plan and code.
    pub trace: u64,
    /// All that happened, in words, if that was wanted.
    #[serde(skip)]
    pub lines: Vec<String>,
}

/// Runs a plan, with a bug or without.
pub fn attempt(plan: &Plan, bug: Option<Bug>) -> Report {
    run(plan, bug, false)
}

/// The same, and tells it in words.
pub fn attempt_told(plan: &Plan, bug: Option<Bug>) -> Report {
    run(plan, bug, true)
}

fn run(plan: &Plan, bug: Option<Bug>, is_told: bool) -> Report {
    let until = Mono::ZERO.after(Duration::from_millis(plan.until_ms));
    let mut world = World::new(plan.clone(), Planted(bug), is_told);
    world.run_until(until);
    let mover_calls = world.mover_calls();
    world.heal();
    settle(&mut world);
    serve(&mut world);
    let moves = plan.queues.iter().map(|queue| {
        let map = map_of(&world, queue);
        map.map_or(0, |map| u64::from(map.epoch.0 - 1))
    });
    Report {
        moves: moves.sum(),
        tasks: world.checker.accepted(),
        events: world.handled,
        simulated_ms: world.now().as_nanos() / 1_000_000,
        mover_calls,
        counts: std::mem::take(&mut world.counts),
        trace: world.hash,
        lines: world.lines.take().unwrap_or_default(),
        violations: std::mem::take(&mut world.checker.violations),
    }
}

fn map_of(world: &World, queue: &QueueName) -> Option<MapRecord> {
    let entry = world.store(Store::Directory).entry(&map_key(queue))?;
    MapRecord::decode(&entry.found.value).ok()
}

/// Waits for every move and task to come to its end.
fn settle(world: &mut World) {
    let deadline = world.now().after(PATIENCE);
    let mut open = unsettled(world);
    while open.is_some() && world.now() < deadline && world.checker.violations.is_empty() {
        world.run_until(world.now().after(LOOK));
        open = unsettled(world);
    }
    if let Some((rule, what)) = open
        && world.checker.violations.is_empty()
    {
        world.checker.on_broken(world.now(), rule, what);
    }
}

/// What has not come to its end, if anything.
fn unsettled(world: &World) -> Option<(Rule, String)> {
    for queue in &world.plan.queues {
        let Some(map) = map_of(world, queue) else {
            continue;
        };
        if let Some(to) = map.to {
            let what = format!("{queue} is still on its way from {} to {to}", map.cell);
            return Some((Rule::MovesEnd, what));
        }
        let strays: Vec<_> = world
            .checker
            .holders(queue)
            .into_iter()
            .filter(|cell| *cell != map.cell)
            .map(|cell| cell.to_string())
            .collect();
        if !strays.is_empty() {
            let what = format!("tasks of {queue} were left in {}", strays.join(", "));
            return Some((Rule::MovesEnd, what));
        }
        for (cell, mark) in world.checker.marks_of(queue) {
            if (mark.stand == Stand::Here) != (cell == map.cell) {
                let what = format!("{cell} says {mark:?} of {queue}, the map {map:?}");
                return Some((Rule::MovesEnd, what));
            }
        }
    }
    let (task, cells) = world.checker.unfinished().into_iter().next()?;
    let what = format!("{task} in {cells:?} has no end");
    Some((Rule::TasksEnd, what))
}

/// Every gateway, whatever it believes, takes a task for every queue, and it ends.
fn serve(world: &mut World) {
    if !world.checker.violations.is_empty() {
        return;
    }
    world.open_requests = 0;
    for gateway in 0..usize::from(world.plan.gateways) {
        for queue in 0..world.plan.queues.len() {
            world.submit(gateway, queue);
        }
    }
    let deadline = world.now().after(PATIENCE);
    while world.open_requests > 0 && world.now() < deadline {
        if !world.checker.violations.is_empty() {
            return;
        }
        world.run_until(world.now().after(LOOK));
    }
    if world.open_requests > 0 {
        let what = format!("{} new tasks are not accepted", world.open_requests);
        return world.checker.on_broken(world.now(), Rule::TasksEnd, what);
    }
    settle(world);
}
