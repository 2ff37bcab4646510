//! Cutting a failing scenario down to what it needs to fail: parts are taken out as long as the same rule is broken.

use windlass_core::time::Millis;

use crate::attempt::attempt;
use crate::checkers::Rule;
use crate::report::Report;
use crate::scenario::{Act, Part, Scenario};

/// A scenario that was cut down.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// What is left.
    pub scenario: Scenario,
    /// How many runs it took.
    pub runs: usize,
}

/// Cuts `scenario` down as long as it breaks `rule` first, in at most `tries` runs.
pub fn shrink(scenario: &Scenario, rule: Rule, tries: usize) -> Shrunk {
    shrink_by(scenario, rule, tries, attempt)
}

fn shrink_by(
    scenario: &Scenario,
    rule: Rule,
    tries: usize,
    run: impl Fn(&Scenario) -> Report,
) -> Shrunk {
    let mut search = Search {
        best: scenario.clone(),
        rule,
        runs: 0,
        tries,
        run,
    };
    search.cut_short();
    while search.round() {}
    search.cut_short();
    Shrunk {
        scenario: search.best,
        runs: search.runs,
    }
}

struct Search<F> {
    best: Scenario,
    rule: Rule,
    runs: usize,
    tries: usize,
    run: F,
}

impl<F: Fn(&Scenario) -> Report> Search<F> {
    /// Takes `less` if it fails the same way.
    fn takes(&mut self, less: Option<Scenario>) -> bool {
        let Some(less) = less else {
            return false;
        };
        if self.runs >= self.tries {
            return false;
        }
        self.runs += 1;
        let same = (self.run)(&less)
            .violations
            .first()
            .is_some_and(|it| it.rule == self.rule);
        if same {
            self.best = less;
        }
        same
    }

    /// Tries every part once. Says whether anything could be taken out.
    fn round(&mut self) -> bool {
        let before = self.runs;
        let mut smaller = self.takes(self.best.without(Part::Rudeness));
        for node in (0..self.best.nodes()).rev() {
            smaller |= self.takes(self.best.without(Part::Node(node)));
        }
        smaller |= self.thin(|best| best.acts.len(), Part::Acts);
        smaller |= self.thin(|best| best.faults.len(), Part::Faults);
        smaller |= self.thin(
            |best| best.broken.len(),
            |from, count| {
                debug_assert!(count > 0);
                Part::Broken(from)
            },
        );
        smaller |= self.thin_tasks();
        smaller && self.runs > before && self.runs < self.tries
    }

    /// Takes out pieces, large ones first.
    fn thin(
        &mut self,
        len: impl Fn(&Scenario) -> usize,
        part: impl Fn(usize, usize) -> Part,
    ) -> bool {
        let mut smaller = false;
        let mut size = len(&self.best).max(1);
        loop {
            let mut from = 0;
            while from < len(&self.best) {
                if self.takes(self.best.without(part(from, size))) {
                    smaller = true;
                } else {
                    from += size;
                }
            }
            if size == 1 {
                return smaller;
            }
            size /= 2;
        }
    }

    fn thin_tasks(&mut self) -> bool {
        let mut smaller = false;
        for act in 0..self.best.acts.len() {
            let mut task = tasks_of(&self.best, act);
            while task > 0 {
                task -= 1;
                smaller |= self.takes(self.best.without(Part::Task(act, task)));
            }
        }
        smaller
    }

    /// Ends the faults as early as the failure allows.
    fn cut_short(&mut self) {
        let last = self
            .best
            .acts
            .iter()
            .map(|it| it.at)
            .chain(self.best.faults.iter().map(|it| it.at))
            .max();
        let last = last.unwrap_or(Millis::ZERO);
        let safety = Millis::new(last.get() + 1);
        if safety < self.best.safety {
            let less = Scenario {
                safety,
                ..self.best.clone()
            };
            self.takes(Some(less));
        }
    }
}

fn tasks_of(scenario: &Scenario, act: usize) -> usize {
    match scenario.acts.get(act).map(|it| &it.what) {
        Some(Act::Submit { tasks, .. }) => tasks.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::time::Mono;

    use super::*;
    use crate::checkers::Violation;
    use crate::nemesis::{Fault, FaultKind};

    fn report(rules: &[Rule]) -> Report {
        let violation = |rule: &Rule| Violation {
            rule: *rule,
            checker: "test".into(),
            at: Mono::ZERO,
            node: None,
            task: None,
            what: String::new(),
        };
        Report {
            violations: rules.iter().map(violation).collect(),
            trace: Default::default(),
            events: 0,
            tasks: 0,
            simulated_ms: 0,
            faults: Default::default(),
            marks: Default::default(),
        }
    }

    fn crashes(scenario: &Scenario) -> usize {
        scenario
            .faults
            .iter()
            .filter(|it| matches!(it.what, Fault::Crash { .. }))
            .count()
    }

    #[test]
    fn only_what_the_failure_needs_is_left() {
        let whole = (0..)
            .map(Scenario::of_seed)
            .find(|it| {
                let times = it.faults.iter().map(|fault| fault.at);
                let last = times.chain(it.acts.iter().map(|act| act.at)).max();
                crashes(it) > 2
                    && it.acts.len() > 5
                    && last < Some(Millis::new(it.safety.get() - 1))
            })
            .unwrap();
        // A bug that needs two crashes and one act.
        let small = shrink_by(&whole, Rule::S1, 10_000, |scenario| {
            let fails = crashes(scenario) >= 2 && !scenario.acts.is_empty();
            report(if fails { &[Rule::S1] } else { &[] })
        });
        assert_eq!(
            (small.scenario.faults.len(), small.scenario.acts.len()),
            (2, 1)
        );
        let named = small.scenario.faults.iter().filter_map(|it| it.what.node());
        let named: std::collections::BTreeSet<usize> = named.collect();
        assert!(
            small.scenario.nodes() <= 2 + named.len(),
            "of each role one, and those that crash"
        );
        assert!(
            small
                .scenario
                .faults
                .iter()
                .all(|it| it.what.kind() == FaultKind::Crash)
        );
        assert!(tasks_of(&small.scenario, 0) <= 1 && small.scenario.safety < whole.safety);
    }

    #[test]
    fn another_failure_is_not_the_same_failure() {
        let whole = (0..)
            .map(Scenario::of_seed)
            .find(|it| crashes(it) > 2)
            .unwrap();
        let small = shrink_by(&whole, Rule::S1, 10_000, |scenario| {
            report(if crashes(scenario) > 2 {
                &[Rule::S1]
            } else {
                &[Rule::S3]
            })
        });
        assert_eq!(crashes(&small.scenario), 3);
    }

    #[test]
    fn it_ends_after_as_many_runs_as_it_was_given() {
        let whole = Scenario::of_seed(1);
        let small = shrink_by(&whole, Rule::S1, 3, |_| report(&[Rule::S1]));
        assert_eq!(small.runs, 3);
    }
}
