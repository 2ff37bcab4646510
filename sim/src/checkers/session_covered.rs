//! S3, the ground it stands on: a worker's session is over before its lease may end, by what the store has granted.
//!
//! Judged whenever a worker learns of a renewal, and when its clock changes its rate. Suspended for a worker whose lease was
//! ended early (`ExpireLease`, `ExpireAll`), until its process ends, and for one whose clock ran wrong by more than the
//! margin (`Drift`), until two of its sessions later: nothing could tell them.

use std::time::Duration;

use windlass_core::time::Mono;

use super::roster::Roster;
use super::{Checker, Findings, Rule, Terms};
use crate::fact::{Fact, NodeIx};

/// Remembers who was meddled with.
#[derive(Debug)]
pub(super) struct SessionCovered {
    ttl: Duration,
    roster: Roster,
}

impl SessionCovered {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            ttl: Duration::from_millis(terms.ttl_ms),
            roster: Roster::default(),
        }
    }

    fn judge(
        &self,
        at: Mono,
        node: NodeIx,
        until: Mono,
        lease_until: Option<Mono>,
        found: &mut Findings,
    ) {
        let excused = self.roster.get(node).is_none_or(|member| {
            let drifted = member.drifts_until;
            let drifted = drifted.is_some_and(|end| at < end.after(self.ttl * 2));
            member.cast_out || drifted || !member.up
        });
        if excused || until <= at || lease_until.is_some_and(|end| until <= end) {
            return;
        }
        let what = match lease_until {
            Some(end) => format!(
                "node {node} believes in its session for {} ms more than its lease lasts",
                until.since(end).as_millis()
            ),
            None => format!("node {node} believes in its session, and its lease has ended"),
        };
        found.add(self, at, Some(node), None, what);
    }
}

impl Checker for SessionCovered {
    fn rule(&self) -> Rule {
        Rule::S3
    }

    fn name(&self) -> &'static str {
        "session_covered"
    }

    fn hears_traffic(&self) -> bool {
        true
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        self.roster.observe(at, fact);
        if let Fact::SessionUntil {
            node,
            until,
            lease_until,
        } = fact
        {
            self.judge(at, *node, *until, *lease_until, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{History, TERMS};
    use super::*;
    use crate::nemesis::FaultKind;

    /// A worker that believes in its session for three seconds, and whose lease lasts for so many milliseconds.
    fn renewed(h: &mut History, lease_ms: Option<u64>) {
        let after = |ms| h.now.after(Duration::from_millis(ms));
        let (until, lease_until) = (after(3_000), lease_ms.map(after));
        h.fact(Fact::SessionUntil {
            node: 0,
            until,
            lease_until,
        });
    }

    #[test]
    fn a_session_within_its_lease_is_sound() {
        let mut h = History::of(SessionCovered::new(&TERMS));
        h.worker(0, "w1");
        renewed(&mut h, Some(3_000));
        h.assert_clean();
        renewed(&mut h, Some(2_990));
        h.assert_tripped("for 10 ms more");
        renewed(&mut h, None);
        h.assert_tripped("its lease has ended");
    }

    #[test]
    fn whose_lease_was_ended_early_could_not_know() {
        let mut h = History::of(SessionCovered::new(&TERMS));
        h.worker(0, "w1");
        h.fault(FaultKind::ExpireLease, Some(0), 0);
        renewed(&mut h, None);
        h.assert_clean();
        h.down(0);
        h.worker(0, "w1");
        renewed(&mut h, None);
        h.assert_tripped("its lease has ended");
    }
}
