//! One series of facts out of all that was recorded: the store's history, the run's own journal, and the ledgers of
//! handlers, each with the machine's monotonic clock.
//!
//! A revision is recorded when the first member tells of it, which is later than it was made. Whatever shows that it was
//! there already (an acknowledgement of its task, a handler that starts under its fence) moves it forth: its time is the
//! earliest at which it is known to have been made, and so no cause comes after its effect.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use windlass_sim::core::gateway::{Reply, Request, Submitted};
use windlass_sim::core::ids::{Attempt, Fence, OpId, Revision, TaskId};
use windlass_sim::core::keyspace::{Key, Meaning, Place};
use windlass_sim::core::record::{Record as _, UniqueRecord};
use windlass_sim::core::store::Value;
use windlass_sim::fact::{Fact, NodeIx};

use super::clock::Nanos;
use super::handler::{Line, Mark};
use super::history::{History, Recorded};
use super::journal::Journal;

/// What a run says of itself when it is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Meta {
    /// Names the plan.
    pub seed: u64,
    /// For how long faults were planned.
    pub seconds: u64,
    /// How many members etcd had.
    pub members: usize,
    /// When it began, by the monotonic clock.
    pub begun: Nanos,
    /// What the wall clock showed then.
    pub epoch_ms: u64,
    /// When it was over.
    pub over: Nanos,
    /// The workers' numbers, by name.
    pub workers: BTreeMap<String, NodeIx>,
    /// The leases that lived then.
    pub leases: Vec<i64>,
    /// What a gateway counted at the end.
    pub stats: serde_json::Value,
}

/// Everything that was recorded, but for the history, which is read as it is needed.
#[derive(Debug)]
pub struct Timeline {
    /// What the run says of itself.
    pub meta: Meta,
    /// Facts of the journal and the ledgers, in order.
    pub facts: Vec<(Nanos, Fact)>,
    /// The attempts whose handler did all that it should, by its own word.
    pub done: BTreeSet<(TaskId, Fence)>,
    /// By when each revision was there.
    times: BTreeMap<u64, Nanos>,
    history: std::path::PathBuf,
}

impl Timeline {
    /// Reads what lies in a run's folder.
    ///
    /// # Errors
    /// When something is missing, or nobody can read it.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let meta = fs::read_to_string(folder.join("meta.json")).context("meta.json")?;
        let meta: Meta = serde_json::from_str(&meta)?;
        let mut facts = Journal::read(&folder.join("journal.jsonl"))?;
        let (mut runs, mut done) = (0, BTreeSet::new());
        for (worker, node) in &meta.workers {
            let path = folder.join(format!("{worker}.ledger"));
            // A worker that never ran anything has none.
            let text = fs::read_to_string(path).unwrap_or_default();
            facts.extend(of_ledger(*node, &text, &mut runs, &mut done)?);
        }
        facts.sort_by_key(|(at, _)| *at);
        antedate(&mut facts);
        facts.sort_by_key(|(at, _)| *at);
        let history = folder.join("history.jsonl");
        let index = Index::of(History::open(&history)?)?;
        index.fill_bodies(&mut facts);
        let times = index.times(&facts);
        Ok(Self {
            meta,
            facts,
            done,
            times,
            history,
        })
    }

    /// Tells everything in order: first a revision, then what shows it.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub fn tell(
        &self,
        mut stored: impl FnMut(Nanos, &Recorded),
        mut other: impl FnMut(Nanos, &Fact),
    ) -> anyhow::Result<()> {
        let mut facts = self.facts.iter().peekable();
        for recorded in History::open(&self.history)? {
            let recorded = recorded?;
            let at = self.times.get(&recorded.revision);
            let at = at.copied().unwrap_or(recorded.at);
            while let Some((earlier, fact)) = facts.next_if(|(it, _)| *it < at) {
                other(*earlier, fact);
            }
            stored(at, &recorded);
        }
        for (at, fact) in facts {
            other(*at, fact);
        }
        Ok(())
    }
}

/// How long after its worker's death a handler that was about to start may still say so: its guardian kills it then.
const GUARD_MAX: Nanos = 1_000_000_000;

