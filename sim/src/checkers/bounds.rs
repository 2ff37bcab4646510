//! S22: transactions stay within what a store takes, no read asks for more than a store should have to answer at once,
//! no input has more effects than a driver should have to queue, beside one for each request that waits for its reply,
//! and who has nothing to do asks for little: at rest a node sends its reports, and hardly anything besides.
//!
//! No fault suspends the first two. At rest there is no fault, and rest begins two lifetimes of a lease after the phase
//! does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windlass_core::gateway::RequestId;
use windlass_core::store::{OPS_MAX, TXN_BYTES_MAX};
use windlass_core::time::Mono;

use super::{Checker, Findings, Rule, Terms};
use crate::fact::{Fact, NodeIx, Phase};

/// How many effects one input may have: as many as `core`'s own tests of machines allow.
const EFFECTS_MAX: usize = 200;
/// How many keys a read may ask for: the longest are those of the lanes of every node, for the totals.
const READ_MAX: u32 = 100_000;
/// Over what time transactions are counted at rest.
const WINDOW: Duration = Duration::from_secs(5);
/// How many transactions a node may send in a window at rest, beside its reports and what changes tasks.
const SPARE: u64 = 20;

/// Remembers what was sent in the present window.
#[derive(Debug)]
pub(super) struct Bounds {
    ttl: Duration,
    rests_from: Option<Mono>,
    window: Mono,
    sent: BTreeMap<NodeIx, u64>,
    /// Requests without a reply. What an input answers is answered after it is counted.
    open: BTreeMap<NodeIx, BTreeSet<RequestId>>,
    /// Revisions of the window that changed tasks.
    changed: u64,
}

impl Bounds {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            ttl: Duration::from_millis(terms.ttl_ms),
            rests_from: None,
            window: Mono::ZERO,
            sent: BTreeMap::new(),
            open: BTreeMap::new(),
            changed: 0,
        }
    }

    /// Reports go out six times in a lease's time; twice as many may, when some are repeated.
    fn idle_max(&self) -> u64 {
        let reports = WINDOW.as_millis() * 12 / self.ttl.as_millis().max(1);
        u64::try_from(reports).unwrap_or(u64::MAX) + SPARE
    }

    fn count_open(&mut self, fact: &Fact) {
        if let Fact::Asked { id, node, .. } = fact {
            self.open.entry(*node).or_default().insert(*id);
        }
        if let Fact::Answered { id, node, .. } = fact
            && let Some(open) = self.open.get_mut(node)
        {
            open.remove(id);
        }
        if let Fact::Down { node, .. } = fact {
            self.open.remove(node);
        }
    }

    fn roll(&mut self, at: Mono) {
        if self.window.after(WINDOW) <= at {
            self.window = at;
            self.sent.clear();
            self.changed = 0;
        }
    }

    fn idle(&mut self, at: Mono, node: NodeIx, found: &mut Findings) {
        if self.rests_from.is_none_or(|from| from > at) {
            return;
        }
        self.roll(at);
        let most = self.idle_max() + self.changed;
        let sent = self.sent.entry(node).or_default();
        *sent += 1;
        if *sent == most + 1 {
            let seconds = WINDOW.as_secs();
            let what = format!("node {node} sent {sent} transactions in {seconds} s at rest");
            found.add(self, at, Some(node), None, what);
        }
    }
}

impl Checker for Bounds {
    fn rule(&self) -> Rule {
        Rule::S22
    }

    fn name(&self) -> &'static str {
        "bounds"
    }

    fn hears_traffic(&self) -> bool {
        true
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        self.count_open(fact);
        if let Fact::Handled { node, effects } = fact
            && *effects > EFFECTS_MAX + self.open.get(node).map_or(0, BTreeSet::len)
        {
            let what = format!("node {node} wants {effects} things after one input");
            found.add(self, at, Some(*node), None, what);
        }
        if let Fact::Read { node, limit } = fact
            && *limit > READ_MAX
        {
            let what = format!("node {node} asks for {limit} keys at once");
            found.add(self, at, Some(*node), None, what);
        }
        if let Fact::Sent {
            node,
            guards,
            writes,
            bytes,
        } = fact
        {
            if *guards > OPS_MAX || *writes > OPS_MAX || *bytes > TXN_BYTES_MAX {
                let what =
                    format!("a transaction of {guards} guards, {writes} writes and {bytes} bytes");
                found.add(self, at, Some(*node), None, what);
            }
            self.idle(at, *node, found);
        }
        if let Fact::Stored(revised) = fact
            && !revised.steps.is_empty()
            && self.rests_from.is_some()
        {
            self.roll(at);
            self.changed += 1;
        }
        if let Fact::Phase(phase) = fact {
            self.rests_from = (*phase == Phase::Rest).then(|| at.after(self.ttl * 2));
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::gateway::{Reply, Request};

    use super::super::testing::{History, TERMS};
    use super::*;

    fn sent(h: &mut History, writes: usize, bytes: usize) {
        h.fact(Fact::Sent {
            node: 0,
            guards: 1,
            writes,
            bytes,
        });
    }

    #[test]
    fn what_is_within_every_bound_is_not_found() {
        let mut h = History::of(Bounds::new(&TERMS));
        sent(&mut h, OPS_MAX, TXN_BYTES_MAX);
        h.fact(Fact::Read {
            node: 0,
            limit: READ_MAX,
        });
        h.fact(Fact::Handled {
            node: 0,
            effects: EFFECTS_MAX,
        });
        h.ask(1, Request::Stats);
        h.fact(Fact::Handled {
            node: 0,
            effects: EFFECTS_MAX + 1,
        });
        h.answer(1, Reply::Done);
        h.fact(Fact::Phase(Phase::Rest));
        h.pass(6_000);
        for _ in 0..100 {
            sent(&mut h, 1, 1);
            h.pass(500);
        }
        h.assert_clean();
    }

    #[test]
    fn a_transaction_or_an_answer_beyond_its_bound_is_found() {
        let mut h = History::of(Bounds::new(&TERMS));
        sent(&mut h, OPS_MAX + 1, 1);
        h.assert_tripped("129 writes");
        sent(&mut h, 1, TXN_BYTES_MAX + 1);
        h.assert_tripped("bytes");
        h.ask(1, Request::Stats);
        h.answer(1, Reply::Done);
        h.fact(Fact::Handled {
            node: 0,
            effects: EFFECTS_MAX + 1,
        });
        h.assert_tripped("wants 201 things");
        h.fact(Fact::Read {
            node: 0,
            limit: READ_MAX + 1,
        });
        h.assert_tripped("100001 keys");
    }

    #[test]
    fn who_has_nothing_to_do_and_is_busy_is_found() {
        let mut h = History::of(Bounds::new(&TERMS));
        h.fact(Fact::Phase(Phase::Rest));
        h.pass(6_000);
        for _ in 0..100 {
            sent(&mut h, 1, 1);
            h.pass(10);
        }
        h.assert_tripped("at rest");
    }
}
