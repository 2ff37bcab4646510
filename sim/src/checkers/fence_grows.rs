//! S4: the fences of a task strictly increase, from claim to claim and from start to start. So do those of a lock.

use std::collections::BTreeMap;

use windlass_core::ids::{Fence, TaskId};
use windlass_core::time::Mono;

use super::{Checker, Findings, Rule};
use crate::book::Spot;
use crate::fact::Fact;

/// Remembers the largest fence of each task.
#[derive(Debug, Default)]
pub(super) struct FenceGrows {
    claimed: BTreeMap<TaskId, Fence>,
    started: BTreeMap<TaskId, Fence>,
}

impl Checker for FenceGrows {
    fn rule(&self) -> Rule {
        Rule::S4
    }

    fn name(&self) -> &'static str {
        "fence_grows"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            for step in &revised.steps {
                for spot in &step.after.spots {
                    if let Spot::Claim(claim) = spot
                        && !step.before.spots.iter().any(
                            |before| matches!(before, Spot::Claim(it) if it.fence == claim.fence),
                        )
                    {
                        self.claim(at, step.task, claim.fence, found);
                    }
                }
            }
        }
        if let Fact::Started {
            node, task, fence, ..
        } = fact
        {
            let last = self.started.insert(*task, *fence);
            if let Some(last) = last.filter(|last| last >= fence) {
                let what = format!("{task} was started under fence {fence} after {last}");
                found.add(self, at, Some(*node), Some(*task), what);
            }
        }
    }
}

impl FenceGrows {
    fn claim(&mut self, at: Mono, task: TaskId, fence: Fence, found: &mut Findings) {
        let last = self.claimed.insert(task, fence);
        if let Some(last) = last.filter(|last| *last >= fence) {
            let what = format!("{task} was claimed under fence {fence} after {last}");
            found.add(self, at, None, Some(task), what);
        }
    }
}
