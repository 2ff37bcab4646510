//! A run as a picture: nodes as lanes, claims and handlers as bars, faults shaded, the violation marked.

mod page;

use std::collections::BTreeMap;

use windlass_core::ids::{Fence, OpId, TaskId};
use windlass_core::keyspace::Role;
use windlass_core::time::Mono;

use crate::book::{Claim, Revised, Spot};
use crate::checkers::Violation;
use crate::fact::{Fact, NodeIx, Phase};
use crate::report::Report;
use crate::scenario::Scenario;

/// The whole run as one HTML page that needs nothing else.
pub fn html(name: &str, scenario: &Scenario, facts: &[(Mono, Fact)], report: &Report) -> String {
    page::html(name, scenario, &Timeline::new(facts), report)
}

/// What a bar shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shade {
    /// The process runs.
    Up,
    /// The process is frozen.
    Frozen,
    /// The worker believes that its session lasts.
    Session,
    /// The node has a claim.
    Claim,
    /// A handler runs.
    Handler,
    /// Something is broken.
    Fault,
}

/// A span of time on one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bar {
    /// On which node; `None` for the store.
    node: Option<NodeIx>,
    from: Mono,
    to: Mono,
    shade: Shade,
    label: String,
}

/// A moment on one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tick {
    node: Option<NodeIx>,
    at: Mono,
    label: String,
}

/// Everything that is drawn.
#[derive(Debug, Default)]
struct Timeline {
    /// Names and roles of nodes, by number.
    nodes: BTreeMap<NodeIx, (Role, String)>,
    bars: Vec<Bar>,
    ticks: Vec<Tick>,
    phases: Vec<(Mono, Phase)>,
    end: Mono,
    up: BTreeMap<NodeIx, Mono>,
    frozen: BTreeMap<NodeIx, Mono>,
    sessions: BTreeMap<NodeIx, (Mono, Mono)>,
    claims: BTreeMap<(TaskId, Fence), (Option<NodeIx>, Mono)>,
    handlers: BTreeMap<(NodeIx, OpId), (Mono, TaskId, Fence)>,
}

impl Timeline {
    fn new(facts: &[(Mono, Fact)]) -> Self {
        let mut it = Self::default();
        for (at, fact) in facts {
            it.end = it.end.max(*at);
            it.observe(*at, fact);
        }
        it.close();
        it
    }

    fn observe(&mut self, at: Mono, fact: &Fact) {
        match fact {
            Fact::Booted { node, role, id, .. } => {
                self.nodes.insert(*node, (*role, id.to_string()));
                self.up.insert(*node, at);
            }
            Fact::Down { node, exit } => {
                let why = exit.map_or_else(|| "crash".to_owned(), |exit| format!("{exit:?}"));
                self.tick(Some(*node), at, why);
                self.down(*node, at);
            }
            Fact::Frozen { node } => {
                self.frozen.insert(*node, at);
            }
            Fact::Thawed { node } => self.thaw(*node, at),
            Fact::SessionUntil { node, until, .. } => self.session(*node, at, *until),
            Fact::Started {
                node,
                run,
                task,
                fence,
                ..
            } => {
                self.handlers.insert((*node, *run), (at, *task, *fence));
            }
            Fact::HandlerEnded { node, run, .. } => self.end_handler(*node, *run, at),
            Fact::StopOrdered { node, reason, .. } => {
                self.tick(Some(*node), at, format!("stop: {reason:?}"))
            }
            Fact::Draining { node } => self.tick(Some(*node), at, "told to leave".to_owned()),
            Fact::Fault { kind, node, until } => {
                let (from, to) = (at, (*until).max(at));
                self.bar(*node, from, to, Shade::Fault, kind.as_str().to_owned());
            }
            Fact::Stored(revised) => self.stored(at, revised),
            Fact::Phase(phase) => self.phases.push((at, *phase)),
            Fact::Leased { .. }
            | Fact::LeaseEnded { .. }
            | Fact::Locked { .. }
            | Fact::Unlocked { .. }
            | Fact::Asked { .. }
            | Fact::Answered { .. }
            | Fact::Handled { .. }
            | Fact::Sent { .. }
            | Fact::Read { .. }
            | Fact::Decided { .. }
            | Fact::Viewed { .. }
            | Fact::Room { .. }
            | Fact::Repaired { .. }
            | Fact::AskedAgain { .. } => {}
        }
    }

    fn stored(&mut self, at: Mono, revised: &Revised) {
        for step in &revised.steps {
            let claim = |spots: &[Spot]| {
                spots.iter().find_map(|spot| match spot {
                    Spot::Claim(claim) => Some(claim.clone()),
                    Spot::Entry { .. } | Spot::Delayed { .. } | Spot::Unreadable { .. } => None,
                })
            };
            let (before, after) = (claim(&step.before.spots), claim(&step.after.spots));
            if let Some(gone) =
                before.filter(|old| after.as_ref().is_none_or(|new| new.fence != old.fence))
            {
                self.end_claim(step.task, gone.fence, at);
            }
            if let Some(Claim { worker, fence, .. }) = after {
                let node = self
                    .nodes
                    .iter()
                    .find(|(_, (_, id))| *id == worker.as_str())
                    .map(|(node, _)| *node);
                self.claims.entry((step.task, fence)).or_insert((node, at));
            }
        }
    }

