//! L8: a node that is told to leave leaves within its grace, by itself, with nothing left undone.
//!
//! Suspended for a node that a fault concerned, or everybody, or all gateways of a worker that talks to those only, between a
//! lease's time before it was told and its end.

use std::collections::BTreeSet;
use std::time::Duration;

use windlass_core::machine::Exit;
use windlass_core::time::Mono;

use super::roster::Roster;
use super::{Checker, Findings, Rule, Terms};
use crate::fact::{Fact, NodeIx};

/// Remembers who was told to leave.
#[derive(Debug)]
pub(super) struct GracefulStop {
    ttl: Duration,
    grace: Duration,
    roster: Roster,
    reported: BTreeSet<NodeIx>,
}

impl GracefulStop {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            ttl: Duration::from_millis(terms.ttl_ms),
            grace: Duration::from_millis(terms.drain_max_ms),
            roster: Roster::default(),
            reported: BTreeSet::new(),
        }
    }

    /// Looks at how a node left, or that it did not.
    fn judge(&self, at: Mono, node: NodeIx, exit: Option<Option<Exit>>) -> Option<String> {
        let told = self.roster.get(node)?.draining?;
        if self.roster.worker_hurt_until(node).after(self.ttl) > told {
            return None;
        }
        let took = at.since(told);
        if took > self.grace {
            return Some(format!("is leaving for {} ms", took.as_millis()));
        }
        match exit? {
            Some(Exit::Drained) => None,
            Some(other) => Some(format!("left as {other:?}")),
            None => Some("ended while it was leaving".to_owned()),
        }
    }
}

impl Checker for GracefulStop {
    fn rule(&self) -> Rule {
        Rule::L8
    }

    fn name(&self) -> &'static str {
        "graceful_stop"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Down { node, exit } = fact
            && let Some(why) = self.judge(at, *node, Some(*exit))
        {
            let what = format!("node {node} {why}");
            found.add(self, at, Some(*node), None, what);
        }
        if let Fact::Booted { .. }
        | Fact::Down { .. }
        | Fact::Frozen { .. }
        | Fact::Thawed { .. }
        | Fact::Draining { .. }
        | Fact::Fault { .. } = fact
        {
            self.roster.observe(at, fact);
        }
    }

    fn finish(&mut self, at: Mono, found: &mut Findings) {
        let up = self.roster.iter().filter(|(_, member)| member.up);
        let late: Vec<(NodeIx, String)> = up
            .filter_map(|(node, _)| Some((node, self.judge(at, node, None)?)))
            .collect();
        for (node, why) in late {
            if self.reported.insert(node) {
                let what = format!("node {node} {why}");
                found.add(self, at, Some(node), None, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::keyspace::Role;

    use super::super::testing::{History, TERMS};
    use super::*;
    use crate::nemesis::FaultKind;

    fn leaving() -> History {
        let mut h = History::of(GracefulStop::new(&TERMS));
        h.pass(10_000);
        h.worker(0, "w1");
        h.fact(Fact::Draining { node: 0 });
        h
    }

    fn exit(h: &mut History, exit: Option<Exit>) {
        h.fact(Fact::Down { node: 0, exit });
    }

    #[test]
    fn a_node_that_leaves_within_its_grace_is_graceful() {
        let mut h = leaving();
        h.pass(TERMS.drain_max_ms);
        exit(&mut h, Some(Exit::Drained));
        h.finish();
        h.assert_clean();
    }

    #[test]
    fn a_node_that_leaves_otherwise_or_not_at_all_is_found() {
        let mut h = leaving();
        exit(&mut h, Some(Exit::Deposed));
        h.assert_tripped("left as Deposed");
        let mut h = leaving();
        h.pass(TERMS.drain_max_ms + 1);
        h.finish();
        h.assert_tripped("is leaving for");
    }

    #[test]
    fn a_worker_that_talks_to_gateways_needs_one_that_was_spared() {
        // Of two processes of one name only one serves, and it may be the one that was hurt.
        for (second, hurt, clean) in [
            ("s2", false, false),
            ("s2", true, true),
            ("s1", false, true),
        ] {
            let mut h = History::of(GracefulStop::new(&TERMS));
            h.boot(1, Role::Scheduler, "s1", 0);
            h.boot(2, Role::Scheduler, second, 0);
            h.pass(10_000);
            h.worker(0, "remote-1");
            h.fault(FaultKind::DelayWatch, Some(1), 5_000);
            if hurt {
                h.fault(FaultKind::DelayWatch, Some(2), 5_000);
            }
            h.fact(Fact::Draining { node: 0 });
            exit(&mut h, Some(Exit::Deposed));
            if clean {
                h.assert_clean();
            } else {
                h.assert_tripped("left as Deposed");
            }
        }
    }

    #[test]
    fn a_node_that_a_fault_concerned_may_leave_as_it_can() {
        let mut h = leaving();
        h.fault(FaultKind::CutBoth, Some(0), 1_000);
        exit(&mut h, Some(Exit::Deposed));
        h.assert_clean();
    }
}
