//! S14: a worker runs no more handlers at a time than it has slots; a scheduler runs none.
//!
//! No fault suspends it: what a handler holds, whatever became of its claim, is a slot.

use std::collections::BTreeMap;

use windlass_core::time::Mono;

use super::{Checker, Findings, Rule};
use crate::fact::{Fact, NodeIx};

/// Counts the handlers of each process.
#[derive(Debug, Default)]
pub(super) struct SlotsKept {
    nodes: BTreeMap<NodeIx, (u32, u32)>,
}

impl Checker for SlotsKept {
    fn rule(&self) -> Rule {
        Rule::S14
    }

    fn name(&self) -> &'static str {
        "slots_kept"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Booted { node, slots, .. } = fact {
            self.nodes.insert(*node, (*slots, 0));
        }
        if let Fact::Down { node, .. } = fact {
            self.nodes.remove(node);
        }
        if let Fact::HandlerEnded { node, .. } = fact
            && let Some((_, running)) = self.nodes.get_mut(node)
        {
            *running = running.saturating_sub(1);
        }
        if let Fact::Started { node, task, .. } = fact {
            let (slots, running) = self.nodes.entry(*node).or_default();
            *running += 1;
            if running > slots {
                let what = format!("node {node} runs {running} handlers in {slots} slots");
                found.add(self, at, Some(*node), Some(*task), what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::History;
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_its_handler_ends_or_its_process_does() {
        let mut h = History::of(SlotsKept::default());
        h.worker(0, "w1");
        let task = h.submit(None);
        let fence = h.dispatch(task, "w1");
        h.start(0, 1, task, fence);
        h.start(0, 2, task, fence);
        h.handler_ends(0, 1, task, fence);
        h.start(0, 3, task, fence);
        h.down(0);
        h.worker(0, "w1");
        h.start(0, 1, task, fence);
        h.start(0, 2, task, fence);
        h.assert_clean();
    }

    #[test]
    fn a_third_handler_in_two_slots_is_found() {
        let mut h = History::of(SlotsKept::default());
        h.worker(0, "w1");
        let task = h.submit(None);
        let fence = h.dispatch(task, "w1");
        for run in 1..=3 {
            h.start(0, run, task, fence);
        }
        h.assert_tripped("3 handlers in 2 slots");
    }
}
