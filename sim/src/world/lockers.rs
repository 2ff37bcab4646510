//! Simulated handlers that take a lock: `lock` says which, `ms` for how long. With `wait_ms` they do not wait longer than
//! that for it; with `early_ms` they give it back and go on for so long without it; with `deaf_ms` they take so long to stop.

use std::time::Duration;

use windlass_core::ids::{Fence, LockAsk, LockName, OpId};
use windlass_core::time::Mono;
use windlass_core::worker::RunEvent;

use super::handlers::{MOMENT, argument};
use super::{Happening, NodeIx, World};
use crate::fact::Fact;

/// Their task type.
pub(super) const LOCKER: &str = "locker";

/// The one question of each.
const ASK: LockAsk = LockAsk(0);

/// How far such a handler is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locker {
    Begins,
    /// It waits for the lock, until then at most.
    Waits(Option<Mono>),
    /// It holds the lock until then.
    Holds(Mono),
    /// It does not get the lock.
    Refused,
    /// It goes on without the lock, until then.
    GoesOn(Mono),
}

/// A few locks, which clients take as well.
fn lock_name(nth: u64) -> LockName {
    let name = format!("lock-{nth}");
    name.parse().expect("a legal name")
}

impl World {
    /// Lets a handler that is about a lock do what it does next. Says whether that is anything but its end.
    pub(super) fn locker_goes_on(&mut self, node: NodeIx, life: u64, run: OpId) -> bool {
        let now = self.now;
        let Some(handler) = self.handlers.get_mut(&(node, life, run)) else {
            return false;
        };
        if handler.stopped.is_some() {
            // Somebody told it to end, though it may have gone on for a while.
            return false;
        }
        let start = &handler.start;
        let next = match handler.locker {
            None | Some(Locker::Refused) => return false,
            Some(Locker::Begins) => {
                let wait = argument(start, "wait_ms", 0);
                let until = (wait > 0).then(|| now.after(Duration::from_millis(wait)));
                let lock = lock_name(argument(start, "lock", 0));
                handler.locker = Some(Locker::Waits(until));
                self.say(node, run, RunEvent::Lock { ask: ASK, lock });
                until
            }
            Some(Locker::Waits(Some(until))) if until <= now => {
                self.unlock(node, run);
                return false;
            }
            Some(Locker::Holds(until)) if until <= now => {
                let early = argument(start, "early_ms", 0);
                if early == 0 {
                    return false;
                }
                let end = now.after(Duration::from_millis(early));
                handler.locker = Some(Locker::GoesOn(end));
                self.unlock(node, run);
                Some(end)
            }
            Some(Locker::GoesOn(until)) if until <= now => return false,
            Some(Locker::Waits(_) | Locker::Holds(_) | Locker::GoesOn(_)) => None,
        };
        if let Some(at) = next {
            self.schedule(at, Happening::HandlerActs { node, life, run });
        }
        true
    }

    fn unlock(&mut self, node: NodeIx, run: OpId) {
        let ask = ASK;
        self.tell(|| Fact::Unlocked { node, run, ask });
        self.say(node, run, RunEvent::Unlock { ask });
    }

    /// A handler is told that it holds the lock.
    pub(super) fn locked(
        &mut self,
        node: NodeIx,
        life: u64,
        run: OpId,
        ask: LockAsk,
        fence: Fence,
    ) {
        self.trace
            .note(self.now, Some(node), "locked", &[run.0, fence.0.0], || {
                format!("{run:?} under fence {fence}")
            });
        let now = self.now;
        let Some(handler) = self.handlers.get_mut(&(node, life, run)) else {
            return;
        };
        // It may have stopped waiting just now.
        let Some(Locker::Waits(_)) = handler.locker else {
            return;
        };
        let hold = Duration::from_millis(argument(&handler.start, "ms", 10));
        let until = now.after(MOMENT + hold);
        handler.locker = Some(Locker::Holds(until));
        let lock = lock_name(argument(&handler.start, "lock", 0));
        self.schedule(until, Happening::HandlerActs { node, life, run });
        self.tell(|| Fact::Locked {
            node,
            run,
            ask,
            lock,
            fence,
        });
    }

    /// A handler is told that it does not get the lock.
    pub(super) fn lock_refused(&mut self, node: NodeIx, life: u64, run: OpId) {
        self.trace
            .note(self.now, Some(node), "no lock", &[run.0], || {
                format!("{run:?}")
            });
        if let Some(handler) = self.handlers.get_mut(&(node, life, run))
            && handler.stopped.is_none()
        {
            handler.locker = Some(Locker::Refused);
            let at = self.now.after(MOMENT);
            self.schedule(at, Happening::HandlerActs { node, life, run });
        }
    }
}
