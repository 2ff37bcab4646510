//! The plan for several cells keeps its promises under faults, and its checkers would notice if it did not.

use windlass_sim::cells::attempt;
use windlass_sim::cells::bug::Bug;
use windlass_sim::cells::plan::{Ambush, AmbushKind, Plan};

#[track_caller]
fn assert_sound(what: &str, plan: &Plan) {
    let told: Vec<String> = attempt(plan, None)
        .violations
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(told.is_empty(), "{what}: {told:#?}");
}

fn assert_all_sound(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        assert_sound(&format!("seed {seed}"), &Plan::of_seed(seed));
    }
}

// Two tests, for two cores.

#[test]
fn whatever_a_seed_draws_queues_move_without_loss() {
    assert_all_sound(0..100);
}

#[test]
fn whatever_another_seed_draws_queues_move_without_loss() {
    assert_all_sound(100..200);
}

#[test]
fn a_mover_may_crash_at_any_of_its_calls() {
    let story = Plan::story(0);
    let calls = attempt(&story, None).mover_calls;
    assert!(calls > 60, "the story has two moves: {calls} calls");
    for call in 0..calls {
        for kind in [AmbushKind::Before, AmbushKind::After, AmbushKind::Late] {
            let ambush = Ambush { call, kind };
            let plan = Plan {
                ambush: Some(ambush),
                ..story.clone()
            };
            assert_sound(&format!("{ambush:?}"), &plan);
        }
    }
}

#[test]
fn the_story_moves_its_queue_there_and_back() {
    let report = attempt(&Plan::story(0), None);
    // Of four orders at least one each way is no order to stay.
    assert!(report.moves >= 2, "{} moves", report.moves);
    assert!(report.tasks >= 7, "{} tasks", report.tasks);
}

/// How many seeds may pass until a bug is found.
const SEEDS_MAX: u64 = 100;

fn assert_found(bugs: &[Bug]) {
    for bug in bugs {
        let mut runs = (0..SEEDS_MAX).map(|seed| attempt(&Plan::busy(seed), Some(*bug)));
        let found = runs.find_map(|report| report.violations.into_iter().next());
        let found = found.unwrap_or_else(|| panic!("{} is not found", bug.name()));
        let expected = bug.breaks();
        assert!(
            expected.contains(&found.rule),
            "{}: {found}, which is none of {expected:?}",
            bug.name()
        );
    }
}

#[test]
fn each_mistake_of_the_mover_is_found() {
    assert_found(Bug::of_mover());
}

#[test]
fn each_mistake_of_the_others_is_found() {
    assert_found(Bug::of_others());
}

#[test]
fn the_same_plan_runs_the_same_way_twice() {
    for seed in [1, 2, 3] {
        let plan = Plan::of_seed(seed);
        let (one, two) = (attempt(&plan, None), attempt(&plan, None));
        assert_eq!((one.trace, one.events), (two.trace, two.events));
        let other = attempt(&Plan::of_seed(seed + 4), None);
        assert_ne!(one.trace, other.trace, "chance has no say");
    }
}
