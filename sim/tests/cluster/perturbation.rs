//! Every fault at every call of small stories, and a sample of all pairs; `windlass-sim explore` tries all of them.

use windlass_sim::explore::Story;

fn story(name: &str) -> Story {
    Story::all().into_iter().find(|it| it.name == name).unwrap()
}

fn at_every_call(name: &str) {
    let story = story(name);
    let singles = story.singles().unwrap();
    assert!(
        singles.len() > 13,
        "{name}: something is asked of the store"
    );
    for target in &singles {
        let told = story.play(&[*target]);
        let hit = told.as_ref().is_ok_and(|told| told.hit);
        assert!(hit, "{name}: {target:?}: {told:?}");
    }
    // Coprime to everything, so that the sample is spread over both.
    let pairs = singles
        .iter()
        .enumerate()
        .flat_map(|(n, one)| singles[n + 1..].iter().map(move |two| [*one, *two]));
    for pair in pairs.filter(|[one, two]| one.0 != two.0).step_by(211) {
        let told = story.play(&pair);
        assert!(told.is_ok(), "{name}: {pair:?}: {told:?}");
    }
}

#[test]
fn a_submitted_task_is_completed() {
    at_every_call("complete");
}

#[test]
fn a_lost_workers_task_is_completed_by_another() {
    at_every_call("lost worker");
}

#[test]
fn a_cancelled_running_task_is_cancelled() {
    at_every_call("cancel");
}

#[test]
fn a_due_task_is_completed() {
    at_every_call("due");
}

#[test]
fn a_failed_attempt_is_tried_again() {
    at_every_call("retry");
}

#[test]
fn a_lock_is_held_by_one_after_the_other_and_given_back() {
    at_every_call("lock");
}

#[test]
fn what_has_ended_long_ago_is_removed_and_counted_once() {
    at_every_call("purge");
}
