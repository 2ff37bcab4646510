//! A worker whose handlers take locks.

use std::time::Duration;

use windlass_core::ids::{Fence, LockAsk, OpId};
use windlass_core::keyspace::{Key, Range};
use windlass_core::kv::Limits;
use windlass_core::lock::waiter_of;
use windlass_core::record::{Json, LockRecord, Record, StopReason, Version};
use windlass_core::store::{Call, Step, Write};
use windlass_core::worker::{Effect, Input, LOCKS_MAX, LockRefusal, RunEvent, Worker};

use crate::rig::Rig;
use crate::worker_news::{claim, config, me, place, starts, up};

/// A worker whose handlers of the tasks 1 to `count` run.
fn started(count: u8) -> Rig<Worker> {
    let mut rig = up(Limits::default(), config());
    for n in 1..=count {
        claim(&mut rig, n);
    }
    rig.settle();
    assert_eq!(starts(&rig).len(), usize::from(count));
    rig
}

/// The run and the fence of task `n`.
fn run_of(rig: &Rig<Worker>, n: u8) -> (OpId, Fence) {
    let task = place(n).task;
    let start = starts(rig).into_iter().find(|it| it.0 == task);
    let (_, fence, run) = start.expect("it was started");
    (run, fence)
}

fn ask(rig: &mut Rig<Worker>, n: u8, ask: u32, lock: &str) {
    let (run, _) = run_of(rig, n);
    let event = RunEvent::Lock {
        ask: LockAsk(ask),
        lock: lock.parse().unwrap(),
    };
    rig.give(Input::Run { run, event });
}

fn give_back(rig: &mut Rig<Worker>, n: u8, ask: u32) {
    let (run, _) = run_of(rig, n);
    let ask = LockAsk(ask);
    let event = RunEvent::Unlock { ask };
    rig.give(Input::Run { run, event });
}

fn end(rig: &mut Rig<Worker>, n: u8) {
    let (run, _) = run_of(rig, n);
    let event = RunEvent::Completed(Json::null());
    rig.give(Input::Run { run, event });
}

/// The fence under which task `n` was told that it holds what it asked for.
fn told(rig: &Rig<Worker>, n: u8, ask: u32) -> Option<Fence> {
    let (own, _) = run_of(rig, n);
    rig.wanted.iter().find_map(|effect| match effect {
        Effect::Locked {
            run,
            ask: it,
            fence,
        } if (*run, it.0) == (own, ask) => Some(*fence),
        Effect::Locked { .. }
        | Effect::LockRefused { .. }
        | Effect::Store(_)
        | Effect::Start(_)
        | Effect::Stop { .. }
        | Effect::Fence { .. }
        | Effect::Exit(_) => None,
    })
}

fn refused(rig: &Rig<Worker>, n: u8) -> Vec<(u32, LockRefusal)> {
    let (own, _) = run_of(rig, n);
    let refused = |effect: &Effect| match effect {
        Effect::LockRefused { run, ask, why } if *run == own => Some((ask.0, *why)),
        Effect::Locked { .. }
        | Effect::LockRefused { .. }
        | Effect::Store(_)
        | Effect::Start(_)
        | Effect::Stop { .. }
        | Effect::Fence { .. }
        | Effect::Exit(_) => None,
    };
    rig.wanted.iter().filter_map(refused).collect()
}

fn line(rig: &Rig<Worker>, lock: &str) -> Vec<Key> {
    let range = Range::waiters_of(&lock.parse().unwrap());
    rig.items(&range).into_iter().map(|it| it.key).collect()
}

/// Whether the handlers of task `n` is in line for what it asked.
fn in_line(rig: &Rig<Worker>, n: u8, ask: u32, lock: &str) -> bool {
    let (_, fence) = run_of(rig, n);
    let waiter = waiter_of(place(n).task, fence, LockAsk(ask));
    let key = Key::lock_waiter(&lock.parse().unwrap(), &waiter);
    rig.found(&key).is_some()
}

