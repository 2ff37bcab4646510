//! An errand: one request on its way from question to reply.

use std::time::Duration;

use super::Own;
use super::find::{self, Order, Quest, Search, Want};
use super::remote::{RemoteAsk, RemoteTold};
use super::request::{LockToken, Reply, Request};
use super::{decide, journal, locks, remote, why};
use crate::filter::Filter;
use crate::ids::{LeaseId, NodeId, OpId, Revision, TaskId};
use crate::record::Totals;
use crate::scheduler::Scheduler;
use crate::store::{Call, Item, LeaseAnswer, Refusal, Step};
use crate::time::Now;
use crate::view::ClusterView;

/// A request and how far it is.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) request: Request,
    /// What was read last, if the view has to be joined with it.
    pub(super) read: Option<Read>,
    /// The question that is out.
    pub(super) op: Option<OpId>,
    /// A step of it waits for a lane, or is in one.
    pub(super) committing: bool,
    /// A step of it was applied.
    pub(super) committed: bool,
    /// The guards of its last step did not hold.
    pub(super) disproved: bool,
    /// The store refused its step.
    pub(super) refused: Option<Refusal>,
    pub(super) awaits_view: Option<Revision>,
    /// A task was neither read nor in the view.
    pub(super) missed: bool,
    /// How far a search is.
    pub(super) search: Search,
    pub(super) lock: locks::Stage,
    pub(super) remote: remote::Stage,
    /// The name of a lock's waiter.
    pub(super) waiter: NodeId,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) items: Vec<Item>,
    pub(super) more: bool,
}

/// What an errand does next.
#[derive(Debug)]
pub(super) enum Next {
    /// It is done.
    Reply(Reply),
    /// Ask the store.
    Ask(Call),
    /// Apply a step, which counts this.
    Commit(Step, Totals),
    /// Apply a step in a transaction of its own.
    CommitAlone(Step),
    /// Wait until the task has no place any more.
    AwaitEnd(TaskId),
    /// Wait until something changes about a worker or its claims.
    AwaitClaims(NodeId),
    /// Wait until something has changed.
    AwaitChanges,
    /// Wait until the waiters of some lock change.
    AwaitLocks {
        /// The waiter's lease must be renewed after this long.
        renew_after: Duration,
    },
}

impl Errand {
    pub(super) fn new(request: Request, draw: u64) -> Self {
        let waiter =
            NodeId::new(&format!("waiter-{draw:016x}")).expect("hexadecimal digits make a name");
        Self {
            request,
            read: None,
            op: None,
            committing: false,
            committed: false,
            disproved: false,
            refused: None,
            awaits_view: None,
            missed: false,
            search: Search::default(),
            lock: locks::Stage::Begin,
            remote: remote::Stage::new(draw),
            waiter,
        }
    }

    /// Whether it waits for an answer, a lane or the view.
    pub(super) fn is_busy(&self) -> bool {
        self.op.is_some() || self.committing || self.awaits_view.is_some()
    }

    pub(super) fn has_committed(&self) -> bool {
        self.committing || self.committed
    }

    /// The task that it is about.
    pub(super) fn task(&self) -> Option<TaskId> {
        match &self.request {
            Request::Get { task, .. }
            | Request::Why(task)
            | Request::Cancel(task)
            | Request::Rerun(task) => Some(*task),
            Request::Submit(_)
            | Request::List { .. }
            | Request::Find { .. }
            | Request::Count(_)
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
            | Request::Remote(_) => None,
        }
    }

    /// The remote worker whose news it waits for.
    pub(super) fn worker(&self) -> Option<&NodeId> {
        match &self.request {
            Request::Remote(ask) => ask.worker(),
            Request::Submit(_)
            | Request::Get { .. }
            | Request::List { .. }
            | Request::Find { .. }
            | Request::Count(_)
            | Request::Why(_)
            | Request::Cancel(_)
            | Request::Rerun(_)
            | Request::Changes { .. }
            | Request::Timings
            | Request::Stats
            | Request::Queues
            | Request::Nodes
            | Request::ConfigureQueue { .. }
            | Request::Drain(_)
            | Request::LockTake { .. }
            | Request::LockRenew { .. }
            | Request::LockRelease { .. } => None,
        }
    }

    /// Whether its time running out only means that it replies with what there is.
    pub(super) fn waits_for_news(&self) -> bool {
        match &self.request {
            Request::Get { wait, .. } | Request::Changes { wait, .. } => wait.is_some(),
            Request::Remote(ask) => ask.wait().is_some(),
            Request::Submit(_)
            | Request::List { .. }
            | Request::Find { .. }
            | Request::Count(_)
            | Request::Why(_)
            | Request::Cancel(_)
            | Request::Rerun(_)
            | Request::Stats
            | Request::Queues
            | Request::Nodes
            | Request::ConfigureQueue { .. }
            | Request::Drain(_)
            | Request::LockTake { .. }
            | Request::LockRenew { .. }
            | Request::LockRelease { .. }
            | Request::Timings => false,
        }
    }

