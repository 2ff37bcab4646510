//! The lines that handlers of this worker wait in: what the watches tell, and whose turn it is.

use super::Effect;
use super::locks::{Id, Line, Locks, Made, waiter};
use crate::ids::{Fence, LockName, OpId, OpIds, Revision};
use crate::keyspace::Meaning;
use crate::planted::planted;
use crate::store::{AuditAnswer, Change, Item, ViewEvent};
use crate::time::Mono;
use crate::view::Fed;

/// What a look at a line says of somebody in it.
enum Turn {
    /// Who came before it is not known until the line has been read.
    Unread,
    Holds,
    Waits,
    /// Its key is not there any more, though nobody here removed it.
    Vanished,
}

impl Line {
    fn take(&mut self, items: Vec<Item>) {
        for item in items {
            if let Meaning::LockWaiter(_, waiter) = Meaning::of(&item.key) {
                self.waiters.set(waiter, item.found.created);
            }
        }
    }

    /// Takes news. Says whether they belong to this line's watch.
    fn hear(&mut self, now: Mono, op: OpId, event: ViewEvent) {
        match self.feed.on_event(now, op, event) {
            Fed::Nothing | Fed::Lost => {}
            Fed::Restart(items) => {
                self.waiters = Default::default();
                self.take(items);
                self.note_read();
            }
            Fed::More(items) => {
                self.take(items);
                self.note_read();
            }
            Fed::Changes(changes) => {
                for change in changes {
                    match change {
                        Change::Put(item) => self.take(vec![item]),
                        Change::Delete { key, .. } => {
                            if let Meaning::LockWaiter(_, waiter) = Meaning::of(&key) {
                                self.waiters.remove(&waiter);
                            }
                        }
                    }
                }
            }
        }
    }

    /// A part of a full read was taken: the last one, if the line is known now.
    fn note_read(&mut self) {
        if let Some(at) = self.feed.at() {
            self.read_at = at;
        }
    }

    fn turn_of(&self, id: Id, created: Revision) -> Turn {
        let waiter = waiter(id);
        if self.feed.at().is_none() {
            return Turn::Waits;
        }
        // From the key's making on nobody comes before it: one whole read after that tells all who did.
        if self.read_at < created && !planted!("P-lock-line-not-read-by-worker") {
            return Turn::Unread;
        }
        if !self.feed.has_reached(created) {
            return Turn::Waits;
        }
        if self.waiters.rank(&waiter).is_none() {
            return Turn::Vanished;
        }
        // Nobody ever comes before who is first, so it holds the lock for as long as its key lives.
        let is_first = self.waiters.fence_of(&waiter) == Some(Fence(created));
        if is_first || planted!("P-lock-told-too-early") {
            Turn::Holds
        } else {
            Turn::Waits
        }
    }
}

impl Locks {
    /// When [`Locks::on_time`] must be called.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.lines
            .values()
            .filter_map(|line| line.feed.deadline())
            .min()
    }

    /// Asks for the lines that are not watched.
    pub(super) fn on_time(&mut self, now: Mono, ops: &mut OpIds, out: &mut Vec<Effect>) {
        for line in self.lines.values_mut() {
            line.feed.on_time(now, ops, out);
        }
    }

    /// The lock whose line this watch is of.
    pub(super) fn watched_by(&self, op: OpId) -> Option<LockName> {
        let mut lines = self.lines.iter();
        let (lock, _) = lines.find(|(_, line)| line.feed.is_watch(op))?;
        Some(lock.clone())
    }

    /// Takes news of a line.
    pub(super) fn hear(
        &mut self,
        now: Mono,
        op: OpId,
        lock: &LockName,
        event: ViewEvent,
        out: &mut Vec<Effect>,
    ) {
        if let Some(line) = self.lines.get_mut(lock) {
            line.hear(now, op, event);
            self.look(now, lock, out);
        }
    }

    /// What the store holds of a line. The feed that asked knows its question.
    pub(super) fn on_audited(&mut self, now: Mono, op: OpId, answer: &AuditAnswer) {
        for line in self.lines.values_mut() {
            line.feed.on_audit(now, op, answer);
        }
    }

    /// Tells whoever has come to the front of the line.
    pub(super) fn look(&mut self, now: Mono, lock: &LockName, out: &mut Vec<Effect>) {
        let Some(line) = self.lines.get_mut(lock) else {
            return;
        };
        for id in line.waiting.clone() {
            let Some(asked) = self.asked.get_mut(&id) else {
                continue;
            };
            let Made::There(created) = asked.made else {
                continue;
            };
            match line.turn_of(id, created) {
                Turn::Unread => line.feed.reread(now),
                Turn::Holds => {
                    asked.told = true;
                    line.waiting.remove(&id);
                    out.push(Effect::Locked {
                        run: asked.run,
                        ask: id.2,
                        fence: Fence(created),
                    });
                }
                Turn::Vanished => {
                    asked.made = Made::No;
                    self.to_make.push_back(id);
                }
                Turn::Waits => {}
            }
        }
    }

    /// Stops watching the lines that nobody waits in.
    pub(super) fn close_lines(&mut self, ops: &mut OpIds, out: &mut Vec<Effect>) {
        let idle = |line: &Line| line.waiting.is_empty();
        let locks: Vec<LockName> = self
            .lines
            .iter()
            .filter(|(_, line)| idle(line))
            .map(|(lock, _)| lock.clone())
            .collect();
        for lock in locks {
            if let Some(line) = self.lines.remove(&lock) {
                line.feed.end(ops, out);
            }
        }
    }
}
