//! Which row of a task's life a step is: its places and counters before and after say so.

use windlass_core::ids::{NodeId, QueueName};
use windlass_core::keyspace::Place;
use windlass_core::record::StopReason;

use crate::book::{Claim, Count, End, Ending, Other, Revised, Spot, TaskState, TaskStep};

/// The rows of a task's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    /// A client submitted it.
    Submitted,
    /// A client submitted it, and it was given to a worker at once.
    Placed,
    /// A scheduler gave it to a worker.
    Dispatched,
    /// Its worker ended it.
    Ended(Ending),
    /// Its worker will have it tried again.
    Retried,
    /// Its worker gave it back.
    HandedBack,
    /// A scheduler took it back.
    Lost,
    /// A scheduler took it back for the last time.
    LostForGood(Ending),
    /// It was told to stop.
    Flagged,
    /// Its claim was written again.
    Rewritten,
    /// It became due.
    Released,
    /// It was cancelled where it waited.
    CancelledWaiting,
    /// An operator runs it again.
    Rerun,
    /// It was removed after its retention.
    Purged,
}

/// The one place of a task.
enum At<'a> {
    Entry(&'a Spot, Count),
    Delayed(&'a Spot, Count),
    Claim(&'a Claim),
    End(&'a End),
}

/// Whether the step is about a record that this version cannot read: nobody of ours is answerable for it.
pub(super) fn is_foreign(step: &TaskStep) -> bool {
    [&step.before, &step.after].into_iter().any(|state| {
        state.record.is_some() && state.promised.is_none()
            || state
                .spots
                .iter()
                .any(|spot| matches!(spot, Spot::Unreadable { .. }))
    })
}

/// The claim among a task's places.
pub(super) fn claim_of(state: &TaskState) -> Option<&Claim> {
    state.spots.iter().find_map(|spot| match spot {
        Spot::Claim(claim) => Some(claim),
        Spot::Entry { .. } | Spot::Delayed { .. } | Spot::Unreadable { .. } => None,
    })
}

/// The counters that a task has at its place, or ended with.
pub(super) fn count_of(state: &TaskState) -> Option<Count> {
    let spot = state.spots.first().and_then(|spot| match spot {
        Spot::Entry { count, .. } | Spot::Delayed { count, .. } => Some(*count),
        Spot::Claim(claim) => Some(claim.count),
        Spot::Unreadable { .. } => None,
    });
    spot.or_else(|| state.end.as_ref().map(|end| end.count))
}

/// Whose lane a revision wrote: the process, and the letter of its part.
pub(super) fn writer_of(revised: &Revised) -> Option<(&str, char)> {
    revised.others.iter().find_map(|other| match other {
        Other::Lane { key, lane: Some(_) } => {
            let mut parts = key.as_str().split('/').skip(2);
            let (node, lane) = (parts.next()?, parts.next()?);
            let part = lane.chars().next()?;
            (!node.starts_with('@')).then_some((node, part))
        }
        Other::Lane { lane: None, .. }
        | Other::Node { .. }
        | Other::Offer { .. }
        | Other::Waiter { .. }
        | Other::Unique { .. }
        | Other::Queue { .. }
        | Other::Orders { .. }
        | Other::Foreign { .. } => None,
    })
}

/// Whether a worker has no lanes of its own, because gateways act for it. Runs name these workers so.
pub(super) fn is_remote(worker: &NodeId) -> bool {
    worker.as_str().starts_with(crate::remote::NAME)
}

/// The row that a step is, or why it is none.
pub(super) fn row_of(step: &TaskStep) -> Result<Row, &'static str> {
    let (before, after) = (&step.before, &step.after);
    match (before.record, after.record) {
        (None, None) => Err("a task without a record was touched"),
        (None, Some(_)) => submitted(before, after),
        (Some(_), None) => purged(before, after),
        (Some(old), Some(new)) if old != new => Err("a task's record was changed"),
        (Some(_), Some(_)) => moved(before, after),
    }
}

fn submitted(before: &TaskState, after: &TaskState) -> Result<Row, &'static str> {
    let Some(promised) = &after.promised else {
        return Err("a new task cannot be read");
    };
    let (row, count) = match only(after)? {
        At::Entry(_, count) | At::Delayed(_, count) => (Row::Submitted, count),
        At::Claim(claim) => (Row::Placed, claim.count),
        At::End(_) => return Err("a new task has ended"),
    };
    if *before != TaskState::default() || after.run != 0 || count != Count::default() {
        return Err("a new task has a past");
    }
    let waits = |queue: &QueueName, place: &Place| {
        promised.due.is_none()
            && *queue == promised.queue
            && place.priority == promised.priority
            && place.timestamp == promised.created_at
    };
    let as_promised = match after.spots.first() {
        Some(Spot::Entry { queue, place, .. }) => waits(queue, place),
        Some(Spot::Claim(claim)) => waits(&claim.queue, &claim.place) && claim.stop.is_none(),
        Some(Spot::Delayed { due, queue, .. }) => {
            promised.due == Some(*due) && *queue == promised.queue
        }
        Some(Spot::Unreadable { .. }) | None => false,
    };
    ok_if(as_promised, row, "a new task is in a wrong place")
}

fn purged(before: &TaskState, after: &TaskState) -> Result<Row, &'static str> {
    if *after != TaskState::default() {
        return Err("a part of a purged task is left");
    }
    let At::End(end) = only(before)? else {
        return Err("a task was purged before its end");
    };
    ok_if(
        end.how != Ending::Failed,
        Row::Purged,
        "a dead task was purged",
    )
}

