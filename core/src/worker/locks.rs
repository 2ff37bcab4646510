//! The locks that handlers of this worker hold and wait for: who asked, which keys there are, and who comes first.
//!
//! A key hangs on the worker's own lease, so it needs no renewal and nobody else can have it while the session lasts. It is
//! made under the guard that the attempt's claim is alive; whoever records the attempt's end removes in the same
//! transaction every key that is there or on its way. So none is left behind, whatever comes first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::Effect;
use crate::ids::{Fence, LeaseId, LockAsk, LockName, NodeId, OpId, Revision};
use crate::keyspace::{Place, Range};
use crate::lock::{Waiters, waiter_of};
use crate::planted::planted;
use crate::rng::Rng;
use crate::steps;
use crate::store::{Step, Write};
use crate::time::Mono;
use crate::view::CheckedFeed;

/// The most locks that one attempt holds and waits for at a time. It bounds what the record of its end must remove.
pub const LOCKS_MAX: usize = 8;

/// Why a handler does not get a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LockRefusal {
    /// The attempt holds this lock, or waits for it: it would wait for itself.
    Twice,
    /// The attempt holds and waits for [`LOCKS_MAX`] others.
    TooMany,
    /// The attempt is to stop, or its claim is gone.
    Stopped,
}

/// One question for a lock: of which attempt, and which of its questions.
pub(super) type Id = (Place, Fence, LockAsk);

/// What is known of a waiter's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    No,
    /// A transaction that makes it is under way.
    Coming,
    /// Since then.
    There(Revision),
    /// A transaction that removes it is under way.
    Going(Revision),
}

#[derive(Debug)]
pub(super) struct Asked {
    pub(super) run: OpId,
    lock: LockName,
    pub(super) made: Made,
    /// The handler was told that it holds the lock.
    pub(super) told: bool,
    /// Nobody wants it any more.
    given_up: bool,
}

/// The line of one lock, watched while somebody of this worker waits in it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) feed: CheckedFeed,
    /// When it was read as a whole. What was only heard of it may lack somebody.
    pub(super) read_at: Revision,
    pub(super) waiters: Waiters,
    pub(super) waiting: BTreeSet<Id>,
}

impl Line {
    fn new(lock: &LockName, rng: Rng) -> Self {
        Self {
            feed: CheckedFeed::new(Range::waiters_of(lock), rng),
            read_at: Revision(0),
            waiters: Waiters::default(),
            waiting: BTreeSet::new(),
        }
    }
}

/// All locks that handlers of a worker hold and wait for.
#[derive(Debug)]
pub(super) struct Locks {
    pub(super) asked: BTreeMap<Id, Asked>,
    /// Whose key is to be made, in the order of the questions.
    pub(super) to_make: VecDeque<Id>,
    /// Whose key is to be removed.
    to_remove: BTreeSet<Id>,
    pub(super) lines: BTreeMap<LockName, Line>,
    rng: Rng,
}

pub(super) fn waiter((place, fence, ask): Id) -> NodeId {
    waiter_of(place.task, fence, ask)
}

