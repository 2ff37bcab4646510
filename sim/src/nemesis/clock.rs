//! Faults of one node's clocks.

use std::time::Duration;

use windlass_core::time::Millis;

use super::{FaultKind, drift_kind};
use crate::fact::NodeIx;
use crate::world::{Happening, World};

impl World {
    pub(super) fn jump_wall(&mut self, node: NodeIx, by_ms: i64) {
        // Nobody sets it right before the end of the faults.
        let until = self.now().mono.after(Duration::from_secs(3_600));
        self.hit(FaultKind::JumpWall, Some(node), until);
        self.nodes[node].clock.jump(by_ms);
    }

    pub(super) fn begin_drift(&mut self, node: NodeIx, ppm: i32, lasts: Millis) {
        let until = self.now().mono.after(lasts.into());
        self.hit(drift_kind(ppm), Some(node), until);
        self.set_drift(node, ppm);
        self.schedule(until, Happening::EndDrift { node });
    }

    /// The node's clocks run with this error from now on, and its timers follow.
    pub(crate) fn set_drift(&mut self, node: NodeIx, ppm: i32) {
        let now = self.now().mono;
        self.nodes[node].clock.drift(now, ppm);
        self.tell_session(node);
        self.nodes[node].wake_at = Some(now);
        self.schedule(now, Happening::Wake { node });
    }
}
