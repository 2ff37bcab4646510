//! Faults of one node's connection to the store.

use std::time::Duration;

use windlass_core::keyspace::Meaning;
use windlass_core::store::{Change, ViewEvent};
use windlass_core::time::Millis;
use windlass_core::view::RECONCILE_EVERY;

use super::{FaultKind, Way};
use crate::fact::NodeIx;
use crate::network::SLOW_MAX;
use crate::world::World;

/// How long after an event was lost, and after the last trouble that could keep an audit from its answer, what a node
/// knows must be mended: the wait for the next audit, the audit, and a full read.
pub(crate) const REPAIR_MAX: Duration = RECONCILE_EVERY.saturating_add(Duration::from_secs(10));

impl World {
    pub(super) fn cut(&mut self, node: NodeIx, way: Way, lasts: Millis) {
        let until = self.now().mono.after(lasts.into());
        self.hit(way.kind(), Some(node), until);
        let link = &mut self.nodes[node].link;
        match way {
            Way::ToStore => link.to_store_cut = link.to_store_cut.max(until),
            Way::FromStore => link.from_store_cut = link.from_store_cut.max(until),
            Way::Both => {
                link.to_store_cut = link.to_store_cut.max(until);
                link.from_store_cut = link.from_store_cut.max(until);
            }
        }
    }

    pub(super) fn lose_next_answers(&mut self, node: NodeIx, count: u8) {
        let link = &mut self.nodes[node].link;
        link.answers_to_lose = link.answers_to_lose.saturating_add(count);
    }

    pub(super) fn arrive_late(&mut self, node: NodeIx, by: Millis, lasts: Millis) {
        let until = self.now().mono.after(lasts.into());
        let link = &mut self.nodes[node].link;
        (link.late_by, link.late_until) = (by.into(), until);
    }

    pub(super) fn slow(&mut self, node: NodeIx, way: Way, by: Millis, lasts: Millis) {
        let until = self.now().mono.after(lasts.into());
        let by = Duration::from(by).min(SLOW_MAX);
        let both = [
            (way != Way::FromStore, FaultKind::SlowRequest),
            (way != Way::ToStore, FaultKind::SlowAnswer),
        ];
        for (_, kind) in both.into_iter().filter(|(slow, _)| *slow) {
            self.hit(kind, Some(node), until.after(by * 2));
        }
        let link = &mut self.nodes[node].link;
        (link.slow_way, link.slow_by, link.slow_until) = (Some(way), by, until);
    }

    pub(super) fn delay_watch(&mut self, node: NodeIx, by: Millis, lasts: Millis) {
        let until = self.now().mono.after(lasts.into());
        // What is sent last arrives that much later.
        self.hit(FaultKind::DelayWatch, Some(node), until.after(by.into()));
        let link = &mut self.nodes[node].link;
        (link.news_late_by, link.news_late_until) = (by.into(), until);
    }

    pub(super) fn mute_watch(&mut self, node: NodeIx, lasts: Millis) {
        let until = self.now().mono.after(lasts.into());
        self.hit(FaultKind::MuteWatch, Some(node), until);
        let link = &mut self.nodes[node].link;
        link.mute_until = link.mute_until.max(until);
    }

    pub(super) fn lose_event(&mut self, node: NodeIx, delete: bool, of_lock: bool) {
        let link = &mut self.nodes[node].link;
        link.loses_delete |= delete;
        link.loses_put |= !delete;
        link.loses_of_lock = of_lock;
    }

    /// What a piece of news tells when an event of it is lost.
    pub(crate) fn swallow(&mut self, node: NodeIx, event: &mut ViewEvent) {
        let link = &mut self.nodes[node].link;
        let ViewEvent::Delta { changes, .. } = event else {
            return;
        };
        let is_next = |change: &Change| {
            let meaning = Meaning::of(change.key());
            if link.loses_of_lock && !matches!(meaning, Meaning::LockWaiter(..)) {
                return false;
            }
            match change {
                // A node's report says the same again before anybody asks.
                Change::Put(_) => link.loses_put && !matches!(meaning, Meaning::Node(..)),
                Change::Delete { .. } => link.loses_delete,
            }
        };
        let Some(ix) = changes.iter().position(is_next) else {
            return;
        };
        match changes.remove(ix) {
            Change::Put(_) => link.loses_put = false,
            Change::Delete { .. } => link.loses_delete = false,
        }
        let now = self.now().mono;
        self.lost_event = Some(now);
        self.hit(FaultKind::LoseEvent, Some(node), now.after(REPAIR_MAX));
    }

    pub(super) fn break_watches(&mut self, node: Option<NodeIx>) {
        for each in 0..self.nodes.len() {
            if node.is_none_or(|only| only == each) {
                self.hit(FaultKind::BreakWatch, Some(each), self.now().mono);
                self.lose_watches(each);
            }
        }
    }
}
