//! Each row alone: exactly what it guards and writes, and that it happens once and only on a fresh view.

use windlass_core::ids::{Fence, LeaseId, Registration, Revision};
use windlass_core::keyspace::{Key, Place, Role};
use windlass_core::record::{
    ClaimRecord, EntryRecord, NodeConfig, NodeRecord, OfferRecord, Outcome, OutcomeRecord,
    QueueConfig, Record, StopReason, Version,
};
use windlass_core::steps::{self, TakenFrom, Takeover};
use windlass_core::store::{Guard, Step, Write};
use windlass_core::time::{Millis, Wall};

use crate::bench::*;
use crate::lane::Lane;

fn unchanged(key: &Key, since: Revision) -> Guard {
    Guard::Unchanged {
        key: key.clone(),
        since,
    }
}

fn alive(key: &Key, since: Revision) -> Guard {
    Guard::Alive {
        key: key.clone(),
        since,
    }
}

/// The keys that a step writes: `+` put, `-` deleted.
fn written(step: &Step) -> Vec<String> {
    let spell = |write: &Write| match write {
        Write::Put { key, lease, .. } => {
            format!("+{key}{}", if lease.is_some() { " leased" } else { "" })
        }
        Write::Delete { key } => format!("-{key}"),
        Write::DeleteRange { range } => format!("-{:?}", range),
    };
    let mut keys: Vec<_> = step.writes.iter().map(spell).collect();
    keys.sort();
    keys
}

fn minus(key: Key) -> String {
    format!("-{key}")
}

fn plus(key: Key) -> String {
    format!("+{key}")
}

fn sorted<const N: usize>(mut keys: [String; N]) -> [String; N] {
    keys.sort();
    keys
}

#[test]
fn a_submission_needs_a_new_id_and_a_new_key() {
    let step = steps::submit(id(), &task(None), Some("body".into()), None);
    let (own, unique) = (Key::task(id()), Key::unique("hash"));
    assert_eq!(
        step.guards,
        [Guard::Absent(own.clone()), Guard::Absent(unique.clone())]
    );
    let entry = Key::entry(&queue(), place());
    assert_eq!(
        written(&step),
        sorted([plus(own), plus(entry), plus(unique)])
    );
    let keyless = steps::submit(id(), &task(Some(DUE)), None, None);
    assert_eq!(keyless.guards, [Guard::Absent(Key::task(id()))]);
    let delayed = Key::delayed(DUE, id());
    assert_eq!(
        written(&keyless),
        sorted([plus(Key::task(id())), plus(delayed)])
    );
}

#[test]
fn a_submission_that_places_its_task_makes_the_claim_instead_of_the_entry() {
    let bench = at(State::New);
    let step = row_of(&bench, Row::Place(1));
    let (own, unique) = (Key::task(id()), Key::unique("hash"));
    let offer = alive(&Key::offer(&worker(1)), recipient(&bench, 1).offer);
    let absent = Guard::Absent;
    assert_eq!(
        step.guards,
        [absent(own.clone()), offer, absent(unique.clone())]
    );
    let claim = Key::claim(&worker(1), place());
    assert_eq!(
        written(&step),
        sorted([plus(own), plus(claim), plus(unique)])
    );
    let mut bench = at(State::New);
    let offer = Key::offer(&worker(1));
    let created = bench.found(&offer).unwrap().created;
    bench.commits(&steps::withdraw(&worker(1), created));
    assert!(!bench.tries(&step), "its worker takes nothing any more");
}

#[test]
fn a_dispatch_moves_an_unchanged_entry_to_a_worker_whose_offer_stands() {
    let bench = at(State::Waiting);
    let entry = Key::entry(&queue(), place());
    let since = bench.found(&entry).unwrap().modified;
    let step = row_of(&bench, Row::Dispatch(1));
    let offer = alive(&Key::offer(&worker(1)), recipient(&bench, 1).offer);
    assert_eq!(step.guards, [unchanged(&entry, since), offer]);
    let claim = Key::claim(&worker(1), place());
    assert_eq!(written(&step), sorted([minus(entry), plus(claim)]));
}

