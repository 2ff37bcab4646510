//! What must be done to claims without an owner, claims that overstay, and tasks that are due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::rendezvous::Peers;
use crate::ids::{NodeId, TaskId};
use crate::keyspace::Place;
use crate::planted::planted;
use crate::record::StopReason;
use crate::time::{Millis, Mono, Now, Wall};
use crate::view::{Claimed, ClusterView};

/// How often claims are looked at for attempts that run too long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The longest sleep for a task that is not due: the wall clock may jump meanwhile.
const DUE_SLEEP_MAX: Duration = Duration::from_secs(1);

/// What must be done to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Its worker's life is over: take it.
    TakeLost,
    /// Its attempt runs too long: flag it.
    Flag,
    /// It was flagged, and nothing happened: take it.
    TakeSilent,
}

/// Claims and delayed tasks that need a step.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// Claims without an owner, and when this scheduler may take them.
    orphans: BTreeMap<(NodeId, Place), Mono>,
    orphans_at: BTreeSet<(Mono, NodeId, Place)>,
    /// Claims whose time was over when they were looked at.
    overdue: BTreeSet<(NodeId, Place)>,
    look_at: Option<Mono>,
    /// Delayed tasks, by when this scheduler may release them.
    delayed: BTreeSet<(Wall, Wall, TaskId)>,
    delayed_at: BTreeMap<(Wall, TaskId), Wall>,
}

impl Upkeep {
    /// Looks whether a claim has an owner.
    #[allow(clippy::too_many_arguments, reason = "the parts of one decision")]
    pub(super) fn judge(
        &mut self,
        now: Now,
        worker: &NodeId,
        place: Place,
        claimed: &Claimed,
        view: &ClusterView,
        peers: &Peers,
        step_in_after: Duration,
    ) {
        self.look_at
            .get_or_insert_with(|| now.mono.after(LOOK_EVERY));
        let owner = view.worker_life(worker);
        if owner == Some(claimed.record.registration) {
            return;
        }
        let at = if peers.mine(place.task) {
            now.mono
        } else if planted!("P-orphans-left-to-first") {
            return;
        } else {
            now.mono.after(step_in_after)
        };
        let key = (worker.clone(), place);
        if let Some(before) = self.orphans.insert(key, at) {
            self.orphans_at.remove(&(before, worker.clone(), place));
        }
        self.orphans_at.insert((at, worker.clone(), place));
    }

    pub(super) fn forget_claim(&mut self, worker: &NodeId, place: Place) {
        let key = (worker.clone(), place);
        if let Some(at) = self.orphans.remove(&key) {
            self.orphans_at.remove(&(at, worker.clone(), place));
        }
        self.overdue.remove(&key);
    }

    /// A delayed task that this scheduler releases when it is due, or a moment later when it is another's to release. Who
    /// learns of it only after it was due gives the other that moment still: else all would release it at once.
    pub(super) fn await_due(
        &mut self,
        now: Wall,
        due: Wall,
        task: TaskId,
        mine: bool,
        step_in_after: Duration,
    ) {
        let later = Millis::new(u64::try_from(step_in_after.as_millis()).unwrap_or(u64::MAX));
        let at = if mine { due } else { due.max(now).after(later) };
        if let Some(before) = self.delayed_at.insert((due, task), at) {
            self.delayed.remove(&(before, due, task));
        }
        self.delayed.insert((at, due, task));
    }

    pub(super) fn forget_due(&mut self, due: Wall, task: TaskId) {
        if let Some(at) = self.delayed_at.remove(&(due, task)) {
            self.delayed.remove(&(at, due, task));
        }
    }

    pub(super) fn clear_delayed(&mut self) {
        self.delayed.clear();
        self.delayed_at.clear();
    }

    /// Takes the next delayed task that is due.
    pub(super) fn pop_due(&mut self, wall: Wall) -> Option<(Wall, TaskId)> {
        let wall = if planted!("M-21") {
            wall.after(Millis::from_secs(1))
        } else {
            wall
        };
        let (_, due, task) = self
            .delayed
            .first()
            .copied()
            .filter(|(at, ..)| *at <= wall)?;
        self.forget_due(due, task);
        Some((due, task))
    }

