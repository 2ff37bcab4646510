//! Planning: turns what is ready and what needs care into steps, and learns from their fates.

use super::upkeep::Care;
use super::{Parked, Reserved, Scheduler};
use crate::ids::{NodeId, QueueName, Revision, TaskId};
use crate::keyspace::Place;
use crate::lanes::Settled;
use crate::planted::planted;
use crate::record::{StopReason, Totals};
use crate::steps::{self, TakenFrom, Takeover};
use crate::store::{Batch, Disproved};
use crate::time::{Now, Wall};
use crate::view::ClusterView;

/// The position of the offer's guard in a dispatch.
const DISPATCH_OFFER_GUARD: usize = 1;

/// What a step of the scheduler's does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    /// Gives a task to a worker.
    Dispatch {
        queue: QueueName,
        place: Place,
        /// The entry's modification revision: tells this dispatch from a later one of the same task.
        since: Revision,
        worker: NodeId,
    },
    /// Takes a claim from a worker.
    Take {
        worker: NodeId,
        place: Place,
        takeover: Takeover,
    },
    /// Tells a worker to stop an attempt.
    Flag { worker: NodeId, place: Place },
    /// Makes a delayed task wait.
    Release { due: Wall, task: TaskId },
}

impl Job {
    pub(crate) fn totals(&self) -> Totals {
        let none = Totals::default();
        match self {
            Self::Dispatch { .. } => Totals {
                dispatched: 1,
                ..none
            },
            Self::Take { takeover, .. } => match takeover {
                Takeover::Requeued => Totals { lost: 1, ..none },
                Takeover::Failed => Totals {
                    lost: 1,
                    failed: 1,
                    ..none
                },
                Takeover::Cancelled => Totals {
                    lost: 1,
                    cancelled: 1,
                    ..none
                },
            },
            Self::Flag { .. } => none,
            Self::Release { .. } => Totals {
                released: 1,
                ..none
            },
        }
    }
}

impl Scheduler {
    /// The next transaction's steps: first what has no owner, then what is due, then what waits. `to_job` wraps them for
    /// the lanes.
    pub(crate) fn plan<M>(
        &mut self,
        now: Now,
        view: &ClusterView,
        to_job: impl Fn(Job) -> M,
    ) -> Batch<M> {
        let mut batch = Batch::default();
        self.plan_care(now, view, &mut batch, &to_job);
        self.plan_due(now, view, &mut batch, &to_job);
        self.plan_dispatches(now, view, &mut batch, &to_job);
        batch
    }

    fn plan_care<M>(
        &mut self,
        now: Now,
        view: &ClusterView,
        batch: &mut Batch<M>,
        to_job: &impl Fn(Job) -> M,
    ) {
        while batch.has_room() {
            let grace = self.config.silence_grace;
            let next = self.upkeep.pop_claim(now.mono, view, grace, &self.peers);
            let Some((worker, place, claimed, care)) = next else {
                return;
            };
            let (step, job) = match care {
                Care::Flag => {
                    let step = steps::stop(&worker, place, claimed, StopReason::TimeOut);
                    (
                        step,
                        Job::Flag {
                            worker: worker.clone(),
                            place,
                        },
                    )
                }
                Care::TakeLost | Care::TakeSilent => {
                    let from = if care == Care::TakeLost {
                        TakenFrom::Lost
                    } else {
                        TakenFrom::Silent
                    };
                    let (step, takeover) = steps::take(
                        &worker,
                        place,
                        claimed,
                        from,
                        self.config.losses_max,
                        now.wall,
                    );
                    (
                        step,
                        Job::Take {
                            worker: worker.clone(),
                            place,
                            takeover,
                        },
                    )
                }
            };
            if batch.push(to_job(job), step).is_err() {
                if planted!("P-orphan-forgotten-when-full") {
                    return;
                }
                return self.upkeep.judge(
                    now,
                    &worker,
                    place,
                    claimed,
                    view,
                    &self.peers,
                    self.config.step_in_after,
                );
            }
        }
    }

    fn plan_due<M>(
        &mut self,
        now: Now,
        view: &ClusterView,
        batch: &mut Batch<M>,
        to_job: &impl Fn(Job) -> M,
    ) {
        while batch.has_room() {
            let Some((due, task)) = self.upkeep.pop_due(now.wall) else {
                return;
            };
            let Some(delayed) = view.delayed.get(&(due, task)) else {
                continue;
            };
            if batch
                .push(
                    to_job(Job::Release { due, task }),
                    steps::release(due, task, delayed),
                )
                .is_err()
            {
                return self
                    .upkeep
                    .await_due(now.wall, due, task, true, self.config.step_in_after);
            }
        }
    }

    fn plan_dispatches<M>(
        &mut self,
        now: Now,
        view: &ClusterView,
        batch: &mut Batch<M>,
        to_job: &impl Fn(Job) -> M,
    ) {
        self.ready.regroup(&mut self.fleet);
        while batch.has_room() {
            let Some((place, class, strategy)) = self.ready.first() else {
                return;
            };
            let (queue, kind) = &class;
            let Some(waiting) = view.entry(queue, place) else {
                self.ready.take(&class, place);
                continue;
            };
            if self.reserved.contains_key(&place.task) {
                // Somebody else has put it into a second place.
                self.ready.take(&class, place);
                continue;
            }
            let Some(to) = self.fleet.pick(queue, kind, strategy, &mut self.rng, view) else {
                self.ready.block(&class);
                continue;
            };
            let step = steps::dispatch(queue, place, waiting, &to, now.wall);
            let job = Job::Dispatch {
                queue: queue.clone(),
                place,
                since: waiting.since,
                worker: to.worker.clone(),
            };
            let since = waiting.since;
            if batch.push(to_job(job), step).is_err() {
                return;
            }
            self.ready.take(&class, place);
            let reserved = Reserved {
                worker: to.worker,
                place,
                since,
                committed: None,
            };
            self.reserve(place, reserved);
        }
    }