#[test]
fn no_dispatch_reaches_a_worker_that_withdrew_its_offer_or_offered_anew() {
    for offers_again in [false, true] {
        let mut bench = at(State::Waiting);
        let step = row_of(&bench, Row::Dispatch(1));
        let offer = Key::offer(&worker(1));
        let created = bench.found(&offer).unwrap().created;
        let withdraw = steps::withdraw(&worker(1), created);
        assert_eq!(withdraw.guards, [alive(&offer, created)]);
        assert_eq!(written(&withdraw), [minus(offer.clone())]);
        bench.commits(&withdraw);
        if offers_again {
            let write = Write::Put {
                key: offer,
                value: Vec::new().into(),
                lease: None,
            };
            bench.commits(&Step::new(vec![], vec![write]));
        }
        let before = bench.contents();
        assert!(!bench.tries(&step));
        assert_eq!(bench.contents(), before);
    }
}

#[test]
fn what_ends_a_task_guards_its_claim_alive() {
    let bench = at(State::Running);
    let claim = Key::claim(&worker(1), place());
    let found = bench.found(&claim).unwrap();
    let outcome = plus(Key::outcome(id()));
    let dead = plus(Key::dead(&queue(), id()));
    for (row, keys) in [
        (Row::Complete, vec![outcome.clone()]),
        (Row::Fail, vec![dead, outcome]),
    ] {
        let step = row_of(&bench, row);
        assert_eq!(step.guards, [alive(&claim, found.created)], "{row:?}");
        let mut wanted = keys;
        wanted.push(minus(claim.clone()));
        wanted.sort();
        assert_eq!(written(&step), wanted, "{row:?}");
    }
}

#[test]
fn what_keeps_or_returns_a_task_guards_its_claim_unchanged() {
    let bench = at(State::Running);
    let claim = Key::claim(&worker(1), place());
    let found = bench.found(&claim).unwrap();
    let own = unchanged(&claim, found.modified);
    let registration = ClaimRecord::decode(&found.value).unwrap().registration.0;
    let gone = Guard::Gone {
        key: node_key(1),
        since: registration,
    };
    let entry = Key::entry(&queue(), place());
    let moved = |to: Key| sorted([minus(claim.clone()), plus(to)]).to_vec();
    let cases = [
        (
            Row::Retry,
            vec![own.clone()],
            moved(Key::delayed(DUE, id())),
        ),
        (Row::HandBack, vec![own.clone()], moved(entry.clone())),
        (Row::TakeLost, vec![own.clone(), gone], moved(entry.clone())),
        (Row::TakeSilent, vec![own.clone()], moved(entry)),
        (Row::Stop, vec![own.clone()], vec![plus(claim.clone())]),
        (Row::Progress, vec![own], vec![plus(claim.clone())]),
    ];
    for (row, guards, keys) in cases {
        let step = row_of(&bench, row);
        assert_eq!((&step.guards, written(&step)), (&guards, keys), "{row:?}");
    }
}

#[test]
fn a_claim_is_not_taken_from_a_life_that_goes_on() {
    let mut bench = at(State::Running);
    let step = row_of(&bench, Row::TakeLost);
    let Some(Guard::Gone { key, since }) = step.guards.get(1).cloned() else {
        panic!("the registration is guarded")
    };
    assert_eq!(key, node_key(1));
    let write = |key: Key| Write::Put {
        key,
        value: Vec::new().into(),
        lease: None,
    };
    let at = bench.commits(&Step::new(vec![], vec![write(key.clone())]));
    assert_ne!(at, since);
    let mut fresh = bench.clone();
    assert!(
        fresh.tries(&step),
        "another life of the worker changes nothing"
    );
    let mut same = step;
    same.guards[1] = Guard::Gone { key, since: at };
    assert!(!bench.tries(&same));
    bench.audit();
}

