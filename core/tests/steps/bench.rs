//! A store with one task in it, as everybody sees it.

use std::collections::BTreeMap;

use windlass_core::ids::{Fence, NodeId, OpId, QueueName, Registration, Revision, TaskId};
use windlass_core::keyspace::{Key, Meaning, Place, Range, Role};
use windlass_core::kv::{ClientId, Effect, Input, Kv, Limits};
use windlass_core::machine::Machine;
use windlass_core::record::{
    ClaimRecord, DeadRecord, DelayedRecord, EntryRecord, Json, Outcome, OutcomeRecord, Record,
    RunRecord, StopReason, TaskRecord, Version,
};
use windlass_core::retry::RetryPolicy;
use windlass_core::steps::{self, Ending, Recipient, TakenFrom};
use windlass_core::store::{Answer, Call, Found, Guard, Step, Txn, TxnOutcome, Write};
use windlass_core::time::{Millis, Mono, Now, Wall};
use windlass_core::view::{Claimed, Dead, Delayed, Waiting};

use crate::copies::copies;

/// When the task was accepted.
pub(crate) const ACCEPTED: Wall = Wall::from_millis(1_000);
/// When everything else happens.
pub(crate) const LATER: Wall = Wall::from_millis(50_000);
/// When a delayed task is due, and a retried one.
pub(crate) const DUE: Wall = Wall::from_millis(90_000);

pub(crate) fn queue() -> QueueName {
    "q".parse().unwrap()
}

pub(crate) fn worker(n: u8) -> NodeId {
    format!("w{n}").parse().unwrap()
}

pub(crate) fn id() -> TaskId {
    "00000000-0000-7000-8000-000000000001".parse().unwrap()
}

pub(crate) fn place() -> Place {
    Place {
        priority: "5".parse().unwrap(),
        timestamp: ACCEPTED,
        task: id(),
    }
}

pub(crate) fn task(due: Option<Wall>) -> TaskRecord {
    TaskRecord {
        v: Version,
        kind: "noop".parse().unwrap(),
        queue: queue(),
        priority: "5".parse().unwrap(),
        name: None,
        payload: Json::null(),
        metadata: BTreeMap::new(),
        created_at: ACCEPTED,
        due,
        retries_max: 3,
        retry: RetryPolicy::default(),
        timeout: Millis::from_secs(60),
        unique: Some("hash".into()),
    }
}

pub(crate) fn ending(outcome: Outcome) -> Ending {
    Ending {
        outcome,
        started_at: Some(LATER),
        ended_at: LATER,
    }
}

/// The store.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) kv: Kv,
    op: u64,
}

/// Every key with its value, but for those of lanes.
pub(crate) type Contents = BTreeMap<Key, Found>;

impl Bench {
    /// The offers of two workers, and the janitor's lock.
    pub(crate) fn new() -> Self {
        let mut bench = Self {
            kv: Kv::new(Limits::default()),
            op: 0,
        };
        let keys = [
            Key::offer(&worker(1)),
            Key::offer(&worker(2)),
            Key::janitor_waiter(&worker(9)),
        ];
        for key in keys {
            let write = Write::Put {
                key,
                value: Vec::new().into(),
                lease: None,
            };
            bench.commits(&Step::new(vec![], vec![write]));
        }
        bench
    }

    pub(crate) fn apply(&mut self, step: &Step) -> TxnOutcome {
        let mut txn = Txn::default();
        txn.push(step.clone())
            .expect("a step is a legal transaction");
        self.op += 1;
        let input = Input::Call {
            client: ClientId(1),
            op: OpId(self.op),
            call: Call::Commit(txn),
        };
        let now = Now {
            mono: Mono::from_nanos(1),
            wall: LATER,
        };
        let mut out = Vec::new();
        self.kv.handle(now, input, &mut out);
        let outcome = out.into_iter().find_map(|effect| match effect {
            Effect::Answer {
                answer: Answer::Txn(outcome),
                ..
            } => Some(outcome),
            Effect::Answer { .. } | Effect::Applied(_) => None,
        });
        outcome.expect("a transaction is answered at once")
    }

