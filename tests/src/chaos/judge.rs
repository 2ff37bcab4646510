//! Judges a recorded run with the simulator's own checkers, and measures it.
//!
//! What real processes do not tell, no checker can hold against them: see [`NOT_JUDGED`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use windlass_sim::book::{Book, Ending, Life, Other, Revised};
use windlass_sim::checkers::{self, Checkers, Findings, Rule, Terms, Violation};
use windlass_sim::core::gateway::{Reply, Submitted};
use windlass_sim::core::ids::{Fence, LeaseId, TaskId};
use windlass_sim::core::keyspace::{Key, Meaning, Role};
use windlass_sim::core::record::{NodeRecord, Record as _, Totals};
use windlass_sim::core::store::Value;
use windlass_sim::core::time::{Millis, Mono};
use windlass_sim::fact::{Fact, NodeIx};
use windlass_sim::scenario::REQUEST_BYTES_MAX;

use super::clock::Nanos;
use super::cluster::{RETENTION, TTL};
use super::history::Recorded;
use super::losses::Losses;
use super::nemesis::LEAVE_MAX;
use super::timeline::{Meta, Timeline};

/// Which rules are judged only in part, or not at all, and why.
pub const NOT_JUDGED: &[&str] = &[
    "S3: sessions are taken to last as long as their process, so that every overlap of handlers counts; stops that were \
     ordered are not told, nor needed",
    "S16: a lease is known from its first key on; its grant is not seen",
    "S17: views are not compared, only how far they are (L7)",
    "S22, L6: what processes send, read and are refused is not told; etcd's own limits hold",
    "session_covered: what a worker believes of its session is not told",
    "S8: only that what was acknowledged is not `not found`",
];

/// How long everything may take to end once all is healed.
pub const END_MAX: Duration = Duration::from_secs(120);

/// What a run was like.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What was wrong.
    pub violations: Vec<Violation>,
    /// Tasks that somebody was told are accepted.
    pub acknowledged: usize,
    /// Outcomes that were written, ever.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// The totals of all lanes at the end.
    pub totals: Totals,
    /// Tasks that completed in exactly one outcome.
    pub completed_once: usize,
    /// Handlers that started.
    pub starts: u64,
    /// Revisions.
    pub revisions: u64,
    /// From the loss of a worker to a new claim of what it held.
    pub losses: Losses,
}

/// Judges what lies in a run's folder.
///
/// # Errors
/// When it is not whole.
pub fn judge(folder: &Path) -> anyhow::Result<Verdict> {
    judge_told(&Timeline::read(folder)?)
}

/// Judges what was recorded.
///
/// # Errors
/// When the history cannot be read.
pub fn judge_told(timeline: &Timeline) -> anyhow::Result<Verdict> {
    let court = RefCell::new(Court::new(timeline));
    timeline.tell(
        |at, recorded| court.borrow_mut().stored(at, recorded),
        |at, fact| court.borrow_mut().other(at, fact),
    )?;
    Ok(court.into_inner().close(&timeline.meta))
}

/// The terms of a run.
fn terms(meta: &Meta) -> Terms {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Terms {
        ttl_ms: millis(TTL),
        end_max_ms: millis(END_MAX),
        losses_max: 10,
        // Both clocks were read one after the other, and cut to milliseconds.
        epoch_ms: meta.epoch_ms + 3,
        retention_ms: millis(RETENTION),
        drain_max_ms: millis(LEAVE_MAX),
        claim_wait_max_ms: 10_000,
        advice_max_ms: 0,
        request_bytes_max: REQUEST_BYTES_MAX,
    }
}

struct Court<'a> {
    begun: Nanos,
    done: &'a BTreeSet<(TaskId, Fence)>,
    book: Book,
    checkers: Checkers,
    found: Findings,
    leases: BTreeSet<LeaseId>,
    names: BTreeMap<String, NodeIx>,
    acknowledged: BTreeSet<TaskId>,
    completed: BTreeMap<TaskId, u64>,
    lanes: BTreeMap<Key, Totals>,
    verdict: Verdict,
}

impl<'a> Court<'a> {
    fn new(timeline: &'a Timeline) -> Self {
        Self {
            begun: timeline.meta.begun,
            done: &timeline.done,
            book: Book::default(),
            checkers: Checkers::new(checkers::all(&terms(&timeline.meta))),
            found: Findings::default(),
            leases: BTreeSet::new(),
            names: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            completed: BTreeMap::new(),
            lanes: BTreeMap::new(),
            verdict: Verdict::default(),
        }
    }

    fn mono(&self, at: Nanos) -> Mono {
        Mono::from_nanos(at.saturating_sub(self.begun))
    }

    fn show(&mut self, at: Nanos, fact: &Fact) {
        let at = self.mono(at);
        self.checkers.observe(at, fact, &mut self.found);
    }

    fn stored(&mut self, at: Nanos, recorded: &Recorded) {
        let edits = recorded.edits();
        let revised = self
            .book
            .revise(windlass_sim::core::ids::Revision(recorded.revision), &edits);
        for lease in leases(&revised) {
            if self.leases.insert(lease) {
                let ttl = Millis::from_secs(TTL.as_secs());
                self.show(at, &Fact::Leased { lease, ttl });
            }
        }
        self.count(at, &revised);
        self.verdict.losses.stored(at, &revised);
        self.show(at, &Fact::Stored(revised));
        self.views(at, recorded);
    }

