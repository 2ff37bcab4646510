//! Names, keys and records to choose from: few, so that choices meet.

use std::collections::BTreeMap;

use windlass_sim::core::balance::Strategy;
use windlass_sim::core::ids::{
    Attempt, Fence, NodeId, Priority, QueueName, Registration, Revision, TaskId, TaskType,
};
use windlass_sim::core::keyspace::{Key, LaneName, Meaning, Place, Role};
use windlass_sim::core::record::{
    AttemptEnd, AttemptNote, CarriedTask, Carry, ClaimRecord, DeadRecord, DelayedRecord,
    EntryRecord, Json, LaneRecord, LockRecord, NodeConfig, NodeRecord, OfferRecord, Outcome,
    OutcomeRecord, QueueConfig, Record, RunRecord, StopReason, TaskRecord, Totals, UniqueRecord,
    Version,
};
use windlass_sim::core::retry::RetryPolicy;
use windlass_sim::core::store::Value;
use windlass_sim::core::time::{Millis, Wall};

use crate::choices::Choices;

/// What every wall clock shows at first.
pub(crate) const EPOCH: Wall = Wall::from_millis(1_800_000_000_000);

/// How many tasks there are to choose from.
pub(crate) const TASKS: usize = 12;

pub(crate) fn node(n: usize) -> NodeId {
    format!("w{n}").parse().expect("a legal name")
}

pub(crate) fn queue(n: usize) -> QueueName {
    ["q", "r"][n % 2].parse().expect("a legal name")
}

pub(crate) fn kind(n: usize) -> TaskType {
    ["noop", "other"][n % 2].parse().expect("a legal name")
}

pub(crate) fn task(n: usize) -> TaskId {
    format!("00000000-0000-7000-8000-0000000000{n:02x}")
        .parse()
        .expect("a legal id")
}

pub(crate) fn place(n: usize, c: &mut Choices<'_>) -> Place {
    let digit = [5, 0, 9, 3][c.below(4)];
    Place {
        priority: Priority::new(digit).expect("a digit"),
        timestamp: wall(c),
        task: task(n),
    }
}

fn wall(c: &mut Choices<'_>) -> Wall {
    match c.below(4) {
        0 => EPOCH,
        1 => EPOCH.after(Millis::new(u64::from(c.byte()) * 100)),
        2 => Wall::from_millis(u64::from(c.byte())),
        _ => Wall::MAX,
    }
}

fn revision(c: &mut Choices<'_>) -> Revision {
    Revision(u64::from(c.byte()))
}

fn number(c: &mut Choices<'_>) -> u32 {
    match c.below(4) {
        0 => 0,
        1 => u32::from(c.byte() % 4),
        2 => 10,
        _ => u32::MAX,
    }
}

fn span(c: &mut Choices<'_>) -> Millis {
    Millis::new(match c.below(4) {
        0 => 60_000,
        1 => u64::from(c.byte()) * 100,
        2 => 0,
        _ => u64::MAX,
    })
}

/// A key of any kind that this build knows, or nearly so.
pub(crate) fn key(c: &mut Choices<'_>) -> Key {
    let (n, who, other) = (c.below(TASKS), c.below(3), c.below(2));
    match c.below(18) {
        0 => Key::entry(&queue(other), place(n, c)),
        1 => Key::claim(&node(who), place(n, c)),
        2 => Key::delayed(wall(c), task(n)),
        3 => Key::dead(&queue(other), task(n)),
        4 => Key::queue_config(&queue(other)),
        5 => Key::node_config(&node(who)),
        6 => Key::node(Role::Worker, &node(who)),
        7 => Key::node(Role::Scheduler, &node(who)),
        8 => Key::offer(&node(who)),
        9 => Key::lock_waiter(&"l".parse().expect("a legal name"), &node(who)),
        10 => Key::janitor_waiter(&node(who)),
        11 => Key::task(task(n)),
        12 => Key::outcome(task(n)),
        13 => Key::run(task(n)),
        14 => Key::lane(
            &node(who),
            LaneName {
                part: ['g', 's', 'w', 'j'][n % 4],
                index: other as u8,
            },
        ),
        15 => Key::folded_totals(),
        16 => Key::unique(["k", "0"][other]),
        // Beside something that is there, and foreign.
        _ => Key::from_store(format!("{}/x", Key::queue_config(&queue(other)))),
    }
}

