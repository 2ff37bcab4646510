//! Synthetic histories: what a store, its nodes and its clients could have told, right or wrong.

mod clients;
mod nodes;

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::gateway::{Reply, Request, RequestId};
use windlass_core::ids::{Fence, LeaseId, Priority, Registration, Revision, TaskId};
use windlass_core::keyspace::{Key, Place, Role};
use windlass_core::record::{StopReason, Totals};
use windlass_core::retry::{Backoff, RetryPolicy};
use windlass_core::rng::Rng;
use windlass_core::time::{Millis, Mono, Wall};

pub(super) use self::clients::{accepted, get, granted, held_by_w1, shown, spec, take_lock, token};
use super::{Checker, Checkers, Findings, Terms};
use crate::book::{
    Claim, Count, End, Ending, Life, Other, Promised, Revised, Spot, TaskState, TaskStep, given,
};
use crate::fact::Fact;

/// What every task of these histories gives to its attempts.
pub(super) const GIVEN: u64 = 11;

/// What synthetic runs promise.
pub(super) const TERMS: Terms = Terms {
    ttl_ms: 3_000,
    end_max_ms: 60_000,
    losses_max: 2,
    epoch_ms: 1_000_000_000_000,
    retention_ms: 60_000,
    drain_max_ms: 30_000,
    claim_wait_max_ms: 10_000,
    advice_max_ms: 0,
    request_bytes_max: 100_000,
};

/// The lanes of a synthetic run.
pub(super) const GATEWAY: &str = "/stats/s1/g0";
pub(super) const SCHEDULER: &str = "/stats/s1/s0";
pub(super) const JANITOR: &str = "/stats/s1/j0";

/// A history that is judged while it is told.
pub(super) struct History {
    pub(super) now: Mono,
    rev: u64,
    rng: Rng,
    tasks: BTreeMap<TaskId, TaskState>,
    lanes: BTreeMap<String, (u64, Totals)>,
    /// Added to the next revision.
    pub(super) others: Vec<Other>,
    /// What the next revision's lane counts.
    pub(super) counted: Totals,
    checkers: Checkers,
    found: Findings,
}

pub(super) fn count(run: u32, retries: u32, losses: u32) -> Count {
    Count {
        run,
        retries,
        losses,
    }
}

/// The lane of a worker.
pub(super) fn lane_of(worker: &str) -> String {
    format!("/stats/{worker}/w0")
}

impl History {
    pub(super) fn of(checker: impl Checker + 'static) -> Self {
        Self::with(vec![Box::new(checker)])
    }

    pub(super) fn with(checkers: Vec<Box<dyn Checker>>) -> Self {
        Self {
            now: Mono::from_nanos(1_000_000_000),
            rev: 1,
            rng: Rng::new(1),
            tasks: BTreeMap::new(),
            lanes: BTreeMap::new(),
            others: Vec::new(),
            counted: Totals::default(),
            checkers: Checkers::new(checkers),
            found: Findings::default(),
        }
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now = self.now.after(Duration::from_millis(millis));
    }

    pub(super) fn wall(&self) -> Wall {
        TERMS.wall(self.now)
    }

    pub(super) fn fact(&mut self, fact: Fact) {
        self.checkers.observe(self.now, &fact, &mut self.found);
    }

    pub(super) fn finish(&mut self) {
        self.checkers.finish(self.now, &mut self.found);
    }

    #[track_caller]
    pub(super) fn assert_clean(&self) {
        let found: Vec<String> = self
            .found
            .violations()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(found.is_empty(), "{found:#?}");
    }

    /// That something was found, and the last thing says this.
    #[track_caller]
    pub(super) fn assert_tripped(&self, with: &str) {
        let last = self.found.violations().last().expect("something is found");
        assert!(last.what.contains(with), "{last}");
    }

    pub(super) fn task(&mut self) -> TaskId {
        TaskId::new(&mut self.rng, TERMS.wall(self.now))
    }

    pub(super) fn state(&self, task: TaskId) -> TaskState {
        self.tasks.get(&task).cloned().unwrap_or_default()
    }

    /// The revision that comes next.
    pub(super) fn next_revision(&self) -> Revision {
        Revision(self.rev + 1)
    }

    /// A revision by the owner of `lane` that changes one task.
    pub(super) fn revise(&mut self, lane: &str, task: TaskId, edit: impl FnOnce(&mut TaskState)) {
        let before = self.state(task);
        let mut after = before.clone();
        edit(&mut after);
        self.tasks.insert(task, after.clone());
        let step = TaskStep {
            task,
            before,
            after,
        };
        self.store(lane, vec![step]);
    }

    /// A revision by the owner of `lane`.
    pub(super) fn store(&mut self, lane: &str, steps: Vec<TaskStep>) {
        let (number, totals) = self.lanes.entry(lane.to_owned()).or_default();
        *number += 1;
        totals.add(&std::mem::take(&mut self.counted));
        let mut others = std::mem::take(&mut self.others);
        others.push(Other::Lane {
            key: Key::from_store(lane),
            lane: Some((*number, *totals)),
        });
        self.store_bare(steps, others);
    }

