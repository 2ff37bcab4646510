//! The scheduler: which waiting task goes to which worker next, which claims are taken back, and what is due.
//!
//! A part of the scheduler process's machine ([`crate::server`]), which keeps the view and the lanes. Any number of
//! schedulers decide at the same time; who tries what first only avoids conflicts, the guards of [`crate::steps`] give
//! the safety.

mod at_once;
mod fleet;
mod obstacles;
mod plan;
mod pools;
mod ready;
mod rendezvous;
mod upkeep;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use self::at_once::AtOnce;
use self::fleet::Fleet;
pub(crate) use self::plan::Job;
use self::ready::Ready;
use self::rendezvous::Peers;
use self::upkeep::Upkeep;
use crate::ids::{NodeId, QueueName, Revision, TaskId};
use crate::keyspace::Place;
use crate::planted::planted;
use crate::rng::Rng;
use crate::time::{Mono, Now, Wall};
use crate::view::{ClusterView, News, Spot};

/// What a scheduler is told at its start.
#[derive(Debug, Clone)]
pub(crate) struct SchedulerConfig {
    pub(crate) id: NodeId,
    pub(crate) losses_max: u32,
    pub(crate) step_in_after: Duration,
    pub(crate) silence_grace: Duration,
}

/// The scheduling part of a scheduler process.
#[derive(Debug)]
pub(crate) struct Scheduler {
    config: SchedulerConfig,
    peers: Peers,
    ready: Ready,
    fleet: Fleet,
    upkeep: Upkeep,
    /// Tasks in a dispatch whose fate, or whose trace in the view, is still to come.
    reserved: BTreeMap<TaskId, Reserved>,
    /// What is decided again once the view has reached a revision.
    parked: BTreeMap<Revision, Vec<Parked>>,
    rng: Rng,
}

#[derive(Debug, Clone)]
struct Reserved {
    worker: NodeId,
    place: Place,
    /// The entry's modification revision; [`at_once::NEVER_WAITED`] for a task that had none.
    since: Revision,
    /// When it was committed, if it was.
    committed: Option<Revision>,
}

#[derive(Debug, Clone)]
enum Parked {
    /// A task whose dispatch did not happen.
    Entry(TaskId),
    Claim(NodeId, Place),
    Delayed(Wall, TaskId),
    Worker(NodeId),
    /// A committed dispatch whose claim the view may have skipped.
    Reserved(TaskId, Revision),
}

impl Scheduler {
    pub(crate) fn new(config: SchedulerConfig, rng: Rng) -> Self {
        Self {
            peers: Peers::new(config.id.clone()),
            ready: Ready::default(),
            fleet: Fleet::default(),
            upkeep: Upkeep::default(),
            reserved: BTreeMap::new(),
            parked: BTreeMap::new(),
            rng,
            config,
        }
    }

    /// The view was read anew: whatever was derived from it is derived again. What is in flight stays in flight.
    pub(crate) fn restart(&mut self, now: Now, view: &ClusterView) {
        self.ready = Ready::default();
        self.fleet = Fleet::default();
        self.upkeep = Upkeep::default();
        self.peers.set(view.schedulers.keys().cloned());
        // First what is in flight, so that a claim that the read shows finds the slot that was reserved for it.
        for reserved in self.reserved.values() {
            self.fleet.hold(&reserved.worker);
        }
        for worker in view.workers.keys() {
            self.fleet.beat(now.mono, worker, view);
        }
        for (worker, claims) in &view.claims {
            for (place, claimed) in claims {
                self.on_claim_came(worker, *place);
                self.upkeep.judge(
                    now,
                    worker,
                    *place,
                    claimed,
                    view,
                    &self.peers,
                    self.config.step_in_after,
                );
            }
        }
        for (queue, entries) in &view.entries {
            for place in entries.keys() {
                self.admit(now.mono, queue, *place, view);
            }
        }
        self.await_delayed(now, view);
    }

    fn await_delayed(&mut self, now: Now, view: &ClusterView) {
        self.upkeep.clear_delayed();
        for (due, task) in view.delayed.keys() {
            self.upkeep.await_due(
                now.wall,
                *due,
                *task,
                self.peers.mine(*task),
                self.config.step_in_after,
            );
        }
    }

