//! Judging the store when everything has come to rest: what the life table leaves, and nothing else.

use std::collections::BTreeMap;

use windlass_core::ids::TaskId;
use windlass_core::keyspace::{Meaning, Range};
use windlass_core::kv::Kv;
use windlass_core::record::{LaneRecord, Outcome, OutcomeRecord, Record, Totals};

/// What the store holds about tasks.
#[derive(Debug, Default)]
pub struct Audit {
    /// How each task ended; `None` when it has not.
    pub tasks: BTreeMap<TaskId, Option<Outcome>>,
    /// Tasks that wait, run or are delayed, by their keys' kind.
    pub live: BTreeMap<TaskId, &'static str>,
    /// The sum of all lanes.
    pub totals: Totals,
    /// What must not be so.
    pub violations: Vec<String>,
}

/// Looks at every key.
pub fn audit(kv: &Kv) -> Audit {
    let mut audit = Audit::default();
    let everything = Range::new(
        windlass_core::keyspace::Key::from_store(""),
        windlass_core::keyspace::Key::from_store("\u{10ffff}"),
    );
    let mut dead = Vec::new();
    for (key, entry) in kv.entries(&everything) {
        let value = entry.item(key).found.value;
        match Meaning::of(key) {
            Meaning::Task(id) => {
                audit.tasks.entry(id).or_default();
            }
            Meaning::Outcome(id) => match OutcomeRecord::decode(&value) {
                Ok(record) => {
                    audit.tasks.insert(id, Some(record.outcome));
                }
                Err(error) => audit.violations.push(format!("{key}: {error}")),
            },
            Meaning::Entry(_, place) => audit.place(place.task, "entry"),
            Meaning::Claim(_, place) => audit.place(place.task, "claim"),
            Meaning::Delayed(_, task) => audit.place(task, "delayed"),
            Meaning::Dead(_, task) => dead.push(task),
            Meaning::Lane(_) | Meaning::FoldedTotals => match LaneRecord::decode(&value) {
                Ok(lane) => audit.totals.add(&lane.totals),
                Err(error) => audit.violations.push(format!("{key}: {error}")),
            },
            Meaning::Foreign => audit.violations.push(format!("{key} is nobody's")),
            Meaning::QueueConfig(_)
            | Meaning::NodeConfig(_)
            | Meaning::LockWaiter(..)
            | Meaning::JanitorWaiter(_)
            | Meaning::Node(..)
            | Meaning::Offer(_)
            | Meaning::Run(_)
            | Meaning::Unique => {}
        }
    }
    for task in dead {
        if !matches!(audit.tasks.get(&task), Some(Some(Outcome::Failed(_)))) {
            audit
                .violations
                .push(format!("S11: {task} is dead without a failure"));
        }
    }
    audit.check();
    audit
}

impl Audit {
    fn place(&mut self, task: TaskId, kind: &'static str) {
        if let Some(other) = self.live.insert(task, kind) {
            self.violations
                .push(format!("S1: {task} is at two places: {other} and {kind}"));
        }
    }

    fn check(&mut self) {
        let mut ended = Totals::default();
        for (task, outcome) in &self.tasks {
            match (outcome, self.live.get(task)) {
                (Some(_), Some(kind)) => self.violations.push(format!(
                    "S2: {task} has ended and is still at a place: {kind}"
                )),
                (None, None) => self.violations.push(format!("S1: {task} is nowhere")),
                (None, Some(_)) => {}
                (Some(Outcome::Completed(_)), None) => ended.completed += 1,
                (Some(Outcome::Failed(_)), None) => ended.failed += 1,
                (Some(Outcome::Cancelled), None) => ended.cancelled += 1,
            }
        }
        for task in self
            .live
            .keys()
            .filter(|task| !self.tasks.contains_key(task))
        {
            self.violations
                .push(format!("S11: {task} is at a place without a record"));
        }
        // Every rerun and every purge takes one outcome away again.
        let totals = self.totals;
        let ended_ever = totals.completed + totals.failed + totals.cancelled;
        let ended_now = ended.completed + ended.failed + ended.cancelled;
        let accepted = u64::try_from(self.tasks.len()).unwrap_or(u64::MAX);
        if ended_ever != ended_now + totals.rerun + totals.purged
            || totals.accepted != accepted + totals.purged
        {
            self.violations.push(format!(
                "S10: the totals say {totals:?}, a recount {ended:?} and {accepted} accepted"
            ));
        }
        if totals.rerun == 0 && totals.purged == 0 {
            let counted = (totals.completed, totals.failed, totals.cancelled);
            if counted != (ended.completed, ended.failed, ended.cancelled) {
                self.violations.push(format!(
                    "S10: the totals say {totals:?}, a recount {ended:?}"
                ));
            }
        }
    }
}
