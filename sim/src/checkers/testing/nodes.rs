//! What nodes, sessions and handlers do in a synthetic run, and what befalls them.

use std::time::Duration;

use windlass_core::ids::{Attempt, Fence, OpId, TaskId};
use windlass_core::keyspace::Role;
use windlass_core::record::StopReason;

use super::{GIVEN, History};
use crate::fact::{Fact, NodeIx};
use crate::nemesis::FaultKind;

impl History {
    pub(in crate::checkers) fn boot(&mut self, node: NodeIx, role: Role, id: &str, slots: u32) {
        let id = id.parse().unwrap();
        self.fact(Fact::Booted {
            node,
            role,
            id,
            slots,
        });
    }

    pub(in crate::checkers) fn worker(&mut self, node: NodeIx, id: &str) {
        self.boot(node, Role::Worker, id, 2);
        self.session(node, 3_000);
    }

    /// The worker believes that its session lasts so much longer.
    pub(in crate::checkers) fn session(&mut self, node: NodeIx, millis: u64) {
        let until = self.now.after(Duration::from_millis(millis));
        self.fact(Fact::SessionUntil {
            node,
            until,
            lease_until: Some(until),
        });
    }

    pub(in crate::checkers) fn down(&mut self, node: NodeIx) {
        self.fact(Fact::Down { node, exit: None });
    }

    pub(in crate::checkers) fn start(
        &mut self,
        node: NodeIx,
        run: u64,
        task: TaskId,
        fence: Fence,
    ) {
        let attempt = Attempt(1);
        self.start_as(node, run, task, fence, attempt);
    }

    pub(in crate::checkers) fn start_as(
        &mut self,
        node: NodeIx,
        run: u64,
        task: TaskId,
        fence: Fence,
        attempt: Attempt,
    ) {
        self.fact(Fact::Started {
            node,
            run: OpId(run),
            task,
            fence,
            attempt,
            view: Some(fence.0),
            given: Some(GIVEN),
        });
    }

    pub(in crate::checkers) fn handler_ends(
        &mut self,
        node: NodeIx,
        run: u64,
        task: TaskId,
        fence: Fence,
    ) {
        self.fact(Fact::HandlerEnded {
            node,
            run: OpId(run),
            task,
            fence,
        });
    }

    pub(in crate::checkers) fn order_stop(&mut self, node: NodeIx, run: u64) {
        self.fact(Fact::StopOrdered {
            node,
            run: OpId(run),
            reason: StopReason::Fenced,
        });
    }

    pub(in crate::checkers) fn fault(&mut self, kind: FaultKind, node: Option<NodeIx>, lasts: u64) {
        let until = self.now.after(Duration::from_millis(lasts));
        self.fact(Fact::Fault { kind, node, until });
    }
}