    pub(super) fn stop_waiting(&mut self) {
        if let Request::Get { wait, .. } | Request::Changes { wait, .. } = &mut self.request {
            *wait = None;
        }
        if let Request::Remote(ask) = &mut self.request {
            ask.stop_waiting();
        }
    }

    pub(super) fn on_lease(&mut self, answer: LeaseAnswer) {
        self.remote.lease = Some(answer.clone());
        self.lock.on_lease(answer);
    }

    /// The reply hands the lock's lease, or the worker's, to the client, or there is nothing to hand over.
    pub(super) fn keep_lease(&mut self, reply: &Reply) {
        let joined = |told: &RemoteTold| matches!(told, RemoteTold::Joined { .. });
        if matches!(reply, Reply::Remote(told) if joined(told)) {
            self.remote.lease = None;
        }
        if let locks::Stage::Held { .. } = self.lock {
            self.lock = locks::Stage::Done;
        }
    }

    /// The lease of a waiter that nobody waits for any more, or of a worker that did not join.
    pub(super) fn lease_to_revoke(&self) -> Option<LeaseId> {
        match &self.request {
            Request::LockTake { .. } => self.lock.lease(),
            Request::Remote(ask) if matches!(**ask, RemoteAsk::Join(_)) => {
                self.remote.lease_to_revoke()
            }
            Request::Submit(_)
            | Request::Get { .. }
            | Request::List { .. }
            | Request::Find { .. }
            | Request::Count(_)
            | Request::Why(_)
            | Request::Cancel(_)
            | Request::Rerun(_)
            | Request::Changes { .. }
            | Request::Timings
            | Request::Stats
            | Request::Queues
            | Request::Nodes
            | Request::ConfigureQueue { .. }
            | Request::Drain(_)
            | Request::LockRenew { .. }
            | Request::LockRelease { .. }
            | Request::Remote(_) => None,
        }
    }

    pub(super) fn token(&self, lease: LeaseId) -> LockToken {
        LockToken::new(&self.waiter, lease)
    }

    /// Decides what to do with all that is known.
    pub(super) fn next(
        &mut self,
        now: Now,
        view: &ClusterView,
        scheduler: &Scheduler,
        own: &Own,
    ) -> Next {
        if let Some(reason) = self.refused.take() {
            return Next::Reply(if matches!(self.request, Request::Remote(_)) {
                remote::refused(reason)
            } else {
                Reply::Refused(reason)
            });
        }
        match self.request.clone() {
            Request::Submit(_) => unreachable!("submissions are no errands"),
            Request::Get { task, wait } => decide::get(self, task, wait.is_some(), view),
            Request::Why(task) => why::why(self, task, now, view, scheduler, own),
            Request::Cancel(task) => decide::cancel(self, task, now, view),
            Request::Rerun(task) => decide::rerun(self, task, now, view),
            Request::Stats => decide::stats(self, view, own),
            Request::Queues => Next::Reply(Reply::Queues(super::show::queues(view))),
            Request::Nodes => decide::nodes(self, view),
            Request::Changes { after, wait } => journal::next(after, wait.is_some(), view, own),
            Request::Timings => Next::Reply(Reply::Timings(Box::new(own.timings.show(view)))),
            Request::ConfigureQueue {
                queue,
                strategy,
                paused,
            } => decide::configure_queue(self, &queue, strategy, paused, view),
            Request::Drain(node) => decide::drain(self, &node, view),
            Request::List {
                filter,
                order,
                limit,
                after,
            } => self.search(&filter, order, Want::Tasks(limit), after, now, view),
            Request::Find {
                filter,
                order,
                limit,
                after,
            } => self.search(&filter, order, Want::Ids(limit), after, now, view),
            Request::Count(filter) => {
                self.search(&filter, Order::Oldest, Want::Count, None, now, view)
            }
            Request::LockTake {
                lock, owner, ttl, ..
            } => locks::take(self, &lock, owner, ttl, view),
            Request::LockRenew { lock, token } => locks::renew(self, &lock, &token, view),
            Request::LockRelease { lock, token } => locks::release(self, &lock, &token),
            Request::Remote(ask) => remote::next(self, &ask, now, view, own),
        }
    }

    fn search(
        &mut self,
        filter: &Filter,
        order: Order,
        want: Want,
        after: Option<TaskId>,
        now: Now,
        view: &ClusterView,
    ) -> Next {
        let quest = Quest {
            filter,
            order,
            want,
        };
        find::next(self, &quest, after, now, view)
    }

    /// What can be replied when its time is over and the view has not come to where it should.
    pub(super) fn reply_without_news(&self, view: &ClusterView) -> Option<Reply> {
        match &self.request {
            Request::Why(task) => why::without_news(self, *task, view),
            Request::Submit(_)
            | Request::Get { .. }
            | Request::Cancel(_)
            | Request::Rerun(_)
            | Request::List { .. }
            | Request::Find { .. }
            | Request::Count(_)
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
            | Request::Remote(_) => None,
        }
    }
}
