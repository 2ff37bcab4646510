//! How a run ended.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::fault::Kind;
use super::trace::TraceHash;
use crate::report::Verdict;

/// What must not be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// By the store at rest.
    Audit(String),
    /// By what handlers did.
    Ledger(String),
    /// A task was acknowledged and is gone.
    Forgotten(String),
    /// A client was told that a task had ended in one way, and it has ended in another.
    ToldWrong(String),
    /// A call was answered more than once.
    AnsweredTwice {
        /// Whose.
        node: usize,
        /// Which.
        op: u64,
    },
    /// A call was never answered.
    NeverAnswered {
        /// Whose.
        node: usize,
        /// Which.
        op: u64,
    },
    /// A machine or its driver panicked.
    Panic(String),
    /// All was healed, and it did not come to rest.
    NotAtRest(String),
    /// All was healed and at rest, and new work was not done.
    NotServed(String),
    /// Long after that, with nothing to do, something went on that should not.
    Restless(String),
}

impl Violation {
    /// Whether something that should happen did not, rather than the other way round.
    pub fn is_of_liveness(&self) -> bool {
        match self {
            Self::NotAtRest(_) | Self::NotServed(_) | Self::Restless(_) => true,
            Self::Audit(_)
            | Self::Ledger(_)
            | Self::Forgotten(_)
            | Self::ToldWrong(_)
            | Self::AnsweredTwice { .. }
            | Self::NeverAnswered { .. }
            | Self::Panic(_) => false,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audit(text) | Self::Ledger(text) => f.write_str(text),
            Self::Forgotten(text) => write!(f, "S1: {text}"),
            Self::ToldWrong(text) => write!(f, "S12: {text}"),
            Self::AnsweredTwice { node, op } => {
                write!(f, "node {node}: call {op} was answered twice")
            }
            Self::NeverAnswered { node, op } => {
                write!(f, "node {node}: call {op} was never answered")
            }
            Self::Panic(text) => write!(f, "panic: {text}"),
            Self::NotAtRest(text) => write!(f, "L1: not at rest: {text}"),
            Self::Restless(text) => write!(f, "L9: not quiet: {text}"),
            Self::NotServed(text) => write!(f, "L2: new work was not done: {text}"),
        }
    }
}

/// What is told of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it was drawn from.
    pub seed: u64,
    /// How long it lasted, in its own time.
    pub simulated: Duration,
    /// How long it took.
    pub real: Duration,
    /// How many things were noted.
    pub events: u64,
    /// How many tasks there were.
    pub tasks: u64,
    /// How often each kind of fault happened.
    pub faults: BTreeMap<Kind, u64>,
    /// What must not be so.
    pub violations: Vec<Violation>,
    /// Over all that was noted.
    pub trace: TraceHash,
    /// The last lines of the trace.
    pub tail: Vec<String>,
}

impl Report {
    /// What it comes to.
    pub fn verdict(&self) -> Verdict {
        let is_panic = |it: &Violation| matches!(it, Violation::Panic(_));
        if self.violations.is_empty() {
            Verdict::Passed
        } else if self.violations.iter().any(is_panic) {
            Verdict::Panicked
        } else if self.violations.iter().all(Violation::is_of_liveness) {
            Verdict::Liveness
        } else {
            Verdict::Safety
        }
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let faults: BTreeMap<_, _> = self.faults.iter().map(|(k, n)| (k.as_str(), n)).collect();
        let violations: Vec<_> = self.violations.iter().map(ToString::to_string).collect();
        json!({
            "seed": self.seed,
            "simulated_seconds": self.simulated.as_secs_f64(),
            "real_seconds": self.real.as_secs_f64(),
            "events": self.events,
            "tasks": self.tasks,
            "faults": faults,
            "violations": violations,
            "trace": self.trace.to_string(),
        })
    }
}

/// For people: one line when all is well.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: u64 = self.faults.values().sum();
        write!(
            f,
            "seed {}: {:.1} s simulated in {:.2} s, {} events, {} tasks, {faults} faults, trace {}",
            self.seed,
            self.simulated.as_secs_f64(),
            self.real.as_secs_f64(),
            self.events,
            self.tasks,
            self.trace,
        )?;
        if self.violations.is_empty() {
            return Ok(());
        }
        for line in &self.tail {
            write!(f, "\n  {line}")?;
        }
        for violation in &self.violations {
            write!(f, "\nFAILED {violation}")?;
        }
        write!(f, "\nagain: make sim-shell FIRST={} SEEDS=1", self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace::Trace;
    use super::*;

    fn report(violations: Vec<Violation>) -> Report {
        Report {
            seed: 7,
            simulated: Duration::from_secs(60),
            real: Duration::from_millis(10),
            events: 1,
            tasks: 2,
            faults: BTreeMap::from([(Kind::Kill, 3)]),
            violations,
            trace: Trace::default().hash(),
            tail: Vec::new(),
        }
    }

    #[test]
    fn what_happened_wrongly_outweighs_what_did_not_happen() {
        let lost = Violation::Forgotten("a task".to_owned());
        let stuck = Violation::NotAtRest("a task".to_owned());
        assert_eq!(report(vec![]).verdict(), Verdict::Passed);
        assert_eq!(report(vec![stuck.clone()]).verdict(), Verdict::Liveness);
        assert_eq!(report(vec![stuck, lost]).verdict(), Verdict::Safety);
        let panic = Violation::Panic("why".to_owned());
        assert_eq!(report(vec![panic]).verdict(), Verdict::Panicked);
    }

    #[test]
    fn a_failed_run_says_how_it_is_repeated() {
        let text = report(vec![Violation::Panic("why".to_owned())]).to_string();
        assert!(text.contains("FAILED panic: why") && text.contains("FIRST=7 SEEDS=1"));
        assert!(!report(vec![]).to_string().contains('\n'));
    }

    #[test]
    fn programs_read_the_same() {
        let json = report(vec![Violation::Panic("why".to_owned())]).to_json();
        assert_eq!(json["faults"]["kill"], 3);
        assert_eq!(json["violations"][0], "panic: why");
        assert_eq!(json["simulated_seconds"], 60.0);
    }
}