    pub(crate) fn commits(&mut self, step: &Step) -> Revision {
        match self.apply(step) {
            TxnOutcome::Committed { at } => at,
            outcome @ (TxnOutcome::Conflict { .. }
            | TxnOutcome::Refused(_)
            | TxnOutcome::Unknown) => panic!("{step:?}: {outcome:?}"),
        }
    }

    /// Says whether it was applied; anything but a conflict is a fault of the step.
    pub(crate) fn tries(&mut self, step: &Step) -> bool {
        match self.apply(step) {
            TxnOutcome::Committed { .. } => true,
            TxnOutcome::Conflict { failed, .. } => {
                assert!(!failed.is_empty(), "a conflict names its guards");
                false
            }
            outcome @ (TxnOutcome::Refused(_) | TxnOutcome::Unknown) => {
                panic!("{step:?}: {outcome:?}")
            }
        }
    }

    pub(crate) fn found(&self, key: &Key) -> Option<Found> {
        self.kv.entry(key).map(|entry| entry.item(key).found)
    }

    pub(crate) fn contents(&self) -> Contents {
        let everything = Range::new(Key::from_store(""), Key::from_store("\u{10ffff}"));
        let items = self
            .kv
            .entries(&everything)
            .map(|(key, entry)| entry.item(key));
        items
            .filter(|item| !matches!(Meaning::of(&item.key), Meaning::Lane(_)))
            .map(|item| (item.key, item.found))
            .collect()
    }

    /// The kinds of the keys that say where the task is, sorted.
    pub(crate) fn places(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.contents().keys().filter_map(kind_of).collect();
        kinds.sort_unstable();
        kinds
    }

    /// The task is at one place, or has ended, or was removed with everything that belongs to it.
    pub(crate) fn audit(&self) {
        let contents = self.contents();
        let kinds = self.places();
        let legal: [&[&str]; 6] = [
            &[],
            &["entry", "task"],
            &["claim", "task"],
            &["delayed", "task"],
            &["outcome", "task"],
            &["dead", "outcome", "task"],
        ];
        assert!(legal.contains(&&kinds[..]), "{:?}", contents.keys());
        let failed = self
            .found(&Key::outcome(id()))
            .map(|found| OutcomeRecord::decode(&found.value).unwrap())
            .is_some_and(|record| matches!(record.outcome, Outcome::Failed(_)));
        assert_eq!(failed, kinds.contains(&"dead"), "dead is what failed");
        let unique = contents.contains_key(&Key::unique("hash"));
        assert_eq!(
            unique,
            kinds.contains(&"task"),
            "a key lives as long as its task"
        );
    }
}

fn kind_of(key: &Key) -> Option<&'static str> {
    match Meaning::of(key) {
        Meaning::Task(_) => Some("task"),
        Meaning::Entry(..) => Some("entry"),
        Meaning::Claim(..) => Some("claim"),
        Meaning::Delayed(..) => Some("delayed"),
        Meaning::Outcome(_) => Some("outcome"),
        Meaning::Dead(..) => Some("dead"),
        Meaning::Foreign => panic!("{key} is nobody's"),
        Meaning::Run(_)
        | Meaning::Unique
        | Meaning::QueueConfig(_)
        | Meaning::NodeConfig(_)
        | Meaning::LockWaiter(..)
        | Meaning::JanitorWaiter(_)
        | Meaning::Node(..)
        | Meaning::Offer(_)
        | Meaning::Lane(_)
        | Meaning::FoldedTotals => None,
    }
}

/// A row of the life table, for one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    Submit,
    /// Submitted to a worker at once.
    Place(u8),
    Dispatch(u8),
    CancelWaiting,
    Release,
    CancelDelayed,
    Complete,
    Fail,
    Retry,
    HandBack,
    TakeLost,
    TakeSilent,
    Stop,
    Progress,
    Rerun,
    PurgeOne,
    PurgeRange,
}

