//! Fates that are learnt late.

use std::time::Duration;

use super::*;
use crate::keyspace::{Key, Role};
use crate::lanes::Settled;
use crate::record::{
    Carry, ClaimRecord, EntryRecord, NodeRecord, OfferRecord, Record, StopReason, Version,
};
use crate::store::{Change, Item};
use crate::time::Millis;

struct Rig {
    scheduler: Scheduler,
    view: ClusterView,
    now: Now,
    place: Place,
    queue: QueueName,
    worker: NodeId,
}

fn carry() -> Carry {
    Carry {
        kind: "noop".parse().unwrap(),
        timeout: Millis::from_secs(60),
        retries: 0,
        losses: 0,
        run: 0,
        notes: Vec::new(),
    }
}

impl Rig {
    fn new() -> Self {
        let config = SchedulerConfig {
            id: "s".parse().unwrap(),
            losses_max: 10,
            step_in_after: Duration::from_secs(1),
            silence_grace: Duration::from_secs(10),
        };
        let now = Now {
            mono: Mono::from_nanos(1),
            wall: Wall::from_millis(1),
        };
        let timestamp = Wall::from_millis(1);
        let task = TaskId::floor_of(timestamp);
        let place = Place {
            priority: crate::ids::Priority::NORMAL,
            timestamp,
            task,
        };
        let mut rig = Self {
            scheduler: Scheduler::new(config, Rng::new(1)),
            view: ClusterView::default(),
            now,
            place,
            queue: "q".parse().unwrap(),
            worker: "w".parse().unwrap(),
        };
        let node = NodeRecord {
            v: Version,
            life: 1,
            version: "test".into(),
            view: Revision(0),
            load: 0,
            cpu_permille: 0,
            memory_bytes: 0,
            ttl: Millis::from_secs(10),
            started_at: timestamp,
            remote: None,
        };
        let offer = OfferRecord {
            v: Version,
            slots: 4,
            queues: Vec::new(),
            types: vec!["noop".parse().unwrap()],
            weight: 1,
            labels: BTreeMap::new(),
        };
        rig.put(
            Key::node(Role::Worker, &rig.worker.clone()),
            1,
            node.encode(),
        );
        rig.put(Key::offer(&rig.worker.clone()), 2, offer.encode());
        rig
    }

    fn change(&mut self, change: Change) {
        let mut news = Vec::new();
        self.view.apply(self.now.mono, vec![change], &mut news);
        for item in &news {
            self.scheduler.on_news(self.now, item, &self.view);
        }
    }

    fn put(&mut self, key: Key, at: u64, value: crate::store::Value) {
        self.change(Change::Put(Item::new(
            key,
            Revision(at),
            Revision(at),
            value,
        )));
    }

    fn entry_comes(&mut self, at: u64) {
        let entry = EntryRecord {
            v: Version,
            carry: carry(),
        };
        self.put(Key::entry(&self.queue, self.place), at, entry.encode());
    }

    fn claim_comes(&mut self, at: u64) {
        let key = Key::entry(&self.queue, self.place);
        self.change(Change::Delete {
            key,
            at: Revision(at),
        });
        self.claim_is(at, at, None);
    }

    fn claim_is(&mut self, created: u64, at: u64, stop: Option<StopReason>) {
        let claim = ClaimRecord {
            v: Version,
            carry: carry(),
            queue: self.queue.clone(),
            registration: crate::ids::Registration(Revision(1)),
            assigned_at: Wall::from_millis(1),
            stop,
            progress: None,
            task: None,
        };
        self.change(Change::Put(Item::new(
            Key::claim(&self.worker, self.place),
            Revision(created),
            Revision(at),
            claim.encode(),
        )));
    }

    fn claim_goes(&mut self, at: u64) {
        let key = Key::claim(&self.worker, self.place);
        self.change(Change::Delete {
            key,
            at: Revision(at),
        });
    }

    fn plan(&mut self) -> Job {
        let metas = self
            .scheduler
            .plan(self.now, &self.view, |job| job)
            .into_metas();
        assert_eq!(metas.len(), 1, "one task is placed");
        metas.into_iter().next().unwrap()
    }

    fn committed(&mut self, job: Job, at: u64, reached: u64) {
        let settled = Settled::Committed {
            at: Revision(at),
            metas: vec![job],
        };
        self.scheduler
            .on_settled(self.now, settled, Some(Revision(reached)), &self.view);
    }
}

#[test]
fn a_dispatch_whose_fate_is_learnt_late_is_not_taken_for_a_later_one_of_the_same_task() {
    let mut rig = Rig::new();
    rig.entry_comes(3);
    let first = rig.plan();
    rig.claim_comes(4);
    rig.claim_goes(5);
    rig.entry_comes(5);
    let second = rig.plan();
    assert_ne!(first, second);
    rig.committed(second, 7, 6);
    rig.committed(first, 4, 6);
    assert_eq!(
        rig.scheduler.reserved.len(),
        1,
        "the second dispatch is still to be seen"
    );
    rig.claim_comes(7);
    assert!(rig.scheduler.reserved.is_empty());
}

#[test]
fn a_cancel_that_comes_while_a_time_out_waits_for_a_lane_is_not_written_over() {
    let mut rig = Rig::new();
    rig.claim_comes(3);
    rig.now.mono = rig.now.mono.after(Duration::from_secs(80));
    assert!(
        rig.scheduler.on_time(rig.now, &rig.view),
        "the attempt has overstayed"
    );
    rig.claim_is(3, 4, Some(StopReason::Cancel));
    let planned = rig.scheduler.plan(rig.now, &rig.view, |job| job);
    assert!(planned.is_empty(), "{planned:?}");
}

/// No step of ours does it, but what others write into the store must not end every scheduler process.
#[test]
fn a_task_that_somebody_put_into_two_places_is_placed_from_one_at_a_time() {
    let mut rig = Rig::new();
    rig.entry_comes(3);
    let first = rig.place;
    rig.place.priority = crate::ids::Priority::LOW;
    rig.entry_comes(4);
    let Job::Dispatch { place, .. } = rig.plan() else {
        panic!("a waiting task is dispatched");
    };
    assert_eq!(place, first);
    assert_eq!(rig.scheduler.reserved.len(), 1);
}

#[test]
fn a_task_that_was_run_again_while_its_dispatch_was_under_way_is_placed_from_where_it_waits_now() {
    let mut rig = Rig::new();
    rig.entry_comes(3);
    let first = rig.plan();
    // Somebody else cancels it, and runs it again.
    rig.change(Change::Delete {
        key: Key::entry(&rig.queue, rig.place),
        at: Revision(4),
    });
    rig.place.timestamp = Wall::from_millis(2);
    rig.entry_comes(5);
    let nothing = rig.scheduler.plan(rig.now, &rig.view, |job| job);
    assert!(nothing.is_empty(), "one dispatch of a task at a time");
    let settled = Settled::Conflict {
        at: Revision(5),
        lost: Vec::new(),
        spared: vec![first],
    };
    rig.scheduler
        .on_settled(rig.now, settled, Some(Revision(5)), &rig.view);
    rig.scheduler.on_view_at(rig.now, Revision(5), &rig.view);
    let Job::Dispatch { place, .. } = rig.plan() else {
        panic!("it waits, and there is room");
    };
    assert_eq!(place, rig.place);
}