/// The only place of a task, if it has exactly one.
fn only(state: &TaskState) -> Result<At<'_>, &'static str> {
    match (&state.spots[..], &state.end) {
        ([], None) => Err("a task is nowhere"),
        ([], Some(end)) => {
            let dead = state.dead.is_some() == (end.how == Ending::Failed);
            ok_if(dead, At::End(end), "a task is dead, or it has not failed")
        }
        ([_, ..], Some(_)) => Err("a task that has ended is still somewhere"),
        ([spot], None) if state.dead.is_none() => match spot {
            Spot::Entry { count, .. } => Ok(At::Entry(spot, *count)),
            Spot::Delayed { count, .. } => Ok(At::Delayed(spot, *count)),
            Spot::Claim(claim) => Ok(At::Claim(claim)),
            Spot::Unreadable { .. } => Err("a task's place cannot be read"),
        },
        ([_], None) => Err("a task is among the dead and not at its end"),
        ([_, _, ..], None) => Err("a task is in two places"),
    }
}

fn ok_if<T>(right: bool, row: T, why: &'static str) -> Result<T, &'static str> {
    if right { Ok(row) } else { Err(why) }
}

fn moved(before: &TaskState, after: &TaskState) -> Result<Row, &'static str> {
    let run = if let Some(count) = count_of(after) {
        count.run
    } else {
        return Err("a task is nowhere");
    };
    if run != after.run {
        return Err("a task's place is of another run");
    }
    let (from, to) = (only(before)?, only(after)?);
    if let (At::End(end), At::Entry(_, count)) = (&from, &to) {
        let right = end.how != Ending::Completed
            && after.run == before.run + 1
            && (count.retries, count.losses) == (0, 0);
        return ok_if(right, Row::Rerun, "a task was run again against the rules");
    }
    if after.run != before.run {
        return Err("a task's run changed within its life");
    }
    match (from, to) {
        (At::Entry(entry, count), At::Claim(claim)) => {
            let right = same_place(entry, claim) && claim.count == count && claim.stop.is_none();
            ok_if(right, Row::Dispatched, "a claim is not what was waiting")
        }
        (At::Claim(claim), At::End(end)) => ended(claim, end),
        (At::Claim(claim), At::Delayed(..) | At::Entry(..)) if is_cancelled(claim) => {
            Err("a cancelled task waits again")
        }
        (At::Claim(claim), At::Delayed(Spot::Delayed { queue, .. }, count)) => {
            let right = *queue == claim.queue && count == retried(claim.count);
            ok_if(right, Row::Retried, "a failed attempt was counted wrongly")
        }
        (At::Claim(claim), At::Entry(entry, count)) => {
            let row = if count == claim.count {
                Row::HandedBack
            } else {
                Row::Lost
            };
            let right =
                same_place(entry, claim) && (row == Row::HandedBack || count == lost(claim.count));
            ok_if(right, row, "a task did not come back as it had gone")
        }
        (At::Claim(old), At::Claim(new)) => rewritten(old, new),
        (At::Delayed(from, count), At::Entry(entry, now)) => {
            let right = released_to(from, entry, after) && count == now;
            ok_if(right, Row::Released, "a task was released to a wrong place")
        }
        (At::Entry(_, count) | At::Delayed(_, count), At::End(end)) => {
            let right = end.how == Ending::Cancelled
                && (end.worker.is_none(), end.fence.is_none()) == (true, true)
                && end.count == count;
            ok_if(
                right,
                Row::CancelledWaiting,
                "a waiting task ended, and not by being cancelled",
            )
        }
        (At::Entry(..) | At::Delayed(..), _)
        | (At::Claim(_), At::Delayed(..))
        | (At::End(_), _) => Err("no row of a task's life leads there"),
    }
}

