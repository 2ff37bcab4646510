//! How a run ended, and what many runs amount to.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::checkers::{Rule, Violation};
use crate::marks::Mark;
use crate::nemesis::FaultKind;
use crate::trace::TraceHash;

/// How a run, or many, ended; the number is the exit code of `windlass-sim`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verdict {
    /// Nothing wrong was found.
    Passed = 0,
    /// The command line makes no sense.
    Usage = 2,
    /// Something happened that may not.
    Safety = 10,
    /// Something did not happen that must.
    Liveness = 11,
    /// The same scenario ran differently.
    NotDeterministic = 12,
    /// The simulator proved nothing: a fault kind or a mark was never hit, or it went wrong itself.
    Harness = 13,
    /// A machine panicked.
    Panicked = 101,
}

impl Verdict {
    /// The verdict that a broken rule means.
    pub fn of(rule: Rule) -> Self {
        if rule == Rule::Panic {
            Self::Panicked
        } else if rule == Rule::Harness {
            Self::Harness
        } else if rule.is_liveness() {
            Self::Liveness
        } else {
            Self::Safety
        }
    }

    /// The exit code.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// How one run ended.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was broken, in order.
    pub violations: Vec<Violation>,
    /// The hash of all that happened.
    pub trace: TraceHash,
    /// How many things happened.
    pub events: u64,
    /// How many tasks the store accepted.
    pub tasks: u64,
    /// How much time passed within, in milliseconds.
    pub simulated_ms: u64,
    /// How often each kind of fault had an effect.
    pub faults: BTreeMap<FaultKind, u64>,
    /// How often each remarkable thing happened.
    pub marks: BTreeMap<Mark, u64>,
}

impl Report {
    /// The verdict: the first violation's.
    pub fn verdict(&self) -> Verdict {
        self.violations
            .first()
            .map_or(Verdict::Passed, |first| Verdict::of(first.rule))
    }
}

/// What many runs amount to: printed as one JSON object.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// How many seeds were run.
    pub seeds: u64,
    /// How much time passed within all runs.
    pub simulated_seconds: f64,
    /// How long it took, by the clock on the wall.
    pub real_seconds: f64,
    /// How many things happened.
    pub events: u64,
    /// How many tasks the stores accepted.
    pub tasks: u64,
    /// How often each kind of fault had an effect, those without any included.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each remarkable thing happened, those that never did included.
    pub marks: BTreeMap<&'static str, u64>,
    /// How many seeds were run twice, to compare.
    pub repeated: u64,
    /// Everything that was broken.
    pub violations: Vec<Failure>,
    /// All traces in one hash, in the order of seeds.
    pub trace: TraceHash,
}

/// A seed that failed.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// The rule that was broken first.
    pub rule: Rule,
    /// What happened, for people.
    pub what: String,
    /// The exit code that it means.
    pub code: u8,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            seeds: 0,
            simulated_seconds: 0.0,
            real_seconds: 0.0,
            events: 0,
            tasks: 0,
            faults: FaultKind::ALL
                .iter()
                .map(|kind| (kind.as_str(), 0))
                .collect(),
            marks: Mark::ALL.iter().map(|mark| (mark.as_str(), 0)).collect(),
            repeated: 0,
            violations: Vec::new(),
            trace: TraceHash(0),
        }
    }
}

impl Summary {
    /// Adds the run of a seed. Runs must be added in the order of their seeds.
    pub fn add(&mut self, seed: u64, report: &Report) {
        self.seeds += 1;
        self.simulated_seconds += report.simulated_ms as f64 / 1_000.0;
        self.events += report.events;
        self.tasks += report.tasks;
        for (kind, count) in &report.faults {
            *self.faults.entry(kind.as_str()).or_default() += count;
        }
        for (mark, count) in &report.marks {
            *self.marks.entry(mark.as_str()).or_default() += count;
        }
        self.trace = TraceHash(self.trace.0.rotate_left(1) ^ report.trace.0);
        if let Some(first) = report.violations.first() {
            self.violations.push(Failure {
                seed,
                rule: first.rule,
                what: first.to_string(),
                code: Verdict::of(first.rule).code(),
            });
        }
    }

    /// The verdict: the gravest of all seeds, or that nothing was proved.
    pub fn verdict(&self, enough: u64) -> Verdict {
        let codes = [
            Verdict::Panicked,
            Verdict::Safety,
            Verdict::Liveness,
            Verdict::NotDeterministic,
            Verdict::Harness,
        ];
        let found = codes.into_iter().find(|verdict| {
            self.violations
                .iter()
                .any(|failure| failure.code == verdict.code())
        });
        match found {
            Some(verdict) => verdict,
            None if self.seeds >= enough && !self.never().is_empty() => Verdict::Harness,
            None => Verdict::Passed,
        }
    }

    /// The faults and marks that were never hit.
    pub fn never(&self) -> Vec<&'static str> {
        let all = self.faults.iter().chain(&self.marks);
        all.filter(|(_, count)| **count == 0)
            .map(|(name, _)| *name)
            .collect()
    }
}
