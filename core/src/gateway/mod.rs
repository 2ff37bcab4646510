//! The gateway: what clients may ask, and how it becomes reads and transactions.
//!
//! A part of the scheduler process's machine ([`crate::server`]). Submissions go straight into transactions; everything
//! else is an errand: a small loop of reading, waiting until the view has caught up with what was read, deciding, and
//! perhaps committing, until there is a reply.

mod decide;
mod departures;
mod errand;
mod find;
mod journal;
mod leave;
mod locks;
mod news;
mod remote;
mod request;
mod settle;
mod show;
mod shown;
mod submit;
mod timings;
mod why;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::departures::Departures;
use self::errand::{Errand, Next};
pub use self::find::{FIND_MAX, LIST_MAX, Order};
use self::journal::Journal;
pub use self::journal::{CHANGED_QUEUES_MAX, CHANGES_MAX, JOURNAL_IDLE, JOURNAL_MAX};
pub use self::remote::{
    FETCH_TASKS_MAX, RemoteAsk, RemoteAttempt, RemoteEnd, RemoteSpec, RemoteStart, RemoteStop,
    RemoteToken, RemoteTold,
};
pub use self::request::{
    Due, IdempotencyKey, LockToken, Reply, Request, RequestId, Submitted, TaskSpec,
};
pub use self::shown::{
    ChangedStatus, ChangesView, Estimate, NodeView, QueueView, StatsView, TaskChange, TaskView,
    Why, WhyReason, Workers,
};
use self::submit::{Submission, Submissions};
use self::timings::Timings;
pub use self::timings::{BOUNDS_MS, Histogram, QueueTimings, TIMED_QUEUES_MAX, TimingsView};
use crate::ids::{LeaseId, NodeId, OpId, OpIds, Revision, TaskId};
use crate::planted::planted;
use crate::record::Totals;
use crate::rng::Rng;
use crate::room::{Level, Room};
use crate::scheduler::Scheduler;
use crate::server::Effect;
use crate::store::{Call, LeaseAnswer, ReadAnswer, Refusal, Step, StoreCall};
pub use crate::task_state::{TaskState, UnknownState};
use crate::time::{Mono, Now};
use crate::timers::Timers;
use crate::view::{ClusterView, Feed};

/// What a step of the gateway's does.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    /// Accepts a task.
    Submit(Arc<Submission>),
    /// Does what a request asks for.
    Errand {
        id: RequestId,
        step: Step,
        totals: Totals,
    },
}

impl Job {
    pub(crate) fn totals(&self) -> Totals {
        match self {
            Self::Submit(submission) => submission.totals(),
            Self::Errand { totals, .. } => *totals,
        }
    }
}

/// What the process knows beside its view, for people.
#[derive(Debug, Default)]
struct Own {
    room: Room,
    drift_repaired: u64,
    departures: Departures,
    /// How far the view is.
    view_at: Revision,
    journal: Journal,
    timings: Timings,
}

/// The gateway part of a scheduler process.
#[derive(Debug)]
pub(crate) struct Gateway {
    request_max: Duration,
    own: Own,
    rng: Rng,
    submissions: Submissions,
    errands: BTreeMap<RequestId, Errand>,
    by_op: BTreeMap<OpId, RequestId>,
    /// To be advanced at the next flush.
    runnable: BTreeSet<RequestId>,
    awaiting_view: BTreeSet<(Revision, RequestId)>,
    awaiting_end: BTreeMap<TaskId, BTreeSet<RequestId>>,
    awaiting_locks: BTreeSet<RequestId>,
    /// Who waits for news of a remote worker's claims.
    awaiting_claims: BTreeMap<NodeId, BTreeSet<RequestId>>,
    awaiting_changes: BTreeSet<RequestId>,
    /// Steps that wait for a lane.
    steps: VecDeque<(RequestId, Step, Totals)>,
    /// Steps that share a transaction with nobody: two waiters of one lock must not get the same fence.
    lone_steps: VecDeque<(RequestId, Step, Totals)>,
    deadlines: Timers<RequestId>,
    /// When the leases of waiters for locks are to be renewed.
    renewals: Timers<RequestId>,
    to_renew: Vec<LeaseId>,
    /// Leases of waiters whose request ended without the lock.
    to_revoke: Vec<LeaseId>,
}

