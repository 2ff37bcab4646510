//! Two rows decided on the same view: the first one happens, and the second one as the table says.

use crate::bench::*;

/// For each state, the rows that its view allows, and for each as the first which of them still happen as the second.
fn after(state: State, first: Row) -> &'static [Row] {
    use Row::*;
    match (state, first) {
        // The other dispatch, a cancel and the submission's copy all lose.
        (State::Waiting, Dispatch(_) | CancelWaiting) => &[],
        (State::Delayed, Release | CancelDelayed) => &[],
        // A claim that is gone lets nothing happen.
        (State::Running, Complete | Fail | Retry | HandBack | TakeLost | TakeSilent) => &[],
        // A claim that was written since lets only happen what ends the task.
        (State::Running, Stop | Progress) => &[Complete, Fail],
        (State::Failed, Rerun) => &[],
        (State::Cancelled, Rerun) => &[],
        // What was purged is as if it had never been: its key is free, and so is its id.
        (State::Cancelled, PurgeOne | PurgeRange) => &[Submit, Place(1)],
        (State::New, Submit | Place(_)) => &[],
        (state, row) => panic!("{row:?} is not possible at {state:?}"),
    }
}

fn race(state: State, expected: usize) {
    let all = rows(&at(state));
    let possible: Vec<_> = all
        .iter()
        .filter(|(row, step)| at(state).tries(step) || !matches!(row, Row::Submit | Row::Place(_)))
        .collect();
    assert_eq!(possible.len(), expected, "every row of {state:?}");
    for (first, earlier) in possible {
        for (second, later) in &all {
            let mut bench = at(state);
            bench.commits(earlier);
            bench.audit();
            let between = bench.contents();
            let happens = bench.tries(later);
            assert_eq!(
                happens,
                after(state, *first).contains(second),
                "{second:?} after {first:?}"
            );
            assert_eq!(
                happens,
                bench.contents() != between,
                "{second:?} after {first:?}"
            );
            bench.audit();
        }
    }
}

#[test]
fn a_task_is_submitted_once() {
    race(State::New, 2);
}

#[test]
fn a_waiting_task_goes_to_one_worker_or_is_cancelled() {
    race(State::Waiting, 3);
}

#[test]
fn a_delayed_task_is_released_or_cancelled() {
    race(State::Delayed, 2);
}

#[test]
fn a_claim_ends_once_and_no_flag_on_it_is_lost() {
    race(State::Running, 8);
}

#[test]
fn a_failed_task_is_run_again_once() {
    race(State::Failed, 1);
}

#[test]
fn a_cancelled_task_is_run_again_or_removed() {
    race(State::Cancelled, 3);
}
