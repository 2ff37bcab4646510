//! Counting: what the view has is counted there, and what has ended by what was counted as it ended. Only what neither
//! tells is walked through in the store, as far as one request may.
//!
//! The two parts are not of one moment: of tasks that end between them a few may be counted twice.

use super::{Counted, Next, Quest, Search, end_live, next_live, tally};
use crate::filter::Reach;
use crate::record::Totals;
use crate::task_state::TaskState;
use crate::time::Now;
use crate::view::ClusterView;

/// Counts tasks of which some may have ended.
pub(super) fn begin(
    search: &mut Search,
    quest: &Quest<'_>,
    reach: &Reach,
    totals: &Totals,
    now: Now,
    view: &ClusterView,
) -> Next {
    let ended = tally::ended(totals, view);
    let wants = |state| reach.states.contains(&state);
    let has_other = match (wants(TaskState::Completed), wants(TaskState::Cancelled)) {
        (true, false) => totals.cancelled > 0,
        (false, true) => totals.completed > 0,
        (true, true) | (false, false) => false,
    };
    match ended {
        // Every ended task is meant, or there is none.
        Some(ended) if ended == 0 || is_all(reach) && !has_other => {
            let mut living_only = reach.clone();
            search.count += ended;
            search.counted = Counted::Ended;
            search.counted.narrow(&mut living_only);
            living(search, quest, &living_only, now, view)
        }
        Some(_) | None => living(search, quest, reach, now, view),
    }
}

/// Whether tasks are meant by their state alone.
fn is_all(reach: &Reach) -> bool {
    reach.is_exact && reach.queues.is_none()
}

/// Counts what the view has first.
pub(super) fn living(
    search: &mut Search,
    quest: &Quest<'_>,
    reach: &Reach,
    now: Now,
    view: &ClusterView,
) -> Next {
    let mut living = reach.clone();
    Counted::Ended.narrow(&mut living);
    match tally::count(quest.filter, &living, now.wall, view) {
        Some(count) => {
            search.count += count;
            end_live(search, quest, reach, now, view)
        }
        None => next_live(search, quest, reach, now, view),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;
    use crate::time::Wall;

    #[test]
    fn only_a_query_by_states_means_all_that_have_ended() {
        let is_all = |query: &str| {
            let filter: Filter = query.parse().unwrap();
            is_all(&filter.reach(Wall::from_millis(1_795_428_000_000)))
        };
        assert!(is_all(""));
        assert!(is_all("state:completed,cancelled"));
        assert!(!is_all("queue:mail"));
        assert!(!is_all("state:completed type:noop"));
        assert!(!is_all("created:>-1h"));
    }
}
