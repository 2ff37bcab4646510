//! A view, its changes, and what the journal tells of them.

use std::time::Duration;

use super::*;
use crate::ids::{Priority, Registration};
use crate::keyspace::{Key, Place};
use crate::record::{
    Carry, ClaimRecord, DeadRecord, DelayedRecord, EntryRecord, QueueConfig, Record, StopReason,
    Version,
};
use crate::store::{Change, Item, Value};
use crate::time::{Millis, Wall};

struct Rig {
    journal: Journal,
    view: ClusterView,
    at: u64,
    now: Mono,
}

fn carry(retries: u32) -> Carry {
    Carry {
        kind: "echo".parse().unwrap(),
        timeout: Millis::from_secs(1),
        retries,
        losses: 0,
        run: 0,
        notes: vec![],
    }
}

fn entry() -> Value {
    let carry = carry(0);
    EntryRecord { v: Version, carry }.encode()
}

fn claim(stop: Option<StopReason>) -> Value {
    ClaimRecord {
        v: Version,
        carry: carry(0),
        queue: "q".parse().unwrap(),
        registration: Registration(Revision(1)),
        assigned_at: Wall::from_millis(1),
        stop,
        progress: None,
        task: None,
    }
    .encode()
}

fn place(n: u64) -> Place {
    let timestamp = Wall::from_millis(n);
    Place {
        priority: Priority::NORMAL,
        timestamp,
        task: TaskId::floor_of(timestamp),
    }
}

fn entry_key(n: u64) -> Key {
    Key::entry(&"q".parse().unwrap(), place(n))
}

fn claim_key(n: u64) -> Key {
    Key::claim(&"w".parse().unwrap(), place(n))
}

impl Rig {
    /// A view at revision 10, and nobody asks.
    fn new() -> Self {
        let mut rig = Self {
            journal: Journal::default(),
            view: ClusterView::default(),
            at: 10,
            now: Mono::ZERO,
        };
        rig.journal.restart(Revision(10));
        rig
    }

    /// The same, and somebody asks.
    fn asked() -> Self {
        let mut rig = Self::new();
        rig.journal.on_asked(rig.now);
        rig
    }

    /// One revision, of these puts and deletes. Says whether there is something new.
    fn commit(&mut self, writes: Vec<(Key, Option<Value>)>) -> bool {
        self.at += 1;
        let at = Revision(self.at);
        let change = |(key, value)| match value {
            Some(value) => Change::Put(Item::new(key, at, at, value)),
            None => Change::Delete { key, at },
        };
        let (changes, mut news) = (writes.into_iter().map(change).collect(), vec![]);
        self.view.apply(self.now, changes, &mut news);
        for item in &news {
            self.journal.on_news(at, item, &self.view);
        }
        self.journal.on_view_at(self.now, at)
    }

    fn submit(&mut self, n: u64) {
        self.commit(vec![(entry_key(n), Some(entry()))]);
    }

    fn dispatch(&mut self, n: u64, stop: Option<StopReason>) {
        let claim = claim(stop);
        self.commit(vec![(entry_key(n), None), (claim_key(n), Some(claim))]);
    }

    fn since(&self, after: u64) -> ChangesView {
        let changes = self.journal.since(Revision(after), &self.view);
        changes.expect("the journal reaches back so far")
    }

    /// The words of the tasks that changed.
    fn statuses(&self, after: u64) -> Vec<&'static str> {
        let changes = self.since(after);
        changes.tasks.iter().map(|it| it.status.as_str()).collect()
    }
}

#[test]
fn nothing_is_kept_before_somebody_asks() {
    let mut rig = Rig::new();
    rig.submit(1);
    assert!(rig.journal.kept.is_none());
    assert_eq!(rig.journal.since(Revision(11), &rig.view), None);
    rig.journal.on_asked(rig.now);
    assert_eq!(rig.since(11), ChangesView::none(Revision(11)));
    assert_eq!(rig.journal.since(Revision(10), &rig.view), None);
}

#[test]
fn nothing_is_kept_when_nobody_has_asked_for_a_while() {
    let mut rig = Rig::asked();
    rig.now = rig.now.after(JOURNAL_IDLE);
    rig.submit(1);
    assert!(rig.journal.kept.is_some(), "just within the limit");
    rig.now = rig.now.after(Duration::from_nanos(1));
    rig.submit(2);
    assert!(rig.journal.kept.is_none());
}

#[test]
fn each_task_is_told_once_as_it_is_now() {
    let mut rig = Rig::asked();
    rig.submit(1);
    rig.submit(2);
    rig.dispatch(1, None);
    let changes = rig.since(10);
    assert_eq!(changes.revision, Revision(13));
    assert_eq!(changes.queues, ["q".parse().unwrap()]);
    assert!(!changes.nodes);
    let told: Vec<_> = changes.tasks.iter().map(|it| (it.id, it.status)).collect();
    let state = ChangedStatus::State;
    assert_eq!(
        told,
        [
            (place(1).task, state(TaskState::Running)),
            (place(2).task, state(TaskState::Pending))
        ]
    );
    assert_eq!(changes.tasks[0].worker, Some("w".parse().unwrap()));
    assert_eq!(rig.statuses(12), ["running"], "the rest was known");
    assert!(rig.since(13).is_empty());
}