    /// Takes what changed in the view. The view is already as it is after all of it.
    pub(crate) fn on_news(&mut self, now: Now, news: &News, view: &ClusterView) {
        match news {
            News::EntryCame(queue, place) => self.admit(now.mono, queue, *place, view),
            News::EntryWent(queue, place, kind) => {
                self.ready.remove(&(queue.clone(), kind.clone()), *place)
            }
            News::ClaimCame(worker, place, ..) => {
                self.on_claim_came(worker, *place);
                if let Some(claimed) = view.claim(worker, *place) {
                    self.upkeep.judge(
                        now,
                        worker,
                        *place,
                        claimed,
                        view,
                        &self.peers,
                        self.config.step_in_after,
                    );
                }
            }
            News::ClaimChanged(..)
            | News::PlaceLost(_)
            | News::Unread(_)
            | News::NodeConfigured(_)
            | News::LocksChanged => {}
            News::ClaimWent(worker, place, _) => {
                self.fleet.release(worker);
                self.upkeep.forget_claim(worker, *place);
                self.capacity_changed(worker);
            }
            News::DelayedCame(due, task) => {
                self.upkeep.await_due(
                    now.wall,
                    *due,
                    *task,
                    self.peers.mine(*task),
                    self.config.step_in_after,
                );
            }
            News::DelayedWent(due, task, _) => self.upkeep.forget_due(*due, *task),
            News::WorkerCame(worker, _) | News::WorkerBeat(worker) => {
                if self.fleet.beat(now.mono, worker, view) {
                    self.capacity_changed(worker);
                }
            }
            News::WorkerWent(worker, _) => {
                self.fleet.drop_worker(worker);
                for (place, claimed) in view.claims.get(worker).into_iter().flatten() {
                    self.upkeep.judge(
                        now,
                        worker,
                        *place,
                        claimed,
                        view,
                        &self.peers,
                        self.config.step_in_after,
                    );
                }
            }
            News::OfferChanged(worker) => {
                self.fleet.refresh(now.mono, worker, view);
                self.capacity_changed(worker);
            }
            News::SchedulersChanged => {
                self.peers.set(view.schedulers.keys().cloned());
                let peers = &self.peers;
                self.ready.reassign(now.mono, |task| peers.mine(task));
                self.await_delayed(now, view);
            }
            News::QueueConfigured(queue) => self.ready.configured(queue, &view.config(queue)),
        }
    }

    /// The view has reached `at`: what waited for that is decided again.
    pub(crate) fn on_view_at(&mut self, now: Now, at: Revision, view: &ClusterView) {
        while let Some(entry) = self.parked.first_entry().filter(|entry| *entry.key() <= at) {
            for parked in entry.remove() {
                self.unpark(now, parked, view);
            }
        }
    }

    fn unpark(&mut self, now: Now, parked: Parked, view: &ClusterView) {
        match parked {
            Parked::Entry(task) => self.admit_again(now.mono, task, view),
            Parked::Claim(worker, place) => {
                if let Some(claimed) = view.claim(&worker, place) {
                    self.upkeep.judge(
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
            Parked::Delayed(due, task) => {
                if view.delayed.contains_key(&(due, task)) {
                    self.upkeep
                        .await_due(now.wall, due, task, true, self.config.step_in_after);
                }
            }
            Parked::Worker(worker) => {
                self.fleet.trust(now.mono, &worker, view);
                self.capacity_changed(&worker);
            }
            Parked::Reserved(..) if planted!("P-reservation-kept") => {}
            Parked::Reserved(task, since) => {
                let own = |it: &Reserved| it.since == since;
                if self.reserved.get(&task).is_some_and(own)
                    && let Some(reserved) = self.reserved.remove(&task)
                {
                    self.fleet.release(&reserved.worker);
                    self.capacity_changed(&reserved.worker);
                    self.admit_again(now.mono, task, view);
                }
            }
        }
    }

    /// A worker may have a free slot that it did not have.
    fn capacity_changed(&mut self, worker: &NodeId) {
        self.ready.regroup(&mut self.fleet);
        self.ready.capacity_changed(self.fleet.takers_with(worker));
    }

    /// Makes a waiting task a candidate, unless a dispatch of it is under way.
    fn admit(&mut self, now: Mono, queue: &QueueName, place: Place, view: &ClusterView) {
        let Some(waiting) = view.entry(queue, place) else {
            return;
        };
        if self.reserved.contains_key(&place.task) {
            return;
        }
        let config = view.config(queue);
        self.ready.insert(
            now,
            (queue.clone(), waiting.carry.kind.clone()),
            &config,
            place,
            self.peers.mine(place.task),
            &mut self.fleet,
        );
    }

    /// Makes a task whose dispatch is settled a candidate wherever it waits now: meanwhile it may have been cancelled and run
    /// again, in another place.
    fn admit_again(&mut self, now: Mono, task: TaskId, view: &ClusterView) {
        if let Some(Spot::Entry(queue, rank)) = view.spot(task) {
            self.admit(now, queue, rank.of(task), view);
        }
    }

    fn on_claim_came(&mut self, worker: &NodeId, place: Place) {
        let own = self
            .reserved
            .get(&place.task)
            .is_some_and(|it| it.worker == *worker && it.place == place);
        if own {
            // The claim takes over the slot that was reserved for it.
            self.reserved.remove(&place.task);
        } else {
            self.fleet.hold(worker);
        }
    }

    /// When [`Scheduler::on_time`] must be called. While it cannot act (no lane is free, or the view has a gap), what is
    /// due waits for that.
    pub(crate) fn deadline(&self, now: Now, can_act: bool) -> Option<Mono> {
        let upkeep = if can_act {
            self.upkeep.deadline(now)
        } else {
            None
        };
        [self.fleet.deadline(), self.ready.deadline(), upkeep]
            .into_iter()
            .flatten()
            .min()
    }

    /// Slots that are kept for dispatches whose claims the view does not show yet.
    pub(crate) fn reserved(&self) -> usize {
        self.reserved.len()
    }

    /// Does what only time causes. Says whether there may be something to send.
    pub(crate) fn on_time(&mut self, now: Now, view: &ClusterView) -> bool {
        let stale = self.fleet.on_time(now.mono, view);
        let stepped_in = self
            .ready
            .on_time(now.mono, self.config.step_in_after, &self.fleet);
        let upkeep = self
            .upkeep
            .on_time(now, view, self.config.silence_grace, &self.peers);
        stale || stepped_in || upkeep
    }
}

#[cfg(test)]
mod tests;
