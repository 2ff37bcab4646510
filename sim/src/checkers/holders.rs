//! What two checkers remember of handlers: of which attempt each is, where it runs, and when it ended.

use std::collections::BTreeMap;

use windlass_core::ids::{Fence, OpId, TaskId};
use windlass_core::time::Mono;

use crate::fact::{Fact, NodeIx};

/// One start of a handler.
#[derive(Debug, Clone, Copy)]
pub(super) struct HandlerLife {
    pub(super) node: NodeIx,
    /// `None` while it runs.
    pub(super) ended: Option<Mono>,
}

/// Every handler that was ever started.
#[derive(Debug, Default)]
pub(super) struct Holders {
    running: BTreeMap<(NodeIx, OpId), (TaskId, Fence)>,
    lives: BTreeMap<(TaskId, Fence), HandlerLife>,
}

impl Holders {
    /// The attempt of a handler that runs.
    pub(super) fn attempt(&self, node: NodeIx, run: OpId) -> Option<(TaskId, Fence)> {
        self.running.get(&(node, run)).copied()
    }

    /// The handler of an attempt, if it was started.
    pub(super) fn life_of(&self, task: TaskId, fence: Fence) -> Option<HandlerLife> {
        self.lives.get(&(task, fence)).copied()
    }

    fn end(&mut self, at: Mono, node: NodeIx, run: OpId) {
        let attempt = self.running.remove(&(node, run));
        if let Some(life) = attempt.and_then(|attempt| self.lives.get_mut(&attempt)) {
            life.ended = Some(at);
        }
    }

    /// Takes note of a fact.
    pub(super) fn observe(&mut self, at: Mono, fact: &Fact) {
        if let Fact::Started {
            node,
            run,
            task,
            fence,
            ..
        } = fact
        {
            self.running.insert((*node, *run), (*task, *fence));
            let (node, ended) = (*node, None);
            let life = HandlerLife { node, ended };
            self.lives.insert((*task, *fence), life);
        }
        if let Fact::HandlerEnded { node, run, .. } = fact {
            self.end(at, *node, *run);
        }
        if let Fact::Down { node, .. } = fact {
            let all = self.running.range((*node, OpId(0))..(*node + 1, OpId(0)));
            let runs: Vec<OpId> = all.map(|((_, run), _)| *run).collect();
            runs.into_iter().for_each(|run| self.end(at, *node, run));
        }
    }
}
