//! What people and scripts are told at the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use windlass_sim::checkers::{Rule, Violation};
use windlass_sim::core::time::Mono;

use super::judge::{self, NOT_JUDGED, Verdict};
use super::plan::Kind;
use super::run::{self, Options, Ran};

/// From so long a run on every possible fault must have been hit.
const LONG: Duration = Duration::from_secs(900);

/// Some durations, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// The middle.
    pub p50: u64,
    /// The 99th of a hundred.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

impl Spread {
    /// Of these.
    pub fn of(mut measured: Vec<Duration>) -> Self {
        measured.sort_unstable();
        let at = |permille: usize| {
            let last = measured.len().saturating_sub(1);
            let found = measured.get(last * permille / 1_000).copied();
            u64::try_from(found.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
        };
        Self {
            count: measured.len(),
            p50: at(500),
            p99: at(990),
            max: at(1_000),
        }
    }
}

/// A run in figures.
#[derive(Debug, Serialize)]
#[allow(
    missing_docs,
    reason = "the names say it, and `Verdict` and `Ran` say more"
)]
pub struct Report {
    pub seed: u64,
    pub members: usize,
    pub fault_seconds: u64,
    pub tasks_a_second: u64,
    pub faults: BTreeMap<Kind, u64>,
    pub faults_impossible: BTreeMap<Kind, String>,
    pub faults_not_hit: Vec<Kind>,
    pub faults_failed: Vec<String>,
    pub acknowledged: usize,
    pub accepted: u64,
    pub completed: u64,
    pub completed_once: usize,
    pub failed: u64,
    pub cancelled: u64,
    pub rerun: u64,
    pub retried: u64,
    pub handed_back: u64,
    pub lost: u64,
    pub put_off_by_clocks: u64,
    pub refused_stale: u64,
    pub handlers_started: u64,
    pub revisions: u64,
    pub store_bytes_max: i64,
    pub reclaim_killed_ms: Spread,
    pub reclaim_killed_alone_ms: Spread,
    pub reclaim_frozen_ms: Spread,
    pub reclaim_frozen_alone_ms: Spread,
    pub submit_ms: Spread,
    pub converged_ms: u128,
    pub answers: BTreeMap<String, BTreeMap<String, u64>>,
    pub error_rate_percent: f64,
    pub exits: BTreeMap<String, u64>,
    pub error_lines: u64,
    pub not_judged: &'static [&'static str],
    pub violations: Vec<Violation>,
}

impl Report {
    /// Judges a run, and puts all together.
    ///
    /// # Errors
    /// When the records are not whole.
    pub fn of(options: &Options, ran: Ran) -> anyhow::Result<Self> {
        let mut verdict = judge::judge(&options.folder)?;
        let (panics, error_lines) = run::logs(&options.folder)?;
        let noted = panics.into_iter().map(|it| (Rule::Panic, it));
        let seen = ran.seen.violations.iter().map(|it| (Rule::S18, it.clone()));
        for (rule, what) in noted.chain(seen) {
            let violation = judge::violation(rule, Mono::ZERO, what);
            verdict.violations.push(violation);
        }
        let (kinds, _) = run::possible(options.members, run::clock_library().as_deref());
        let not_hit = kinds
            .into_iter()
            .filter(|it| !ran.done.hits.contains_key(it));
        let not_hit: Vec<Kind> = not_hit.collect();
        let incomplete = !not_hit.is_empty() || ran.impossible.contains_key(&Kind::JumpClock);
        if options.lasts >= LONG && incomplete {
            let what = format!("never hit: {not_hit:?}; impossible: {:?}", ran.impossible);
            let violation = judge::violation(Rule::Harness, Mono::ZERO, what);
            verdict.violations.push(violation);
        }
        Ok(Self::new(options, ran, verdict, not_hit, error_lines))
    }

    fn new(
        options: &Options,
        ran: Ran,
        verdict: Verdict,
        faults_not_hit: Vec<Kind>,
        error_lines: u64,
    ) -> Self {
        let outcome = |name| verdict.outcomes.get(name).copied().unwrap_or_default();
        let faults = Kind::ALL.map(|it| (it, ran.done.hits.get(&it).copied().unwrap_or_default()));
        let mut answers: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for ((what, status), count) in &ran.seen.statuses {
            let status = match status {
                0 => "none".to_owned(),
                status => status.to_string(),
            };
            answers
                .entry((*what).to_owned())
                .or_default()
                .insert(status, *count);
        }
        Self {
            seed: options.seed,
            members: options.members,
            fault_seconds: options.lasts.as_secs(),
            tasks_a_second: options.rate,
            faults: faults.into(),
            faults_impossible: ran.impossible,
            faults_not_hit,
            faults_failed: ran.done.failed,
            acknowledged: verdict.acknowledged,
            accepted: verdict.totals.accepted,
            completed: outcome("completed"),
            completed_once: verdict.completed_once,
            failed: outcome("failed"),
            cancelled: outcome("cancelled"),
            rerun: verdict.totals.rerun,
            retried: verdict.totals.retried,
            handed_back: verdict.totals.handed_back,
            lost: verdict.totals.lost,
            put_off_by_clocks: ran.put_off,
            refused_stale: verdict.totals.refused_stale,
            handlers_started: verdict.starts,
            revisions: verdict.revisions,
            store_bytes_max: ran.store_size_max,
            reclaim_killed_ms: Spread::of(verdict.losses.killed),
            reclaim_killed_alone_ms: Spread::of(verdict.losses.killed_alone),
            reclaim_frozen_ms: Spread::of(verdict.losses.frozen),
            reclaim_frozen_alone_ms: Spread::of(verdict.losses.frozen_alone),
            submit_ms: Spread::of(ran.seen.latencies),
            converged_ms: ran.converged.as_millis(),
            error_rate_percent: error_rate(&ran.seen.statuses),
            answers,
            exits: ran
                .exits
                .iter()
                .map(|((node, code), count)| (format!("{node}: {code}"), *count))
                .collect(),
            error_lines,
            not_judged: NOT_JUDGED,
            violations: verdict.violations,
        }
    }

    /// For people.
    pub fn text(&self, folder: &Path) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        let mut lines = Vec::new();
        for (name, value) in value.as_object().into_iter().flatten() {
            if name != "violations" {
                lines.push(format!("{name:32} {value}"));
            }
        }
        for violation in &self.violations {
            lines.push(format!("VIOLATION {violation}"));
        }
        if self.violations.is_empty() {
            lines.push("no violations".to_owned());
        } else {
            let (seed, seconds) = (self.seed, self.fault_seconds);
            let (members, rate) = (self.members, self.tasks_a_second);
            let folder = folder.display();
            lines.push(format!(
                "records are kept in {folder}; judge them again: windlass-chaos judge {folder}"
            ));
            lines.push(format!("the same plan again: windlass-chaos run --seed {seed} --seconds {seconds} --members {members} --rate {rate}"));
        }
        lines.join("\n")
    }
}

/// The share of submissions that were not answered with what became of them.
#[allow(clippy::cast_precision_loss, reason = "for people")]
fn error_rate(statuses: &BTreeMap<(&'static str, u16), u64>) -> f64 {
    let submits = statuses.iter().filter(|((what, _), _)| *what == "submit");
    let (mut all, mut bad) = (0, 0);
    for ((_, status), count) in submits {
        all += count;
        bad += if matches!(status, 200 | 201) {
            0
        } else {
            *count
        };
    }
    bad as f64 * 100.0 / (all.max(1) as f64)
}