fn ended(claim: &Claim, end: &End) -> Result<Row, &'static str> {
    if end.fence != Some(claim.fence) || end.worker.as_ref() != Some(&claim.worker) {
        return Err("an outcome is not of the claim that it removed");
    }
    if end.how == Ending::Cancelled && !is_cancelled(claim) {
        return Err("a running task was cancelled without being told");
    }
    if end.count == claim.count {
        return Ok(Row::Ended(end.how));
    }
    let right = end.count == lost(claim.count)
        && end.how != Ending::Completed
        && is_cancelled(claim) == (end.how == Ending::Cancelled);
    ok_if(
        right,
        Row::LostForGood(end.how),
        "an outcome's counters are wrong",
    )
}

fn rewritten(old: &Claim, new: &Claim) -> Result<Row, &'static str> {
    let life = |claim: &Claim| (claim.fence, claim.registration, claim.place, claim.count);
    let same_life = life(old) == life(new)
        && (&old.worker, &old.queue, &old.kind) == (&new.worker, &new.queue, &new.kind);
    match (old.stop, new.stop) {
        _ if !same_life => Err("a claim became another"),
        (Some(_), None) => Err("a stop flag was lost"),
        (Some(StopReason::Cancel), Some(reason)) if reason != StopReason::Cancel => {
            Err("a cancel was written over")
        }
        (None, Some(_)) => Ok(Row::Flagged),
        (None, None) | (Some(_), Some(_)) => Ok(Row::Rewritten),
    }
}

/// Whether somebody cancelled it while it ran: it never waits again then, unless it is run again.
fn is_cancelled(claim: &Claim) -> bool {
    claim.stop == Some(StopReason::Cancel)
}

fn same_place(entry: &Spot, claim: &Claim) -> bool {
    matches!(entry, Spot::Entry { queue, place, kind, .. }
        if (queue, place, kind) == (&claim.queue, &claim.place, &claim.kind))
}

fn released_to(from: &Spot, entry: &Spot, task: &TaskState) -> bool {
    let (
        Spot::Delayed { due, queue, .. },
        Spot::Entry {
            queue: to, place, ..
        },
    ) = (from, entry)
    else {
        return false;
    };
    let Place {
        priority,
        timestamp,
        ..
    } = place;
    queue == to
        && timestamp == due
        && task
            .promised
            .as_ref()
            .is_some_and(|promised| promised.priority == *priority)
}

/// The counters after one more failure.
pub(super) fn retried(count: Count) -> Count {
    Count {
        retries: count.retries + 1,
        ..count
    }
}

/// The counters after one more loss.
pub(super) fn lost(count: Count) -> Count {
    Count {
        losses: count.losses + 1,
        ..count
    }
}

/// Whether these are the id of a node and its text.
pub(super) fn is_node(id: &NodeId, text: &str) -> bool {
    id.as_str() == text
}
