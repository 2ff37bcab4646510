//! Tasks of the store, window by window: a stretch of ids that holds about a page.
//!
//! A store reads, or at least counts, all that a range holds before it gives the first page of it, in either order. So
//! no range reaches further than it has to: windows become narrower where much was accepted in a short time, and wider
//! where there is little.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use super::{Order, Reached};
use crate::filter::Reach;
use crate::gateway::errand::Read;
use crate::gateway::show::Found;
use crate::ids::TaskId;
use crate::keyspace::{Key, Meaning, Range};
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

/// What is known of a stretch of ids.
struct Part<'a> {
    items: &'a [Item],
    /// Tasks of which claims hold, or held when the items were asked for, the only copies.
    claimed: Vec<TaskId>,
    view: &'a ClusterView,
}

impl Part<'_> {
    /// Its tasks in order, and what was found of each.
    fn tasks(&self) -> BTreeMap<TaskId, Option<Found>> {
        let mut tasks = BTreeMap::new();
        let mut all = starts(self.items).peekable();
        while let Some((from, id)) = all.next() {
            let to = all.peek().map_or(self.items.len(), |(at, _)| *at);
            if let Some(found) = Found::of(id, &self.items[from..to], self.view) {
                tasks.insert(id, Some(found));
            }
        }
        for id in &self.claimed {
            let by_claim = || Found::of(*id, &[], self.view);
            tasks.entry(*id).or_insert_with(by_claim);
        }
        tasks
    }
}

/// Where among `items` tasks begin.
fn starts(items: &[Item]) -> impl DoubleEndedIterator<Item = (usize, TaskId)> {
    let before = |at: usize| items.get(at.checked_sub(1)?).and_then(task_of);
    let tasks = items.iter().enumerate();
    tasks.filter_map(move |(at, item)| {
        let id = task_of(item)?;
        (before(at) != Some(id)).then_some((at, id))
    })
}

