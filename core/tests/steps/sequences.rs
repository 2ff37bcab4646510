//! Rows decided at any time, and tried at any later time, any number of times.

use proptest::prelude::*;
use windlass_core::keyspace::{Key, Meaning};
use windlass_core::record::{ClaimRecord, OutcomeRecord, Record, StopReason};

use crate::bench::*;

/// The task's claim carries a cancel flag.
fn flagged(contents: &Contents) -> bool {
    contents.iter().any(|(key, found)| {
        matches!(Meaning::of(key), Meaning::Claim(..))
            && ClaimRecord::decode(&found.value).unwrap().stop == Some(StopReason::Cancel)
    })
}

proptest! {
    /// Writers decide on the newest view, and their transactions arrive whenever they like. Whoever hands a flagged
    /// claim back or tries it again has seen the flag: the workers' machines must end it then.
    #[test]
    fn a_task_is_always_at_one_place(picks in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..60)) {
        let mut bench = Bench::new();
        let mut decided = Vec::new();
        let mut outcome = None;
        for (pick, fresh) in picks {
            let before = bench.contents();
            let allowed: Vec<_> = rows(&bench)
                .into_iter()
                .filter(|(row, _)| !flagged(&before) || !matches!(row, Row::Retry | Row::HandBack | Row::Progress | Row::Stop))
                .collect();
            decided.extend(allowed.clone());
            let (row, step) = pick.get(if fresh { &allowed } else { &decided }).clone();
            let happened = bench.tries(&step);
            bench.audit();
            let after = bench.contents();
            if flagged(&before) && happened {
                let ended = after.contains_key(&Key::outcome(id()));
                prop_assert!(ended || flagged(&after), "{row:?} lost the flag");
            }
            let now = after.get(&Key::outcome(id())).map(|found| (found.created, OutcomeRecord::decode(&found.value).unwrap()));
            if let Some(old) = outcome.replace(now.clone()).flatten() {
                let undone = matches!(row, Row::Rerun | Row::PurgeOne | Row::PurgeRange) && happened;
                prop_assert!(undone || now == Some(old), "an outcome is written once");
            }
        }
    }
}