    /// Keeps a slot for a task that is being placed.
    pub(super) fn reserve(&mut self, place: Place, reserved: Reserved) {
        self.fleet.hold(&reserved.worker);
        let before = self.reserved.insert(place.task, reserved);
        assert!(
            before.is_none(),
            "a task that is being placed is no candidate"
        );
    }

    /// Frees the slot that was kept for a dispatch from the entry of revision `since`, if it still is.
    pub(super) fn give_up(&mut self, task: TaskId, since: Revision) {
        let own = |it: &Reserved| it.since == since;
        if self.reserved.get(&task).is_some_and(own)
            && let Some(reserved) = self.reserved.remove(&task)
        {
            self.fleet.release(&reserved.worker);
            self.capacity_changed(&reserved.worker);
        }
    }

    /// Learns what became of a batch of its own. Says up to which revision the view is needed.
    pub(crate) fn on_settled(
        &mut self,
        now: Now,
        settled: Settled<Job>,
        reached: Option<Revision>,
        view: &ClusterView,
    ) -> Option<Revision> {
        match settled {
            Settled::Committed { at, metas } => {
                for job in metas {
                    self.on_committed(now, at, job, reached, view);
                }
                None
            }
            Settled::Conflict { at, lost, spared } => {
                for disproved in lost {
                    self.on_disproved(now, at, disproved, view);
                }
                for job in spared {
                    if !planted!("P-spared-jobs-forgotten") {
                        self.park(at, job);
                    }
                }
                if let Some(reached) = reached {
                    self.on_view_at(now, reached, view);
                }
                Some(at)
            }
            Settled::Refused { metas, .. } => {
                let at = reached.unwrap_or_default().next();
                for job in metas {
                    self.park(at, job);
                }
                None
            }
        }
    }

    fn on_committed(
        &mut self,
        now: Now,
        at: Revision,
        job: Job,
        reached: Option<Revision>,
        view: &ClusterView,
    ) {
        if let Job::Dispatch { place, since, .. } = job {
            self.await_claim(now, at, place.task, since, reached, view);
        }
    }

    /// The slot of a committed dispatch is kept until the view shows its claim, or has passed it.
    pub(super) fn await_claim(
        &mut self,
        now: Now,
        at: Revision,
        task: TaskId,
        since: Revision,
        reached: Option<Revision>,
        view: &ClusterView,
    ) {
        // The fate of a dispatch may be learnt after its claim has come and gone, when the task is being placed again.
        let own = self.reserved.get_mut(&task);
        let is_later = |it: &Reserved| it.since != since;
        let Some(reserved) =
            own.filter(|it| !is_later(it) || planted!("P-dispatch-taken-for-later"))
        else {
            return;
        };
        assert!(reserved.committed.is_none(), "a dispatch commits once");
        reserved.committed = Some(at);
        if reached.is_some_and(|reached| reached >= at) {
            self.unpark(now, Parked::Reserved(task, since), view);
        } else {
            self.parked
                .entry(at)
                .or_default()
                .push(Parked::Reserved(task, since));
        }
    }

    fn on_disproved(
        &mut self,
        now: Now,
        at: Revision,
        disproved: Disproved<Job>,
        view: &ClusterView,
    ) {
        if let Job::Dispatch { worker, .. } = &disproved.meta
            && disproved.at(DISPATCH_OFFER_GUARD).is_some()
        {
            self.doubt(now, at, worker.clone(), view);
        }
        self.park(at, disproved.meta);
    }

    /// The worker's offer was found gone at `at`: it gets nothing until the view has reached that.
    pub(super) fn doubt(&mut self, now: Now, at: Revision, worker: NodeId, view: &ClusterView) {
        if self.fleet.is_suspect(&worker) {
            return;
        }
        self.fleet.suspect(now.mono, &worker, view);
        self.parked
            .entry(at)
            .or_default()
            .push(Parked::Worker(worker));
    }

    /// The job was not done: it is decided again once the view has reached `at`.
    fn park(&mut self, at: Revision, job: Job) {
        let parked = match job {
            Job::Dispatch {
                queue: _,
                place,
                since,
                worker,
            } => {
                let reserved = self
                    .reserved
                    .get(&place.task)
                    .is_some_and(|it| it.since == since);
                if reserved {
                    self.reserved.remove(&place.task);
                    if !planted!("P-slot-leaked-on-conflict") {
                        self.fleet.release(&worker);
                    }
                    self.capacity_changed(&worker);
                }
                Parked::Entry(place.task)
            }
            Job::Take { worker, place, .. } | Job::Flag { worker, place } => {
                Parked::Claim(worker, place)
            }
            Job::Release { due, task } => Parked::Delayed(due, task),
        };
        self.parked.entry(at).or_default().push(parked);
    }
}