/// Every row that a view of the store allows, as its writer would build it. Nobody's registration is alive.
pub(crate) fn rows(bench: &Bench) -> Vec<(Row, Step)> {
    let mut rows = vec![(
        Row::Submit,
        steps::submit(id(), &task(None), Some("body".into()), None),
    )];
    let to = recipient(bench, 1);
    rows.push((
        Row::Place(1),
        steps::submit(id(), &task(None), Some("body".into()), Some((&to, LATER))),
    ));
    for (key, found) in bench.contents() {
        match Meaning::of(&key) {
            Meaning::Entry(queue, place) => rows.extend(of_entry(bench, &queue, place, &found)),
            Meaning::Delayed(due, _) => rows.extend(of_delayed(due, &found)),
            Meaning::Claim(worker, place) => rows.extend(of_claim(&worker, place, &found)),
            Meaning::Outcome(_) => rows.extend(of_outcome(bench, &found)),
            Meaning::Task(_)
            | Meaning::Run(_)
            | Meaning::Dead(..)
            | Meaning::Unique
            | Meaning::QueueConfig(_)
            | Meaning::NodeConfig(_)
            | Meaning::LockWaiter(..)
            | Meaning::JanitorWaiter(_)
            | Meaning::Node(..)
            | Meaning::Offer(_)
            | Meaning::Lane(_)
            | Meaning::FoldedTotals
            | Meaning::Foreign => {}
        }
    }
    rows
}

pub(crate) fn waiting(found: &Found) -> Waiting {
    Waiting {
        since: found.modified,
        carry: EntryRecord::decode(&found.value).unwrap().carry,
    }
}

pub(crate) fn recipient(bench: &Bench, n: u8) -> Recipient {
    let offer = bench.found(&Key::offer(&worker(n)));
    Recipient {
        worker: worker(n),
        registration: Registration(Revision(1)),
        offer: offer.map_or(Revision(1), |found| found.created),
    }
}

fn of_entry(bench: &Bench, queue: &QueueName, place: Place, found: &Found) -> Vec<(Row, Step)> {
    let waiting = waiting(found);
    let mut rows: Vec<_> = [1, 2]
        .into_iter()
        .map(|n| {
            let to = recipient(bench, n);
            let step = steps::dispatch(queue, place, &waiting, &to, LATER);
            (Row::Dispatch(n), step)
        })
        .collect();
    let key = Key::entry(queue, place);
    let cancel = steps::cancel_waiting(key, found.modified, id(), &waiting.carry, LATER);
    rows.push((Row::CancelWaiting, cancel));
    rows
}

fn of_delayed(due: Wall, found: &Found) -> Vec<(Row, Step)> {
    let delayed = Delayed {
        since: found.modified,
        record: Box::new(DelayedRecord::decode(&found.value).unwrap()),
    };
    let key = Key::delayed(due, id());
    let carry = &delayed.record.carry;
    let cancel = steps::cancel_waiting(key, found.modified, id(), carry, LATER);
    vec![
        (Row::Release, steps::release(due, id(), &delayed)),
        (Row::CancelDelayed, cancel),
    ]
}

pub(crate) fn claimed(found: &Found) -> Claimed {
    Claimed {
        created: found.created,
        since: found.modified,
        seen: Mono::ZERO,
        flagged: None,
        record: Box::new(ClaimRecord::decode(&found.value).unwrap()),
    }
}

fn of_claim(worker: &NodeId, place: Place, found: &Found) -> Vec<(Row, Step)> {
    let claimed = claimed(found);
    let claim = &*claimed.record;
    let (fence, since) = (Fence(found.created), found.modified);
    let end = |outcome| steps::end(worker, place, fence, claim, ending(outcome));
    let take = |from| steps::take(worker, place, &claimed, from, 10, LATER).0;
    let mut carry = claim.carry.clone();
    carry.retries += 1;
    let mut reported = claim.clone();
    reported.progress = Some(Json::string("half"));
    vec![
        (Row::Complete, end(Outcome::Completed(Json::null()))),
        (Row::Fail, end(Outcome::Failed("no".into()))),
        (
            Row::Retry,
            steps::retry(worker, place, since, claim, carry, DUE),
        ),
        (Row::HandBack, steps::hand_back(worker, place, since, claim)),
        (Row::TakeLost, take(TakenFrom::Lost)),
        (Row::TakeSilent, take(TakenFrom::Silent)),
        (
            Row::Stop,
            steps::stop(worker, place, &claimed, StopReason::Cancel),
        ),
        (
            Row::Progress,
            steps::progress(worker, place, since, &reported),
        ),
    ]
}