fn client_key(lock: &str) -> Key {
    Key::lock_waiter(&lock.parse().unwrap(), &"client".parse().unwrap())
}

/// A client of some gateway is in line, or leaves it.
fn client(rig: &mut Rig<Worker>, lock: &str, comes: bool) {
    let key = client_key(lock);
    if comes {
        let record = LockRecord {
            v: Version,
            owner: None,
        };
        rig.put(key, record.encode().as_bytes().to_vec());
    } else {
        rig.others(Step::new(vec![], vec![Write::Delete { key }]));
    }
}

/// The watches that were begun, less those that were given up.
fn watches(rig: &Rig<Worker>) -> i64 {
    let mut count = 0;
    for (_, _, effects) in &rig.taped {
        let effects: Vec<serde_json::Value> = serde_json::from_str(effects).unwrap();
        for call in effects.iter().map(|effect| &effect["Store"]["call"]) {
            count += i64::from(call.get("Watch").is_some());
            count -= i64::from(call.get("Unwatch").is_some());
        }
    }
    count
}

#[test]
fn a_lock_is_given_in_the_order_of_the_questions_and_fences_grow() {
    let mut rig = started(3);
    let before = watches(&rig);
    for n in [2, 3, 1] {
        ask(&mut rig, n, 1, "l");
    }
    rig.settle();
    let second = told(&rig, 2, 1).expect("it asked first");
    assert_eq!((told(&rig, 3, 1), told(&rig, 1, 1)), (None, None));
    assert_eq!(line(&rig, "l").len(), 3);
    give_back(&mut rig, 2, 1);
    rig.settle();
    let third = told(&rig, 3, 1).expect("it is its turn");
    assert_eq!(told(&rig, 1, 1), None);
    end(&mut rig, 3);
    rig.settle();
    let first = told(&rig, 1, 1).expect("it is its turn");
    assert!(second < third && third < first);
    assert_eq!(watches(&rig), before, "nobody waits, nobody watches");
    end(&mut rig, 1);
    rig.settle();
    assert!(line(&rig, "l").is_empty());
}

#[test]
fn a_client_that_came_before_is_waited_for() {
    let mut rig = started(1);
    client(&mut rig, "l", true);
    ask(&mut rig, 1, 1, "l");
    rig.settle();
    assert_eq!(told(&rig, 1, 1), None);
    rig.break_watches();
    client(&mut rig, "l", false);
    rig.run_until(|rig| told(rig, 1, 1).is_some());
}

#[test]
fn a_client_of_whom_nothing_was_heard_is_waited_for_too() {
    let mut rig = started(3);
    for n in [1, 2] {
        ask(&mut rig, n, 1, "l");
        rig.settle();
    }
    assert!(told(&rig, 1, 1).is_some());
    client(&mut rig, "l", true);
    rig.lose_news(&client_key("l"));
    rig.settle();
    ask(&mut rig, 3, 1, "l");
    rig.settle();
    for n in [1, 2] {
        end(&mut rig, n);
        rig.settle();
    }
    assert_eq!(told(&rig, 3, 1), None, "the client came before");
    client(&mut rig, "l", false);
    rig.run_until(|rig| told(rig, 3, 1).is_some());
}

#[test]
fn a_waiter_of_whose_own_key_nothing_was_heard_is_not_refused() {
    let mut rig = started(3);
    for n in [1, 2] {
        ask(&mut rig, n, 1, "l");
        rig.settle();
    }
    ask(&mut rig, 3, 1, "l");
    rig.flush();
    rig.arrive_all();
    let (_, fence) = run_of(&rig, 3);
    let waiter = waiter_of(place(3).task, fence, LockAsk(1));
    rig.lose_news(&Key::lock_waiter(&"l".parse().unwrap(), &waiter));
    rig.settle();
    assert_eq!(refused(&rig, 3), [], "it stands in line");
    for n in [1, 2] {
        end(&mut rig, n);
        rig.settle();
    }
    assert!(told(&rig, 3, 1).is_some());
}

