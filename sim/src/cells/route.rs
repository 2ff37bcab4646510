//! Where does a submission go? A gateway's map may be as old as it likes: it only says where to begin. Each cell's mark
//! says where to go on, and the store refuses what was sent under a mark that is no more.

use std::collections::BTreeMap;

use windlass_core::ids::{QueueName, Registration, TaskId};
use windlass_core::keyspace::{Meaning, Range};
use windlass_core::steps::Recipient;

use super::record::{CellId, Epoch, MapRecord, MarkRecord, Stand, Tags};
use super::snapshot::{Dated, Snapshot};

/// What a gateway knows of where queues are.
#[derive(Debug, Default)]
pub(super) struct Atlas {
    map: BTreeMap<QueueName, MapRecord>,
    seen: BTreeMap<CellId, Snapshot>,
}

/// What to do next for a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// The directory has no such queue: give it a cell.
    Name,
    /// Read this cell.
    Look(CellId),
    /// The queue is new: its first cell has no mark of it yet.
    FirstMark(CellId),
    /// Ask this cell, which the queue leaves under this epoch, whether it has the idempotency key.
    LookBack { from: CellId, epoch: Epoch },
    /// Send it to this cell, under this mark.
    Send {
        cell: CellId,
        mark: Dated<MarkRecord>,
    },
    /// The queue has left one cell and has not reached the next: a matter of one transaction.
    Wait,
}

impl Atlas {
    /// Takes over what the directory says.
    pub(super) fn learn_map(&mut self, directory: &Snapshot) {
        self.map = directory
            .maps()
            .map(|(queue, map)| (queue, map.record))
            .collect();
    }

    /// Takes over what a cell holds.
    pub(super) fn learn(&mut self, cell: CellId, view: Snapshot) {
        self.seen.insert(cell, view);
    }

    /// What it knew of a cell was disproved.
    pub(super) fn forget(&mut self, cell: CellId) {
        self.seen.remove(&cell);
    }

    /// What it knew of all cells may not be relied on.
    pub(super) fn forget_all(&mut self) {
        self.seen.clear();
    }

    /// Whether it has heard of this queue.
    pub(super) fn knows(&self, queue: &QueueName) -> bool {
        self.map.contains_key(queue)
    }

    /// The queues that a task may be of, and where to begin to look for them.
    pub(super) fn candidates(&self, id: TaskId, tags: Tags) -> Vec<(QueueName, CellId)> {
        let tag = tags.of_task(id);
        let fits = self
            .map
            .iter()
            .filter(|(queue, _)| tags.of_queue(queue) == tag);
        fits.map(|(queue, map)| (queue.clone(), map.cell)).collect()
    }

    /// The task that has this idempotency key, by what was last seen of the cell.
    pub(super) fn unique(&self, cell: CellId, hash: &str) -> Option<TaskId> {
        self.seen.get(&cell)?.unique(hash)
    }

    /// A worker of the cell that holds nothing, by what was last seen.
    pub(super) fn idle(&self, cell: CellId) -> Option<Recipient> {
        let view = self.seen.get(&cell)?;
        view.all().find_map(|(key, found)| {
            let Meaning::Offer(worker) = Meaning::of(key) else {
                return None;
            };
            let is_idle = view.range(&Range::claims_of(&worker)).next().is_none();
            is_idle.then_some(Recipient {
                worker,
                registration: Registration(found.created),
                offer: found.created,
            })
        })
    }