    /// A revision as it is.
    pub(super) fn store_bare(&mut self, steps: Vec<TaskStep>, others: Vec<Other>) {
        self.rev += 1;
        let at = Revision(self.rev);
        self.fact(Fact::Stored(Revised { at, steps, others }));
    }

    fn place(&self, task: TaskId, timestamp: Wall) -> Place {
        Place {
            priority: Priority::NORMAL,
            timestamp,
            task,
        }
    }

    pub(super) fn submitted_state(&self, task: TaskId, due: Option<Wall>) -> TaskState {
        let queue: windlass_core::ids::QueueName = "q".parse().unwrap();
        let spot = match due {
            None => Spot::Entry {
                queue: queue.clone(),
                place: self.place(task, self.wall()),
                kind: "noop".parse().unwrap(),
                count: Count::default(),
            },
            Some(due) => Spot::Delayed {
                due,
                queue: queue.clone(),
                count: Count::default(),
            },
        };
        TaskState {
            record: Some(7),
            spots: vec![spot],
            promised: Some(Promised {
                queue,
                priority: Priority::NORMAL,
                created_at: self.wall(),
                due,
                retries_max: 1,
                retry: RetryPolicy {
                    kind: Backoff::Fixed,
                    delay: Millis::new(5_000),
                    ..RetryPolicy::default()
                },
                unique: false,
                given: GIVEN,
                asked: given::asked(&spec(None)),
            }),
            ..TaskState::default()
        }
    }

    pub(super) fn submit(&mut self, due: Option<Wall>) -> TaskId {
        let task = self.task();
        let state = self.submitted_state(task, due);
        self.counted.accepted += 1;
        self.revise(GATEWAY, task, |it| *it = state);
        task
    }

    /// A task that never waited.
    pub(super) fn submit_placed(&mut self, worker: &str) -> TaskId {
        let task = self.task();
        let mut state = self.submitted_state(task, None);
        state.spots = vec![self.claim_from(&state, worker)];
        self.counted.accepted += 1;
        self.counted.dispatched += 1;
        self.revise(GATEWAY, task, |it| *it = state);
        task
    }

    pub(super) fn claim(&self, task: TaskId, worker: &str) -> Spot {
        self.claim_from(&self.state(task), worker)
    }

    fn claim_from(&self, state: &TaskState, worker: &str) -> Spot {
        let Some(Spot::Entry {
            queue,
            place,
            kind,
            count,
        }) = state.spots.first().cloned()
        else {
            panic!("only what waits is claimed")
        };
        Spot::Claim(Claim {
            worker: worker.parse().unwrap(),
            registration: Registration(Revision(1)),
            fence: Fence(self.next_revision()),
            queue,
            place,
            kind,
            stop: None,
            count,
        })
    }

    pub(super) fn dispatch(&mut self, task: TaskId, worker: &str) -> Fence {
        let claim = self.claim(task, worker);
        self.claimed(task, claim)
    }

    /// Gives a task to one life of a worker.
    pub(super) fn dispatch_to_life(&mut self, task: TaskId, worker: &str, life: Life) -> Fence {
        let mut claim = self.claim(task, worker);
        if let Spot::Claim(claim) = &mut claim {
            claim.registration = Registration(life.created);
        }
        self.claimed(task, claim)
    }

    fn claimed(&mut self, task: TaskId, claim: Spot) -> Fence {
        let fence = Fence(self.next_revision());
        self.counted.dispatched += 1;
        self.revise(SCHEDULER, task, |it| it.spots = vec![claim]);
        fence
    }

    pub(super) fn held(&self, task: TaskId) -> Claim {
        let Some(Spot::Claim(claim)) = self.state(task).spots.first().cloned() else {
            panic!("it has a claim")
        };
        claim
    }

    /// What ends the task at its present place.
    pub(super) fn end_of(&self, task: TaskId, how: Ending) -> End {
        let state = self.state(task);
        let claim = super::rows::claim_of(&state);
        End {
            how,
            worker: claim.map(|it| it.worker.clone()),
            fence: claim.map(|it| it.fence),
            hash: self.rev,
            written: self.next_revision(),
            ended_at: self.wall(),
            count: super::rows::count_of(&state).unwrap_or_default(),
        }
    }

    pub(super) fn end(&mut self, lane: &str, task: TaskId, end: End) {
        match end.how {
            Ending::Completed => self.counted.completed += 1,
            Ending::Failed => self.counted.failed += 1,
            Ending::Cancelled => self.counted.cancelled += 1,
        }
        let dead = (end.how == Ending::Failed).then(|| "q".parse().unwrap());
        self.revise(lane, task, |it| {
            it.spots.clear();
            it.dead = dead;
            it.end = Some(end);
        });
    }