fn of_outcome(bench: &Bench, found: &Found) -> Vec<(Row, Step)> {
    let outcome = OutcomeRecord::decode(&found.value).unwrap();
    let record = bench.found(&Key::task(id()));
    let dead = bench.found(&Key::dead(&queue(), id())).map(|found| Dead {
        since: found.modified,
        record: Box::new(DeadRecord::decode(&found.value).unwrap()),
    });
    let run = bench
        .found(&Key::run(id()))
        .map_or(0, |found| RunRecord::decode(&found.value).unwrap().run);
    let task = copies(bench).remove(0);
    let ended = (found.modified, &outcome);
    let step = steps::rerun(id(), &task, ended, dead.as_ref(), run + 1, LATER);
    let mut rows = vec![(Row::Rerun, step)];
    if let Some(record) = record.filter(|_| dead.is_none()) {
        rows.push((Row::PurgeOne, purge_one(bench, &record)));
        rows.push((Row::PurgeRange, purge_range(bench, &record)));
    }
    rows
}

fn lock(bench: &Bench) -> Guard {
    let key = Key::janitor_waiter(&worker(9));
    let since = bench.found(&key).map_or(Revision(1), |found| found.created);
    Guard::Alive { key, since }
}

/// What the janitor does with a task that has an idempotency key.
fn purge_one(bench: &Bench, task: &Found) -> Step {
    let mut step = Step::new(vec![lock(bench)], Vec::new());
    for key in [Key::task(id()), Key::outcome(id()), Key::run(id())] {
        let Some(found) = bench.found(&key) else {
            continue;
        };
        step.guards.push(Guard::Unchanged {
            key: key.clone(),
            since: found.modified,
        });
        step.writes.push(Write::Delete { key });
    }
    let key = Key::unique("hash");
    step.guards.push(Guard::Unchanged {
        key: key.clone(),
        since: task.modified,
    });
    step.writes.push(Write::Delete { key });
    step
}

/// What the janitor does with neighbours, but for the key that these have not.
fn purge_range(bench: &Bench, task: &Found) -> Step {
    let range = Range::of_task(id());
    let unique = Key::unique("hash");
    let since = bench.kv.revision();
    let guards = vec![
        lock(bench),
        Guard::Quiet {
            range: range.clone(),
            since,
        },
        Guard::Unchanged {
            key: unique.clone(),
            since: task.modified,
        },
    ];
    Step::new(
        guards,
        vec![Write::DeleteRange { range }, Write::Delete { key: unique }],
    )
}

/// A state of a task's life, reached by rows alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    New,
    Waiting,
    Delayed,
    Running,
    Failed,
    Cancelled,
}

pub(crate) fn at(state: State) -> Bench {
    let mut bench = Bench::new();
    let way: &[Row] = match state {
        State::New => &[],
        State::Waiting => &[Row::Submit],
        State::Delayed => &[Row::Submit, Row::Dispatch(1), Row::Retry],
        State::Running => &[Row::Submit, Row::Dispatch(1)],
        State::Failed => &[Row::Submit, Row::Dispatch(1), Row::Fail],
        State::Cancelled => &[Row::Submit, Row::CancelWaiting],
    };
    for row in way {
        let step = row_of(&bench, *row);
        bench.commits(&step);
    }
    bench
}

pub(crate) fn row_of(bench: &Bench, row: Row) -> Step {
    let found = rows(bench).into_iter().find(|(other, _)| *other == row);
    found
        .unwrap_or_else(|| panic!("{row:?} is not possible here"))
        .1
}

/// The node key of a worker's life, for guards of it.
pub(crate) fn node_key(n: u8) -> Key {
    Key::node(Role::Worker, &worker(n))
}