    fn bar(&mut self, node: Option<NodeIx>, from: Mono, to: Mono, shade: Shade, label: String) {
        self.bars.push(Bar {
            node,
            from,
            to,
            shade,
            label,
        });
    }

    fn tick(&mut self, node: Option<NodeIx>, at: Mono, label: String) {
        self.ticks.push(Tick { node, at, label });
    }

    fn down(&mut self, node: NodeIx, at: Mono) {
        self.thaw(node, at);
        if let Some(from) = self.up.remove(&node) {
            self.bar(Some(node), from, at, Shade::Up, "runs".to_owned());
        }
        if let Some((from, until)) = self.sessions.remove(&node) {
            self.bar(
                Some(node),
                from,
                until.min(at),
                Shade::Session,
                "session".to_owned(),
            );
        }
        let runs: Vec<OpId> = self
            .handlers
            .keys()
            .filter(|(it, _)| *it == node)
            .map(|(_, run)| *run)
            .collect();
        for run in runs {
            self.end_handler(node, run, at);
        }
    }

    fn thaw(&mut self, node: NodeIx, at: Mono) {
        if let Some(from) = self.frozen.remove(&node) {
            self.bar(Some(node), from, at, Shade::Frozen, "frozen".to_owned());
        }
    }

    /// Sessions that follow each other are one bar.
    fn session(&mut self, node: NodeIx, at: Mono, until: Mono) {
        match self.sessions.get_mut(&node) {
            Some((_, ends)) if *ends >= at => *ends = (*ends).max(until),
            _ => {
                if let Some((from, ended)) = self.sessions.insert(node, (at, until)) {
                    self.bar(
                        Some(node),
                        from,
                        ended,
                        Shade::Session,
                        "session".to_owned(),
                    );
                }
            }
        }
    }

    fn end_handler(&mut self, node: NodeIx, run: OpId, at: Mono) {
        if let Some((from, task, fence)) = self.handlers.remove(&(node, run)) {
            self.bar(
                Some(node),
                from,
                at,
                Shade::Handler,
                format!("handler of {task}, fence {fence}"),
            );
        }
    }

    fn end_claim(&mut self, task: TaskId, fence: Fence, at: Mono) {
        if let Some((node, from)) = self.claims.remove(&(task, fence)) {
            self.bar(
                node,
                from,
                at,
                Shade::Claim,
                format!("claim of {task}, fence {fence}"),
            );
        }
    }

    /// What is still open when the run ends.
    fn close(&mut self) {
        let end = self.end;
        let claims: Vec<_> = self.claims.keys().copied().collect();
        for (task, fence) in claims {
            self.end_claim(task, fence, end);
        }
        let up: Vec<NodeIx> = self.up.keys().copied().collect();
        for node in up {
            self.down(node, end);
        }
    }
}

/// Which lane a violation belongs to, and when it was.
fn place_of(violation: &Violation) -> (Option<NodeIx>, Mono) {
    (violation.node, violation.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::attempt_told;
    use crate::checkers::Rule;
    use crate::runner::Watch;

    #[test]
    fn a_run_becomes_a_page_that_needs_nothing_else() {
        let scenario = Scenario::of_seed(3);
        let told = attempt_told(
            &scenario,
            Watch {
                lines_max: 0,
                keep_facts: true,
                silenced: false,
            },
        );
        let mut report = told.report;
        report.violations.push(Violation {
            rule: Rule::S4,
            checker: "fence_grows".into(),
            at: Mono::from_nanos(2_000_000_000),
            node: Some(1),
            task: None,
            what: "5 < 7 & \"more\"".into(),
        });
        let page = html("seed-3", &scenario, &told.facts, &report);
        for part in [
            "<svg",
            "s0",
            "w0",
            "class=\"claim\"",
            "class=\"violation\"",
            "5 &lt; 7 &amp; ",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for leak in [
            "http://www.w3.org/2000/svg\" src",
            "<script src",
            "<link",
            "@import",
        ] {
            assert!(!page.contains(leak), "{leak}");
        }
    }

    #[test]
    fn what_is_open_at_the_end_is_drawn_to_the_end() {
        let at = |seconds: u64| Mono::from_nanos(seconds * 1_000_000_000);
        let facts = [
            (
                at(1),
                Fact::Booted {
                    node: 0,
                    role: Role::Worker,
                    id: "w".parse().unwrap(),
                    slots: 1,
                },
            ),
            (at(2), Fact::Frozen { node: 0 }),
            (at(5), Fact::Phase(Phase::Rest)),
        ];
        let timeline = Timeline::new(&facts);
        let spans: Vec<_> = timeline
            .bars
            .iter()
            .map(|bar| (bar.shade, bar.from, bar.to))
            .collect();
        assert_eq!(
            spans,
            [(Shade::Frozen, at(2), at(5)), (Shade::Up, at(1), at(5))]
        );
    }
}
