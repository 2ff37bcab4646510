//! A worker whose answers and news do not come in the order of what happened.

use std::time::Duration;

use windlass_core::config::WorkerConfig;
use windlass_core::ids::{Fence, NodeId, OpId, Priority, TaskId};
use windlass_core::keyspace::{Key, Place, Range};
use windlass_core::kv::Limits;
use windlass_core::record::{
    Carry, ClaimRecord, Json, Outcome, OutcomeRecord, Record, StopReason, TaskRecord, Version,
};
use windlass_core::retry::{RetryPolicy, Verdict};
use windlass_core::store::{Guard, Step, TxnOutcome, Write};
use windlass_core::time::{Millis, Wall};
use windlass_core::worker::{Effect, HandlerError, Input, RunEvent, Worker};

use crate::rig::Rig;

pub(crate) fn me() -> NodeId {
    "w1".parse().unwrap()
}

pub(crate) fn config() -> WorkerConfig {
    let mut config = WorkerConfig::new(me(), vec!["noop".parse().unwrap()], "test".into());
    config.ttl = Duration::from_secs(6);
    config.lanes = 2;
    config
}

pub(crate) fn place(n: u8) -> Place {
    let id: TaskId = format!("00000000-0000-7000-8000-0000000000{n:02x}")
        .parse()
        .unwrap();
    Place {
        priority: Priority::NORMAL,
        timestamp: Wall::from_millis(1_000),
        task: id,
    }
}

pub(crate) fn task() -> TaskRecord {
    TaskRecord {
        v: Version,
        kind: "noop".parse().unwrap(),
        queue: "q".parse().unwrap(),
        priority: Priority::NORMAL,
        name: None,
        payload: Json::null(),
        metadata: Default::default(),
        created_at: Wall::from_millis(1_000),
        due: None,
        retries_max: 3,
        retry: RetryPolicy::default(),
        timeout: Millis::from_secs(60),
        unique: None,
    }
}

pub(crate) fn up(limits: Limits, config: WorkerConfig) -> Rig<Worker> {
    let mut rig = Rig::new(limits, |now| Worker::new(config, 7, now));
    rig.run_until(|rig| rig.machine.is_ready());
    rig
}

/// A scheduler gives task `n` to the worker.
pub(crate) fn claim(rig: &mut Rig<Worker>, n: u8) {
    let carry: Carry = task().first_carry();
    let claim = ClaimRecord {
        v: Version,
        carry,
        queue: "q".parse().unwrap(),
        registration: rig.machine.registration().expect("it is up"),
        assigned_at: rig.now.wall,
        stop: None,
        progress: None,
        task: None,
    };
    rig.put(
        Key::task(place(n).task),
        task().encode().as_bytes().to_vec(),
    );
    rig.put(
        Key::claim(&me(), place(n)),
        claim.encode().as_bytes().to_vec(),
    );
}

/// A gateway cancels task `n`.
fn flag(rig: &mut Rig<Worker>, n: u8) {
    flag_for(rig, n, StopReason::Cancel);
}

fn flag_for(rig: &mut Rig<Worker>, n: u8, reason: StopReason) {
    let key = Key::claim(&me(), place(n));
    let found = rig.found(&key).expect("the claim is there");
    let mut record = ClaimRecord::decode(&found.value).unwrap();
    record.stop = Some(reason);
    let guard = Guard::Unchanged {
        key: key.clone(),
        since: found.modified,
    };
    let write = Write::Put {
        key,
        value: record.encode(),
        lease: None,
    };
    let outcome = rig.others(Step::new(vec![guard], vec![write]));
    assert!(matches!(outcome, TxnOutcome::Committed { .. }));
}

/// Every start so far.
pub(crate) fn starts(rig: &Rig<Worker>) -> Vec<(TaskId, Fence, OpId)> {
    let start = |effect: &Effect| match effect {
        Effect::Start(start) => Some((start.task, start.fence, start.run)),
        Effect::Store(_)
        | Effect::Stop { .. }
        | Effect::Locked { .. }
        | Effect::LockRefused { .. }
        | Effect::Fence { .. }
        | Effect::Exit(_) => None,
    };
    rig.wanted.iter().filter_map(start).collect()
}

fn stops(rig: &Rig<Worker>) -> usize {
    let stop = |effect: &&Effect| matches!(effect, Effect::Stop { .. });
    rig.wanted.iter().filter(stop).count()
}

pub(crate) fn started(n: u8) -> Rig<Worker> {
    let mut rig = up(Limits::default(), config());
    claim(&mut rig, n);
    rig.settle();
    assert_eq!(starts(&rig).len(), 1);
    rig
}

fn failed() -> RunEvent {
    RunEvent::Failed(HandlerError {
        message: "no".into(),
        verdict: Verdict::Retry,
    })
}

fn outcome(rig: &Rig<Worker>, n: u8) -> Option<Outcome> {
    let found = rig.found(&Key::outcome(place(n).task))?;
    Some(OutcomeRecord::decode(&found.value).unwrap().outcome)
}

