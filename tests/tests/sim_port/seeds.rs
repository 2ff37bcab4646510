//! Many seeds, and what is told of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::run::{Verdict, play};
use super::scenario::{Fault, KINDS, Scenario};
use super::world::Lie;

/// How many seeds are played when nobody says.
const DEFAULT: Range<u64> = 0..6;

/// The seeds that were asked for, as `A..B`.
fn asked() -> Range<u64> {
    let Ok(text) = std::env::var("WINDLASS_SEEDS") else {
        return DEFAULT;
    };
    let parse = |text: &str| text.parse().ok();
    let parsed = text
        .split_once("..")
        .and_then(|(from, to)| Some(parse(from)?..parse(to)?));
    parsed.unwrap_or_else(|| panic!("WINDLASS_SEEDS={text} is not A..B"))
}

/// Plays all seeds, on every core.
fn play_all(seeds: Range<u64>, lie: Option<Lie>) -> Vec<Verdict> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = Mutex::new(seeds);
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.lock().unwrap().next();
                    let Some(seed) = seed else { return };
                    let verdict = play(Scenario::draw(seed), lie);
                    verdicts.lock().unwrap().push(verdict);
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap();
    verdicts.sort_by_key(|it| it.seed);
    verdicts
}

fn report(verdicts: &[Verdict], took: Duration) -> String {
    let mut struck: BTreeMap<&str, u64> = KINDS.iter().map(|kind| (*kind, 0)).collect();
    let mut answers: BTreeMap<&str, u64> = BTreeMap::new();
    let mut simulated = Duration::ZERO;
    let mut recovered = Duration::ZERO;
    let mut events = 0;
    let mut hash = 0_u64;
    for verdict in verdicts {
        for (kind, count) in &verdict.struck {
            *struck.entry(kind).or_default() += count;
        }
        for (name, count) in &verdict.tally.answers {
            *answers.entry(name).or_default() += count;
        }
        simulated += verdict.simulated;
        recovered = recovered.max(verdict.tally.recovered);
        events += verdict.events;
        hash = hash.rotate_left(7) ^ verdict.hash;
    }
    format!(
        "{} seeds, {} s simulated in {:.1} s, {events} events, all well at the latest {:.1} s after the healing, trace \
         {hash:016x}\nfaults that struck: {struck:?}\nanswers: {answers:?}",
        verdicts.len(),
        simulated.as_secs(),
        took.as_secs_f64(),
        recovered.as_secs_f64(),
    )
}

/// Shows the first run that went wrong: its scenario, its end, what was violated, and how to see it again.
fn show(verdict: &Verdict) -> String {
    format!(
        "{:#?}\n{}\nseed {}: {}\nto see it again: make sim-port FIRST={} SEEDS=1",
        Scenario::draw(verdict.seed),
        verdict.story,
        verdict.seed,
        verdict.violations.join("\n    "),
        verdict.seed
    )
}

#[test]
fn the_port_keeps_its_promises_under_all_faults() {
    let seeds = asked();
    let begun = Instant::now();
    let verdicts = play_all(seeds, None);
    windlass_tests::tell(&report(&verdicts, begun.elapsed()));
    let bad: Vec<_> = verdicts
        .iter()
        .filter(|it| !it.violations.is_empty())
        .collect();
    let seeds: Vec<u64> = bad.iter().map(|it| it.seed).collect();
    if let Some(first) = bad.first() {
        panic!("{}\nseeds that went wrong: {seeds:?}", show(first));
    }
}

#[test]
fn every_kind_of_fault_is_drawn() {
    let drawn = |seed| Scenario::draw(seed).faults.into_iter();
    let kinds: Vec<&str> = (0..60)
        .flat_map(drawn)
        .map(|(_, fault)| fault.kind())
        .collect();
    for kind in KINDS {
        assert!(kinds.contains(&kind), "{kind} is never drawn");
    }
}

/// The store is made to lie for a few seconds in which nothing else is wrong, and the judge must say so.
#[track_caller]
fn found(lie: Lie, words: &str) {
    let found = said_of(lie).iter().any(|it| it.contains(words));
    assert!(found, "nobody noticed {lie:?}");
}

/// What the judge says of a few runs with a lie.
fn said_of(lie: Lie) -> Vec<String> {
    const END_MS: u64 = 12_000;
    let said = (0..6).flat_map(|seed| {
        let mut scenario = Scenario::draw(seed);
        scenario.faults = vec![(6_000, Fault::EndLease { client: 0 })];
        scenario.clients.truncate(1);
        scenario.clients[0].retain(|(at, _)| *at < END_MS);
        scenario.heal_ms = END_MS;
        play(scenario, Some(lie)).violations
    });
    said.collect()
}

#[test]
fn a_commit_that_was_none_is_found() {
    found(Lie::FalseCommits, ": committed at ");
}

#[test]
fn a_conflict_that_was_a_commit_is_found() {
    found(Lie::FalseConflicts, "applied all the same");
}

#[test]
fn an_event_that_is_not_told_is_found() {
    found(Lie::SkippedEvents, "it told");
}

#[test]
fn a_lease_that_lives_after_its_end_is_found() {
    found(Lie::UndeadLeases, "was not renewed since it was asked for");
}

#[test]
fn a_store_that_has_forgotten_what_it_said_is_not_listened_to() {
    let said = said_of(Lie::StaleReads);
    let passed_on = said.iter().find(|it| it.contains("a read of"));
    assert_eq!(passed_on, None, "nobody gets a read of the past");
    let given_up = said.iter().any(|it| it.contains("not all works"));
    assert!(given_up, "in some run the past was read: {said:?}");
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    let first = asked().start;
    let hashes = |seeds: Range<u64>| -> Vec<u64> {
        play_all(seeds, None).iter().map(|it| it.hash).collect()
    };
    assert_eq!(hashes(first..first + 2), hashes(first..first + 2));
}