#[test]
fn a_holder_whose_leaving_nobody_heard_of_is_not_waited_for_for_ever() {
    let mut rig = started(1);
    client(&mut rig, "l", true);
    ask(&mut rig, 1, 1, "l");
    rig.settle();
    client(&mut rig, "l", false);
    rig.lose_news(&client_key("l"));
    rig.run_until(|rig| told(rig, 1, 1).is_some());
}

#[test]
fn the_end_of_an_attempt_and_the_release_of_its_locks_are_one_revision() {
    let mut rig = started(1);
    for (n, lock) in ["a", "b"].into_iter().enumerate() {
        ask(&mut rig, 1, n as u32, lock);
    }
    rig.settle();
    assert!(told(&rig, 1, 0).is_some() && told(&rig, 1, 1).is_some());
    end(&mut rig, 1);
    rig.flush();
    let commits: Vec<_> = rig
        .requests
        .iter()
        .filter_map(|it| match &it.call {
            Call::Commit(txn) => Some(txn.writes()),
            Call::Watch(_)
            | Call::Unwatch { .. }
            | Call::Progress { .. }
            | Call::Read(_)
            | Call::Grant { .. }
            | Call::Renew { .. }
            | Call::Revoke { .. }
            | Call::Compact { .. }
            | Call::Usage
            | Call::Audit(_) => None,
        })
        .collect();
    let outcome = Key::outcome(place(1).task);
    let ends = |writes: &&&[Write]| {
        writes
            .iter()
            .any(|write| matches!(write, Write::Put { key, .. } if *key == outcome))
    };
    let end = commits.iter().find(ends).expect("the end is recorded");
    let leaves = |lock: &str| {
        let gone = line(&rig, lock);
        end.iter()
            .any(|write| matches!(write, Write::Delete { key } if gone == [key.clone()]))
    };
    assert!(leaves("a") && leaves("b"));
    rig.settle();
    assert!(line(&rig, "a").is_empty() && line(&rig, "b").is_empty());
}

#[test]
fn an_attempt_that_ends_while_its_question_is_on_its_way_leaves_nobody_in_line() {
    for late in [true, false] {
        let mut rig = started(1);
        ask(&mut rig, 1, 1, "l");
        rig.flush();
        let asked = rig.requests.len();
        end(&mut rig, 1);
        // The end waits for the answer to the question, but not for long.
        rig.pass(Duration::from_millis(25));
        assert!(rig.requests.len() > asked, "a lane is left for the end");
        if late {
            // What was asked last arrives first.
            while !rig.requests.is_empty() {
                rig.arrive(rig.requests.len() - 1);
            }
        }
        rig.settle();
        assert!(line(&rig, "l").is_empty(), "late: {late}");
        assert_eq!(told(&rig, 1, 1), None);
        assert!(rig.found(&Key::outcome(place(1).task)).is_some());
    }
}

#[test]
fn a_stale_attempt_does_not_get_in_line() {
    let mut rig = started(1);
    let key = Key::claim(&me(), place(1));
    rig.others(Step::new(vec![], vec![Write::Delete { key }]));
    // The news of it are late.
    rig.answers.clear();
    ask(&mut rig, 1, 1, "l");
    for _ in 0..5 {
        rig.flush();
        rig.arrive_all();
        rig.deliver_all(false);
    }
    assert!(line(&rig, "l").is_empty());
    assert_eq!(refused(&rig, 1), [(1, LockRefusal::Stopped)]);
}