#[test]
fn a_loss_is_counted_and_too_many_or_a_cancel_end_the_task() {
    for (losses, stop, wanted) in [
        (0, None, Takeover::Requeued),
        (9, None, Takeover::Requeued),
        (10, None, Takeover::Failed),
        (10, Some(StopReason::Cancel), Takeover::Cancelled),
        (0, Some(StopReason::TimeOut), Takeover::Requeued),
        (0, Some(StopReason::Cancel), Takeover::Cancelled),
    ] {
        let mut bench = at(State::Running);
        let key = Key::claim(&worker(1), place());
        let mut record = *claimed(&bench.found(&key).unwrap()).record;
        record.carry.losses = losses;
        record.stop = stop;
        let since = bench.found(&key).unwrap().modified;
        bench.commits(&steps::progress(&worker(1), place(), since, &record));
        let claimed = claimed(&bench.found(&key).unwrap());
        let (step, takeover) =
            steps::take(&worker(1), place(), &claimed, TakenFrom::Lost, 10, LATER);
        assert_eq!(takeover, wanted);
        bench.commits(&step);
        bench.audit();
        let carry = match bench.found(&Key::outcome(id())) {
            Some(found) => {
                let record = OutcomeRecord::decode(&found.value).unwrap();
                assert_eq!(record.fence, Some(Fence(claimed.created)));
                record.carry
            }
            None => {
                let entry = bench.found(&Key::entry(&queue(), place())).unwrap();
                EntryRecord::decode(&entry.value).unwrap().carry
            }
        };
        assert_eq!((carry.losses, carry.notes.len()), (losses + 1, 1));
    }
}

#[test]
fn a_due_task_gets_its_due_time_as_its_place() {
    let bench = at(State::Delayed);
    let key = Key::delayed(DUE, id());
    let since = bench.found(&key).unwrap().modified;
    let step = row_of(&bench, Row::Release);
    assert_eq!(step.guards, [unchanged(&key, since)]);
    let place = Place {
        timestamp: DUE,
        ..place()
    };
    let entry = Key::entry(&queue(), place);
    assert_eq!(written(&step), sorted([minus(key), plus(entry)]));
}

#[test]
fn a_cancel_of_what_does_not_run_ends_it() {
    for (state, row, key) in [
        (
            State::Waiting,
            Row::CancelWaiting,
            Key::entry(&queue(), place()),
        ),
        (State::Delayed, Row::CancelDelayed, Key::delayed(DUE, id())),
    ] {
        let bench = at(state);
        let since = bench.found(&key).unwrap().modified;
        let step = row_of(&bench, row);
        assert_eq!(step.guards, [unchanged(&key, since)]);
        assert_eq!(
            written(&step),
            sorted([minus(key), plus(Key::outcome(id()))])
        );
    }
}

#[test]
fn a_rerun_takes_the_outcome_away_and_resets_the_counters() {
    let mut bench = at(State::Failed);
    let (outcome, dead) = (Key::outcome(id()), Key::dead(&queue(), id()));
    let since = |key| bench.found(key).unwrap().modified;
    let step = row_of(&bench, Row::Rerun);
    let guards = [
        unchanged(&outcome, since(&outcome)),
        unchanged(&dead, since(&dead)),
    ];
    assert_eq!(step.guards, guards);
    let place = Place {
        timestamp: LATER,
        ..place()
    };
    let entry = Key::entry(&queue(), place);
    let keys = sorted([
        minus(outcome),
        minus(dead),
        plus(Key::run(id())),
        plus(entry.clone()),
    ]);
    assert_eq!(written(&step), keys);
    bench.commits(&step);
    let carry = EntryRecord::decode(&bench.found(&entry).unwrap().value)
        .unwrap()
        .carry;
    assert_eq!(
        (carry.run, carry.retries, carry.losses, carry.notes.len()),
        (1, 0, 0, 0)
    );
}

#[test]
fn offers_and_reports_hang_on_the_lease_of_a_life_that_goes_on() {
    let (registration, lease) = (Registration(Revision(7)), LeaseId(3));
    let record = OfferRecord {
        v: Version,
        slots: 1,
        queues: vec![],
        types: vec![],
        weight: 1,
        labels: Default::default(),
    };
    let offer = Key::offer(&worker(1));
    let step = steps::offer(&worker(1), registration, lease, &record);
    let life = alive(&node_key(1), Revision(7));
    assert_eq!(step.guards, [Guard::Absent(offer.clone()), life.clone()]);
    assert_eq!(written(&step), [format!("+{offer} leased")]);
    let node = NodeRecord {
        v: Version,
        life: 1,
        version: "t".into(),
        view: Revision(1),
        load: 0,
        cpu_permille: 0,
        memory_bytes: 0,
        ttl: Millis::from_secs(3),
        started_at: Wall::from_millis(1),
        remote: None,
    };
    let step = steps::beat(Role::Worker, &worker(1), registration, lease, &node);
    assert_eq!(step.guards, [life]);
    assert_eq!(written(&step), [format!("+{} leased", node_key(1))]);
}

