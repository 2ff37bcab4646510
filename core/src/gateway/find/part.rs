//! What was read of a stretch of ids, joined with what only claims tell.

use std::collections::BTreeMap;

use crate::gateway::show::Found;
use crate::ids::TaskId;
use crate::keyspace::Meaning;
use crate::store::Item;
use crate::view::ClusterView;

/// What is known of a stretch of ids.
pub(super) struct Part<'a> {
    pub(super) items: &'a [Item],
    /// Tasks of which claims hold, or held when the items were asked for, the only copies.
    pub(super) claimed: Vec<TaskId>,
    pub(super) view: &'a ClusterView,
}

impl Part<'_> {
    /// Its tasks in order, and what was found of each.
    pub(super) fn tasks(&self) -> BTreeMap<TaskId, Option<Found>> {
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
pub(super) fn starts(items: &[Item]) -> impl DoubleEndedIterator<Item = (usize, TaskId)> {
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