#[test]
fn a_cancel_that_a_conflict_tells_of_before_the_news_do_is_not_lost() {
    let mut rig = started(1);
    let run = starts(&rig)[0].2;
    flag(&mut rig, 1);
    rig.give(Input::Run {
        run,
        event: failed(),
    });
    rig.flush();
    rig.arrive_all();
    rig.deliver_all(false);
    rig.settle();
    rig.run_until(|rig| rig.machine.holding() == 0);
    assert_eq!(outcome(&rig, 1), Some(Outcome::Cancelled));
}

#[test]
fn a_cancel_stands_over_a_time_out_that_was_flagged_before() {
    let mut config = config();
    config.slots = 1;
    let mut rig = up(Limits::default(), config);
    claim(&mut rig, 1);
    claim(&mut rig, 2);
    rig.settle();
    let run = starts(&rig)[0].2;
    for n in [1, 2] {
        flag_for(&mut rig, n, StopReason::TimeOut);
    }
    // The worker hears of both flags before it has done anything about the first.
    rig.deliver_all(true);
    for n in [1, 2] {
        flag(&mut rig, n);
    }
    rig.deliver_all(true);
    rig.give(Input::Run {
        run,
        event: failed(),
    });
    rig.settle();
    for n in [1, 2] {
        assert_eq!(outcome(&rig, n), Some(Outcome::Cancelled), "task {n}");
    }
}

#[test]
fn progress_does_not_wipe_out_a_cancel() {
    let mut rig = started(1);
    let run = starts(&rig)[0].2;
    flag(&mut rig, 1);
    rig.give(Input::Run {
        run,
        event: RunEvent::Progress(Json::string("half")),
    });
    for _ in 0..5 {
        rig.flush();
        rig.arrive_all();
        rig.deliver_all(false);
    }
    rig.settle();
    assert_eq!(stops(&rig), 1, "the handler is told to stop");
    let found = rig.found(&Key::claim(&me(), place(1))).unwrap();
    let stop = ClaimRecord::decode(&found.value).unwrap().stop;
    assert_eq!(stop, Some(StopReason::Cancel));
}

#[test]
fn what_was_cancelled_is_not_handed_back() {
    let mut config = config();
    config.slots = 1;
    let mut rig = up(Limits::default(), config);
    claim(&mut rig, 1);
    claim(&mut rig, 2);
    rig.settle();
    assert_eq!(starts(&rig).len(), 1, "the other one waits");
    flag(&mut rig, 2);
    rig.give(Input::Drain);
    rig.deliver_all(true);
    rig.settle();
    assert_eq!(outcome(&rig, 2), Some(Outcome::Cancelled));
}

#[test]
fn news_of_a_claim_that_it_has_ended_itself_start_nothing() {
    let mut rig = started(1);
    let run = starts(&rig)[0].2;
    for event in [
        RunEvent::Progress(Json::string("half")),
        RunEvent::Completed(Json::null()),
    ] {
        rig.give(Input::Run { run, event });
        rig.flush();
        rig.arrive_all();
        rig.deliver_all(false);
    }
    assert!(outcome(&rig, 1).is_some());
    while !rig.answers.is_empty() {
        rig.deliver(0);
        for _ in 0..5 {
            rig.flush();
            rig.arrive_all();
            rig.deliver_all(false);
        }
    }
    assert_eq!(starts(&rig).len(), 1, "no fence is started twice");
}

#[test]
fn a_read_in_several_parts_takes_no_claim_away() {
    let limits = Limits {
        part_items_max: 2,
        ..Limits::default()
    };
    let mut rig = up(limits, config());
    for n in 1..=5 {
        claim(&mut rig, n);
    }
    rig.settle();
    assert_eq!(starts(&rig).len(), 5);
    rig.break_watches();
    rig.put(Key::from_store("/queues/@w1/x"), Vec::new());
    rig.run_until(|rig| rig.machine.is_ready());
    rig.settle();
    assert_eq!((starts(&rig).len(), stops(&rig)), (5, 0));
    assert_eq!(rig.machine.holding(), 5);
}

#[test]
fn a_claim_that_went_during_a_gap_is_let_go_after_the_whole_read() {
    let limits = Limits {
        part_items_max: 2,
        ..Limits::default()
    };
    let mut rig = up(limits, config());
    for n in 1..=5 {
        claim(&mut rig, n);
    }
    rig.settle();
    rig.break_watches();
    for n in [2, 5] {
        let key = Key::claim(&me(), place(n));
        rig.others(Step::new(vec![], vec![Write::Delete { key }]));
    }
    rig.answers.clear();
    rig.run_until(|rig| rig.machine.is_ready());
    rig.settle();
    assert_eq!(stops(&rig), 2);
    assert_eq!(rig.items(&Range::claims_of(&me())).len(), 3);
    assert_eq!(rig.machine.holding(), 3);
}
