//! Counting tasks without reading any.

use super::live;
use crate::filter::{Filter, Reach};
use crate::ids::QueueName;
use crate::record::Totals;
use crate::task_state::TaskState;
use crate::time::Wall;
use crate::view::ClusterView;

/// How many tasks of the view are looked at in one go when the view's own counts do not tell.
const LOOKS_MAX: u64 = 20_000;

/// How many tasks of the view are meant; `None` when that is not to be told in one go, or only by the store.
pub(super) fn count(filter: &Filter, reach: &Reach, now: Wall, view: &ClusterView) -> Option<u64> {
    if reach.is_exact {
        return Some(known(reach, view));
    }
    let (mut count, mut looks, mut is_doubtful) = (0, 0, false);
    let saw_all = live::each(reach, view, |task| {
        match filter.judge(&task, now) {
            Some(true) => count += 1,
            Some(false) => {}
            None => is_doubtful = true,
        }
        looks += 1;
        looks < LOOKS_MAX && !is_doubtful
    });
    (saw_all && !is_doubtful).then_some(count)
}

/// How many ended tasks the store keeps, by what was counted as it was done. `None` when the counts do not fit what the
/// view has, as in a store that was filled by other means.
pub(super) fn ended(totals: &Totals, view: &ClusterView) -> Option<u64> {
    let known = u64::try_from(view.spots_len()).unwrap_or(u64::MAX);
    totals
        .accepted
        .checked_sub(totals.purged)?
        .checked_sub(known)
}

/// The view's own counts of these states and queues.
fn known(reach: &Reach, view: &ClusterView) -> u64 {
    match &reach.queues {
        Some(queues) => queues
            .iter()
            .map(|queue| of_queue(reach, queue, view))
            .sum(),
        None => {
            let len = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
            let delayed = view.delayed_in_all();
            let of = |state: TaskState| match state {
                TaskState::Pending => view.entries.values().map(|it| len(it.len())).sum(),
                TaskState::Running => view.claims.values().map(|it| len(it.len())).sum(),
                TaskState::Scheduled => delayed.scheduled,
                TaskState::Retrying => delayed.retrying,
                TaskState::Failed => view.dead.values().map(|it| len(it.len())).sum(),
                TaskState::Completed | TaskState::Cancelled => 0,
            };
            reach.states.iter().copied().map(of).sum()
        }
    }
}

fn of_queue(reach: &Reach, queue: &QueueName, view: &ClusterView) -> u64 {
    let len = |n: Option<usize>| u64::try_from(n.unwrap_or(0)).unwrap_or(u64::MAX);
    let delayed = view.delayed_of(queue);
    let of = |state: TaskState| match state {
        TaskState::Pending => len(view.entries.get(queue).map(|it| it.len())),
        TaskState::Running => view.running(queue),
        TaskState::Scheduled => delayed.scheduled,
        TaskState::Retrying => delayed.retrying,
        TaskState::Failed => len(view.dead.get(queue).map(|it| it.len())),
        TaskState::Completed | TaskState::Cancelled => 0,
    };
    reach.states.iter().copied().map(of).sum()
}
