//! Tasks of the store, window by window: a stretch of ids that holds about a page.
//!
//! A store reads, or at least counts, all that a range holds before it gives the first page of it, in either order. So
//! no range reaches further than it has to: windows become narrower where much was accepted in a short time, and wider
//! where there is little.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::part::{Part, starts};
use super::{Order, Reached};
use crate::filter::Reach;
use crate::gateway::errand::Read;
use crate::gateway::show::Found;
use crate::ids::TaskId;
use crate::keyspace::{Key, Range};
use crate::store::{Item, Query};
use crate::time::Wall;
use crate::view::ClusterView;

/// How many keys are read at a time.
pub(super) const PAGE: u32 = 600;

/// Ids of one second.
const SECOND: u128 = 1_000 << 80;

/// Ids of a month: longer than most stores keep what has ended.
const MONTH: u128 = 30 * 86_400 * SECOND;

/// How many times wider a window becomes behind one that held nothing.
const WIDEN: u128 = 8;

/// How the store is walked through.
#[derive(Debug, Default)]
pub(super) struct Windows {
    order: Order,
    width: u128,
    /// Where the newest task is thought to be.
    horizon: u128,
    asked: Option<Asked>,
    /// What the last window held, and was not looked at yet.
    batch: VecDeque<Held>,
    /// What was reached when the batch is done.
    reached: Option<Reached>,
}

#[derive(Debug)]
struct Held {
    id: TaskId,
    /// `None` when a claim was its only copy, and went before the window was read.
    found: Option<Found>,
    /// It was read a second time.
    again: bool,
}

#[derive(Debug)]
enum Asked {
    /// Of these tasks in it, claims held the only copies.
    Window(Window, Vec<TaskId>),
    /// These tasks of the batch.
    Again(Vec<TaskId>),
}

/// Ids from the first to the last; of what lies there, only what stands behind a key.
#[derive(Debug, Clone)]
struct Window {
    first: u128,
    last: u128,
    behind: Option<Key>,
}

impl Window {
    fn ids(&self) -> RangeInclusive<TaskId> {
        TaskId::from_u128(self.first)..=TaskId::from_u128(self.last)
    }

    fn query(&self) -> Query {
        let from = Key::task(TaskId::from_u128(self.first));
        let range = Range::new(from, Range::of_task(TaskId::from_u128(self.last)).to);
        let range = match &self.behind {
            Some(key) => range.behind(key),
            None => range,
        };
        Query::Range { range, limit: PAGE }
    }
}

impl Windows {
    pub(super) fn begin(order: Order, after: Option<TaskId>, now: Wall) -> Self {
        let width = match (order, after) {
            // Nobody knows where the first task is: as much is looked at in one as may be.
            (Order::Oldest, None) => u128::MAX,
            (Order::Oldest, Some(_)) | (Order::Newest, _) => SECOND,
        };
        Self {
            order,
            width,
            horizon: TaskId::floor_of(now).as_u128(),
            ..Self::default()
        }
    }

    /// The next task in order.
    pub(super) fn pop(&mut self) -> Option<Found> {
        let held = self.batch.pop_front()?;
        assert!(
            held.found.is_some(),
            "what was not found was read again, or let go"
        );
        held.found
    }

    /// How far the batch reached, once.
    pub(super) fn reached(&mut self) -> Option<Reached> {
        self.reached.take()
    }

    /// When the next task has moved since it was read: that one, and others of the batch, to be read again.
    pub(super) fn ask_again(
        &mut self,
        most: usize,
        is_unsettled: impl Fn(&Found) -> bool,
    ) -> Option<Vec<TaskId>> {
        let moved = |it: &&mut Held| !it.again && it.found.as_ref().is_none_or(&is_unsettled);
        self.batch.iter_mut().next().filter(moved)?;
        let mut ids = Vec::new();
        for it in self.batch.iter_mut().filter(moved).take(most) {
            it.again = true;
            ids.push(it.id);
        }
        self.asked = Some(Asked::Again(ids.clone()));
        Some(ids)
    }

    /// What to read next; `None` when nothing is left.
    pub(super) fn next(
        &mut self,
        position: Option<TaskId>,
        reach: &Reach,
        now: Wall,
        view: &ClusterView,
    ) -> Option<Query> {
        if let Some(Asked::Window(window, _)) = &self.asked {
            // A page of keys that are nobody's: the same window goes on behind them.
            return Some(window.query());
        }
        let position = position.map(TaskId::as_u128);
        let window = match self.order {
            Order::Oldest => self.next_oldest(position, reach, TaskId::floor_of(now).as_u128()),
            Order::Newest => self.next_newest(position, reach),
        }?;
        let query = window.query();
        let claimed = view.only_claimed(window.ids()).collect();
        self.asked = Some(Asked::Window(window, claimed));
        Some(query)
    }

