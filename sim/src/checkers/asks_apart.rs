//! S22: those who lost the same thing do not all ask for it anew at the same moment, again and again: how long a process
//! waits before it asks for a lost watch is drawn anew each time, so that no wait is seen often, to the nanosecond.
//!
//! No fault suspends it.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::time::Mono;

use super::{Checker, Findings, Rule};
use crate::fact::{Fact, NodeIx};

/// Who asks sooner than that does not wait at all.
const WAIT_MIN: Duration = Duration::from_millis(10);
/// How often one wait may come by chance: two of thousands may be the same among millions, three may not.
const SAME_MAX: u32 = 2;

/// Counts how often each wait was seen.
#[derive(Debug, Default)]
pub(super) struct AsksApart {
    waits: BTreeMap<Duration, u32>,
}

impl AsksApart {
    fn again(&mut self, at: Mono, node: NodeIx, waited: Duration, found: &mut Findings) {
        if waited < WAIT_MIN {
            return;
        }
        let seen = self.waits.entry(waited).or_default();
        *seen += 1;
        if *seen == SAME_MAX + 1 {
            let what = format!("{seen} times a lost watch was asked for anew after {waited:?}");
            found.add(self, at, Some(node), None, what);
        }
    }
}

impl Checker for AsksApart {
    fn rule(&self) -> Rule {
        Rule::S22
    }

    fn name(&self) -> &'static str {
        "asks_apart"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::AskedAgain { node, waited } = fact {
            self.again(at, *node, *waited, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::History;
    use super::*;

    fn asks_after(h: &mut History, node: NodeIx, nanos: u64) {
        let waited = Duration::from_nanos(nanos);
        h.fact(Fact::AskedAgain { node, waited });
    }

    #[test]
    fn waits_that_differ_and_no_wait_at_all_are_not_found() {
        let mut h = History::of(AsksApart::default());
        for nanos in 0..100 {
            asks_after(&mut h, 0, 50_000_000 - nanos);
            asks_after(&mut h, 1, 1);
        }
        asks_after(&mut h, 1, 50_000_000);
        h.assert_clean();
    }

    #[test]
    fn one_wait_of_all_is_found() {
        let mut h = History::of(AsksApart::default());
        for node in 0..3 {
            asks_after(&mut h, node, 50_000_000);
        }
        h.assert_tripped("3 times");
    }
}