impl Locks {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            asked: BTreeMap::new(),
            to_make: VecDeque::new(),
            to_remove: BTreeSet::new(),
            lines: BTreeMap::new(),
            rng,
        }
    }

    fn of(&self, place: Place, fence: Fence) -> impl Iterator<Item = (Id, &Asked)> {
        let all = (place, fence, LockAsk(0))..=(place, fence, LockAsk(u32::MAX));
        self.asked.range(all).map(|(id, asked)| (*id, asked))
    }

    /// A handler wants a lock. A question that was asked before is answered once.
    pub(super) fn ask(&mut self, id: Id, run: OpId, lock: LockName, out: &mut Vec<Effect>) {
        if self.asked.contains_key(&id) {
            return;
        }
        let live = || self.of(id.0, id.1).filter(|(_, asked)| !asked.given_up);
        let why = if live().any(|(_, asked)| asked.lock == lock) {
            Some(LockRefusal::Twice)
        } else {
            (live().count() >= LOCKS_MAX).then_some(LockRefusal::TooMany)
        };
        if let Some(why) = why {
            let ask = id.2;
            return out.push(Effect::LockRefused { run, ask, why });
        }
        self.to_make.push_back(id);
        let asked = Asked {
            run,
            lock,
            made: Made::No,
            told: false,
            given_up: false,
        };
        self.asked.insert(id, asked);
    }

    /// The handler does not want the lock any more, whether it holds it or waits for it.
    pub(super) fn give_up(&mut self, id: Id) {
        let Some(asked) = self.asked.get_mut(&id).filter(|asked| !asked.given_up) else {
            return;
        };
        asked.given_up = true;
        let forgets = planted!("P-lock-wait-kept") && !asked.told;
        match asked.made {
            Made::There(_) if !forgets => {
                self.to_remove.insert(id);
            }
            Made::No | Made::There(_) => self.forget_one(id),
            // Its fate is waited for.
            Made::Coming | Made::Going(_) => {}
        }
        self.leave(id);
    }

    fn leave(&mut self, id: Id) {
        for line in self.lines.values_mut() {
            line.waiting.remove(&id);
        }
    }

    fn forget_one(&mut self, id: Id) {
        self.leave(id);
        self.asked.remove(&id);
        self.to_remove.remove(&id);
        self.to_make.retain(|it| *it != id);
    }

    /// The attempt's handler has ended, or is to be forgotten.
    pub(super) fn give_up_all(&mut self, place: Place, fence: Fence) {
        let all: Vec<Id> = self.of(place, fence).map(|(id, _)| id).collect();
        all.into_iter().for_each(|id| self.give_up(id));
    }

    /// The attempt is to stop: what it holds it keeps until its handler has ended, what it waits for it does not get.
    /// Says whether there was anything that it waited for.
    pub(super) fn stop_waiting(
        &mut self,
        place: Place,
        fence: Fence,
        out: &mut Vec<Effect>,
    ) -> bool {
        let waits = |asked: &Asked| !asked.told && !asked.given_up;
        let all: Vec<Id> = self
            .of(place, fence)
            .filter_map(|(id, asked)| waits(asked).then_some(id))
            .collect();
        for id in &all {
            self.refuse(*id, out);
        }
        !all.is_empty()
    }

    fn refuse(&mut self, id: Id, out: &mut Vec<Effect>) {
        if let Some(asked) = self.asked.get(&id).filter(|asked| !asked.given_up) {
            let (run, ask, why) = (asked.run, id.2, LockRefusal::Stopped);
            out.push(Effect::LockRefused { run, ask, why });
        }
        self.give_up(id);
    }

    /// The end of the attempt was recorded, and every key of it was removed with that.
    pub(super) fn forget(&mut self, place: Place, fence: Fence) {
        let all: Vec<Id> = self.of(place, fence).map(|(id, _)| id).collect();
        all.into_iter().for_each(|id| self.forget_one(id));
    }

    /// What removes every key of the attempt that is there or may come.
    pub(super) fn removals(&self, place: Place, fence: Fence) -> Vec<Write> {
        if planted!("P-lock-kept-at-end") {
            return Vec::new();
        }
        self.of(place, fence)
            .filter(|(_, asked)| asked.made != Made::No)
            .map(|(id, asked)| steps::leave_line(&asked.lock, &waiter(id)))
            .collect()
    }

    /// Whose key is to be removed.
    pub(super) fn to_remove(&self) -> Vec<Id> {
        self.to_remove.iter().copied().collect()
    }

    /// Whose key is to be made, the first that asked first.
    pub(super) fn to_make(&self) -> Vec<Id> {
        self.to_make.iter().copied().collect()
    }

    pub(super) fn lock_of(&self, id: Id) -> Option<&LockName> {
        self.asked.get(&id).map(|asked| &asked.lock)
    }

    /// The step that removes a key.
    pub(super) fn removal(&self, id: Id) -> Option<Step> {
        let asked = self.asked.get(&id)?;
        let write = steps::leave_line(&asked.lock, &waiter(id));
        Some(Step::new(Vec::new(), vec![write]))
    }

    /// The step that makes a key; not while so many of the same attempt wait to be removed that its end could not name all.
    pub(super) fn making(&self, worker: &NodeId, lease: LeaseId, id: Id) -> Option<Step> {
        let (place, fence, _) = id;
        let made = self.of(place, fence).filter(|(_, it)| it.made != Made::No);
        let asked = self.asked.get(&id).filter(|_| made.count() < LOCKS_MAX)?;
        let waiter = waiter(id);
        let step = steps::get_in_line(worker, lease, place, fence, &asked.lock, &waiter);
        Some(step)
    }

    /// The key is being made.
    pub(super) fn coming(&mut self, id: Id) {
        self.to_make.retain(|it| *it != id);
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.made = Made::Coming;
        }
    }

    /// The key is being removed.
    pub(super) fn going(&mut self, id: Id) {
        self.to_remove.remove(&id);
        if let Some(asked) = self.asked.get_mut(&id)
            && let Made::There(since) = asked.made
        {
            asked.made = Made::Going(since);
        }
    }

    /// The key was made. Only now is the line watched: what was read before says nothing of who came before this one.
    pub(super) fn came(&mut self, now: Mono, id: Id, at: Revision, out: &mut Vec<Effect>) {
        let Some(asked) = self.asked.get_mut(&id) else {
            return;
        };
        asked.made = Made::There(at);
        if asked.given_up {
            self.to_remove.insert(id);
            return;
        }
        let lock = asked.lock.clone();
        let rng = &mut self.rng;
        let line = self.lines.entry(lock.clone());
        let line = line.or_insert_with(|| Line::new(&lock, rng.fork(lock.as_str())));
        line.waiting.insert(id);
        self.look(now, &lock, out);
    }

    /// The key was not made: its attempt's claim is gone.
    pub(super) fn stale(&mut self, id: Id, out: &mut Vec<Effect>) {
        if let Some(asked) = self.asked.get_mut(&id) {
            asked.made = Made::No;
            self.refuse(id, out);
            self.forget_one(id);
        }
    }

    /// The key was not made, through no fault of its own.
    pub(super) fn make_again(&mut self, id: Id) {
        let Some(asked) = self.asked.get_mut(&id) else {
            return;
        };
        asked.made = Made::No;
        if asked.given_up {
            self.forget_one(id);
        } else {
            self.to_make.push_front(id);
        }
    }

    /// The key was removed.
    pub(super) fn gone(&mut self, id: Id) {
        self.forget_one(id);
    }

    /// The key was not removed, through no fault of its own.
    pub(super) fn remove_again(&mut self, id: Id) {
        if let Some(asked) = self.asked.get_mut(&id)
            && let Made::Going(since) = asked.made
        {
            asked.made = Made::There(since);
            self.to_remove.insert(id);
        }
    }
}