impl Gateway {
    pub(crate) fn new(request_max: Duration, mut rng: Rng) -> Self {
        Self {
            request_max,
            own: Own::default(),
            submissions: Submissions::new(rng.fork("task ids")),
            rng,
            errands: BTreeMap::new(),
            by_op: BTreeMap::new(),
            runnable: BTreeSet::new(),
            awaiting_view: BTreeSet::new(),
            awaiting_end: BTreeMap::new(),
            awaiting_locks: BTreeSet::new(),
            awaiting_claims: BTreeMap::new(),
            awaiting_changes: BTreeSet::new(),
            steps: VecDeque::new(),
            lone_steps: VecDeque::new(),
            deadlines: Timers::default(),
            renewals: Timers::default(),
            to_renew: Vec::new(),
            to_revoke: Vec::new(),
        }
    }

    /// Takes what is known of the room in the store. New tasks that were not sent yet are refused while there is none.
    pub(crate) fn on_room(&mut self, room: Room) {
        self.own.room = room;
        if self.is_full() {
            self.submissions.refuse_unsent();
        }
    }

    /// The view was found to differ from the store so many times.
    pub(crate) fn on_drift(&mut self, repaired: u64) {
        self.own.drift_repaired = repaired;
    }

    fn is_full(&self) -> bool {
        self.own.room.level == Level::Full && !planted!("P-full-ignored")
    }

    /// Requests that were not answered.
    pub(crate) fn pending(&self) -> usize {
        self.errands.len() + self.submissions.pending()
    }

    /// Takes a request. Requests that change something are refused while the process does not serve.
    pub(crate) fn on_request(
        &mut self,
        now: Now,
        id: RequestId,
        request: Request,
        serving: bool,
        out: &mut Vec<Effect>,
    ) {
        if !serving {
            out.push(Effect::Reply {
                id,
                reply: Reply::NotReady,
            });
            return;
        }
        if self.is_full() && request.makes_a_task() {
            let reply = Reply::Refused(Refusal::NoRoom);
            out.push(Effect::Reply { id, reply });
            return;
        }
        let patience = request.patience(self.request_max);
        self.deadlines.arm(now.mono, id, now.mono.after(patience));
        match request {
            Request::Submit(specs) => {
                if let Some(reply) = self.submissions.add(now, id, specs) {
                    self.reply(id, reply, out);
                }
            }
            Request::Get { .. }
            | Request::List { .. }
            | Request::Find { .. }
            | Request::Count(_)
            | Request::Why(_)
            | Request::Cancel(_)
            | Request::Rerun(_)
            | Request::Stats
            | Request::Queues
            | Request::Changes { .. }
            | Request::Timings
            | Request::Nodes
            | Request::ConfigureQueue { .. }
            | Request::Drain(_)
            | Request::LockTake { .. }
            | Request::LockRenew { .. }
            | Request::LockRelease { .. }
            | Request::Remote(_) => {
                if matches!(request, Request::Changes { .. }) {
                    self.own.journal.on_asked(now.mono);
                }
                let draw = self.rng.draw();
                self.errands.insert(id, Errand::new(request, draw));
                self.runnable.insert(id);
            }
        }
    }

    fn reply(&mut self, id: RequestId, reply: Reply, out: &mut Vec<Effect>) {
        self.deadlines.disarm(id);
        out.push(Effect::Reply { id, reply });
    }

    fn await_view(&mut self, now: Now, id: RequestId, at: Revision, feed: &mut Feed) {
        if feed.has_reached(at) || planted!("M-13") {
            self.runnable.insert(id);
        } else if let Some(errand) = self.errands.get_mut(&id) {
            errand.awaits_view = Some(at);
            self.awaiting_view.insert((at, id));
            feed.want(now.mono, at);
        }
    }

    /// Takes what an errand read.
    pub(crate) fn on_read(&mut self, now: Now, op: OpId, answer: ReadAnswer, feed: &mut Feed) {
        let Some(id) = self.by_op.remove(&op) else {
            return;
        };
        let Some(errand) = self.errands.get_mut(&id) else {
            return;
        };
        errand.op = None;
        match answer {
            ReadAnswer::Items { at, items, more } => {
                errand.read = Some(errand::Read { items, more });
                let by_view = planted!("P-remote-fetch-by-view") && errand.worker().is_some();
                let wanted = if by_view { Revision(0) } else { at };
                self.await_view(now, id, wanted, feed);
            }
            ReadAnswer::Failed => {
                self.runnable.insert(id);
            }
        }
    }