#[test]
fn orders_change_only_what_their_author_saw() {
    let key = Key::queue_config(&queue());
    let mut bench = Bench::new();
    let config = QueueConfig::default();
    let first = steps::configure_queue(&queue(), None, &config);
    assert_eq!(first.guards, [Guard::Absent(key.clone())]);
    assert_eq!(written(&first), [plus(key.clone())]);
    let at = bench.commits(&first);
    assert!(!bench.tries(&first));
    let second = steps::configure_queue(&queue(), Some(at), &config);
    assert_eq!(second.guards, [unchanged(&key, at)]);
    bench.commits(&second);
    assert!(!bench.tries(&second), "somebody else was faster");
    let node = steps::configure_node(&worker(1), Some(at), &NodeConfig::default());
    assert_eq!(node.guards, [unchanged(&Key::node_config(&worker(1)), at)]);
}

const STATES: [State; 6] = [
    State::New,
    State::Waiting,
    State::Delayed,
    State::Running,
    State::Failed,
    State::Cancelled,
];

#[test]
fn no_row_happens_twice_even_when_its_first_answer_was_lost() {
    for state in STATES {
        for (row, step) in rows(&at(state)) {
            if matches!(row, Row::Submit | Row::Place(_)) && state != State::New {
                continue;
            }
            let mut bench = at(state);
            let mut lane = Lane::new(1);
            let sealed = lane.seal(step.clone());
            bench.commits(&sealed);
            bench.audit();
            let after = bench.contents();
            assert!(!bench.tries(&sealed), "{row:?} by its lane");
            assert!(!bench.tries(&step), "{row:?} by its own guards");
            assert_eq!(bench.contents(), after, "{row:?}");
        }
    }
}

#[test]
fn a_late_original_dies_once_its_lane_has_moved() {
    for state in STATES {
        for (row, step) in rows(&at(state)) {
            let mut bench = at(state);
            let before = bench.contents();
            let mut lane = Lane::new(1);
            let late = lane.seal(step);
            let barrier = lane.seal(Step::default());
            let at = bench.commits(&barrier);
            lane.moved(at);
            assert!(!bench.tries(&late), "{row:?}");
            assert_eq!(bench.contents(), before, "{row:?}");
        }
    }
}

#[test]
fn a_row_decided_on_a_stale_view_changes_nothing() {
    for state in STATES {
        for (row, step) in rows(&at(state)) {
            for guard in step.guards.clone() {
                let mut bench = at(state);
                let key = match &guard {
                    Guard::Absent(key) => key.clone(),
                    Guard::Unchanged { key, .. } | Guard::Alive { key, .. } => key.clone(),
                    Guard::Quiet { range, .. } => range.from.clone(),
                    Guard::Gone { .. } => continue,
                };
                let put = Write::Put {
                    key: key.clone(),
                    value: bench.found(&key).map(|it| it.value).unwrap_or_default(),
                    lease: None,
                };
                if matches!(guard, Guard::Alive { .. }) {
                    bench.commits(&Step::new(vec![], vec![Write::Delete { key }]));
                }
                bench.commits(&Step::new(vec![], vec![put]));
                let before = bench.contents();
                assert!(
                    !bench.tries(&step),
                    "{row:?} although {guard:?} does not hold"
                );
                assert_eq!(bench.contents(), before, "{row:?}");
            }
        }
    }
}

#[test]
fn an_ended_task_says_which_attempt_ended_it() {
    let mut bench = at(State::Running);
    let fence = bench
        .found(&Key::claim(&worker(1), place()))
        .unwrap()
        .created;
    let step = row_of(&bench, Row::Complete);
    bench.commits(&step);
    let found = bench.found(&Key::outcome(id())).unwrap();
    let record = OutcomeRecord::decode(&found.value).unwrap();
    assert!(matches!(record.outcome, Outcome::Completed(_)));
    assert_eq!(
        (record.worker, record.fence),
        (Some(worker(1)), Some(Fence(fence)))
    );
}