/// A handler that was started before its worker was killed, and said so only after that, started before.
fn antedate(facts: &mut [(Nanos, Fact)]) {
    let mut down: BTreeMap<NodeIx, Nanos> = BTreeMap::new();
    for (at, fact) in facts {
        if let Fact::Booted { node, .. } = fact {
            down.remove(node);
        }
        if let Fact::Down { node, .. } = fact {
            down.insert(*node, *at);
        }
        if let Fact::Started { node, .. } = fact
            && let Some(died) = down.get(node)
            && *at <= died + GUARD_MAX
        {
            *at = died.saturating_sub(1);
        }
    }
}

/// What handlers of one worker did.
fn of_ledger(
    node: NodeIx,
    text: &str,
    runs: &mut u64,
    done: &mut BTreeSet<(TaskId, Fence)>,
) -> anyhow::Result<impl Iterator<Item = (Nanos, Fact)> + use<>> {
    let mut facts = Vec::new();
    let mut open: BTreeMap<(String, u64, u32), (OpId, Nanos)> = BTreeMap::new();
    // The last line may have been cut short with its writer.
    for line in text.split_inclusive('\n').filter(|it| it.ends_with('\n')) {
        let line = Line::parse(line.trim_end()).with_context(|| format!("ledger: {line:?}"))?;
        let key = (line.task.clone(), line.fence, line.process);
        let task: TaskId = line.task.parse()?;
        let fence = Fence(Revision(line.fence));
        match line.mark {
            Mark::Start => {
                *runs += 1;
                let run = OpId(*runs);
                open.insert(key, (run, line.at));
                let fact = Fact::Started {
                    node,
                    run,
                    task,
                    fence,
                    attempt: Attempt(line.attempt),
                    // At least as far as its own claim.
                    view: Some(Revision(line.fence)),
                    given: None,
                };
                facts.push((line.at, fact));
            }
            Mark::Beat => {
                let (_, last) = open.get_mut(&key).context("a beat before its start")?;
                *last = line.at;
            }
            Mark::Done | Mark::Failed => {
                let (run, _) = open.remove(&key).context("an end before its start")?;
                if line.mark == Mark::Done {
                    done.insert((task, fence));
                }
                facts.push((line.at, ended(node, run, task, fence)));
            }
        }
    }
    // Who was killed ended after its last sign of life, nobody knows how long after.
    for ((task, fence, _), (run, last)) in open {
        let fence = Fence(Revision(fence));
        facts.push((last, ended(node, run, task.parse()?, fence)));
    }
    Ok(facts.into_iter())
}

fn ended(node: NodeIx, run: OpId, task: TaskId, fence: Fence) -> Fact {
    Fact::HandlerEnded {
        node,
        run,
        task,
        fence,
    }
}

/// What a first look at the history finds.
#[derive(Debug, Default)]
struct Index {
    told: BTreeMap<u64, Nanos>,
    created: BTreeMap<TaskId, u64>,
    /// The body that each idempotency key first came with.
    bodies: BTreeMap<String, Arc<str>>,
}

impl Index {
    fn of(history: History) -> anyhow::Result<Self> {
        let mut index = Self::default();
        for (recorded, due) in history.zip(2..) {
            let recorded = recorded?;
            let revision = recorded.revision;
            ensure!(revision == due, "revision {revision} follows {}", due - 1);
            index.told.insert(recorded.revision, recorded.at);
            for written in recorded.writes.iter().filter(|it| it.version == 1) {
                match Meaning::of(&Key::from_store(written.key.as_str())) {
                    // A task that was placed by its submission has its claim only.
                    Meaning::Task(id) | Meaning::Claim(_, Place { task: id, .. }) => {
                        index.created.entry(id).or_insert(recorded.revision);
                    }
                    Meaning::Unique => {
                        let value = written.value.clone().unwrap_or_default().into_bytes();
                        let record = UniqueRecord::decode(&Value::from(value))?;
                        let body = index.bodies.entry(written.key.clone());
                        body.or_insert(record.body);
                    }
                    Meaning::Outcome(_)
                    | Meaning::Run(_)
                    | Meaning::Dead(..)
                    | Meaning::Delayed(..)
                    | Meaning::Entry(..)
                    | Meaning::QueueConfig(_)
                    | Meaning::NodeConfig(_)
                    | Meaning::LockWaiter(..)
                    | Meaning::JanitorWaiter(_)
                    | Meaning::Node(..)
                    | Meaning::Offer(_)
                    | Meaning::Lane(_)
                    | Meaning::FoldedTotals
                    | Meaning::Foreign => {}
                }
            }
        }
        Ok(index)
    }

