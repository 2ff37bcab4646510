//! How much must go before its time, so that the store has room? Ended tasks go, the oldest first, and only as many as
//! needed: what was removed takes room until the history is forgotten, and counts as free from its removal on.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::Revision;
use crate::planted::planted;
use crate::room::{Level, excess};
use crate::store::Usage;
use crate::time::{Millis, Mono};

/// How long removed tasks may take room. Where somebody else forgets the history, nobody tells when.
const FREED_WITHIN: Duration = Duration::from_secs(60);

/// What is removed for want of room.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    level: Level,
    /// The bytes that are still to go.
    budget: u64,
    /// The bytes of what is about to be removed.
    planned: u64,
    /// What was removed, when, and how many bytes will become free.
    freed: VecDeque<(Mono, Revision, u64)>,
    /// Before which revision history is forgotten, and since when.
    forgotten: Option<(Mono, Revision)>,
    /// The history was cut since the store became tight. That alone may be enough.
    is_history_cut: bool,
    /// How long what was removed last had been kept.
    kept: Option<Millis>,
}

impl Pressure {
    /// Whether something must go.
    pub(super) fn is_on(&self) -> bool {
        self.budget > 0
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    pub(super) fn kept(&self) -> Option<Millis> {
        self.kept
    }

    /// The store was this full when it was asked. `cuts_history` tells whether this process forgets its history.
    pub(super) fn on_usage(
        &mut self,
        asked: Mono,
        level: Level,
        usage: &Usage,
        cuts_history: bool,
    ) {
        self.level = level;
        if level == Level::Roomy {
            self.budget = 0;
            self.is_history_cut = false;
            self.kept = None;
            self.freed.clear();
            self.forgotten = None;
            return;
        }
        if let Some((_, before)) = self.forgotten.take_if(|(since, _)| *since <= asked) {
            self.is_history_cut = true;
            self.freed.retain(|(_, at, _)| *at >= before);
        }
        while let Some((since, ..)) = self.freed.front()
            && asked.since(*since) >= FREED_WITHIN
        {
            self.freed.pop_front();
        }
        let soon: u64 = self.freed.iter().map(|(.., bytes)| bytes).sum();
        let may_go = level == Level::Full || self.is_history_cut || !cuts_history;
        self.budget = if may_go && !planted!("P-tight-keeps-all") {
            excess(usage).saturating_sub(soon + self.planned)
        } else {
            0
        };
    }

    /// Everything before `at` is forgotten.
    pub(super) fn on_forgotten(&mut self, now: Mono, at: Revision) {
        self.forgotten = Some((now, at));
    }

    /// A task of this size goes, whether because of its age or for want of room.
    pub(super) fn plan(&mut self, bytes: u64) {
        self.planned += bytes;
        self.budget = self.budget.saturating_sub(bytes);
    }

    /// It goes for want of room, after this time.
    pub(super) fn note_early(&mut self, kept: Millis) {
        self.kept = Some(kept);
    }

    /// What was planned was removed at a revision, or was not.
    pub(super) fn on_settled(&mut self, now: Mono, at: Option<Revision>, bytes: u64) {
        self.planned = self.planned.saturating_sub(bytes);
        if let Some(at) = at.filter(|_| self.level != Level::Roomy && bytes > 0) {
            self.freed.push_back((now, at, bytes));
        }
    }

    /// Nothing more can go before the store is asked again.
    pub(super) fn wait(&mut self) {
        self.budget = 0;
    }

    /// What was planned is not sent any more.
    pub(super) fn forget_plans(&mut self) {
        self.planned = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(used: u64) -> Usage {
        Usage {
            used,
            size: used,
            quota: Some(1_000),
            full: false,
        }
    }

    fn s(n: u64) -> Mono {
        Mono::ZERO.after(Duration::from_secs(n))
    }

    #[test]
    fn history_goes_first_and_then_only_what_is_too_much() {
        let mut it = Pressure::default();
        it.on_usage(s(1), Level::Tight, &usage(600), true);
        assert!(!it.is_on(), "the history may be all there is to it");
        it.on_forgotten(s(2), Revision(5));
        it.on_usage(s(1), Level::Tight, &usage(600), true);
        assert!(!it.is_on(), "that was asked before");
        it.on_usage(s(3), Level::Tight, &usage(600), true);
        assert_eq!(it.budget, 150);
        it.plan(100);
        assert_eq!(it.budget, 50);
        it.plan(70);
        assert!(!it.is_on());
    }

    #[test]
    fn what_was_removed_counts_as_free_until_it_is() {
        let mut it = Pressure::default();
        it.on_usage(s(1), Level::Full, &usage(900), true);
        assert_eq!(it.budget, 450);
        it.plan(300);
        it.plan(150);
        it.on_usage(s(2), Level::Full, &usage(900), true);
        assert!(!it.is_on(), "it is all on its way");
        it.on_settled(s(3), Some(Revision(7)), 300);
        it.on_settled(s(3), None, 150);
        it.on_usage(s(4), Level::Full, &usage(910), true);
        assert_eq!(it.budget, 160, "a part of it was not removed");
        it.on_forgotten(s(5), Revision(7));
        it.on_usage(s(6), Level::Full, &usage(910), true);
        assert_eq!(it.budget, 160, "its own removal is not forgotten yet");
        it.on_forgotten(s(7), Revision(8));
        it.on_usage(s(8), Level::Tight, &usage(610), true);
        assert_eq!(it.budget, 160);
    }

    #[test]
    fn where_others_forget_the_history_nobody_waits_for_ever() {
        let mut it = Pressure::default();
        it.on_usage(s(1), Level::Tight, &usage(600), false);
        it.plan(150);
        it.on_settled(s(2), Some(Revision(7)), 150);
        it.on_usage(s(61), Level::Tight, &usage(600), false);
        assert!(!it.is_on());
        it.on_usage(s(62), Level::Tight, &usage(600), false);
        assert_eq!(it.budget, 150);
    }

    #[test]
    fn a_roomy_store_needs_nothing() {
        let mut it = Pressure::default();
        it.on_usage(s(1), Level::Full, &usage(900), true);
        it.note_early(Millis::from_secs(9));
        it.on_usage(s(2), Level::Roomy, &usage(400), true);
        assert!(!it.is_on() && it.kept().is_none() && it.freed.is_empty());
    }
}
