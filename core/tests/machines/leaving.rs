//! Who leaves, and does not hear that it has left.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass_core::config::WorkerConfig;
use windlass_core::keyspace::Range;
use windlass_core::machine::Exit;
use windlass_core::record::StopReason;
use windlass_core::server::{self, Server};
use windlass_core::store::{Call, Step, Write};
use windlass_core::worker::{self, RunEvent, Worker};

use crate::random::{limits, server_config, worker_config};
use crate::rig::{Rig, Subject};
use crate::worker_news::{claim, config, me, started, starts, up};

/// Its lease ends as it wished, no answer and no news come, and a janitor removes its lanes.
fn leave<M: Subject>(rig: &mut Rig<M>, drain: M::Input)
where
    M::Input: Clone + Serialize + DeserializeOwned,
    M::Effect: Serialize,
{
    rig.settle();
    rig.give(drain);
    let says_goodbye = |rig: &Rig<M>| {
        let mut calls = rig.requests.iter().map(|it| &it.call);
        calls.any(|it| matches!(it, Call::Revoke { .. }))
    };
    rig.flush();
    while !says_goodbye(rig) {
        rig.arrive_all();
        rig.deliver_all(true);
        rig.flush();
    }
    rig.arrive_all();
    rig.answers.clear();
    let range = Range::lanes_of(&me());
    rig.others(Step::new(vec![], vec![Write::DeleteRange { range }]));
    for _ in 0..40 {
        rig.pass(Duration::from_millis(100));
        rig.flush();
        rig.arrive_all();
        rig.deliver_all(false);
    }
}

#[test]
fn a_scheduler_whose_keys_are_gone_before_it_hears_that_it_has_left_has_left_as_told() {
    let mut rig = Rig::new(limits(), |now| Server::new(server_config(), 7, now));
    rig.run_until(|rig| rig.machine.is_ready());
    leave(&mut rig, server::Input::Drain);
    let exits = rig.wanted.iter().filter_map(|it| match it {
        server::Effect::Exit(exit) => Some(*exit),
        server::Effect::Store(_) | server::Effect::Reply { .. } => None,
    });
    assert_eq!(exits.collect::<Vec<_>>(), [Exit::Drained]);
}

#[test]
fn a_worker_whose_keys_are_gone_before_it_hears_that_it_has_left_has_left_as_told() {
    let mut rig = Rig::new(limits(), |now| Worker::new(worker_config(), 7, now));
    rig.run_until(|rig| rig.machine.is_ready());
    leave(&mut rig, worker::Input::Drain);
    assert_eq!(worker_exits(&rig), [Exit::Drained]);
}

fn worker_exits(rig: &Rig<Worker>) -> Vec<Exit> {
    let exits = rig.wanted.iter().filter_map(|it| match it {
        worker::Effect::Exit(exit) => Some(*exit),
        worker::Effect::Store(_)
        | worker::Effect::Start(_)
        | worker::Effect::Stop { .. }
        | worker::Effect::Locked { .. }
        | worker::Effect::LockRefused { .. }
        | worker::Effect::Fence { .. } => None,
    });
    exits.collect()
}

/// The store neither hears the worker nor says anything.
fn pass_unheard(rig: &mut Rig<Worker>, span: Duration) {
    let until = rig.now.mono.after(span);
    while rig.now.mono < until && worker_exits(rig).is_empty() {
        rig.pass(Duration::from_millis(100));
        rig.flush();
        rig.requests.clear();
        rig.answers.clear();
    }
}

#[test]
fn a_worker_that_is_told_to_leave_while_the_store_is_silent_does_not_wait_for_it_for_ever() {
    let mut rig = started(1);
    let run = starts(&rig)[0].2;
    rig.give(worker::Input::Drain);
    // Its session ends within that, and so its handler is told to stop.
    let session = config().ttl - config().ttl / 10;
    pass_unheard(&mut rig, session);
    rig.give(worker::Input::Run {
        run,
        event: RunEvent::Stopped,
    });
    pass_unheard(&mut rig, config().drain_grace - session);
    assert_eq!(
        worker_exits(&rig),
        [],
        "what has ended may still be recorded"
    );
    pass_unheard(&mut rig, config().ttl + Duration::from_secs(1));
    assert_eq!(worker_exits(&rig), [Exit::Unheard]);
}

#[test]
fn a_worker_that_leaves_records_what_has_ended_when_the_store_answers_again() {
    let mut rig = started(1);
    let run = starts(&rig)[0].2;
    rig.give(worker::Input::Drain);
    rig.give(worker::Input::Run {
        run,
        event: RunEvent::Completed(windlass_core::record::Json::null()),
    });
    pass_unheard(&mut rig, config().ttl / 2);
    rig.run_until(|rig| !worker_exits(rig).is_empty());
    assert_eq!(worker_exits(&rig), [Exit::Drained]);
}

#[test]
fn a_worker_without_grace_stops_what_runs_as_soon_as_it_is_told_to_leave() {
    let config = WorkerConfig {
        drain_grace: Duration::ZERO,
        ..config()
    };
    let mut rig = up(limits(), config);
    claim(&mut rig, 1);
    rig.run_until(|rig| !starts(rig).is_empty());
    rig.give(worker::Input::Drain);
    rig.pass(Duration::from_millis(1));
    rig.flush();
    let stopped = rig.wanted.iter().filter_map(|it| match it {
        worker::Effect::Stop { reason, .. } => Some(*reason),
        worker::Effect::Store(_)
        | worker::Effect::Start(_)
        | worker::Effect::Exit(_)
        | worker::Effect::Locked { .. }
        | worker::Effect::LockRefused { .. }
        | worker::Effect::Fence { .. } => None,
    });
    assert_eq!(stopped.collect::<Vec<_>>(), [StopReason::Shutdown]);
}

#[test]
fn a_worker_that_is_told_to_leave_does_not_wait_for_a_handler_that_does_not_stop() {
    let mut rig = up(limits(), config());
    claim(&mut rig, 1);
    rig.run_until(|rig| !starts(rig).is_empty());
    rig.give(worker::Input::Drain);
    rig.run_until(|rig| !worker_exits(rig).is_empty());
    assert_eq!(worker_exits(&rig), [Exit::HandlerWedged]);
}
