//! Listing tasks: what lives is found in the view, what has ended in the store; both page by page.

use std::ops::Bound;

use super::decide::is_live;
use super::errand::{Errand, Next, Read};
use super::request::{Filter, Reply, TaskState};
use super::show;
use super::shown::TaskView;
use crate::ids::TaskId;
use crate::keyspace::{Key, Meaning, Range};
use crate::store::{Call, Item, OPS_MAX, Query};
use crate::view::ClusterView;

/// The most tasks in one answer.
pub const LIST_MAX: u32 = 100;

/// How many keys are read at a time.
const PAGE: u32 = 600;

/// How many pages one request reads before it answers with what it found.
const PAGES_MAX: u32 = 20;

/// What a listing has found so far.
#[derive(Debug, Default)]
pub(super) struct Listed {
    tasks: Vec<TaskView>,
    /// The last key that was looked at.
    seen: Option<Key>,
    pages: u32,
    /// Candidates of the view that are being read.
    candidates: Vec<(Key, TaskId)>,
}

pub(super) fn next(
    errand: &mut Errand,
    filter: &Filter,
    limit: u32,
    after: Option<&Key>,
    view: &ClusterView,
) -> Next {
    let limit = usize::try_from(limit.clamp(1, LIST_MAX)).expect("a small number");
    match filter.state {
        Some(
            TaskState::Pending | TaskState::Running | TaskState::Scheduled | TaskState::Retrying,
        ) => next_live(errand, filter, limit, after, view),
        Some(TaskState::Completed | TaskState::Failed | TaskState::Cancelled) | None => {
            next_stored(errand, filter, limit, after, view)
        }
    }
}

fn matches(filter: &Filter, task: &TaskView) -> bool {
    filter.state.is_none_or(|state| state == task.state)
        && filter
            .queue
            .as_ref()
            .is_none_or(|queue| *queue == task.queue)
        && filter.kind.as_ref().is_none_or(|kind| *kind == task.kind)
}

fn next_stored(
    errand: &mut Errand,
    filter: &Filter,
    limit: usize,
    after: Option<&Key>,
    view: &ClusterView,
) -> Next {
    if let Some(Read { items, more }) = errand.read.take() {
        errand.listed.pages += 1;
        let whole = if more {
            whole_tasks(&items)
        } else {
            items.len()
        };
        for item in &items[..whole] {
            let Meaning::Task(id) = Meaning::of(&item.key) else {
                continue;
            };
            let Some(found) = show::Found::of(id, &items[..whole]) else {
                continue;
            };
            let shown = found.show(view);
            if matches(filter, &shown) {
                errand.listed.tasks.push(shown);
            }
            if errand.listed.tasks.len() == limit {
                let seen = last_of(id, &items[..whole]);
                return Next::Reply(Reply::Tasks {
                    tasks: std::mem::take(&mut errand.listed.tasks),
                    next: Some(seen),
                });
            }
        }
        errand.listed.seen = items[..whole].last().map(|item| item.key.clone());
        if !more || errand.listed.pages >= PAGES_MAX {
            let next = errand.listed.seen.clone().filter(|_| more);
            return Next::Reply(Reply::Tasks {
                tasks: std::mem::take(&mut errand.listed.tasks),
                next,
            });
        }
    }
    let all = Range::tasks();
    let from = errand.listed.seen.as_ref().or(after);
    let range = from
        .filter(|key| all.contains(key))
        .map_or_else(|| all.clone(), |key| all.behind(key));
    Next::Ask(Call::Read(Query::Range { range, limit: PAGE }))
}

/// How many items of a cut page belong to tasks that are surely there whole: the last task may go on behind the cut.
fn whole_tasks(items: &[Item]) -> usize {
    let last_task = items
        .iter()
        .rposition(|item| matches!(Meaning::of(&item.key), Meaning::Task(_)));
    last_task.filter(|at| *at > 0).unwrap_or(items.len())
}

