//! S17: a scheduler's view at a revision is what the store held in its range at that revision.
//!
//! No fault suspends it.

use windlass_core::time::Mono;

use super::{Checker, Findings, Rule};
use crate::fact::Fact;

/// Needs no memory: the comparison comes as a fact.
#[derive(Debug, Default)]
pub(super) struct ViewSound;

impl Checker for ViewSound {
    fn rule(&self) -> Rule {
        Rule::S17
    }

    fn name(&self) -> &'static str {
        "view_sound"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Viewed {
            node,
            at: revision,
            difference: Some(difference),
        } = fact
        {
            let what = format!("node {node} at revision {revision}: {difference}");
            found.add(self, at, Some(*node), None, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::History;
    use super::*;

    #[test]
    fn a_view_that_differs_is_found_and_one_that_does_not_is_not() {
        let mut h = History::of(ViewSound);
        let viewed = |difference| Fact::Viewed {
            node: 0,
            at: windlass_core::ids::Revision(7),
            difference,
        };
        h.fact(viewed(None));
        h.assert_clean();
        h.fact(viewed(Some("an entry is missing".to_owned())));
        h.assert_tripped("an entry is missing");
    }
}