#[test]
fn nobody_waits_for_itself_and_nobody_takes_too_many() {
    let mut rig = started(1);
    let all = LOCKS_MAX as u32;
    for n in 0..all {
        ask(&mut rig, 1, n, &format!("l{n}"));
    }
    rig.settle();
    assert!((0..all).all(|n| told(&rig, 1, n).is_some()));
    ask(&mut rig, 1, all, "l0");
    ask(&mut rig, 1, all + 1, "other");
    let why = [(all, LockRefusal::Twice), (all + 1, LockRefusal::TooMany)];
    assert_eq!(refused(&rig, 1), why);
    // What was given back counts no more, though its key may still be there.
    give_back(&mut rig, 1, 0);
    ask(&mut rig, 1, all + 2, "l0");
    rig.settle();
    assert!(told(&rig, 1, all + 2).is_some());
    assert_eq!(refused(&rig, 1).len(), 2);
    assert_eq!(line(&rig, "l0").len(), 1);
}

#[test]
fn who_gives_up_waiting_leaves_the_line_even_if_its_key_comes_after_that() {
    for settled in [true, false] {
        let mut rig = started(2);
        ask(&mut rig, 1, 1, "l");
        rig.settle();
        ask(&mut rig, 2, 1, "l");
        if settled {
            rig.settle();
        } else {
            rig.flush();
        }
        give_back(&mut rig, 2, 1);
        rig.settle();
        assert!(!in_line(&rig, 2, 1, "l"), "settled: {settled}");
        assert!(in_line(&rig, 1, 1, "l"));
        assert_eq!(told(&rig, 2, 1), None);
    }
}

#[test]
fn who_is_to_stop_keeps_what_it_holds_to_its_end_and_gets_nothing_more() {
    let mut rig = started(2);
    ask(&mut rig, 1, 1, "held");
    ask(&mut rig, 2, 1, "taken");
    rig.settle();
    ask(&mut rig, 1, 2, "taken");
    rig.settle();
    let (run, _) = run_of(&rig, 1);
    rig.pass(Duration::from_secs(0));
    rig.give(Input::Drain);
    rig.run_until(|rig| {
        let stop = |effect: &Effect| matches!(effect, Effect::Stop { run: it, reason: StopReason::Shutdown } if *it == run);
        rig.wanted.iter().any(stop)
    });
    rig.settle();
    assert_eq!(refused(&rig, 1), [(2, LockRefusal::Stopped)]);
    assert!(in_line(&rig, 1, 1, "held") && !in_line(&rig, 1, 2, "taken"));
    ask(&mut rig, 1, 3, "more");
    assert_eq!(refused(&rig, 1).len(), 2);
    let event = RunEvent::Stopped;
    rig.give(Input::Run { run, event });
    rig.settle();
    assert!(line(&rig, "held").is_empty());
}

#[test]
fn two_of_one_worker_are_never_made_by_one_transaction() {
    let mut config = config();
    config.lanes = 1;
    let mut rig = up(Limits::default(), config);
    for n in 1..=5 {
        claim(&mut rig, n);
    }
    rig.settle();
    for n in 1..=5 {
        ask(&mut rig, n, 1, "l");
    }
    rig.settle();
    let range = Range::waiters_of(&"l".parse().unwrap());
    let mut fences: Vec<_> = rig
        .items(&range)
        .iter()
        .map(|it| it.found.created)
        .collect();
    fences.sort();
    fences.dedup();
    assert_eq!(fences.len(), 5);
}

#[test]
fn a_key_that_somebody_removed_is_made_again_at_the_end_of_the_line() {
    let mut rig = started(1);
    client(&mut rig, "l", true);
    ask(&mut rig, 1, 1, "l");
    rig.settle();
    let (_, fence) = run_of(&rig, 1);
    let waiter = waiter_of(place(1).task, fence, LockAsk(1));
    let key = Key::lock_waiter(&"l".parse().unwrap(), &waiter);
    let before = rig.found(&key).unwrap().created;
    rig.others(Step::new(vec![], vec![Write::Delete { key: key.clone() }]));
    rig.settle();
    assert!(rig.found(&key).unwrap().created > before);
    client(&mut rig, "l", false);
    rig.settle();
    assert!(told(&rig, 1, 1).is_some());
}
