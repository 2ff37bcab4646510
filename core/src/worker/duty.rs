//! Whether a worker takes tasks: its offer, orders to drain, and leaving.

use std::time::Duration;

use super::record::Job;
use super::{Effect, Timer, Worker};
use crate::ids::{OpId, Registration, Revision};
use crate::planted::planted;
use crate::record::{NodeConfig, OfferRecord, Record, Totals, Version};
use crate::steps;
use crate::store::{Batch, Call, Item, StoreCall};
use crate::time::Now;

/// What a worker is ready for.
#[derive(Debug, Default)]
pub(super) struct Duty {
    /// An operator ordered it to take nothing.
    ordered_to_drain: bool,
    /// It was told to leave.
    leaving: bool,
    /// The creation revision of the offer that stands.
    offered: Option<Revision>,
    /// An offer or its withdrawal is in a transaction.
    changing: bool,
    /// The grace to leave is over.
    impatient: bool,
    /// The revocation of the lease, on leaving.
    revocation: Option<OpId>,
}

impl Duty {
    pub(super) fn takes_tasks(&self) -> bool {
        (!self.ordered_to_drain || planted!("P-drain-starts")) && !self.leaving
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    pub(super) fn offered(&self) -> Option<Revision> {
        self.offered
    }

    pub(super) fn is_revocation(&self, op: OpId) -> bool {
        self.revocation == Some(op)
    }

    pub(super) fn has_revoked(&self) -> bool {
        self.revocation.is_some()
    }

    /// The grace to leave is over; whether it was already.
    pub(super) fn lose_patience(&mut self) -> bool {
        std::mem::replace(&mut self.impatient, true)
    }

    /// Takes what an operator wrote; no orders for this life of the worker means: serve.
    pub(super) fn order(&mut self, items: &[Item], life: Registration) {
        let config = items
            .first()
            .and_then(|item| NodeConfig::decode(&item.found.value).ok());
        self.ordered_to_drain = config.is_some_and(|config| {
            config.drains(life) || planted!("P-drain-order-outlives") && config.drain
        });
    }

    /// The offer was committed, or withdrawn.
    pub(super) fn changed(&mut self, offered: Option<Revision>) {
        self.offered = offered;
        self.changing = false;
    }

    /// The change failed; it is tried again.
    pub(super) fn unchanged(&mut self) {
        self.changing = false;
    }
}

impl Worker {
    pub(super) fn on_drain(&mut self, now: Now) {
        if self.duty.leaving {
            return;
        }
        self.duty.leaving = true;
        self.hand_back_unstarted();
        // A deadline lies in the future, even that of those who give no grace.
        let grace = self.config.drain_grace.max(Duration::from_nanos(1));
        self.timers
            .arm(now.mono, Timer::Patience, now.mono.after(grace));
        self.flush_soon(now.mono);
    }

    /// Adds the offer, or its withdrawal, to a batch, when it is not as it should be.
    pub(super) fn adjust_offer(&mut self, batch: &mut Batch<Job>) {
        let (Some(registration), Some(lease)) = (self.registration(), self.session.lease()) else {
            return;
        };
        if self.duty.changing {
            return;
        }
        let (job, step) = match (self.duty.takes_tasks(), self.duty.offered) {
            (true, None) if self.claims_feed.at().is_some() && self.orders_feed.at().is_some() => {
                let mut types = self.config.types.clone();
                types.sort();
                let offer = OfferRecord {
                    v: Version,
                    slots: self.config.slots,
                    queues: self.config.queues.clone(),
                    types,
                    weight: self.config.weight,
                    labels: self.config.labels.clone(),
                };
                (
                    Job::Offer,
                    steps::offer(&self.config.id, registration, lease, &offer),
                )
            }
            (false, Some(offer)) => (Job::Withdraw, steps::withdraw(&self.config.id, offer)),
            (true, _) | (false, None) => return,
        };
        self.duty.changing = true;
        if batch.push(job, step).is_err() {
            self.duty.changing = false;
        }
    }

    /// Ends the lease once nothing is held: the cluster learns of the leave at once.
    pub(super) fn leave_when_empty(&mut self, now: Now, out: &mut Vec<Effect>) {
        let done = self.duty.leaving
            && self.duty.revocation.is_none()
            && (self.claims.is_empty() || planted!("P-leave-with-claims"))
            && (self.runs.is_empty() || planted!("P-leave-with-claims"));
        if !done
            || !self.lanes.is_quiet()
            || self.duty.offered.is_some()
            || self.owed != Totals::default()
        {
            return;
        }
        let Some(lease) = self.session.lease_if_any() else {
            return self.exit(super::Exit::Drained, out);
        };
        let op = self.ops.fresh();
        self.duty.revocation = Some(op);
        out.push(
            StoreCall {
                op,
                call: Call::Revoke { lease },
            }
            .into(),
        );
        self.timers.arm(
            now.mono,
            Timer::Patience,
            now.mono.after(self.config.ttl / 3),
        );
    }
}
