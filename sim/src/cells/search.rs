//! Where is a task, of which only the id is known? Tasks go from the cell that their queue leaves to the one that it
//! reaches, and are there before they are gone here. So whoever looks in that order misses none.

use windlass_core::ids::{QueueName, Revision, TaskId};
use windlass_core::keyspace::{Key, Meaning};
use windlass_core::record::{Carry, DelayedRecord, EntryRecord};
use windlass_core::store::Found;

use super::bug::{Bug, Planted};
use super::record::{CellId, Epoch, Stand};
use super::rows::Held;
use super::scheduler::held;
use super::snapshot::{Snapshot, decode};

/// How a task stands.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    /// It has an outcome.
    Ended,
    /// An attempt runs.
    Claimed(Box<Held>),
    /// It waits.
    Waiting {
        /// Under this key.
        key: Key,
        /// Last written then.
        since: Revision,
        /// With this.
        carry: Carry,
    },
}

/// A task that was found.
#[derive(Debug, Clone)]
pub(super) struct Sighting {
    pub(super) cell: CellId,
    pub(super) queue: QueueName,
    /// The mark under which the cell serves its queue; `None` where it is frozen.
    pub(super) mark: Option<Revision>,
    pub(super) standing: Standing,
}

/// What a search wants next.
#[derive(Debug)]
pub(super) enum Turn {
    /// Read this cell.
    Look(CellId),
    /// There is no such task in any queue that it can be of.
    Absent,
    /// Here it is.
    Found(Box<Sighting>),
}

#[derive(Debug)]
enum Stage {
    /// Reading a cell that may have the queue.
    At(CellId),
    /// Not in `cell` yet: reading the one that the queue leaves.
    Back {
        cell: CellId,
        from: CellId,
        epoch: Epoch,
    },
    /// Reading `cell` once more: what was not behind may have arrived meanwhile.
    Again {
        cell: CellId,
        from: CellId,
        epoch: Epoch,
        behind: Box<Snapshot>,
    },
    /// `cell` says that the queue went on.
    Onward {
        cell: CellId,
        to: CellId,
        epoch: Epoch,
        behind: Box<Snapshot>,
    },
}

/// A search under way.
#[derive(Debug)]
pub(super) struct Search {
    id: TaskId,
    queue: QueueName,
    stage: Stage,
    others: Vec<(QueueName, CellId)>,
    bugs: Planted,
}

impl Search {
    /// A search through these queues, each from this cell on. `None` when there are none.
    pub(super) fn new(
        id: TaskId,
        mut queues: Vec<(QueueName, CellId)>,
        bugs: Planted,
    ) -> Option<(Self, CellId)> {
        let (queue, cell) = queues.pop()?;
        let search = Self {
            id,
            queue,
            stage: Stage::At(cell),
            others: queues,
            bugs,
        };
        Some((search, cell))
    }

    /// What was read of the cell that was to be looked at.
    pub(super) fn on_look(&mut self, view: Snapshot) -> Turn {
        match std::mem::replace(&mut self.stage, Stage::At(CellId(0))) {
            Stage::At(cell) => self.on_cell(cell, view),
            Stage::Back { cell, from, epoch } => {
                self.stage = Stage::Again {
                    cell,
                    from,
                    epoch,
                    behind: Box::new(view),
                };
                Turn::Look(cell)
            }
            Stage::Again {
                cell,
                from,
                epoch,
                behind,
            } => {
                let mark = view.mark(&self.queue).map(|mark| mark.record);
                let is_same = mark
                    .is_some_and(|it| it.epoch == epoch && it.stand == Stand::Arriving { from });
                if !is_same || view.task(self.id).is_some() {
                    return self.on_cell(cell, view);
                }
                self.found_or_next(from, None, &behind)
            }
            Stage::Onward {
                cell,
                to,
                epoch,
                behind,
            } => {
                let mark = view.mark(&self.queue);
                if mark.is_some_and(|mark| mark.record.epoch >= epoch) {
                    return self.on_cell(to, view);
                }
                self.found_or_next(cell, None, &behind)
            }
        }
    }

    fn on_cell(&mut self, cell: CellId, view: Snapshot) -> Turn {
        let Some(mark) = view.mark(&self.queue) else {
            return self.next_queue();
        };
        let epoch = mark.record.epoch;
        match mark.record.stand {
            Stand::Arriving { from }
                if view.task(self.id).is_none() && !self.bugs.has(Bug::NotLookedBack) =>
            {
                self.stage = Stage::Back { cell, from, epoch };
                Turn::Look(from)
            }
            Stand::Here | Stand::Arriving { .. } => {
                self.found_or_next(cell, Some(mark.since), &view)
            }
            Stand::Away { to } => {
                self.stage = Stage::Onward {
                    cell,
                    to,
                    epoch,
                    behind: Box::new(view),
                };
                Turn::Look(to)
            }
        }
    }

    fn found_or_next(&mut self, cell: CellId, mark: Option<Revision>, view: &Snapshot) -> Turn {
        // Two queues may share a tag.
        let is_ours = view.task(self.id).is_some_and(|it| it.queue == self.queue);
        if !is_ours {
            return self.next_queue();
        }
        let standing = match view.place(self.id) {
            Some((key, found)) => standing(key, found),
            None => Standing::Ended,
        };
        Turn::Found(Box::new(Sighting {
            cell,
            queue: self.queue.clone(),
            mark,
            standing,
        }))
    }

    fn next_queue(&mut self) -> Turn {
        let Some((queue, cell)) = self.others.pop() else {
            return Turn::Absent;
        };
        self.queue = queue;
        self.stage = Stage::At(cell);
        Turn::Look(cell)
    }
}

fn standing(key: &Key, found: &Found) -> Standing {
    let meaning = Meaning::of(key);
    if let Meaning::Claim(worker, place) = meaning {
        return Standing::Claimed(Box::new(held(worker, place, found)));
    }
    let carry = if let Meaning::Delayed(..) = meaning {
        decode::<DelayedRecord>(found).carry
    } else {
        decode::<EntryRecord>(found).carry
    };
    Standing::Waiting {
        key: key.clone(),
        since: found.modified,
        carry,
    }
}
