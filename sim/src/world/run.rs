//! Letting time pass, until something holds or for a while.

use std::time::Duration;

use windlass_core::gateway::{Reply, Request};

use super::{NodeIx, World};

impl World {
    /// Runs until `until` holds, at most for `span`. Says whether it holds.
    pub fn run_until(&mut self, span: Duration, mut until: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now.after(span);
        loop {
            if until(self) {
                return true;
            }
            if self.next().is_none_or(|at| at > end) {
                self.now = end;
                return until(self);
            }
            self.step();
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(span, |_| false);
    }

    /// Asks, and runs until there is a reply.
    pub fn ask(&mut self, node: NodeIx, request: Request) -> Reply {
        let id = self.request(node, request);
        let answered = self.run_until(Duration::from_secs(120), |world| {
            world.replies.contains_key(&id)
        });
        assert!(answered, "a request is always answered");
        self.replies.remove(&id).expect("it was there a line ago")
    }
}