    /// How far schedulers say that they are.
    fn views(&mut self, at: Nanos, recorded: &Recorded) {
        for written in &recorded.writes {
            let meaning = Meaning::of(&Key::from_store(written.key.as_str()));
            if let (Meaning::Node(Role::Scheduler, id), Some(value)) = (meaning, &written.value)
                && let Some(node) = self.names.get(id.as_str()).copied()
                && let Ok(record) = NodeRecord::decode(&Value::from(value.clone().into_bytes()))
            {
                let fact = Fact::Viewed {
                    node,
                    at: record.view,
                    difference: None,
                };
                self.show(at, &fact);
            }
        }
    }

    fn count(&mut self, at: Nanos, revised: &Revised) {
        self.verdict.revisions = revised.at.0;
        for other in &revised.others {
            if let Other::Lane { key, lane } = other {
                match lane {
                    Some((_, totals)) => drop(self.lanes.insert(key.clone(), *totals)),
                    None => drop(self.lanes.remove(key)),
                }
            }
        }
        for step in &revised.steps {
            let Some(end) = step
                .after
                .end
                .as_ref()
                .filter(|it| it.written == revised.at)
            else {
                continue;
            };
            let name = match end.how {
                Ending::Completed => "completed",
                Ending::Failed => "failed",
                Ending::Cancelled => "cancelled",
            };
            *self.verdict.outcomes.entry(name).or_default() += 1;
            if end.how == Ending::Completed {
                let by = end.fence.map(|fence| (step.task, fence));
                if by.is_none_or(|by| !self.done.contains(&by)) {
                    let what = format!("{} completed, and no handler did it", step.task);
                    let at = self.mono(at);
                    self.found.push(violation(Rule::S6, at, what));
                }
                *self.completed.entry(step.task).or_default() += 1;
            }
        }
    }

    fn other(&mut self, at: Nanos, fact: &Fact) {
        match fact {
            Fact::Booted { node, id, .. } => {
                self.names.insert(id.as_str().to_owned(), *node);
            }
            Fact::Started { .. } => self.verdict.starts += 1,
            Fact::Answered { reply, .. } => {
                if let Reply::Submitted(fates) = &**reply {
                    for fate in fates {
                        if let Submitted::Accepted { id, .. } | Submitted::Repeated { id } = fate {
                            self.acknowledged.insert(*id);
                        }
                    }
                }
            }
            Fact::LeaseEnded { lease } if !self.leases.contains(lease) => return,
            Fact::LeaseEnded { .. }
            | Fact::Stored(_)
            | Fact::Leased { .. }
            | Fact::Down { .. }
            | Fact::Frozen { .. }
            | Fact::Thawed { .. }
            | Fact::Draining { .. }
            | Fact::SessionUntil { .. }
            | Fact::StopOrdered { .. }
            | Fact::HandlerEnded { .. }
            | Fact::Locked { .. }
            | Fact::Unlocked { .. }
            | Fact::Asked { .. }
            | Fact::Handled { .. }
            | Fact::Sent { .. }
            | Fact::Read { .. }
            | Fact::Decided { .. }
            | Fact::Viewed { .. }
            | Fact::Room { .. }
            | Fact::Repaired { .. }
            | Fact::AskedAgain { .. }
            | Fact::Fault { .. }
            | Fact::Phase(_) => {}
        }
        self.verdict.losses.other(at, fact);
        if let Fact::Fault { kind, node, until } = fact {
            // Noted on the machine's clock, judged on the run's.
            let until = self.mono(until.as_nanos());
            let (kind, node) = (*kind, *node);
            self.show(at, &Fact::Fault { kind, node, until });
        } else {
            self.show(at, fact);
        }
    }

    fn close(mut self, meta: &Meta) -> Verdict {
        let end = self.mono(meta.over);
        // One that came and went between two looks at the list was seen by its keys only.
        for lease in std::mem::take(&mut self.leases) {
            if !meta.leases.contains(&lease.0) {
                self.show(meta.over, &Fact::LeaseEnded { lease });
            }
        }
        self.checkers.finish(end, &mut self.found);
        let mut verdict = self.verdict;
        verdict.acknowledged = self.acknowledged.len();
        verdict.completed_once = self.completed.values().filter(|it| **it == 1).count();
        for totals in self.lanes.values() {
            verdict.totals.add(totals);
        }
        verdict.violations = self.found.into_violations();
        let counted = &meta.stats["tasks"];
        for (name, ever) in [
            ("completed", verdict.totals.completed),
            ("failed", verdict.totals.failed),
            ("cancelled", verdict.totals.cancelled),
            ("total", verdict.totals.accepted),
        ] {
            let recount = match name {
                "total" => verdict.totals.accepted,
                name => verdict.outcomes.get(name).copied().unwrap_or_default(),
            };
            if counted[name] != recount || ever != recount {
                let what = format!(
                    "{name}: the gateway says {}, the lanes {ever}, a recount {recount}",
                    counted[name]
                );
                verdict.violations.push(violation(Rule::S10, end, what));
            }
        }
        verdict
    }
}

/// A violation that no checker of the simulator found.
pub fn violation(rule: Rule, at: Mono, what: String) -> Violation {
    Violation {
        rule,
        checker: "chaos".to_owned(),
        at,
        node: None,
        task: None,
        what,
    }
}

fn leases(revised: &Revised) -> impl Iterator<Item = LeaseId> {
    revised.others.iter().filter_map(|other| match other {
        Other::Node { life, .. } | Other::Offer { life, .. } | Other::Waiter { life, .. } => {
            life.as_ref().and_then(|Life { lease, .. }| *lease)
        }
        Other::Unique { .. }
        | Other::Lane { .. }
        | Other::Queue { .. }
        | Other::Orders { .. }
        | Other::Foreign { .. } => None,
    })
}