/// What may be stored under a key: mostly a record of the right kind, else anything.
pub(crate) fn value(meaning: &Meaning, c: &mut Choices<'_>) -> Value {
    match c.below(16) {
        13 => Value::from(br#"{"v":2,"x":1}"#.to_vec()),
        14 => Value::from(br#"{"v":1}"#.to_vec()),
        15 => Value::from(c.bytes().to_vec()),
        _ => record(meaning, c),
    }
}

fn carry(c: &mut Choices<'_>) -> Carry {
    let mut carry = Carry {
        kind: kind(c.below(2)),
        timeout: span(c),
        retries: number(c),
        losses: number(c),
        run: number(c),
        notes: Vec::new(),
    };
    for _ in 0..c.below(3) {
        carry.note(AttemptNote {
            attempt: Attempt(number(c)),
            worker: node(c.below(3)),
            started_at: None,
            ended_at: wall(c),
            end: [
                AttemptEnd::TimedOut,
                AttemptEnd::Lost,
                AttemptEnd::Cancelled,
            ][c.below(3)]
            .clone(),
            fence: None,
        });
    }
    carry
}

pub(crate) fn claim(registration: Registration, c: &mut Choices<'_>) -> ClaimRecord {
    let reasons = [
        StopReason::Cancel,
        StopReason::TimeOut,
        StopReason::Fenced,
        StopReason::Shutdown,
    ];
    ClaimRecord {
        v: Version,
        carry: carry(c),
        queue: queue(c.below(2)),
        registration,
        assigned_at: wall(c),
        stop: c.one_in(4).then(|| reasons[c.below(4)]),
        progress: c.one_in(4).then(|| Json::string("half")),
        task: c
            .one_in(4)
            .then(|| CarriedTask::of(&task_record(c)).map(Box::new))
            .flatten(),
    }
}

pub(crate) fn task_record(c: &mut Choices<'_>) -> TaskRecord {
    TaskRecord {
        v: Version,
        kind: kind(c.below(2)),
        queue: queue(c.below(2)),
        priority: Priority::NORMAL,
        name: None,
        payload: Json::string("x"),
        metadata: BTreeMap::new(),
        created_at: wall(c),
        due: c.one_in(4).then(|| wall(c)),
        retries_max: number(c),
        retry: RetryPolicy {
            delay: span(c),
            elapsed_max: c.one_in(4).then(|| span(c)),
            ..RetryPolicy::default()
        },
        timeout: span(c),
        unique: c.one_in(4).then(|| "k".into()),
    }
}

fn outcome(c: &mut Choices<'_>) -> OutcomeRecord {
    let outcomes = [
        Outcome::Completed(Json::null()),
        Outcome::Failed("no".into()),
        Outcome::Cancelled,
    ];
    OutcomeRecord {
        v: Version,
        outcome: outcomes[c.below(3)].clone(),
        worker: c.one_in(2).then(|| node(c.below(3))),
        fence: c.one_in(2).then(|| Fence(revision(c))),
        assigned_at: None,
        started_at: None,
        ended_at: wall(c),
        carry: carry(c),
        task: c.one_in(2).then(|| Box::new(task_record(c))),
    }
}

fn offer(c: &mut Choices<'_>) -> OfferRecord {
    OfferRecord {
        v: Version,
        slots: number(c),
        queues: if c.one_in(2) {
            vec![queue(c.below(2))]
        } else {
            Vec::new()
        },
        types: (0..c.below(3)).map(kind).collect(),
        weight: number(c),
        labels: BTreeMap::new(),
    }
}

fn node_record(c: &mut Choices<'_>) -> NodeRecord {
    NodeRecord {
        v: Version,
        life: u64::from(c.byte()),
        version: "t".into(),
        view: revision(c),
        load: number(c),
        cpu_permille: c.wide(),
        memory_bytes: 1,
        ttl: span(c),
        started_at: wall(c),
        remote: None,
    }
}

fn record(meaning: &Meaning, c: &mut Choices<'_>) -> Value {
    match meaning {
        Meaning::QueueConfig(_) => {
            let all = [
                Strategy::LeastLoad,
                Strategy::RoundRobin,
                Strategy::Random,
                Strategy::Weighted,
            ];
            QueueConfig {
                strategy: all[c.below(4)],
                paused: c.one_in(2),
                ..QueueConfig::default()
            }
            .encode()
        }
        Meaning::NodeConfig(_) => NodeConfig {
            drain: c.one_in(2),
            ..NodeConfig::default()
        }
        .encode(),
        Meaning::Dead(..) => DeadRecord {
            v: Version,
            carry: carry(c),
            priority: Priority::NORMAL,
            died_at: wall(c),
        }
        .encode(),
        Meaning::Delayed(..) => DelayedRecord {
            v: Version,
            carry: carry(c),
            queue: queue(c.below(2)),
            priority: Priority::HIGH,
        }
        .encode(),
        Meaning::LockWaiter(..) | Meaning::JanitorWaiter(_) => LockRecord::default().encode(),
        Meaning::Node(..) => node_record(c).encode(),
        Meaning::Offer(_) => offer(c).encode(),
        Meaning::Entry(..) => EntryRecord {
            v: Version,
            carry: carry(c),
        }
        .encode(),
        Meaning::Claim(..) => claim(Registration(revision(c)), c).encode(),
        Meaning::Lane(_) | Meaning::FoldedTotals => LaneRecord {
            v: Version,
            number: u64::from(c.byte()),
            totals: Totals {
                accepted: u64::from(c.byte()),
                ..Totals::default()
            },
        }
        .encode(),
        Meaning::Task(_) => task_record(c).encode(),
        Meaning::Outcome(_) => outcome(c).encode(),
        Meaning::Run(_) => RunRecord {
            v: Version,
            run: number(c),
            at: wall(c),
        }
        .encode(),
        Meaning::Unique => UniqueRecord {
            v: Version,
            task: task(c.below(TASKS)),
            body: ["a", "b"][c.below(2)].into(),
        }
        .encode(),
        Meaning::Foreign => Value::from(c.bytes().to_vec()),
    }
}
