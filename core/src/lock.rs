//! Who holds a lock, and who comes next.
//!
//! Each waiter has a leased key of its own under the lock. The one that was created first holds the lock, and its create
//! revision is the fence. Later waiters have later revisions, so nobody ever comes before a holder: it holds for as long
//! as its key lives, waiters are served in order, and fences grow from holder to holder. For that, no transaction may
//! create two waiters of one lock.
//!
//! Decides from a view, which is always a little old: that a waiter holds the lock is a hint to begin, and what it writes
//! under the lock carries [`guard`], which the store checks.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Fence, LockAsk, NodeId, Revision, TaskId};
use crate::keyspace::Key;
use crate::planted::planted;
use crate::store::Guard;

/// What makes a write fail once its writer holds the lock no longer. `waiter` is the writer's own key under the lock.
pub fn guard(waiter: Key, fence: Fence) -> Guard {
    Guard::Alive {
        key: waiter,
        since: fence.0,
    }
}

/// Who an attempt's handler is in a line: a name that nobody ever had. No client's token names it: those end with a
/// hyphen and the number of a lease of the client's own, and here a dot follows the last hyphen.
pub fn waiter_of(task: TaskId, fence: Fence, ask: LockAsk) -> NodeId {
    let name = format!("{task}-{fence}.{ask}");
    NodeId::new(&name).expect("a task's id, two numbers, hyphens and a dot make a name")
}

/// The attempt whose handler this waiter is, if it is one's.
pub fn attempt_of(waiter: &NodeId) -> Option<(TaskId, Fence)> {
    let (attempt, ask) = waiter.as_str().rsplit_once('.')?;
    let (task, fence) = attempt.rsplit_once('-')?;
    let _: u32 = ask.parse().ok()?;
    Some((task.parse().ok()?, Fence(Revision(fence.parse().ok()?))))
}

/// The waiters of one lock, its holder among them, as a view knows them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waiters {
    created: BTreeMap<NodeId, Revision>,
    line: BTreeSet<(Revision, NodeId)>,
}

impl Waiters {
    /// Takes note that the waiter's key exists and was created at `created`. A new life of the key goes to the end of the
    /// line; news of the life that is known changes nothing.
    pub fn set(&mut self, waiter: NodeId, created: Revision) {
        if let Some(before) = self.created.insert(waiter.clone(), created) {
            let was_there = self.line.remove(&(before, waiter.clone()));
            assert!(was_there, "every waiter stands in line");
        }
        self.line.insert((created, waiter));
    }

    /// Takes note that the waiter's key is gone.
    pub fn remove(&mut self, waiter: &NodeId) {
        if let Some(created) = self.created.remove(waiter) {
            let was_there = self.line.remove(&(created, waiter.clone()));
            assert!(was_there, "every waiter stands in line");
        }
    }

    /// Who holds the lock, and under which fence.
    pub fn holder(&self) -> Option<(&NodeId, Fence)> {
        let (created, waiter) = self.line.first()?;
        Some((waiter, Fence(*created)))
    }

    /// The fence of this waiter, if it is the holder.
    pub fn fence_of(&self, waiter: &NodeId) -> Option<Fence> {
        if planted!("P-lock-two-holders") {
            return self.created.get(waiter).copied().map(Fence);
        }
        let (holder, fence) = self.holder()?;
        (holder == waiter).then_some(fence)
    }

    /// How many are before this waiter, zero for the holder. `None` for who does not wait. Takes time in proportion.
    pub fn rank(&self, waiter: &NodeId) -> Option<usize> {
        let created = self.created.get(waiter)?;
        Some(self.line.range(..(*created, waiter.clone())).count())
    }

