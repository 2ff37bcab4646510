//! News of the store: which watch it belongs to, and what the worker's own key and its orders mean.

use super::held::{End, Phase};
use super::{Effect, Worker};
use crate::ids::OpId;
use crate::machine::Exit;
use crate::store::{AuditAnswer, Change, ViewEvent};
use crate::time::Now;
use crate::view::Fed;

impl Worker {
    pub(super) fn on_view(&mut self, now: Now, op: OpId, event: ViewEvent, out: &mut Vec<Effect>) {
        if self.claims_feed.is_watch(op) {
            let fed = self.claims_feed.on_event(now.mono, op, event);
            self.on_claims(now, fed, out);
        } else if self.own_feed.is_watch(op) {
            let fed = self.own_feed.on_event(now.mono, op, event);
            self.on_own_key(fed, out);
        } else if self.orders_feed.is_watch(op) {
            let fed = self.orders_feed.on_event(now.mono, op, event);
            self.on_orders(now, fed);
        } else if let Some(lock) = self.locks.watched_by(op) {
            self.locks.hear(now.mono, op, &lock, event, out);
            self.flush_soon(now.mono);
        }
    }

    /// What the store holds in one of the watched ranges. The feed that asked knows its question.
    pub(super) fn on_audited(&mut self, now: Now, op: OpId, answer: &AuditAnswer) {
        for feed in [
            &mut self.claims_feed,
            &mut self.own_feed,
            &mut self.orders_feed,
        ] {
            feed.on_audit(now.mono, op, answer);
        }
        self.locks.on_audited(now.mono, op, answer);
    }

    /// The node's own key: when its life is over, so is this process.
    pub(super) fn on_own_key(&mut self, fed: Fed, out: &mut Vec<Effect>) {
        let Some(registration) = self.registration() else {
            return;
        };
        let alive = match fed {
            Fed::Nothing | Fed::Lost => return,
            Fed::More(_) => return,
            Fed::Restart(items) => items
                .iter()
                .any(|item| item.found.created == registration.0),
            Fed::Changes(changes) => match changes.last() {
                None => return,
                Some(Change::Put(item)) => item.found.created == registration.0,
                Some(Change::Delete { at, .. }) => *at <= registration.0,
            },
        };
        let knows = self.own_feed.has_reached(registration.0);
        if knows && !alive {
            self.on_life_over(out);
        }
    }

    /// The store does not know this life any more. The news of its own leave may overtake the answer to it.
    pub(super) fn on_life_over(&mut self, out: &mut Vec<Effect>) {
        let reason = if self.duty.has_revoked() {
            Exit::Drained
        } else {
            Exit::Deposed
        };
        self.exit(reason, out);
    }

    pub(super) fn on_orders(&mut self, now: Now, fed: Fed) {
        let items = match fed {
            Fed::Nothing | Fed::Lost => return,
            Fed::Restart(items) | Fed::More(items) => items,
            Fed::Changes(changes) => match changes.into_iter().last() {
                None => return,
                Some(Change::Put(item)) => vec![item],
                Some(Change::Delete { .. }) => Vec::new(),
            },
        };
        let Some(life) = self.registration() else {
            return;
        };
        self.duty.order(&items, life);
        if !self.duty.takes_tasks() {
            self.hand_back_unstarted();
        }
        self.flush_soon(now.mono);
    }

    pub(super) fn hand_back_unstarted(&mut self) {
        for place in self.claims.unstarted() {
            self.claims.set(place, Phase::Ended(End::HandBack));
        }
    }
}
