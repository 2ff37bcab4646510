//! Makes a plan that shows a difference shorter, as long as it shows a difference of the same kind.

use super::compare::Difference;
use super::plan::Plan;

/// How often a plan is tried at most: each try asks a real store.
const TRIES_MAX: usize = 2_000;

/// The shortest plan that was found, and what it shows. `show` runs a plan from an empty store.
pub(crate) async fn shrink(
    plan: Plan,
    found: Difference,
    mut show: impl AsyncFnMut(&Plan) -> Option<Difference>,
) -> (Plan, Difference) {
    let kind = found.kind();
    let (mut best, mut tries) = ((plan, found), 0);
    best.0.acts.truncate(best.1.act + 1);
    loop {
        let before = best.0.clone();
        let mut size = best.0.acts.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < best.0.acts.len() {
                let shorter = without(&best.0, at, size);
                if !better(&mut best, shorter, &kind, &mut tries, &mut show).await {
                    at += size;
                }
            }
            size /= 2;
        }
        for at in 0..best.0.acts.len() {
            let mut choice = 0;
            while let Some(simpler) = best.0.acts[at].simpler().into_iter().nth(choice) {
                let mut plan = best.0.clone();
                plan.acts[at] = simpler;
                if better(&mut best, plan, &kind, &mut tries, &mut show).await {
                    choice = 0;
                } else {
                    choice += 1;
                }
            }
        }
        if best.0 == before || tries >= TRIES_MAX {
            return best;
        }
    }
}

fn without(plan: &Plan, at: usize, size: usize) -> Plan {
    let mut acts = plan.acts.clone();
    acts.drain(at..acts.len().min(at + size));
    Plan { acts }
}

async fn better(
    best: &mut (Plan, Difference),
    plan: Plan,
    kind: &str,
    tries: &mut usize,
    show: &mut impl AsyncFnMut(&Plan) -> Option<Difference>,
) -> bool {
    if *tries >= TRIES_MAX {
        return false;
    }
    *tries += 1;
    match show(&plan).await {
        Some(found) if found.kind() == kind => {
            *best = (plan, found);
            true
        }
        Some(_) | None => false,
    }
}