fn task_of(item: &Item) -> Option<TaskId> {
    match Meaning::of(&item.key) {
        Meaning::Task(id) | Meaning::Outcome(id) | Meaning::Run(id) => Some(id),
        Meaning::QueueConfig(_)
        | Meaning::NodeConfig(_)
        | Meaning::Dead(..)
        | Meaning::Delayed(..)
        | Meaning::LockWaiter(..)
        | Meaning::JanitorWaiter(_)
        | Meaning::Node(..)
        | Meaning::Offer(_)
        | Meaning::Entry(..)
        | Meaning::Claim(..)
        | Meaning::Lane(_)
        | Meaning::FoldedTotals
        | Meaning::Unique
        | Meaning::Foreign => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::filter::Filter;
    use crate::ids::{Priority, Revision};
    use crate::record::{Json, Record, TaskRecord, Version};
    use crate::retry::RetryPolicy;
    use crate::time::Millis;

    const NOW: Wall = Wall::from_millis(1_795_428_000_000);

    fn record() -> TaskRecord {
        TaskRecord {
            v: Version,
            kind: "noop".parse().unwrap(),
            queue: "q".parse().unwrap(),
            priority: Priority::NORMAL,
            name: None,
            payload: Json::null(),
            metadata: BTreeMap::new(),
            retries_max: 3,
            retry: RetryPolicy::default(),
            timeout: Millis::from_secs(1),
            created_at: NOW,
            due: None,
            unique: None,
        }
    }

    /// A store that holds these tasks, one key each, and what a walk through it costs.
    struct Store {
        keys: BTreeMap<Key, Item>,
        view: ClusterView,
        reads: usize,
    }

    impl Store {
        fn new(ids: &BTreeSet<TaskId>) -> Self {
            let value = record().encode();
            let item = |id: &TaskId| {
                let key = Key::task(*id);
                let at = Revision(1);
                (key.clone(), Item::new(key, at, at, value.clone()))
            };
            Self {
                keys: ids.iter().map(item).collect(),
                view: ClusterView::default(),
                reads: 0,
            }
        }

        fn read(&mut self, query: &Query) -> Read {
            let Query::Range { range, limit } = query else {
                panic!("a window")
            };
            let limit = usize::try_from(*limit).unwrap();
            let range = range.from.clone()..range.to.clone();
            let found = self.keys.range(range.clone()).count();
            self.reads += 1;
            let items = self.keys.range(range).take(limit);
            Read {
                items: items.map(|(_, item)| item.clone()).collect(),
                more: found > limit,
            }
        }

        /// All tasks in order, where every page but the first begins anew behind the one before, after so many reads.
        fn walk(&mut self, order: Order, page: usize) -> Vec<TaskId> {
            let reach = Filter::default().reach(NOW);
            let (mut found, mut position) = (Vec::new(), None);
            loop {
                let mut windows = Windows::begin(order, position, NOW);
                for _ in 0..page {
                    let Some(query) = windows.next(position, &reach, NOW, &self.view) else {
                        return found;
                    };
                    windows.take(self.read(&query), &reach, &self.view);
                    while let Some(task) = windows.pop() {
                        found.push(task.id);
                        position = Some(task.id);
                    }
                    match windows.reached() {
                        Some(Reached::End) => return found,
                        Some(Reached::Position(id)) => position = Some(id),
                        None => {}
                    }
                    assert!(self.reads < 5_000, "it does not come to an end");
                }
            }
        }
    }

    /// So many tasks, spread evenly over a time that ended so long ago.
    fn burst(ids: &mut BTreeSet<TaskId>, count: u64, over_ms: u64, ago_ms: i64) {
        let end = NOW.as_millis().checked_add_signed(-ago_ms).unwrap();
        let first = u128::from(end - over_ms) << 80;
        let step = (u128::from(over_ms.max(1)) << 80) / u128::from(count.max(1));
        let all = (0..u128::from(count)).map(|n| TaskId::from_u128(first + n * step));
        ids.extend(all);
    }

    fn assert_walks(ids: &BTreeSet<TaskId>, page: usize) -> usize {
        let mut worst = 0;
        for order in [Order::Oldest, Order::Newest] {
            let mut store = Store::new(ids);
            let mut found = store.walk(order, page);
            if order == Order::Newest {
                found.reverse();
            }
            assert!(found.iter().eq(ids), "{order:?} by pages of {page} reads");
            worst = worst.max(store.reads);
        }
        worst
    }

    #[test]
    fn a_long_history_is_read_in_windows_of_about_a_page() {
        let mut ids = BTreeSet::new();
        burst(&mut ids, 20_000, 60_000, 3_600_000);
        burst(&mut ids, 300, 86_400_000, 4_000_000);
        burst(&mut ids, 5_000, 0, 1_000);
        let reads = assert_walks(&ids, 100);
        let least = ids.len() / usize::try_from(PAGE).unwrap();
        assert!(reads < 4 * least, "{reads} reads of at least {least}");
    }

    #[test]
    fn a_few_old_tasks_are_found_in_a_few_reads() {
        for ago in [0, 5_000, 3_600_000, 86_400_000, 40_000_000_000] {
            let mut ids = BTreeSet::new();
            burst(&mut ids, 3, 1_000, ago);
            let reads = assert_walks(&ids, 100);
            assert!(reads <= 20, "{reads} reads for what was {ago} ms ago");
        }
    }

    #[test]
    fn tasks_of_clocks_that_are_ahead_are_found() {
        let mut ids = BTreeSet::new();
        burst(&mut ids, 3_000, 1_000, -3_600_000);
        burst(&mut ids, 2_000, 1_000, 1_000);
        assert_walks(&ids, 50);
    }

    #[test]
    fn keys_that_are_nobodys_do_not_stand_in_the_way() {
        let mut ids = BTreeSet::new();
        burst(&mut ids, 100, 1_000, 1_000);
        for order in [Order::Oldest, Order::Newest] {
            let mut store = Store::new(&ids);
            let begin = Key::task(*ids.first().unwrap()).as_str()[..12].to_owned();
            for n in 0..2_000 {
                let begin = if n % 2 == 0 { "/tasks/" } else { &begin };
                let key = Key::from_store(format!("{begin}stray-{n:04}"));
                let item = Item::new(key.clone(), Revision(1), Revision(1), record().encode());
                store.keys.insert(key, item);
            }
            let found = store.walk(order, 100);
            assert_eq!(found.len(), ids.len(), "{order:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_task_is_walked_over_once(
            bursts in prop::collection::vec((0_u64..1_500, 0_u64..100_000, -10_000_i64..100_000_000), 0..5),
            page in 1_usize..50,
        ) {
            let mut ids = BTreeSet::new();
            for (count, over, ago) in bursts {
                burst(&mut ids, count, over, ago);
            }
            assert_walks(&ids, page + 40);
        }
    }
}