    /// Everybody in line, the holder first, with the fence that each has or will have.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, Fence)> {
        let line = self.line.iter();
        line.map(|(created, waiter)| (waiter, Fence(*created)))
    }

    /// How many are in line, the holder included.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether nobody holds the lock, and nobody waits.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::{Found, Value};

    fn node(n: u8) -> NodeId {
        format!("node-{n}").parse().unwrap()
    }

    fn waiters(line: &[(u8, u64)]) -> Waiters {
        let mut waiters = Waiters::default();
        for (n, created) in line {
            waiters.set(node(*n), Revision(*created));
        }
        waiters
    }

    #[test]
    fn the_first_that_came_holds_the_lock_whatever_its_name() {
        let waiters = waiters(&[(1, 30), (2, 10), (0, 20)]);
        let fence = Fence(Revision(10));
        assert_eq!(waiters.holder(), Some((&node(2), fence)));
        assert_eq!(waiters.fence_of(&node(2)), Some(fence));
        assert_eq!(waiters.fence_of(&node(0)), None);
        let ranks = [0, 1, 2, 3].map(|n| waiters.rank(&node(n)));
        assert_eq!(ranks, [Some(1), Some(2), Some(0), None]);
    }

    #[test]
    fn nobody_holds_a_lock_without_waiters() {
        let waiters = Waiters::default();
        assert!(waiters.is_empty() && waiters.holder().is_none());
        assert_eq!(
            (waiters.fence_of(&node(1)), waiters.rank(&node(1))),
            (None, None)
        );
    }

    #[test]
    fn an_attempt_in_line_is_known_by_its_name_and_a_client_is_none() {
        let task: TaskId = "00000000-0000-7000-8000-000000000001".parse().unwrap();
        let fence = Fence(Revision(77));
        let waiter = waiter_of(task, fence, LockAsk(2));
        assert_eq!(attempt_of(&waiter), Some((task, fence)));
        let longest = waiter_of(task, Fence(Revision(u64::MAX)), LockAsk(u32::MAX));
        assert_eq!(attempt_of(&longest).unwrap().0, task);
        for client in ["node-1", "s1-7-1f", "s1.2", "a-1.2"] {
            assert_eq!(attempt_of(&client.parse().unwrap()), None, "{client}");
        }
    }

    #[test]
    fn a_holder_that_comes_back_waits_at_the_end() {
        let mut waiters = waiters(&[(1, 10), (2, 20)]);
        waiters.set(node(1), Revision(30));
        assert_eq!(waiters.holder(), Some((&node(2), Fence(Revision(20)))));
        assert_eq!((waiters.rank(&node(1)), waiters.len()), (Some(1), 2));
    }

    #[test]
    fn a_renewed_key_keeps_its_place() {
        let mut waiters = waiters(&[(1, 10), (2, 20)]);
        let before = waiters.clone();
        waiters.set(node(1), Revision(10));
        assert_eq!(waiters, before);
    }

    #[test]
    fn a_write_under_an_older_fence_is_refused() {
        let lock = "backup".parse().unwrap();
        let guard = guard(Key::lock_waiter(&lock, &node(1)), Fence(Revision(10)));
        let life = |created, modified| Found {
            created: Revision(created),
            modified: Revision(modified),
            value: Value::default(),
        };
        assert_eq!(guard.holds(Some(&life(10, 15))), Some(true));
        assert_eq!(guard.holds(Some(&life(30, 30))), Some(false));
        assert_eq!(guard.holds(None), Some(false));
    }

    proptest! {
        #[test]
        fn fences_grow_and_a_holder_is_replaced_only_when_it_left(steps in prop::collection::vec((0..6_u8, any::<bool>()), 0..100)) {
            let mut waiters = Waiters::default();
            let mut last = None;
            for (at, (n, comes)) in (1..).zip(steps) {
                let before = waiters.holder().map(|(id, fence)| (id.clone(), fence));
                // A key is created anew only after the former one has gone.
                match (comes, waiters.rank(&node(n))) {
                    (true, None) => waiters.set(node(n), Revision(at)),
                    (false, Some(_)) => waiters.remove(&node(n)),
                    (true, Some(_)) | (false, None) => {}
                }
                let after = waiters.holder().map(|(id, fence)| (id.clone(), fence));
                if before != after {
                    prop_assert!(before.is_none_or(|(id, _)| waiters.rank(&id).is_none()));
                    if let Some((_, fence)) = after {
                        prop_assert!(last < Some(fence), "{last:?} then {fence}");
                        last = Some(fence);
                    }
                }
                let ranks: Vec<_> = waiters.iter().map(|(id, _)| waiters.rank(id)).collect();
                prop_assert!(ranks.into_iter().eq((0..waiters.len()).map(Some)));
            }
        }
    }
}