fn last_of(id: TaskId, items: &[Item]) -> Key {
    let own = Range::of_task(id);
    items
        .iter()
        .rev()
        .find(|item| own.contains(&item.key))
        .map_or_else(|| Key::task(id), |item| item.key.clone())
}

fn next_live(
    errand: &mut Errand,
    filter: &Filter,
    limit: usize,
    after: Option<&Key>,
    view: &ClusterView,
) -> Next {
    let Some(read) = errand.read.take() else {
        let from = errand.listed.seen.as_ref().or(after);
        let candidates = live_candidates(filter, from, limit.min(OPS_MAX / 2), view);
        if candidates.is_empty() {
            return Next::Reply(Reply::Tasks {
                tasks: std::mem::take(&mut errand.listed.tasks),
                next: None,
            });
        }
        let keys = candidates
            .iter()
            .flat_map(|(_, id)| [Key::task(*id), Key::run(*id)])
            .collect();
        errand.listed.candidates = candidates;
        return Next::Ask(Call::Read(Query::Keys(keys)));
    };
    errand.listed.pages += 1;
    for (key, id) in std::mem::take(&mut errand.listed.candidates) {
        errand.listed.seen = Some(key);
        let Some(found) = show::Found::of(id, &read.items).filter(|_| is_live(view.spot(id)))
        else {
            continue;
        };
        let shown = found.show(view);
        if matches(filter, &shown) {
            errand.listed.tasks.push(shown);
        }
        if errand.listed.tasks.len() == limit {
            break;
        }
    }
    if errand.listed.tasks.len() < limit && errand.listed.pages < PAGES_MAX {
        return next_live(errand, filter, limit, after, view);
    }
    Next::Reply(Reply::Tasks {
        tasks: std::mem::take(&mut errand.listed.tasks),
        next: errand.listed.seen.clone(),
    })
}

/// The next tasks of the view that may match, in the order of their keys.
fn live_candidates(
    filter: &Filter,
    after: Option<&Key>,
    limit: usize,
    view: &ClusterView,
) -> Vec<(Key, TaskId)> {
    let meaning = after.map(Meaning::of);
    match filter.state {
        Some(TaskState::Pending) => {
            let queues = view
                .entries
                .iter()
                .filter(|(name, _)| filter.queue.as_ref().is_none_or(|queue| queue == *name));
            let queues = queues.filter(
                |(name, _)| !matches!(&meaning, Some(Meaning::Entry(queue, _)) if *name < queue),
            );
            let keys = queues.flat_map(|(name, entries)| {
                let from = match &meaning {
                    Some(Meaning::Entry(queue, place)) if queue == name => Bound::Excluded(*place),
                    Some(_) | None => Bound::Unbounded,
                };
                entries
                    .range((from, Bound::Unbounded))
                    .map(move |(place, _)| (Key::entry(name, *place), place.task))
            });
            keys.take(limit).collect()
        }
        Some(TaskState::Running) => {
            let workers = view.claims.iter().filter(
                |(id, _)| !matches!(&meaning, Some(Meaning::Claim(worker, _)) if *id < worker),
            );
            let keys = workers.flat_map(|(id, claims)| {
                let from = match &meaning {
                    Some(Meaning::Claim(worker, place)) if worker == id => Bound::Excluded(*place),
                    Some(_) | None => Bound::Unbounded,
                };
                claims
                    .range((from, Bound::Unbounded))
                    .map(move |(place, _)| (Key::claim(id, *place), place.task))
            });
            keys.take(limit).collect()
        }
        Some(
            TaskState::Scheduled
            | TaskState::Retrying
            | TaskState::Completed
            | TaskState::Failed
            | TaskState::Cancelled,
        )
        | None => {
            let from = match &meaning {
                Some(Meaning::Delayed(due, task)) => Bound::Excluded((*due, *task)),
                Some(_) | None => Bound::Unbounded,
            };
            let keys = view
                .delayed
                .range((from, Bound::Unbounded))
                .map(|((due, task), _)| (Key::delayed(*due, *task), *task));
            keys.take(limit).collect()
        }
    }
}
