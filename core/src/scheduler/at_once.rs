//! Placing at once: a new task that would wait for nobody never waits. Its submission makes the claim itself, which
//! saves an entry, a transaction and the news of both.

use super::{Reserved, Scheduler};
use crate::ids::{QueueName, Revision, TaskId, TaskType};
use crate::keyspace::Place;
use crate::planted::planted;
use crate::steps::Recipient;
use crate::time::Now;
use crate::view::ClusterView;

/// Stands for the entry that a task never had: every entry is younger.
pub(super) const NEVER_WAITED: Revision = Revision(0);

/// What a gateway needs to place new tasks: a scheduler that has just placed what waited, and what it decides on.
#[derive(Debug)]
pub(crate) struct AtOnce<'a> {
    now: Now,
    /// `None` while the process may not place anything.
    scheduler: Option<&'a mut Scheduler>,
    view: &'a ClusterView,
    may_wait: bool,
}

impl<'a> AtOnce<'a> {
    pub(crate) fn new(
        now: Now,
        scheduler: Option<&'a mut Scheduler>,
        view: &'a ClusterView,
        may_wait: bool,
    ) -> Self {
        Self {
            now,
            scheduler,
            view,
            may_wait,
        }
    }

    /// Whether what finds no slot may be sent now, to wait in its queue.
    pub(crate) fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// When it decides.
    pub(crate) fn now(&self) -> Now {
        self.now
    }

    /// A worker for a new task, whose slot is kept from now on; `None` if the task has to wait.
    pub(crate) fn place(
        &mut self,
        queue: &QueueName,
        kind: &TaskType,
        place: Place,
    ) -> Option<Recipient> {
        let view = self.view;
        let scheduler = self.scheduler.as_deref_mut()?;
        let strategy = scheduler.ready.open_to(queue, kind, view)?;
        let to = scheduler
            .fleet
            .pick(queue, kind, strategy, &mut scheduler.rng, view)?;
        scheduler.reserve(
            place,
            Reserved {
                worker: to.worker.clone(),
                place,
                since: NEVER_WAITED,
                committed: None,
            },
        );
        Some(to)
    }

    /// The task is not sent after all.
    pub(crate) fn take_back(&mut self, task: TaskId) {
        if let Some(scheduler) = self.scheduler.as_deref_mut() {
            scheduler.give_up(task, NEVER_WAITED);
        }
    }
}

impl Scheduler {
    /// A submission that placed its task was committed.
    pub(crate) fn on_placed(
        &mut self,
        now: Now,
        at: Revision,
        task: TaskId,
        reached: Option<Revision>,
        view: &ClusterView,
    ) {
        self.await_claim(now, at, task, NEVER_WAITED, reached, view);
    }

    /// A submission that placed its task was not applied; `offer_gone` when its worker takes nothing any more.
    pub(crate) fn on_unplaced(
        &mut self,
        now: Now,
        at: Revision,
        task: TaskId,
        offer_gone: bool,
        view: &ClusterView,
    ) {
        let worker = self.reserved.get(&task).map(|it| it.worker.clone());
        if let Some(worker) = worker.filter(|_| offer_gone) {
            self.doubt(now, at, worker, view);
        }
        if !planted!("P-slot-leaked-on-refusal") {
            self.give_up(task, NEVER_WAITED);
        }
    }
}
