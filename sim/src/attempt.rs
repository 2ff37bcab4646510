//! A run whose panics are violations like others.

use std::panic::{AssertUnwindSafe, catch_unwind};

use windlass_core::time::Mono;

use crate::checkers::{Rule, Violation};
use crate::fact::Fact;
use crate::report::Report;
use crate::runner::{Runner, Watch};
use crate::scenario::Scenario;
use crate::trace::Line;

/// A run, told.
#[derive(Debug)]
pub struct Told {
    /// How it ended.
    pub report: Report,
    /// The end of its trace, in words.
    pub lines: Vec<Line>,
    /// Every fact, in order.
    pub facts: Vec<(Mono, Fact)>,
}

/// Runs a scenario.
pub fn attempt(scenario: &Scenario) -> Report {
    attempt_told(scenario, Watch::default()).report
}

/// Runs a scenario with checkers that always say that all is well.
pub fn attempt_silenced(scenario: &Scenario) -> Report {
    let watch = Watch {
        silenced: true,
        ..Watch::default()
    };
    attempt_told(scenario, watch).report
}

/// Runs a scenario, watched as closely as wanted.
pub fn attempt_told(scenario: &Scenario, watch: Watch) -> Told {
    let mut runner = Runner::new(scenario, watch);
    // What a panic leaves behind is only looked at.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| runner.run())) {
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a machine panicked without a word")
            .to_owned();
        let at = runner.world.now().mono;
        let checker = "no_panic".to_owned();
        runner.found.push(Violation {
            rule: Rule::Panic,
            checker,
            at,
            node: None,
            task: None,
            what,
        });
    }
    runner.take_rest();
    let lines = runner.world.trace.lines().cloned().collect();
    let facts = std::mem::take(&mut runner.facts);
    Told {
        report: runner.report(),
        lines,
        facts,
    }
}
