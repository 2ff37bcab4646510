//! Where a task is written down.

use windlass_core::keyspace::{Key, Meaning};
use windlass_core::record::{ClaimRecord, OutcomeRecord, Record, TaskRecord};
use windlass_core::store::Found;

use crate::bench::Bench;

/// The task, wherever it is written down.
pub(crate) fn copies(bench: &Bench) -> Vec<TaskRecord> {
    let copy = |(key, found): (Key, Found)| match Meaning::of(&key) {
        Meaning::Task(_) => Some(TaskRecord::decode(&found.value).unwrap()),
        Meaning::Claim(_, place) => {
            let claim = ClaimRecord::decode(&found.value).unwrap();
            claim.only_copy(place.priority)
        }
        Meaning::Outcome(_) => {
            let outcome = OutcomeRecord::decode(&found.value).unwrap();
            outcome.task.map(|task| *task)
        }
        Meaning::Entry(..)
        | Meaning::Delayed(..)
        | Meaning::Dead(..)
        | Meaning::Run(_)
        | Meaning::Unique
        | Meaning::QueueConfig(_)
        | Meaning::NodeConfig(_)
        | Meaning::LockWaiter(..)
        | Meaning::JanitorWaiter(_)
        | Meaning::Node(..)
        | Meaning::Offer(_)
        | Meaning::Lane(_)
        | Meaning::FoldedTotals
        | Meaning::Foreign => None,
    };
    bench.contents().into_iter().filter_map(copy).collect()
}
