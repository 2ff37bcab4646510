//! Who waits no more: clients that went away, requests that are done, a process that leaves or ends.

use super::Gateway;
use super::request::{Reply, RequestId};
use crate::ids::{NodeId, TaskId};
use crate::server::Effect;

impl Gateway {
    /// The client does not wait any more. What was sent stays sent.
    pub(crate) fn forget(&mut self, id: RequestId) {
        self.deadlines.disarm(id);
        self.submissions.forget(id);
        self.end_errand(id);
    }

    pub(super) fn end_errand(&mut self, id: RequestId) {
        let Some(errand) = self.errands.remove(&id) else {
            return;
        };
        self.runnable.remove(&id);
        self.awaiting_locks.remove(&id);
        self.awaiting_changes.remove(&id);
        self.renewals.disarm(id);
        if let Some(op) = errand.op {
            self.by_op.remove(&op);
        }
        if let Some(at) = errand.awaits_view {
            self.awaiting_view.remove(&(at, id));
        }
        self.stop_awaiting_end(id, errand.task());
        self.stop_awaiting_claims(id, errand.worker());
        self.steps.retain(|(owner, ..)| *owner != id);
        self.lone_steps.retain(|(owner, ..)| *owner != id);
        self.to_revoke.extend(errand.lease_to_revoke());
    }

    pub(super) fn stop_awaiting_end(&mut self, id: RequestId, task: Option<TaskId>) {
        let Some(task) = task else { return };
        if let Some(waiting) = self.awaiting_end.get_mut(&task) {
            waiting.remove(&id);
            if waiting.is_empty() {
                self.awaiting_end.remove(&task);
            }
        }
    }

    fn stop_awaiting_claims(&mut self, id: RequestId, worker: Option<&NodeId>) {
        let Some(worker) = worker else { return };
        if let Some(waiting) = self.awaiting_claims.get_mut(worker) {
            waiting.remove(&id);
            if waiting.is_empty() {
                self.awaiting_claims.remove(worker);
            }
        }
    }

    /// The process leaves: whoever waits for a task's end gets what there is, and whoever waits for a lock may wait
    /// elsewhere.
    pub(crate) fn stop_waiting(&mut self, out: &mut Vec<Effect>) {
        for id in std::mem::take(&mut self.awaiting_locks) {
            self.deadlines.disarm(id);
            self.end_errand(id);
            let reply = Reply::NotReady;
            out.push(Effect::Reply { id, reply });
        }
        let ends = self.awaiting_end.values().flatten();
        let claims = self.awaiting_claims.values().flatten();
        let waiting = ends.chain(claims).chain(&self.awaiting_changes);
        let waiting: Vec<RequestId> = waiting.copied().collect();
        for id in waiting {
            self.give_up_waiting(id);
        }
    }

    pub(super) fn give_up_waiting(&mut self, id: RequestId) {
        let Some(errand) = self.errands.get_mut(&id) else {
            return;
        };
        errand.stop_waiting();
        let (task, worker) = (errand.task(), errand.worker().cloned());
        self.stop_awaiting_end(id, task);
        self.stop_awaiting_claims(id, worker.as_ref());
        self.awaiting_changes.remove(&id);
        self.runnable.insert(id);
    }

    /// The process ends: nobody is left without an answer.
    pub(crate) fn close(&mut self, out: &mut Vec<Effect>) {
        for (id, reply) in self.submissions.close() {
            out.push(Effect::Reply { id, reply });
        }
        for (id, errand) in std::mem::take(&mut self.errands) {
            let reply = if errand.has_committed() {
                Reply::TimedOut
            } else {
                Reply::NotReady
            };
            out.push(Effect::Reply { id, reply });
        }
    }
}
