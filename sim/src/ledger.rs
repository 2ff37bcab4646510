//! What handlers did, as a resource outside of the store sees it: it remembers the largest fence of each task, and
//! refuses older ones.

use std::collections::BTreeMap;

use windlass_core::ids::{Fence, TaskId};
use windlass_core::time::Mono;

/// A start of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// When.
    pub at: Mono,
    /// Under which fence.
    pub fence: Fence,
    /// On which node, in the world's numbering.
    pub node: usize,
}

/// Everything that handlers did.
#[derive(Debug, Default)]
pub struct Ledger {
    starts: BTreeMap<TaskId, Vec<Started>>,
    violations: Vec<String>,
    /// Starts under a fence that was older than one that had been seen: this resource did not let them do anything.
    pub refused_stale: u64,
}

impl Ledger {
    /// A handler starts.
    pub fn start(&mut self, at: Mono, task: TaskId, fence: Fence, node: usize) {
        let starts = self.starts.entry(task).or_default();
        if let Some(last) = starts.last() {
            if last.fence == fence {
                self.violations
                    .push(format!("S7: {task} was started twice under fence {fence}"));
            }
            if last.fence > fence {
                self.refused_stale += 1;
                return;
            }
        }
        starts.push(Started { at, fence, node });
    }

    /// The order in which tasks were first started.
    pub fn first_starts(&self) -> Vec<TaskId> {
        let mut firsts: Vec<(Mono, Fence, TaskId)> = self
            .starts
            .iter()
            .filter_map(|(task, starts)| starts.first().map(|it| (it.at, it.fence, *task)))
            .collect();
        firsts.sort();
        firsts.into_iter().map(|(.., task)| task).collect()
    }

    /// Every start of a task.
    pub fn starts_of(&self, task: TaskId) -> &[Started] {
        self.starts.get(&task).map_or(&[], Vec::as_slice)
    }

    /// What must not have happened.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}