    /// Its worker ends the task.
    pub(super) fn finish_task(&mut self, task: TaskId, how: Ending) {
        let lane = lane_of(self.held(task).worker.as_str());
        let end = self.end_of(task, how);
        self.end(&lane, task, end);
    }

    /// Its worker has the task tried again after `wait` milliseconds.
    pub(super) fn retry(&mut self, task: TaskId, wait: u64) {
        let claim = self.held(task);
        let spot = Spot::Delayed {
            due: self.wall().after(Millis::new(wait)),
            queue: claim.queue.clone(),
            count: super::rows::retried(claim.count),
        };
        self.counted.retried += 1;
        self.revise(&lane_of(claim.worker.as_str()), task, |it| {
            it.spots = vec![spot]
        });
    }

    pub(super) fn entry(&self, claim: &Claim, count: Count) -> Spot {
        Spot::Entry {
            queue: claim.queue.clone(),
            place: claim.place,
            kind: claim.kind.clone(),
            count,
        }
    }

    pub(super) fn hand_back(&mut self, task: TaskId) {
        let claim = self.held(task);
        let spot = self.entry(&claim, claim.count);
        self.counted.handed_back += 1;
        self.revise(&lane_of(claim.worker.as_str()), task, |it| {
            it.spots = vec![spot]
        });
    }

    pub(super) fn lose(&mut self, task: TaskId) {
        let claim = self.held(task);
        let spot = self.entry(&claim, super::rows::lost(claim.count));
        self.counted.lost += 1;
        self.revise(SCHEDULER, task, |it| it.spots = vec![spot]);
    }

    /// Its time is over.
    pub(super) fn flag(&mut self, task: TaskId) {
        let stop = Some(StopReason::TimeOut);
        let claim = Claim {
            stop,
            ..self.held(task)
        };
        self.revise(SCHEDULER, task, |it| it.spots = vec![Spot::Claim(claim)]);
    }

    pub(super) fn cancel_running(&mut self, task: TaskId) {
        let stop = Some(StopReason::Cancel);
        let claim = Claim {
            stop,
            ..self.held(task)
        };
        self.revise(GATEWAY, task, |it| it.spots = vec![Spot::Claim(claim)]);
    }

    pub(super) fn release(&mut self, task: TaskId) {
        let Some(Spot::Delayed { due, queue, count }) = self.state(task).spots.first().cloned()
        else {
            panic!("only what is delayed is released")
        };
        let spot = Spot::Entry {
            queue,
            place: self.place(task, due),
            kind: "noop".parse().unwrap(),
            count,
        };
        self.counted.released += 1;
        self.revise(SCHEDULER, task, |it| it.spots = vec![spot]);
    }

    pub(super) fn cancel_waiting(&mut self, task: TaskId) {
        let end = self.end_of(task, Ending::Cancelled);
        self.end(GATEWAY, task, end);
    }

    pub(super) fn rerun(&mut self, task: TaskId) {
        let run = self.state(task).run + 1;
        let spot = Spot::Entry {
            queue: "q".parse().unwrap(),
            place: self.place(task, self.wall()),
            kind: "noop".parse().unwrap(),
            count: count(run, 0, 0),
        };
        self.counted.rerun += 1;
        self.revise(GATEWAY, task, |it| {
            it.end = None;
            it.dead = None;
            it.run = run;
            it.spots = vec![spot];
        });
    }

    pub(super) fn purge(&mut self, task: TaskId) {
        self.counted.purged += 1;
        self.revise(JANITOR, task, |it| *it = TaskState::default());
    }

    pub(super) fn ask(&mut self, id: u64, request: Request) {
        self.fact(Fact::Asked {
            id: RequestId(id),
            node: 0,
            request: Box::new(request),
        });
    }

    pub(super) fn answer(&mut self, id: u64, reply: Reply) {
        self.fact(Fact::Answered {
            id: RequestId(id),
            node: 0,
            reply: Box::new(reply),
        });
    }

    /// A client learns that the task is accepted.
    pub(super) fn acknowledge(&mut self, id: u64, task: TaskId) {
        self.ask(id, Request::Submit(vec![spec(None)]));
        self.answer(id, accepted(task));
    }

    /// A key with this lease, created now.
    pub(super) fn life(&self, lease: Option<i64>) -> Life {
        Life {
            created: self.next_revision(),
            lease: lease.map(LeaseId),
        }
    }

    /// A worker's offer comes, or goes.
    pub(super) fn offer(&mut self, id: &str, life: Option<Life>) {
        let id = id.parse().unwrap();
        self.store_bare(vec![], vec![Other::Offer { id, life }]);
    }

    /// A worker's key comes, or goes.
    pub(super) fn node_key(&mut self, id: &str, life: Option<Life>) {
        let id = id.parse().unwrap();
        let role = Role::Worker;
        self.store_bare(vec![], vec![Other::Node { role, id, life }]);
    }
}
