//! How handlers' questions for locks become steps of the worker's transactions.

use std::collections::BTreeSet;

use super::held::Phase;
use super::locks::Id;
use super::record::Job;
use super::{Effect, LockRefusal, Worker};
use crate::ids::{LockAsk, LockName, OpId};
use crate::planted::planted;
use crate::record::StopReason;
use crate::store::Batch;
use crate::time::Now;

impl Worker {
    pub(super) fn on_lock(
        &mut self,
        now: Now,
        run: OpId,
        ask: LockAsk,
        lock: LockName,
        out: &mut Vec<Effect>,
    ) {
        let Some((place, fence)) = self.runs.attempt(run) else {
            return;
        };
        if self.runs.is_stopping(run) {
            let why = LockRefusal::Stopped;
            return out.push(Effect::LockRefused { run, ask, why });
        }
        self.locks.ask((place, fence, ask), run, lock, out);
        self.flush_soon(now.mono);
    }

    pub(super) fn on_unlock(&mut self, now: Now, run: OpId, ask: LockAsk) {
        if let Some((place, fence)) = self.runs.attempt(run) {
            self.locks.give_up((place, fence, ask));
            self.flush_soon(now.mono);
        }
    }

    /// Orders a handler to stop; then it does not wait for locks any more.
    pub(super) fn stop(&mut self, run: OpId, reason: StopReason, out: &mut Vec<Effect>) {
        self.runs.stop(run, reason, out);
        if let Some((place, fence)) = self.runs.attempt(run)
            && self.locks.stop_waiting(place, fence, out)
        {
            self.flush_soon(self.last);
        }
    }

    /// Whether the record of the attempt's end, which removes the key as well, is about to be sent or under way.
    fn goes_with_the_end(&self, (place, fence, _): Id) -> bool {
        let held = self.claims.get(place).filter(|held| held.fence == fence);
        held.is_some_and(|held| match held.phase {
            Phase::Ended(_) | Phase::Recording => true,
            Phase::Fresh
            | Phase::Fetching
            | Phase::Ready(_)
            | Phase::Unreadable
            | Phase::Running(_) => false,
        })
    }

    /// Adds the keys that are to be removed or made to a batch.
    pub(super) fn add_locks(&mut self, batch: &mut Batch<Job>) {
        for id in self.locks.to_remove() {
            if self.goes_with_the_end(id) {
                continue;
            }
            let Some(step) = self.locks.removal(id) else {
                continue;
            };
            if batch.push(Job::LeaveLine(id), step).is_err() {
                return;
            }
            self.locks.going(id);
        }
        let Some(lease) = self.session.lease() else {
            return;
        };
        // Two that were made by one transaction would have one fence.
        let mut made: BTreeSet<LockName> = BTreeSet::new();
        for id in self.locks.to_make() {
            let Some(lock) = self.locks.lock_of(id).cloned() else {
                continue;
            };
            if !made.insert(lock) && !planted!("P-lock-fences-shared-by-worker") {
                continue;
            }
            let Some(step) = self.locks.making(&self.config.id, lease, id) else {
                continue;
            };
            if batch.push(Job::GetInLine(id), step).is_err() {
                return;
            }
            self.locks.coming(id);
        }
    }
}
