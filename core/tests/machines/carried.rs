//! Claims that carry their tasks: a worker starts them without asking the store.

use windlass_core::ids::TaskId;
use windlass_core::keyspace::Key;
use windlass_core::kv::Limits;
use windlass_core::record::{
    CarriedTask, ClaimRecord, Json, Outcome, OutcomeRecord, Record, StopReason, TaskRecord, Version,
};
use windlass_core::store::{Call, Query, StoreCall};
use windlass_core::worker::{Effect, Input, RunEvent, Start, Worker};

use crate::rig::Rig;
use crate::worker_news::{config, me, place, task, up};

/// A task of which a claim tells nothing by chance.
fn telling() -> TaskRecord {
    TaskRecord {
        name: Some("a name".into()),
        payload: Json::parse(r#"{"b": 1e400, "a": [1, 2]}"#.to_owned()).unwrap(),
        metadata: [("team".to_owned(), "red".to_owned())].into(),
        ..task()
    }
}

/// Task `n`, given to the worker by its own submission. The task itself is not in the store: who reads it finds nothing.
fn give(rig: &mut Rig<Worker>, n: u8, stop: Option<StopReason>) {
    give_task(rig, n, stop, &telling());
}

fn give_task(rig: &mut Rig<Worker>, n: u8, stop: Option<StopReason>, task: &TaskRecord) {
    let claim = ClaimRecord {
        v: Version,
        carry: task.first_carry(),
        queue: task.queue.clone(),
        registration: rig.machine.registration().expect("it is up"),
        assigned_at: rig.now.wall,
        stop,
        progress: None,
        task: CarriedTask::of(task).map(Box::new),
    };
    let key = Key::claim(&me(), place(n));
    rig.put(key, claim.encode().as_bytes().to_vec());
}

fn reads(rig: &Rig<Worker>) -> usize {
    let read = |call: &&StoreCall| matches!(call.call, Call::Read(Query::Keys(_)));
    rig.requests.iter().filter(read).count()
}

fn starts(rig: &Rig<Worker>) -> Vec<&Start> {
    fn start(effect: &Effect) -> Option<&Start> {
        match effect {
            Effect::Start(start) => Some(start),
            Effect::Store(_)
            | Effect::Stop { .. }
            | Effect::Locked { .. }
            | Effect::LockRefused { .. }
            | Effect::Fence { .. }
            | Effect::Exit(_) => None,
        }
    }
    rig.wanted.iter().filter_map(start).collect()
}

#[test]
fn what_its_claim_carries_is_started_word_for_word_and_nothing_is_read() {
    let mut rig = up(Limits::default(), config());
    give(&mut rig, 1, None);
    rig.deliver_all(true);
    rig.flush();
    assert_eq!(reads(&rig), 0);
    let started = starts(&rig);
    let [start] = &*started else {
        panic!("{started:?}")
    };
    let task = telling();
    assert_eq!((start.task, &start.payload), (place(1).task, &task.payload));
    assert_eq!((&start.name, &start.metadata), (&task.name, &task.metadata));
    assert_eq!((&start.kind, &start.queue), (&task.kind, &task.queue));
    assert_eq!(
        (start.created_at, start.timeout, start.priority),
        (task.created_at, task.timeout, task.priority)
    );
}

#[test]
fn a_claim_that_was_cancelled_before_its_worker_heard_of_it_starts_nothing() {
    let mut rig = up(Limits::default(), config());
    give(&mut rig, 1, Some(StopReason::Cancel));
    rig.settle();
    assert!(starts(&rig).is_empty());
    let outcome = rig.found(&Key::outcome(place(1).task)).expect("it ended");
    let outcome = OutcomeRecord::decode(&outcome.value).unwrap().outcome;
    assert_eq!(outcome, Outcome::Cancelled);
}

#[test]
fn what_was_carried_waits_for_its_slot_in_the_order_of_keys() {
    let mut config = config();
    config.slots = 1;
    let mut rig = up(Limits::default(), config);
    for n in [3, 1, 2] {
        give(&mut rig, n, None);
    }
    rig.deliver_all(true);
    for _ in 0..3 {
        rig.flush();
        let run = starts(&rig).last().expect("a slot is free").run;
        let event = RunEvent::Completed(Json::null());
        rig.give(Input::Run { run, event });
    }
    let order: Vec<TaskId> = starts(&rig).iter().map(|start| start.task).collect();
    assert_eq!(order, [1, 2, 3].map(|n| place(n).task));
}

#[test]
fn a_claim_that_is_written_again_carries_what_stands_nowhere_else() {
    for unique in [None, Some("hash".into())] {
        let task = TaskRecord {
            unique,
            ..telling()
        };
        let mut rig = up(Limits::default(), config());
        give_task(&mut rig, 1, None, &task);
        rig.deliver_all(true);
        rig.flush();
        let run = starts(&rig)[0].run;
        let event = RunEvent::Progress(Json::string("half"));
        rig.give(Input::Run { run, event });
        rig.settle();
        let found = rig.found(&Key::claim(&me(), place(1))).unwrap();
        let claim = ClaimRecord::decode(&found.value).unwrap();
        assert_eq!(claim.progress, Some(Json::string("half")));
        let only_copy = task.unique.is_none().then(telling);
        assert_eq!(claim.only_copy(task.priority), only_copy);
        assert_eq!(claim.task.is_some(), claim.is_only_copy());
    }
}

#[test]
fn what_its_claim_alone_held_goes_into_the_outcome() {
    let mut rig = up(Limits::default(), config());
    give(&mut rig, 1, None);
    rig.deliver_all(true);
    rig.flush();
    let run = starts(&rig)[0].run;
    let event = RunEvent::Completed(Json::null());
    rig.give(Input::Run { run, event });
    rig.settle();
    let found = rig.found(&Key::outcome(place(1).task)).unwrap();
    let outcome = OutcomeRecord::decode(&found.value).unwrap();
    assert_eq!(outcome.task.as_deref(), Some(&telling()));
}
