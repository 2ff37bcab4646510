//! S15, of the janitor's lock: ended tasks are removed and totals folded only by the scheduler process whose key is the
//! first in the line of that lock, in the store's eyes.
//!
//! No fault suspends it.

use std::collections::BTreeMap;

use windlass_core::ids::{NodeId, Revision};
use windlass_core::keyspace::{Key, Meaning};
use windlass_core::time::Mono;

use super::rows::{is_foreign, is_node, writer_of};
use super::{Checker, Findings, Rule};
use crate::book::{Other, Revised, TaskStep};
use crate::fact::Fact;

/// Remembers who is in line.
#[derive(Debug, Default)]
pub(super) struct JanitorAlone {
    line: BTreeMap<NodeId, Revision>,
}

/// What only the janitor does, if the revision did any of it.
fn duty_of(revised: &Revised) -> Option<&'static str> {
    let purged = |step: &TaskStep| {
        !is_foreign(step) && step.before.record.is_some() && step.after.record.is_none()
    };
    if revised.steps.iter().any(purged) {
        return Some("removed a task");
    }
    let folds = |key: &Key| Meaning::of(key) == Meaning::FoldedTotals;
    revised.others.iter().find_map(|other| match other {
        Other::Lane { key, .. } if folds(key) => Some("folded totals"),
        Other::Node { .. }
        | Other::Offer { .. }
        | Other::Waiter { .. }
        | Other::Unique { .. }
        | Other::Lane { .. }
        | Other::Queue { .. }
        | Other::Orders { .. }
        | Other::Foreign { .. } => None,
    })
}

impl JanitorAlone {
    fn judge(&self, at: Mono, revised: &Revised, found: &mut Findings) {
        let (Some(duty), Some((writer, _))) = (duty_of(revised), writer_of(revised)) else {
            return;
        };
        let holder = self.line.iter().min_by_key(|(_, created)| **created);
        if !holder.is_some_and(|(holder, _)| is_node(holder, writer)) {
            let holder = holder.map_or("nobody", |(holder, _)| holder.as_str());
            let what = format!("{writer} {duty}, and the janitor's lock is {holder}'s");
            found.add(self, at, None, None, what);
        }
    }
}

impl Checker for JanitorAlone {
    fn rule(&self) -> Rule {
        Rule::S15
    }

    fn name(&self) -> &'static str {
        "janitor_alone"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        let Fact::Stored(revised) = fact else {
            return;
        };
        self.judge(at, revised, found);
        for other in &revised.others {
            if let Other::Waiter {
                lock: None,
                waiter,
                life,
            } = other
            {
                match life {
                    Some(life) => drop(self.line.insert(waiter.clone(), life.created)),
                    None => drop(self.line.remove(waiter)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::History;
    use super::*;

    fn ended() -> (History, windlass_core::ids::TaskId) {
        let mut h = History::of(JanitorAlone::default());
        let task = h.submit(None);
        h.cancel_waiting(task);
        (h, task)
    }

    #[test]
    fn the_first_in_line_removes_tasks() {
        let (mut h, task) = ended();
        h.janitor("s1", Some(1));
        h.janitor("s2", Some(2));
        h.purge(task);
        h.assert_clean();
    }

    #[test]
    fn nobody_else_does() {
        for line in [&[][..], &["s2"], &["s2", "s1"]] {
            let (mut h, task) = ended();
            for (lease, waiter) in (1..).zip(line) {
                h.janitor(waiter, Some(lease));
            }
            h.purge(task);
            h.assert_tripped("removed a task");
        }
    }

    #[test]
    fn who_has_left_the_line_does_not_either() {
        let (mut h, task) = ended();
        h.janitor("s1", Some(1));
        h.janitor("s1", None);
        h.purge(task);
        h.assert_tripped("lock is nobody's");
    }
}