    fn next_oldest(&mut self, position: Option<u128>, reach: &Reach, now: u128) -> Option<Window> {
        let first = match position {
            Some(position) => position.checked_add(1)?.max(reach.first),
            None => reach.first,
        };
        // At most up to here: what is left of the time until now becomes a window of its own.
        let left = now.saturating_sub(first);
        let most = left.saturating_sub(MONTH).max(left / 8 * 7).max(SECOND);
        self.width = self.width.min(most);
        let last = first.saturating_add(self.width - 1);
        // Beyond the present there is next to nothing, whatever a clock says.
        let last = if last.saturating_add(2 * SECOND) >= now {
            reach.last
        } else {
            last.min(reach.last)
        };
        (first <= last).then_some(Window {
            first,
            last,
            behind: None,
        })
    }

    fn next_newest(&self, position: Option<u128>, reach: &Reach) -> Option<Window> {
        let last = match position {
            Some(position) => position.checked_sub(1)?.min(reach.last),
            None => reach.last,
        };
        let present = last.min(self.horizon.max(reach.first));
        let first = present.saturating_sub(self.width - 1).max(reach.first);
        (first <= last).then_some(Window {
            first,
            last,
            behind: None,
        })
    }

    /// Takes what was asked for.
    pub(super) fn take(&mut self, read: Read, reach: &Reach, view: &ClusterView) {
        match self.asked.take() {
            Some(Asked::Window(window, mut claimed)) => {
                claimed.extend(view.only_claimed(window.ids()));
                let part = Part {
                    items: &read.items,
                    claimed,
                    view,
                };
                match (self.order, read.more) {
                    (_, false) => self.take_whole(&window, part, reach),
                    // As narrow as can be, and still more than a page: the rest are keys that are nobody's.
                    (Order::Newest, true) if self.width == 1 => {
                        self.take_whole(&window, part, reach);
                    }
                    (Order::Newest, true) => self.narrow(&read.items),
                    (Order::Oldest, true) => self.take_first(window, part),
                }
            }
            Some(Asked::Again(ids)) => {
                self.batch.retain_mut(|it| {
                    if ids.contains(&it.id) {
                        it.found = Found::of(it.id, &read.items, view);
                        return it.found.is_some();
                    }
                    true
                });
            }
            None => {}
        }
    }

    /// A window was read to its end.
    fn take_whole(&mut self, window: &Window, part: Part<'_>, reach: &Reach) {
        let items = part.items.len();
        self.fill(part);
        let (end, edge) = match self.order {
            Order::Oldest => (window.last == reach.last, window.last),
            Order::Newest => (window.first == reach.first, window.first),
        };
        self.reached = Some(if end {
            Reached::End
        } else {
            Reached::Position(TaskId::from_u128(edge))
        });
        let page = usize::try_from(PAGE).expect("a small number");
        if items == 0 {
            self.width = self.width.saturating_mul(WIDEN);
        } else if items < page / 4 {
            self.width = self.width.saturating_mul(2);
        }
    }

    /// Only the first tasks of a window were read. The last of them may go on behind the cut.
    fn take_first(&mut self, window: Window, mut part: Part<'_>) {
        let items = part.items;
        let tasks = || starts(items);
        let ends_in = |id| {
            items
                .last()
                .is_some_and(|it| Range::of_task(id).contains(&it.key))
        };
        let cut = match tasks().next_back() {
            Some((at, id)) if ends_in(id) => at,
            Some(_) => items.len(),
            None => 0,
        };
        let whole = || tasks().filter(|(at, _)| *at < cut).map(|(_, id)| id);
        if let Some(last) = whole().next_back() {
            let first = whole().next().unwrap_or(last);
            self.width = (last.as_u128() - first.as_u128()).saturating_mul(2).max(1);
            self.reached = Some(Reached::Position(last));
            part.items = &items[..cut];
            part.claimed.retain(|id| *id <= last);
            self.fill(part);
        } else {
            let behind = items[..cut].last().or_else(|| items.last());
            let behind = behind.map(|item| item.key.clone());
            let window = Window { behind, ..window };
            self.asked = Some(Asked::Window(window, part.claimed));
        }
    }

    /// A window held more than a page, and only its older end was read: the newer end needs a narrower one.
    fn narrow(&mut self, items: &[Item]) {
        let ids = || {
            let tasks = starts(items);
            tasks.map(|(_, id)| id.as_u128())
        };
        let (Some(first), Some(last)) = (ids().next(), ids().next_back()) else {
            self.width = (self.width / 2).max(1);
            return;
        };
        if last >= self.horizon {
            // Clocks differ: there is more beyond what this one takes for the present.
            let ahead = (last - self.horizon).max(SECOND);
            self.horizon = last.saturating_add(ahead.saturating_mul(2));
            return;
        }
        let crowded = (last - first) / 4 * 3;
        self.width = crowded.min(self.width / 2).max(1);
    }

    fn fill(&mut self, part: Part<'_>) {
        let again = false;
        for (id, found) in part.tasks() {
            let held = Held { id, found, again };
            match self.order {
                Order::Oldest => self.batch.push_back(held),
                Order::Newest => self.batch.push_front(held),
            }
        }
    }
}

#[cfg(test)]
mod tests;
