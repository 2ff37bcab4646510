//! What ends, or is submitted, while a transaction is under way shares the next one.

use std::time::Duration;

use windlass_core::kv::Limits;
use windlass_core::record::Json;
use windlass_core::store::{Call, StoreCall};
use windlass_core::worker::{Input, RunEvent, Worker};

use crate::at_once::{ready, spec, submit};
use crate::rig::{Rig, Subject};
use crate::worker_news::{claim, config, starts, up};

/// How long company is waited for at most.
const GATHER_MAX: Duration = Duration::from_millis(25);

/// The writes of each transaction that the store has not heard of.
fn on_their_way<M: Subject>(rig: &Rig<M>) -> Vec<usize> {
    let writes = |call: &StoreCall| {
        if let Call::Commit(txn) = &call.call {
            Some(txn.writes().len())
        } else {
            None
        }
    };
    rig.requests.iter().filter_map(writes).collect()
}

/// A worker with so many handlers that run.
fn busy(handlers: u8) -> Rig<Worker> {
    let mut config = config();
    config.slots = 200;
    let mut rig = up(Limits::default(), config);
    for n in 1..=handlers {
        claim(&mut rig, n);
    }
    rig.settle();
    assert_eq!(starts(&rig).len(), usize::from(handlers));
    rig
}

fn complete(rig: &mut Rig<Worker>, nth: usize) {
    let run = starts(rig)[nth].2;
    let event = RunEvent::Completed(Json::null());
    rig.give(Input::Run { run, event });
    rig.flush();
}

#[test]
fn ends_that_come_while_one_is_recorded_share_the_next_transaction() {
    let mut rig = busy(4);
    for nth in 0..4 {
        complete(&mut rig, nth);
    }
    assert_eq!(on_their_way(&rig), [3], "the first one did not wait");
    rig.arrive_all();
    rig.deliver_all(false);
    rig.flush();
    assert_eq!(on_their_way(&rig), [7], "three ends and the lane");
}

#[test]
fn nobody_waits_long_for_an_answer_that_does_not_come() {
    let mut rig = busy(3);
    for nth in 0..3 {
        complete(&mut rig, nth);
    }
    rig.pass(GATHER_MAX - Duration::from_millis(4));
    rig.flush();
    assert_eq!(on_their_way(&rig), [3]);
    rig.pass(Duration::from_millis(4));
    rig.flush();
    assert_eq!(on_their_way(&rig), [3, 5]);
}

#[test]
fn a_full_transaction_waits_for_nothing() {
    let mut rig = busy(70);
    for nth in 0..70 {
        complete(&mut rig, nth);
    }
    assert_eq!(on_their_way(&rig), [3, 127]);
}

#[test]
fn submissions_share_a_transaction_as_well() {
    let mut rig = ready();
    for id in 1..=3 {
        submit(&mut rig, id, vec![spec()]);
    }
    assert_eq!(on_their_way(&rig).len(), 1);
    rig.arrive_all();
    rig.deliver_all(false);
    rig.flush();
    assert_eq!(
        on_their_way(&rig),
        [4],
        "a task that is placed, one that waits, and the lane"
    );
}
