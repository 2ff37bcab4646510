//! The claims that a worker holds, each from its appearance to its record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::{Fence, OpId, Revision};
use crate::keyspace::Place;
use crate::planted::planted;
use crate::record::{ClaimRecord, Json, StopReason, TaskRecord};
use crate::retry::Verdict;
use crate::steps::Ending;
use crate::time::{Mono, Wall};

/// A claim and how far its attempt is.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) fence: Fence,
    /// The claim's modification revision.
    pub(super) since: Revision,
    pub(super) record: Box<ClaimRecord>,
    /// When this worker first saw it.
    pub(super) seen: Mono,
    pub(super) phase: Phase,
    /// What the handler last reported, if it was not written yet.
    pub(super) progress: Option<Json>,
}

impl Held {
    /// Takes what the store says of the claim's stop flag. Whatever the order of news: within the life of a claim a flag
    /// is never taken away, and a cancel stands over every other reason. Says whether there is something new to obey.
    pub(super) fn learn(&mut self, since: Revision, stop: Option<StopReason>) -> bool {
        self.since = self.since.max(since);
        let news = match (self.record.stop, stop) {
            (_, None) => false,
            (None, Some(_)) => !planted!("P-cancel-flag-ignored"),
            (Some(known), Some(StopReason::Cancel)) => {
                known != StopReason::Cancel && !planted!("P-cancel-after-time-out-ignored")
            }
            (Some(_), Some(StopReason::TimeOut | StopReason::Fenced | StopReason::Shutdown)) => {
                false
            }
        };
        if news {
            self.record.stop = stop;
        }
        news
    }
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The task is not known yet.
    Fresh,
    /// The task is being read.
    Fetching,
    /// Waits for a slot.
    Ready(Box<TaskRecord>),
    /// The task cannot be read by this build; the claim is handed back when it has waited.
    Unreadable,
    /// Its handler runs.
    Running(OpId),
    /// Its end waits to be recorded.
    Ended(End),
    /// Its end is in a transaction.
    Recording,
}

/// How an attempt is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It ends the task.
    Final(Ending),
    /// It failed; whether it is tried again is decided when it is recorded.
    Failure(Box<Failed>),
    /// It never started, or was stopped without a fault of its own.
    HandBack,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) task: TaskRecord,
    pub(super) started_at: Wall,
    pub(super) ended_at: Wall,
    /// `None`: it ran longer than its time-out.
    pub(super) error: Option<Arc<str>>,
    pub(super) verdict: Verdict,
}

/// All claims of a worker, and which of them wait for what.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: BTreeMap<Place, Held>,
    /// Not started, by when they were seen.
    waiting: BTreeSet<(Mono, Place)>,
    pub(super) fresh: BTreeSet<Place>,
    pub(super) ready: BTreeSet<Place>,
    pub(super) ended: BTreeSet<Place>,
    pub(super) progressed: BTreeSet<Place>,
    /// Claims that were found to be over before the news told it, and when they were. Older news of them mean nothing.
    buried: BTreeMap<Place, (Fence, Revision)>,
}

impl Claims {
    /// The claim with this fence is over since `at`, whatever older news may tell.
    pub(super) fn bury(&mut self, place: Place, fence: Fence, at: Revision) {
        self.buried.insert(place, (fence, at));
    }

    pub(super) fn is_buried(&self, place: Place, fence: Fence) -> bool {
        self.buried
            .get(&place)
            .is_some_and(|(own, _)| *own == fence && !planted!("P-ended-claim-held-again"))
    }

    /// The news have reached `at`.
    pub(super) fn forget_buried(&mut self, at: Revision) {
        self.buried.retain(|_, (_, over)| *over > at);
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn get(&self, place: Place) -> Option<&Held> {
        self.held.get(&place)
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Held> {
        self.held.get_mut(&place)
    }

    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.held.keys().copied()
    }

    pub(super) fn insert(&mut self, place: Place, held: Held) {
        assert!(!self.held.contains_key(&place), "a claim is held once");
        assert!(held.phase.is_unstarted(), "a claim begins unstarted");
        self.waiting.insert((held.seen, place));
        self.held.insert(place, held);
        self.index(place);
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Held> {
        let held = self.held.remove(&place)?;
        self.unindex(place, &held.phase);
        self.waiting.remove(&(held.seen, place));
        self.progressed.remove(&place);
        Some(held)
    }

    /// Moves a claim to another phase and returns the one before.
    pub(super) fn set(&mut self, place: Place, phase: Phase) -> Option<Phase> {
        let held = self.held.get_mut(&place)?;
        let before = std::mem::replace(&mut held.phase, phase);
        let (seen, unstarted) = (held.seen, held.phase.is_unstarted());
        self.unindex(place, &before);
        self.index(place);
        if !unstarted {
            self.waiting.remove(&(seen, place));
        }
        Some(before)
    }

    fn index(&mut self, place: Place) {
        let Some(held) = self.held.get(&place) else {
            return;
        };
        match held.phase {
            Phase::Fresh => self.fresh.insert(place),
            Phase::Ready(_) => self.ready.insert(place),
            Phase::Ended(_) => self.ended.insert(place),
            Phase::Fetching | Phase::Unreadable | Phase::Running(_) | Phase::Recording => true,
        };
    }

    fn unindex(&mut self, place: Place, phase: &Phase) {
        match phase {
            Phase::Fresh => self.fresh.remove(&place),
            Phase::Ready(_) => self.ready.remove(&place),
            Phase::Ended(_) => self.ended.remove(&place),
            Phase::Fetching | Phase::Unreadable | Phase::Running(_) | Phase::Recording => true,
        };
    }

    /// The claim that has waited longest for its start, and since when.
    pub(super) fn oldest_waiting(&self) -> Option<(Mono, Place)> {
        self.waiting.first().copied()
    }

    /// The claims that were never started.
    pub(super) fn unstarted(&self) -> Vec<Place> {
        self.waiting.iter().map(|(_, place)| *place).collect()
    }
}

impl Phase {
    pub(super) fn is_unstarted(&self) -> bool {
        match self {
            Self::Fresh | Self::Fetching | Self::Ready(_) | Self::Unreadable => true,
            Self::Running(_) | Self::Ended(_) | Self::Recording => false,
        }
    }
}
