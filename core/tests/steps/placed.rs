//! A task that is placed by its submission: its claim is the only copy, until somebody takes the task out of it.

use windlass_core::keyspace::Key;
use windlass_core::record::{CARRIED_MAX, Json, TaskRecord};
use windlass_core::steps;
use windlass_core::store::{Guard, Step};

use crate::bench::*;
use crate::copies::copies;

/// Without an idempotency key: that would go with a record of the task's own.
fn keyless() -> TaskRecord {
    TaskRecord {
        unique: None,
        name: Some("of the claim".into()),
        payload: Json::string("what is worked on"),
        ..task(None)
    }
}

fn place_at_once(bench: &Bench, task: &TaskRecord) -> Step {
    steps::submit(id(), task, None, Some((&recipient(bench, 1), LATER)))
}

fn claim_key() -> Key {
    Key::claim(&worker(1), place())
}

#[test]
fn its_submission_writes_the_claim_and_nothing_else() {
    let bench = Bench::new();
    let step = place_at_once(&bench, &keyless());
    let offer = Guard::Alive {
        key: Key::offer(&worker(1)),
        since: recipient(&bench, 1).offer,
    };
    assert_eq!(step.guards, [Guard::Absent(claim_key()), offer]);
    let keys: Vec<_> = step
        .writes
        .iter()
        .map(|write| format!("{write:?}"))
        .collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let mut bench = bench;
    assert!(bench.tries(&step));
    assert_eq!(copies(&bench), [keyless()]);
    assert!(!bench.tries(&step), "once is enough");
}

#[test]
fn a_large_one_has_a_record_of_its_own() {
    let mut bench = Bench::new();
    let payload = Json::string(&"x".repeat(CARRIED_MAX));
    let large = TaskRecord {
        payload,
        ..keyless()
    };
    let step = place_at_once(&bench, &large);
    bench.commits(&step);
    assert!(bench.found(&Key::task(id())).is_some());
    assert_eq!(copies(&bench), [large]);
}

#[test]
fn wherever_it_goes_there_is_one_copy_word_for_word() {
    let mut bench = Bench::new();
    bench.commits(&place_at_once(&bench, &keyless()));
    let mut seen = Vec::new();
    follow(&bench, 5, &mut seen);
    for row in [
        Row::Complete,
        Row::Fail,
        Row::Retry,
        Row::HandBack,
        Row::TakeLost,
        Row::TakeSilent,
        Row::Stop,
        Row::Progress,
        Row::Rerun,
    ] {
        assert!(seen.contains(&row), "{row:?}");
    }
}

/// Takes every way from here that is at most so long.
fn follow(bench: &Bench, steps: u32, seen: &mut Vec<Row>) {
    let again = |row: &Row| matches!(row, Row::Submit | Row::Place(_));
    let ways = rows(bench).into_iter().filter(|(row, _)| !again(row));
    for (row, step) in ways.filter(|_| steps > 0) {
        let mut bench = bench.clone();
        if bench.tries(&step) {
            seen.push(row);
            assert_eq!(copies(&bench), [keyless()], "after {row:?}");
            follow(&bench, steps - 1, seen);
        }
    }
}
