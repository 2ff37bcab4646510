//! Why a task is not running, and when it may be.

use std::collections::BTreeMap;

use super::Own;
use super::decide::{missed, read_task};
use super::departures::Rate;
use super::errand::{Errand, Next};
use super::request::Reply;
use super::show::Found;
use super::shown::{Estimate, Why, WhyReason};
use crate::ids::TaskId;
use crate::keyspace::Place;
use crate::scheduler::Scheduler;
use crate::task_state::TaskState;
use crate::time::{Millis, Now};
use crate::view::{ClusterView, Spot, Waiting};

pub(super) fn why(
    errand: &mut Errand,
    id: TaskId,
    now: Now,
    view: &ClusterView,
    scheduler: &Scheduler,
    own: &Own,
) -> Next {
    let Some(read) = errand.read.take() else {
        return read_task(id);
    };
    let Some(found) = Found::of(id, &read.items, view) else {
        return missed(errand, id);
    };
    let mut why = Why {
        id,
        state: found.show(view).state,
        reasons: Vec::new(),
        ahead: None,
        estimate: None,
    };
    match (found.outcome.is_some(), view.spot(id)) {
        (true, _) => why.reasons.push(WhyReason::Ended),
        (false, Some(Spot::Entry(queue, own_rank))) => {
            let ahead = rank(&view.entries[queue], own_rank.of(why.id));
            let obstacles = scheduler.why(queue, &found.task.kind, ahead, view);
            why.reasons = obstacles.reasons;
            why.ahead = Some(ahead);
            let rate = own.departures.rate(now.mono, queue);
            why.estimate = rate
                .filter(|_| obstacles.can_flow)
                .map(|rate| estimate(ahead, rate, now));
        }
        (false, Some(Spot::Delayed(due))) => why.reasons.push(WhyReason::NotDue {
            due_at: *due,
            after_failure: why.state == TaskState::Retrying,
        }),
        (false, Some(Spot::Claim(worker, _))) => why.reasons.push(WhyReason::Running {
            worker: worker.clone(),
        }),
        (false, Some(Spot::Dead(_)) | None) => return read_task(id),
    }
    Next::Reply(Reply::Why(Box::new(why)))
}

/// What can be said about a task when the view does not come to where it was read: that this is so.
pub(super) fn without_news(errand: &Errand, id: TaskId, view: &ClusterView) -> Option<Reply> {
    let read = errand.read.as_ref()?;
    errand.awaits_view?;
    let found = Found::of(id, &read.items, view)?;
    let reason = match found.outcome {
        Some(_) => WhyReason::Ended,
        None => WhyReason::ViewStale,
    };
    Some(Reply::Why(Box::new(Why {
        id,
        state: found.show(view).state,
        reasons: vec![reason],
        ahead: None,
        estimate: None,
    })))
}

/// How many entries stand before this one. Counted from both ends at once, so that it takes twice the distance to the
/// nearer end: a few milliseconds in the middle of a million, and nothing for what came last.
fn rank(entries: &BTreeMap<Place, Waiting>, place: Place) -> u64 {
    let (mut before, mut behind) = (entries.range(..place), entries.range(place..));
    let mut steps = 0;
    let rank = loop {
        if before.next().is_none() {
            break steps;
        }
        if behind.next_back().is_none() {
            break entries.len() - steps;
        }
        steps += 1;
    };
    u64::try_from(rank).unwrap_or(u64::MAX)
}

/// When the task is next, if tasks go on leaving its queue as they did.
fn estimate(ahead: u64, rate: Rate, now: Now) -> Estimate {
    let millis = u128::from(ahead + 1) * u128::from(rate.over.get()) / u128::from(rate.departed);
    let wait = Millis::new(u64::try_from(millis).unwrap_or(u64::MAX));
    Estimate {
        start_at: now.wall.after(wait),
        wait,
        departed: rate.departed,
        over: rate.over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Priority;
    use crate::record::Carry;
    use crate::time::{Mono, Wall};

    fn place(n: u64) -> Place {
        Place {
            priority: Priority::NORMAL,
            timestamp: Wall::from_millis(n),
            task: TaskId::floor_of(Wall::from_millis(n)),
        }
    }

    #[test]
    fn a_rank_is_the_number_of_entries_before() {
        let carry = Carry {
            kind: "noop".parse().unwrap(),
            timeout: Millis::from_secs(1),
            retries: 0,
            losses: 0,
            run: 0,
            notes: vec![],
        };
        let since = crate::ids::Revision(1);
        let waiting = Waiting { since, carry };
        for len in 0..9 {
            let entries: BTreeMap<_, _> = (0..len).map(|n| (place(n), waiting.clone())).collect();
            for n in 0..len {
                assert_eq!(rank(&entries, place(n)), n, "of {len}");
            }
        }
    }

    #[test]
    fn an_estimate_is_how_long_those_ahead_and_itself_take_to_leave() {
        let now = Now {
            mono: Mono::ZERO,
            wall: Wall::from_millis(1_000),
        };
        let rate = Rate {
            departed: 120,
            over: Millis::from_secs(60),
        };
        let told = estimate(9, rate, now);
        assert_eq!(told.wait, Millis::from_secs(5));
        assert_eq!(told.start_at, Wall::from_millis(6_000));
    }
}