    /// Takes the answer to a lock's lease, or hands it on when it is another's.
    pub(crate) fn on_lease(
        &mut self,
        _now: Now,
        op: OpId,
        answer: LeaseAnswer,
    ) -> Option<LeaseAnswer> {
        let Some(id) = self.by_op.remove(&op) else {
            return Some(answer);
        };
        if let Some(errand) = self.errands.get_mut(&id) {
            errand.op = None;
            errand.on_lease(answer);
            self.runnable.insert(id);
        }
        None
    }

    /// Lets every errand that can go on do so.
    pub(crate) fn advance(
        &mut self,
        now: Now,
        view: &ClusterView,
        scheduler: &Scheduler,
        feed: &mut Feed,
        ops: &mut OpIds,
        out: &mut Vec<Effect>,
    ) {
        // Whether a waiter's lease lives is seen by its key: the answer to a renewal tells nothing more.
        for lease in self.to_renew.drain(..) {
            let (op, call) = (ops.fresh(), Call::Renew { lease });
            out.push(StoreCall { op, call }.into());
        }
        for lease in self.to_revoke.drain(..) {
            out.push(
                StoreCall {
                    op: ops.fresh(),
                    call: Call::Revoke { lease },
                }
                .into(),
            );
        }
        self.own.view_at = feed.at().unwrap_or(self.own.view_at);
        for id in std::mem::take(&mut self.runnable) {
            let Some(errand) = self.errands.get_mut(&id) else {
                continue;
            };
            if errand.is_busy() {
                continue;
            }
            // Without a view there is nothing to decide on.
            if feed.at().is_none() {
                let wanted = Revision(1);
                errand.awaits_view = Some(wanted);
                self.awaiting_view.insert((wanted, id));
                continue;
            }
            match errand.next(now, view, scheduler, &self.own) {
                Next::Reply(reply) => {
                    errand.keep_lease(&reply);
                    self.end_errand(id);
                    self.reply(id, reply, out);
                }
                Next::Ask(call) => {
                    let op = ops.fresh();
                    errand.op = Some(op);
                    self.by_op.insert(op, id);
                    out.push(StoreCall { op, call }.into());
                }
                Next::Commit(step, totals) => {
                    errand.committing = true;
                    self.steps.push_back((id, step, totals));
                }
                Next::CommitAlone(step) if planted!("P-lock-fences-shared") => {
                    errand.committing = true;
                    self.steps.push_back((id, step, Totals::default()));
                }
                Next::CommitAlone(step) => {
                    errand.committing = true;
                    self.lone_steps.push_back((id, step, Totals::default()));
                }
                Next::AwaitClaims(worker) => {
                    self.awaiting_claims.entry(worker).or_default().insert(id);
                }
                Next::AwaitEnd(task) => {
                    self.awaiting_end.entry(task).or_default().insert(id);
                }
                Next::AwaitChanges => {
                    self.awaiting_changes.insert(id);
                }
                Next::AwaitLocks { renew_after } => {
                    self.awaiting_locks.insert(id);
                    // A look at the line in the meantime does not put the renewal off.
                    if !self.renewals.is_armed(id) && !planted!("P-lock-renewal-missing") {
                        self.renewals.arm(now.mono, id, now.mono.after(renew_after));
                    }
                }
            }
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        let earliest = [self.deadlines.earliest(), self.renewals.earliest()];
        earliest.into_iter().flatten().map(|(at, _)| at).min()
    }

    /// Answers what has taken too long. Says whether there is something to do.
    pub(crate) fn on_time(&mut self, now: Now, view: &ClusterView, out: &mut Vec<Effect>) -> bool {
        for (id, reply) in self.submissions.take_replies() {
            self.reply(id, reply, out);
        }
        while let Some(id) = self.renewals.pop_due(now.mono) {
            self.to_renew
                .extend(self.errands.get(&id).and_then(Errand::lease_to_revoke));
            self.runnable.insert(id);
        }
        while let Some(id) = self.deadlines.pop_due(now.mono) {
            if let Some(reply) = self.submissions.time_out(id) {
                out.push(Effect::Reply { id, reply });
                continue;
            }
            let Some(errand) = self.errands.get(&id) else {
                continue;
            };
            if errand.waits_for_news() {
                self.deadlines
                    .arm(now.mono, id, now.mono.after(self.request_max));
                self.give_up_waiting(id);
            } else {
                let reply = errand.reply_without_news(view).unwrap_or(Reply::TimedOut);
                self.end_errand(id);
                out.push(Effect::Reply { id, reply });
            }
        }
        !self.runnable.is_empty() || !self.to_revoke.is_empty() || !self.to_renew.is_empty()
    }
}
