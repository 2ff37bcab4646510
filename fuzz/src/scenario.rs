//! Whole runs of the simulator: the bytes are the choices that a scenario is drawn by, instead of a seed. A fuzzer that
//! sees which code a run reaches finds its way to combinations that seeds meet rarely.

use windlass_sim::attempt::attempt;
use windlass_sim::entropy::Entropy;
use windlass_sim::scenario::{Act, Scenario};

/// What makes a run too large to be one of very many.
const WORKERS_MAX: usize = 5;
const TASKS_MAX: usize = 30;
const ACTS_MAX: usize = 25;

/// Draws a scenario, runs it, and expects that nothing was broken.
pub fn check(data: &[u8]) {
    let scenario = Scenario::draw(&mut Entropy::Bytes(data));
    if !is_small(&scenario) {
        return;
    }
    let report = attempt(&scenario);
    if report.violations.is_empty() {
        return;
    }
    let told: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    let spelled = serde_json::to_string(&scenario).expect("a scenario is data");
    panic!("{told:#?}\nthe scenario is {spelled}");
}

fn is_small(scenario: &Scenario) -> bool {
    let tasks: usize = scenario
        .acts
        .iter()
        .map(|act| match &act.what {
            Act::Submit { tasks, .. } => tasks.len(),
            Act::Repeat { .. }
            | Act::Vanish { .. }
            | Act::Get { .. }
            | Act::List { .. }
            | Act::Stats { .. }
            | Act::Follow { .. }
            | Act::Cancel { .. }
            | Act::Rerun { .. }
            | Act::Configure { .. }
            | Act::Drain { .. }
            | Act::Order { .. }
            | Act::Ambush { .. }
            | Act::Sweep { .. }
            | Act::LockTake { .. }
            | Act::LockRenew { .. }
            | Act::LockRelease { .. } => 0,
        })
        .sum();
    scenario.workers.len() <= WORKERS_MAX && tasks <= TASKS_MAX && scenario.acts.len() <= ACTS_MAX
}
