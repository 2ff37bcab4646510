//! How a node comes to life: a lease, then its own key and its lanes in one transaction.
//!
//! The key must be absent: a node with the same id waits for the former life's key to go, so that its claims are
//! orphaned and never inherited.

use std::time::Duration;

use crate::ids::{LeaseId, OpId, OpIds, Registration};
use crate::keyspace::Key;
use crate::lanes::Lanes;
use crate::planted::{planted, unless_planted};
use crate::record::{NodeRecord, Record};
use crate::store::{Call, Guard, Item, Query, ReadAnswer, Step, StoreCall, Txn, TxnOutcome, Write};
use crate::time::Mono;

/// How long to wait before looking again whether the id is free, and before repeating what failed.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A node's way to its registration.
#[derive(Debug)]
pub struct Registering {
    key: Key,
    /// Drawn anew for each life.
    life: u64,
    answer_max: Duration,
    state: State,
    wake: Option<Mono>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits for the lease, or for time.
    Idle,
    Reading(OpId),
    Committing(OpId),
    Done(Registration),
}

impl Registering {
    /// The way to a registration under `key`.
    pub fn new(key: Key, life: u64, answer_max: Duration) -> Self {
        Self {
            key,
            life,
            answer_max,
            state: State::Idle,
            wake: None,
        }
    }

    /// The registration, once there is one.
    pub fn done(&self) -> Option<Registration> {
        match self.state {
            State::Done(registration) => Some(registration),
            State::Idle | State::Reading(_) | State::Committing(_) => None,
        }
    }

    /// When [`Registering::on_time`] must be called.
    pub fn deadline(&self) -> Option<Mono> {
        self.wake
    }

    /// Begins: the lease is there.
    pub fn start<M, E: From<StoreCall>>(
        &mut self,
        now: Mono,
        lanes: &Lanes<M>,
        ops: &mut OpIds,
        out: &mut Vec<E>,
    ) {
        if self.done().is_some() {
            return;
        }
        let op = ops.fresh();
        self.state = State::Reading(op);
        self.wake = Some(now.after(self.answer_max));
        let mut keys = vec![self.key.clone()];
        keys.extend(lanes.keys());
        out.push(
            StoreCall {
                op,
                call: Call::Read(Query::Keys(keys)),
            }
            .into(),
        );
    }

    /// Looks again when an answer is overdue or the id was taken.
    pub fn on_time<M, E: From<StoreCall>>(
        &mut self,
        now: Mono,
        lanes: &Lanes<M>,
        ops: &mut OpIds,
        out: &mut Vec<E>,
    ) {
        if self.wake.is_some_and(|at| at <= now) {
            self.wake = None;
            self.start(now, lanes, ops, out);
        }
    }

    /// Takes what was read, if `op` is the read that is waited for.
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of one machine, borrowed apart"
    )]
    pub fn on_read<M, E: From<StoreCall>>(
        &mut self,
        now: Mono,
        op: OpId,
        answer: ReadAnswer,
        lease: Option<LeaseId>,
        record: &NodeRecord,
        lanes: &mut Lanes<M>,
        ops: &mut OpIds,
        out: &mut Vec<E>,
    ) {
        if self.state != State::Reading(op) {
            return;
        }
        self.state = State::Idle;
        self.wake = Some(now.after(LOOK_AGAIN));
        let (ReadAnswer::Items { items, .. }, Some(lease)) = (answer, lease) else {
            return;
        };
        match items.iter().find(|item| item.key == self.key) {
            Some(own) if self.is_mine(own) || planted!("P-registration-inherited") => {
                lanes.recognise(&items);
                self.state = State::Done(Registration(own.found.created));
                self.wake = None;
            }
            Some(_) if !planted!("P-registration-overwritten") => {}
            Some(_) | None => {
                let op = ops.fresh();
                self.state = State::Committing(op);
                self.wake = Some(now.after(self.answer_max));
                out.push(
                    StoreCall {
                        op,
                        call: Call::Commit(self.txn(lease, record, lanes, &items)),
                    }
                    .into(),
                );
            }
        }
    }

    fn is_mine(&self, item: &Item) -> bool {
        NodeRecord::decode(&item.found.value).is_ok_and(|record| record.life == self.life)
    }

    fn txn<M>(
        &self,
        lease: LeaseId,
        record: &NodeRecord,
        lanes: &mut Lanes<M>,
        found: &[Item],
    ) -> Txn {
        assert_eq!(record.life, self.life, "a node registers its own life");
        let mut txn = Txn::default();
        let free = Guard::Absent(self.key.clone());
        let own = Step::new(
            vec![unless_planted!("P-registration-overwritten", free)],
            vec![Write::Put {
                key: self.key.clone(),
                value: record.encode(),
                lease: Some(lease),
            }],
        );
        for step in [own, lanes.adopt(found)] {
            txn.push(step)
                .expect("a node's key and its few lanes fit one transaction");
        }
        txn
    }

    /// Takes what became of the registration, if `op` is the one that is waited for. Says whether it is done.
    pub fn on_txn<M>(
        &mut self,
        now: Mono,
        op: OpId,
        outcome: &TxnOutcome,
        lanes: &mut Lanes<M>,
    ) -> bool {
        if self.state != State::Committing(op) {
            return false;
        }
        match outcome {
            TxnOutcome::Committed { at } => {
                lanes.adopted(*at);
                self.state = State::Done(Registration(*at));
                self.wake = None;
                true
            }
            TxnOutcome::Conflict { .. } | TxnOutcome::Refused(_) | TxnOutcome::Unknown => {
                self.state = State::Idle;
                self.wake = Some(now.after(LOOK_AGAIN));
                false
            }
        }
    }
}