    /// Takes the next claim that needs a step. What an overdue one needs is decided on the view as it is now: a flag may
    /// have come since it was found, and must not be written over.
    pub(super) fn pop_claim<'a>(
        &mut self,
        now: Mono,
        view: &'a ClusterView,
        grace: Duration,
        peers: &Peers,
    ) -> Option<(NodeId, Place, &'a Claimed, Care)> {
        loop {
            let orphan = self.orphans_at.first().filter(|(at, ..)| *at <= now);
            let (worker, place, lost) = if let Some((_, worker, place)) = orphan.cloned() {
                self.forget_claim(&worker, place);
                (worker, place, true)
            } else {
                let (worker, place) = self.overdue.pop_first()?;
                (worker, place, false)
            };
            let Some(claimed) = view.claim(&worker, place) else {
                continue;
            };
            let care = if lost {
                Some(Care::TakeLost)
            } else {
                overstays(now, claimed, grace, peers.mine(place.task))
            };
            if let Some(care) = care {
                return Some((worker, place, claimed, care));
            }
        }
    }

    pub(super) fn deadline(&self, now: Now) -> Option<Mono> {
        let due = self.delayed.first().map(|(at, ..)| {
            let wait = Duration::from(at.since(now.wall)).min(DUE_SLEEP_MAX);
            now.mono.after(wait)
        });
        let orphan = self.orphans_at.first().map(|(at, ..)| *at);
        [due, orphan, self.look_at].into_iter().flatten().min()
    }

    /// Finds attempts that run too long, by this process's own clock since it first saw their claims. Says whether there
    /// is something to do.
    pub(super) fn on_time(
        &mut self,
        now: Now,
        view: &ClusterView,
        grace: Duration,
        peers: &Peers,
    ) -> bool {
        if self.look_at.is_some_and(|at| at <= now.mono) {
            let any = view.claims.values().any(|claims| !claims.is_empty());
            self.look_at = any.then(|| now.mono.after(LOOK_EVERY));
            for (worker, claims) in &view.claims {
                for (place, claimed) in claims {
                    if overstays(now.mono, claimed, grace, peers.mine(place.task)).is_some() {
                        self.overdue.insert((worker.clone(), *place));
                    }
                }
            }
        }
        let due = self.delayed.first().is_some_and(|(at, ..)| *at <= now.wall);
        let orphan = self
            .orphans_at
            .first()
            .is_some_and(|(at, ..)| *at <= now.mono);
        due || orphan || !self.overdue.is_empty()
    }
}

/// What must be done to a claim that this process has seen for a while. Others' claims get a moment more.
fn overstays(now: Mono, claimed: &Claimed, grace: Duration, mine: bool) -> Option<Care> {
    let patience = if mine { grace } else { grace * 2 };
    let end = claimed
        .seen
        .after(Duration::from(claimed.record.carry.timeout));
    if end.after(patience) > now {
        return None;
    }
    match (claimed.record.stop, claimed.flagged) {
        (None, _) => Some(Care::Flag),
        (Some(StopReason::Cancel), _) if planted!("P-cancel-flag-written-over") => Some(Care::Flag),
        (
            Some(
                StopReason::Cancel
                | StopReason::TimeOut
                | StopReason::Fenced
                | StopReason::Shutdown,
            ),
            Some(since),
        ) => (since.after(patience) <= now).then_some(Care::TakeSilent),
        (Some(_), None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_learns_only_late_that_anothers_task_is_due_leaves_it_to_that_one_for_a_moment_still() {
        let wall = Wall::from_millis;
        let task = TaskId::floor_of(wall(1));
        let step_in_after = Duration::from_secs(1);
        let mut upkeep = Upkeep::default();
        for (due, mine, now, released) in [
            (10_000, false, 60_000, 61_000),
            (10_000, true, 60_000, 10_000),
            (90_000, false, 60_000, 91_000),
            (90_000, true, 60_000, 90_000),
        ] {
            upkeep.await_due(wall(now), wall(due), task, mine, step_in_after);
            assert_eq!(upkeep.pop_due(wall(released - 1)), None);
            assert_eq!(upkeep.pop_due(wall(released)), Some((wall(due), task)));
        }
    }
}