    /// Only the gateway knows the hash of a body; the clients here never send another with the same key.
    fn fill_bodies(&self, facts: &mut [(Nanos, Fact)]) {
        for (_, fact) in facts {
            let Fact::Asked { request, .. } = fact else {
                continue;
            };
            let Request::Submit(specs) = &mut **request else {
                continue;
            };
            for key in specs.iter_mut().filter_map(|spec| spec.key.as_mut()) {
                if let Some(body) = self.bodies.get(Key::unique(&key.key_hash).as_str()) {
                    key.body_hash = Arc::clone(body);
                }
            }
        }
    }

    /// The earliest time at which each revision is known to have been there.
    fn times(mut self, facts: &[(Nanos, Fact)]) -> BTreeMap<u64, Nanos> {
        let mut shown = |revision: u64, at: Nanos| {
            if let Some(time) = self.told.get_mut(&revision) {
                *time = at.min(*time);
            }
        };
        for (at, fact) in facts {
            if let Fact::Started { fence, .. } = fact {
                shown(fence.0.0, *at);
            }
            if let Fact::Answered { reply, .. } = fact
                && let Reply::Submitted(fates) = &**reply
            {
                for fate in fates {
                    if let Submitted::Accepted { id, .. } | Submitted::Repeated { id } = fate
                        && let Some(revision) = self.created.get(id)
                    {
                        shown(*revision, *at);
                    }
                }
            }
        }
        let mut earliest = Nanos::MAX;
        for time in self.told.values_mut().rev() {
            earliest = earliest.min(*time);
            *time = earliest;
        }
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "0197f5a0-0000-7000-8000-000000000001";

    #[test]
    fn a_handler_that_was_killed_ended_after_its_last_sign_of_life() {
        let ledger = format!("start 5 {TASK} 7 1 99\nbeat 8 {TASK} 7 1 99\nbeat 9 {TASK} 7");
        let facts: Vec<_> = of_ledger(3, &ledger, &mut 0, &mut BTreeSet::new())
            .unwrap()
            .collect();
        let times: Vec<Nanos> = facts.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [5, 8]);
        assert!(matches!(facts[1].1, Fact::HandlerEnded { node: 3, .. }));
    }

    #[test]
    fn a_handler_starts_before_the_death_of_its_worker_or_is_late() {
        let down = Fact::Down {
            node: 0,
            exit: None,
        };
        let ledger = format!("start 20 {TASK} 3 1 99\nstart 2000000000 {TASK} 4 2 100\n");
        let mut done = BTreeSet::new();
        let starts = of_ledger(0, &ledger, &mut 0, &mut done).unwrap();
        let mut facts = vec![(10, down)];
        facts.extend(starts.filter(|(_, it)| matches!(it, Fact::Started { .. })));
        antedate(&mut facts);
        let times: Vec<Nanos> = facts.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [10, 9, 2_000_000_000]);
    }

    #[test]
    fn a_revision_was_there_before_anything_that_shows_it() {
        let index = Index {
            told: [(2, 10), (3, 30), (4, 31)].into(),
            ..Index::default()
        };
        let ledger = format!("start 20 {TASK} 3 1 99\n");
        let facts: Vec<_> = of_ledger(0, &ledger, &mut 0, &mut BTreeSet::new())
            .unwrap()
            .collect();
        let times = index.times(&facts);
        assert_eq!(times, [(2, 10), (3, 20), (4, 31)].into());
    }
}