    /// The next step of a submission. One with a key must have `asked` the cell that the queue leaves.
    pub(super) fn route(&self, queue: &QueueName, has_key: bool, asked: Option<Epoch>) -> Route {
        let Some(map) = self.map.get(queue) else {
            return Route::Name;
        };
        let mut cell = map.cell;
        let mut least = Epoch(0);
        loop {
            let Some(view) = self.seen.get(&cell) else {
                return Route::Look(cell);
            };
            let Some(mark) = view.mark(queue) else {
                // Marks are never removed: without one, the queue was never here.
                let is_first = map.epoch == Epoch::FIRST && least == Epoch(0);
                return if is_first {
                    Route::FirstMark(cell)
                } else {
                    Route::Wait
                };
            };
            let epoch = mark.record.epoch;
            // From cell to cell epochs grow, so this ends.
            if epoch < least {
                return Route::Wait;
            }
            match mark.record.stand {
                Stand::Arriving { from } if has_key && asked != Some(epoch) => {
                    return Route::LookBack { from, epoch };
                }
                Stand::Here | Stand::Arriving { .. } => {
                    return Route::Send { cell, mark };
                }
                Stand::Away { to } if epoch == least => {
                    debug_assert!(to != cell, "a queue moves to another cell");
                    return Route::Wait;
                }
                Stand::Away { to } => (cell, least) = (to, epoch),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::ids::Revision;
    use windlass_core::record::{Record, Version};
    use windlass_core::store::Item;

    use super::*;
    use crate::cells::record::{MarkRecord, map_key, mark_key};

    fn queue() -> QueueName {
        "q".parse().unwrap()
    }

    fn map(cell: u8, epoch: u32) -> Snapshot {
        let record = MapRecord {
            v: Version,
            cell: CellId(cell),
            epoch: Epoch(epoch),
            to: None,
        };
        let at = Revision(2);
        Snapshot::new(
            at,
            vec![Item::new(map_key(&queue()), at, at, record.encode())],
        )
    }

    fn marked(epoch: u32, stand: Stand) -> Snapshot {
        let record = MarkRecord {
            v: Version,
            epoch: Epoch(epoch),
            base: 0,
            stand,
        };
        let at = Revision(40);
        Snapshot::new(
            at,
            vec![Item::new(mark_key(&queue()), at, at, record.encode())],
        )
    }

    /// What an atlas with the first map, and these readings, says of a submission.
    fn route(has_key: bool, asked: Option<Epoch>, seen: Vec<(u8, Snapshot)>) -> Route {
        let mut atlas = Atlas::default();
        atlas.learn_map(&map(0, 1));
        for (cell, view) in seen {
            atlas.learn(CellId(cell), view);
        }
        atlas.route(&queue(), has_key, asked)
    }

    #[test]
    fn an_old_map_leads_from_mark_to_mark() {
        let away = |to| Stand::Away { to: CellId(to) };
        let first = (0, marked(2, away(1)));
        assert_eq!(route(false, None, vec![]), Route::Look(CellId(0)));
        assert_eq!(
            route(false, None, vec![first.clone()]),
            Route::Look(CellId(1))
        );
        let second = (1, marked(3, away(2)));
        let third = (2, marked(3, Stand::Here));
        let mark = third.1.mark(&queue()).unwrap();
        let end = route(false, None, vec![first, second, third]);
        assert_eq!(
            end,
            Route::Send {
                cell: CellId(2),
                mark
            }
        );
    }

    #[test]
    fn between_two_cells_a_submission_waits() {
        let left = (0, marked(4, Stand::Away { to: CellId(1) }));
        let before = (1, marked(3, Stand::Away { to: CellId(0) }));
        assert_eq!(route(false, None, vec![left.clone(), before]), Route::Wait);
        assert_eq!(
            route(false, None, vec![left, (1, Snapshot::default())]),
            Route::Wait
        );
    }

    #[test]
    fn only_the_first_cell_makes_a_first_mark() {
        let nothing = (0, Snapshot::default());
        let first = route(false, None, vec![nothing]);
        assert_eq!(first, Route::FirstMark(CellId(0)));
        let mut atlas = Atlas::default();
        atlas.learn_map(&map(0, 3));
        atlas.learn(CellId(0), Snapshot::default());
        assert_eq!(atlas.route(&queue(), false, None), Route::Wait);
    }

    #[test]
    fn with_a_key_the_cell_that_is_left_is_asked_first() {
        let (from, epoch) = (CellId(1), Epoch(2));
        let arriving = vec![(0, marked(2, Stand::Arriving { from }))];
        let mark = arriving[0].1.mark(&queue()).unwrap();
        let send = Route::Send {
            cell: CellId(0),
            mark,
        };
        assert_eq!(
            route(true, None, arriving.clone()),
            Route::LookBack { from, epoch }
        );
        assert_eq!(route(true, Some(epoch), arriving.clone()), send);
        assert_eq!(route(false, None, arriving), send);
    }
}
