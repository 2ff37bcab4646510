//! What happened, in numbers.

use std::ops::Sub;

use windlass_core::store::{Answer, Call, Query, ReadAnswer, TxnOutcome, ViewEvent};

/// What the nodes of one role asked of the store, and were told by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Transactions.
    pub txns: u64,
    /// Writes in them, those of lanes included.
    pub writes: u64,
    /// Transactions that were not applied because a guard did not hold.
    pub conflicts: u64,
    /// Keys that were read, or looked for.
    pub reads: u64,
    /// Renewals of leases, audits and other calls.
    pub other_calls: u64,
    /// Changes that watches told.
    pub events: u64,
    /// Inputs that the machines took.
    pub inputs: u64,
    /// Effects that they had.
    pub effects: u64,
}

/// What happened in a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Tasks that were accepted through a gateway.
    pub accepted: u64,
    /// Handlers that began.
    pub started: u64,
    /// Handlers that ended.
    pub ended: u64,
    /// The traffic of scheduler processes.
    pub schedulers: Traffic,
    /// The traffic of workers.
    pub workers: Traffic,
}

impl Traffic {
    /// A call is sent.
    pub(super) fn asks(&mut self, call: &Call) {
        match call {
            Call::Commit(txn) => {
                self.txns += 1;
                self.writes += txn.writes().len() as u64;
            }
            Call::Read(Query::Keys(keys)) => self.reads += keys.len() as u64,
            Call::Read(Query::Range { .. })
            | Call::Watch(_)
            | Call::Unwatch { .. }
            | Call::Progress { .. }
            | Call::Audit(_)
            | Call::Grant { .. }
            | Call::Renew { .. }
            | Call::Revoke { .. }
            | Call::Compact { .. }
            | Call::Usage => self.other_calls += 1,
        }
    }

    /// An answer comes.
    pub(super) fn hears(&mut self, answer: &Answer) {
        match answer {
            Answer::Txn(TxnOutcome::Conflict { .. }) => self.conflicts += 1,
            Answer::View(ViewEvent::Delta { changes, .. }) => self.events += changes.len() as u64,
            Answer::View(ViewEvent::Reset { items, .. }) => self.events += items.len() as u64,
            Answer::Txn(
                TxnOutcome::Committed { .. } | TxnOutcome::Refused(_) | TxnOutcome::Unknown,
            )
            | Answer::View(ViewEvent::Lost)
            | Answer::Read(ReadAnswer::Items { .. } | ReadAnswer::Failed)
            | Answer::Audited(_)
            | Answer::Lease(_)
            | Answer::Compacted(_)
            | Answer::Usage(_) => {}
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            txns: self.txns + other.txns,
            writes: self.writes + other.writes,
            conflicts: self.conflicts + other.conflicts,
            reads: self.reads + other.reads,
            other_calls: self.other_calls + other.other_calls,
            events: self.events + other.events,
            inputs: self.inputs + other.inputs,
            effects: self.effects + other.effects,
        }
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            txns: self.txns - before.txns,
            writes: self.writes - before.writes,
            conflicts: self.conflicts - before.conflicts,
            reads: self.reads - before.reads,
            other_calls: self.other_calls - before.other_calls,
            events: self.events - before.events,
            inputs: self.inputs - before.inputs,
            effects: self.effects - before.effects,
        }
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            accepted: self.accepted - before.accepted,
            started: self.started - before.started,
            ended: self.ended - before.ended,
            schedulers: self.schedulers - before.schedulers,
            workers: self.workers - before.workers,
        }
    }
}
