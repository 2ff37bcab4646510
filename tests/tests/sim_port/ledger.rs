//! What really happened in the store: every revision, and every lease's life. Answers are judged by it.

use std::collections::BTreeMap;

use windlass::core::ids::{LeaseId, Revision};
use windlass::core::keyspace::{Key, Range};
use windlass::core::kv::{Edit, Entry, Log};
use windlass::core::store::Change;

/// A moment, in the one order of everything that happens in a run.
pub(crate) type Step = u64;

/// Every how many revisions all that is stored is kept, so that the past can be looked at without replaying all of it.
const KEEP_EVERY: u64 = 64;

/// What became of a lease.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) granted: Step,
    pub(crate) ended: Option<Step>,
    pub(crate) renewed: Vec<Step>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// What each revision did; the first one that does anything is 2.
    revisions: Vec<Vec<Edit>>,
    present: BTreeMap<Key, Entry>,
    kept: BTreeMap<Revision, BTreeMap<Key, Entry>>,
    pub(crate) leases: BTreeMap<LeaseId, Life>,
}

impl Ledger {
    pub(crate) fn note(&mut self, step: Step, log: Log) {
        match log {
            Log::Changed { at, edits } => {
                assert_eq!(at, self.revision().next(), "revisions follow each other");
                edits.iter().for_each(|edit| apply(&mut self.present, edit));
                self.revisions.push(edits);
                if at.0 % KEEP_EVERY == 0 {
                    self.kept.insert(at, self.present.clone());
                }
            }
            Log::Granted { lease, .. } => {
                let life = Life {
                    granted: step,
                    ..Life::default()
                };
                self.leases.insert(lease, life);
            }
            Log::Ended { lease } => {
                let life = self.leases.get_mut(&lease).expect("it was granted");
                life.ended = Some(step);
            }
            Log::Compacted { .. } => {}
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        Revision(1 + self.revisions.len() as u64)
    }

    /// What one revision did.
    pub(crate) fn edits(&self, at: Revision) -> &[Edit] {
        let index = usize::try_from(at.0).ok().and_then(|at| at.checked_sub(2));
        index
            .and_then(|index| self.revisions.get(index))
            .map_or(&[], Vec::as_slice)
    }

    /// All that was stored at a revision.
    pub(crate) fn state(&self, at: Revision) -> BTreeMap<Key, Entry> {
        if at >= self.revision() {
            return self.present.clone();
        }
        let kept = self.kept.range(..=at).next_back();
        let (from, mut state) =
            kept.map_or((Revision(1), BTreeMap::new()), |(at, it)| (*at, it.clone()));
        for revision in from.0 + 1..=at.0 {
            let edits = self.edits(Revision(revision));
            edits.iter().for_each(|edit| apply(&mut state, edit));
        }
        state
    }

    /// What happened in a range after one revision, up to another.
    pub(crate) fn changes(&self, range: &Range, after: Revision, to: Revision) -> Vec<Change> {
        (after.0 + 1..=to.0)
            .flat_map(|at| {
                let edits = self.edits(Revision(at)).iter();
                edits.map(move |edit| (Revision(at), edit))
            })
            .filter(|(_, edit)| range.contains(edit.key()))
            .map(|(at, edit)| edit.change(at))
            .collect()
    }
}

fn apply(state: &mut BTreeMap<Key, Entry>, edit: &Edit) {
    match edit {
        Edit::Put { key, entry } => drop(state.insert(key.clone(), entry.clone())),
        Edit::Delete { key } => drop(state.remove(key)),
    }
}