#[test]
fn a_task_that_has_ended_is_told_with_what_its_last_place_knew() {
    let mut rig = Rig::asked();
    rig.submit(1);
    rig.dispatch(1, None);
    rig.commit(vec![(claim_key(1), None)]);
    let changes = rig.since(12);
    let [task] = &changes.tasks[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(task.status, ChangedStatus::State(TaskState::Completed));
    assert_eq!(task.queue, Some("q".parse().unwrap()));
    assert_eq!(task.kind, Some("echo".parse().unwrap()));
    assert_eq!(task.worker, Some("w".parse().unwrap()));
}

#[test]
fn what_one_delta_brought_and_took_away_is_told() {
    let mut rig = Rig::asked();
    rig.commit(vec![
        (entry_key(1), Some(entry())),
        (entry_key(1), None),
        (claim_key(1), Some(claim(None))),
        (claim_key(1), None),
    ]);
    assert_eq!(rig.statuses(10), ["completed"]);
}

#[test]
fn ends_are_told_apart_as_far_as_the_places_tell() {
    let mut rig = Rig::asked();
    rig.submit(1);
    rig.commit(vec![(entry_key(1), None)]);
    assert_eq!(rig.statuses(11), ["cancelled"]);
    rig.dispatch(2, Some(StopReason::Cancel));
    rig.commit(vec![(claim_key(2), None)]);
    assert_eq!(rig.statuses(13), ["ended"]);
    let dead = DeadRecord {
        v: Version,
        carry: carry(3),
        priority: Priority::NORMAL,
        died_at: Wall::from_millis(1),
    };
    rig.dispatch(3, None);
    let dead_key = Key::dead(&"q".parse().unwrap(), place(3).task);
    rig.commit(vec![(claim_key(3), None), (dead_key, Some(dead.encode()))]);
    assert_eq!(rig.statuses(15), ["failed"]);
}

#[test]
fn a_retry_is_not_an_end() {
    let mut rig = Rig::asked();
    rig.dispatch(1, None);
    let (due, task) = (Wall::from_millis(9), place(1).task);
    let delayed = DelayedRecord {
        v: Version,
        carry: carry(1),
        queue: "q".parse().unwrap(),
        priority: Priority::NORMAL,
    };
    let delayed_key = Key::delayed(due, task);
    let retry = vec![
        (claim_key(1), None),
        (delayed_key.clone(), Some(delayed.encode())),
    ];
    rig.commit(retry);
    assert_eq!(rig.statuses(11), ["retrying"]);
    rig.commit(vec![(delayed_key, None), (entry_key(1), Some(entry()))]);
    assert_eq!(rig.statuses(12), ["pending"]);
}

#[test]
fn a_place_that_nobody_can_read_is_not_taken_for_an_end() {
    let mut rig = Rig::asked();
    rig.dispatch(1, None);
    let newer = Value::from(b"{\"v\":999}".to_vec());
    rig.commit(vec![(claim_key(1), Some(newer))]);
    assert_eq!(rig.statuses(11), ["unknown"]);
}

#[test]
fn settings_and_nodes_are_told() {
    let mut rig = Rig::asked();
    let queue: QueueName = "z".parse().unwrap();
    let config = QueueConfig::default().encode();
    rig.commit(vec![(Key::queue_config(&queue), Some(config))]);
    assert_eq!(rig.since(10).queues, [queue]);
    rig.commit(vec![(Key::offer(&"w".parse().unwrap()), None)]);
    assert!(!rig.since(11).nodes, "there was none");
    rig.commit(vec![(Key::node_config(&"w".parse().unwrap()), None)]);
    assert!(rig.since(12).nodes);
}

#[test]
fn more_tasks_and_queues_than_fit_are_counted() {
    let mut rig = Rig::asked();
    let many = u64::try_from(CHANGES_MAX).unwrap() + 3;
    for n in 1..=many {
        rig.submit(n);
        rig.dispatch(n, None);
    }
    let changes = rig.since(10);
    assert_eq!(
        (changes.tasks.len(), changes.tasks_omitted),
        (CHANGES_MAX, 3)
    );
    assert_eq!(
        changes.tasks.last().unwrap().id,
        place(many).task,
        "the newest"
    );
    for n in 0..=CHANGED_QUEUES_MAX {
        let key = Key::queue_config(&format!("queue-{n}").parse().unwrap());
        rig.commit(vec![(key, Some(QueueConfig::default().encode()))]);
    }
    let changes = rig.since(10);
    let shown = (changes.queues.len(), changes.queues_omitted);
    assert_eq!(shown, (CHANGED_QUEUES_MAX, 2));
}

#[test]
fn the_oldest_changes_are_forgotten_and_that_is_known() {
    let mut rig = Rig::asked();
    let many = u64::try_from(JOURNAL_MAX).unwrap();
    let key = || Key::node_config(&"w".parse().unwrap());
    for _ in 0..many {
        rig.commit(vec![(key(), None)]);
    }
    assert!(rig.since(10).nodes, "just as many as fit");
    rig.commit(vec![(key(), None)]);
    assert_eq!(rig.journal.since(Revision(10), &rig.view), None);
    assert!(rig.since(11).nodes);
}

#[test]
fn after_a_new_read_nobody_knows_what_has_changed() {
    let mut rig = Rig::asked();
    rig.submit(1);
    rig.journal.restart(Revision(20));
    assert_eq!(rig.journal.since(Revision(11), &rig.view), None);
    assert!(rig.journal.since(Revision(20), &rig.view).is_some());
}

#[test]
fn only_what_is_new_wakes_those_who_wait() {
    let mut rig = Rig::asked();
    assert!(rig.commit(vec![(entry_key(1), Some(entry()))]));
    assert!(!rig.commit(vec![(Key::from_store("/config/else"), None)]));
}
