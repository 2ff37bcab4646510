//! Ends of attempts: recorded under the claim's fence, exactly as a worker of its own records them; and who asks again is
//! told what became of it.

use std::sync::Arc;

use super::super::Own;
use super::super::errand::{Errand, Next, Read};
use super::call::{RemoteAttempt, RemoteEnd, RemoteTold};
use super::{Caller, told};
use crate::ids::{Fence, TaskId};
use crate::keyspace::{Key, Meaning, Place};
use crate::planted::planted;
use crate::record::{
    AttemptEnd, AttemptNote, Carry, ClaimRecord, Json, Outcome, OutcomeRecord, Record, StopReason,
    TaskRecord, Totals,
};
use crate::retry::{Decision, Failure, Verdict};
use crate::rng::Rng;
use crate::steps::{self, Ending};
use crate::store::{Call, Query, Step};
use crate::time::{Millis, Now, Wall};
use crate::view::{Claimed, ClusterView, Spot};

/// What the worker says of an attempt.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) attempt: RemoteAttempt,
    pub(super) end: &'a RemoteEnd,
    pub(super) ran: Option<Millis>,
}

pub(super) fn next(
    errand: &mut Errand,
    caller: &Caller<'_>,
    report: &Report<'_>,
    now: Now,
    view: &ClusterView,
    own: &Own,
) -> Next {
    if errand.committed {
        return told(if errand.remote.stale {
            RemoteTold::Stale
        } else {
            RemoteTold::Recorded
        });
    }
    match caller.claim(report.attempt, view) {
        Some((place, claimed)) => record(errand, caller, report, (place, claimed), now),
        None if *report.end == RemoteEnd::HandedBack
            && may_come(errand, report.attempt.fence, own) =>
        {
            ask(report.attempt.task)
        }
        None => gone(errand, caller, report, view),
    }
}

/// Writes how the attempt ended.
fn record(
    errand: &mut Errand,
    caller: &Caller<'_>,
    report: &Report<'_>,
    (place, claimed): (Place, &Claimed),
    now: Now,
) -> Next {
    let started_at = report.ran.map(|ran| before(now.wall, ran));
    let ending = |outcome| Ending {
        outcome,
        started_at,
        ended_at: now.wall,
    };
    let cancelled = claimed.record.stop == Some(StopReason::Cancel);
    let (error, verdict) = match report.end {
        RemoteEnd::Completed(result) => {
            let counted = Totals {
                completed: 1,
                ..Totals::default()
            };
            let ending = ending(Outcome::Completed(result.clone()));
            return Next::Commit(end(caller, place, claimed, ending), counted);
        }
        RemoteEnd::HandedBack => {
            let (step, counted) = hand_back(caller, place, claimed, now);
            return Next::Commit(step, counted);
        }
        RemoteEnd::Failed { .. } | RemoteEnd::TimedOut if cancelled => {
            let counted = Totals {
                cancelled: 1,
                ..Totals::default()
            };
            let ending = ending(Outcome::Cancelled);
            return Next::Commit(end(caller, place, claimed, ending), counted);
        }
        RemoteEnd::Failed { error, verdict } => (Some(error.clone()), *verdict),
        RemoteEnd::TimedOut => (None, Verdict::Retry),
    };
    let carried = claimed.record.only_copy(place.priority);
    let task = match (carried, errand.read.take()) {
        (Some(task), _) => Some(task),
        (None, None) => return ask(report.attempt.task),
        (None, Some(read)) => task_of(&read),
    };
    let Some(task) = task else {
        return Next::Reply(super::super::request::Reply::NotFound);
    };
    let failed = Failed {
        task,
        error,
        verdict,
        started_at,
    };
    let (step, counted) = failure(errand.remote.draw, caller, place, claimed, failed, now);
    Next::Commit(step, counted)
}

fn end(caller: &Caller<'_>, place: Place, claimed: &Claimed, ending: Ending) -> Step {
    let fence = Fence(claimed.created);
    steps::end(caller.id, place, fence, &claimed.record, ending)
}

/// An attempt that failed, and whose task may be tried again.
struct Failed {
    task: TaskRecord,
    /// What its handler said; nothing when it ran out of time.
    error: Option<Arc<str>>,
    verdict: Verdict,
    started_at: Option<Wall>,
}

fn failure(
    draw: u64,
    caller: &Caller<'_>,
    place: Place,
    claimed: &Claimed,
    failed: Failed,
    now: Now,
) -> (Step, Totals) {
    let mut claim: ClaimRecord = (*claimed.record).clone();
    let (retries, attempt) = (claim.carry.retries, claim.carry.attempt());
    let ended = failed.error.clone();
    claim.carry.note(AttemptNote {
        attempt,
        worker: caller.id.clone(),
        started_at: failed.started_at,
        ended_at: now.wall,
        end: ended.map_or(AttemptEnd::TimedOut, AttemptEnd::Failed),
        fence: Some(Fence(claimed.created)),
    });
    // The age of a run that an operator ordered is not known here; only its retries limit it.
    let age = if claim.carry.run == 0 {
        now.wall.since(failed.task.created_at)
    } else {
        Millis::ZERO
    };
    let known = Failure {
        retries,
        retries_max: failed.task.retries_max,
        age,
        verdict: failed.verdict,
    };
    let mut totals = Totals::default();
    match failed.task.retry.decide(&known, &mut Rng::new(draw)) {
        Decision::RetryAfter(wait) => {
            totals.retried = 1;
            claim.carry.retries += 1;
            let (carry, due) = (claim.carry.clone(), now.wall.after(wait));
            let step = steps::retry(caller.id, place, claimed.since, &claim, carry, due);
            (step, totals)
        }
        Decision::GiveUp(_) => {
            totals.failed = 1;
            let error = failed.error;
            let ending = Ending {
                outcome: Outcome::Failed(
                    error.unwrap_or_else(|| "it ran longer than its time-out".into()),
                ),
                started_at: failed.started_at,
                ended_at: now.wall,
            };
            let fence = Fence(claimed.created);
            let step = steps::end(caller.id, place, fence, &claim, ending);
            (step, totals)
        }
    }
}

/// Gives a task back; one that was cancelled has ended.
pub(super) fn hand_back(
    caller: &Caller<'_>,
    place: Place,
    claimed: &Claimed,
    now: Now,
) -> (Step, Totals) {
    let mut totals = Totals::default();
    if claimed.record.stop == Some(StopReason::Cancel) {
        totals.cancelled = 1;
        let ending = Ending {
            outcome: Outcome::Cancelled,
            started_at: None,
            ended_at: now.wall,
        };
        return (end(caller, place, claimed, ending), totals);
    }
    totals.handed_back = 1;
    let step = steps::hand_back(caller.id, place, claimed.since, &claimed.record);
    (step, totals)
}

/// The attempt has no claim any more: either this was recorded before, or it never will be.
fn gone(errand: &mut Errand, caller: &Caller<'_>, report: &Report<'_>, view: &ClusterView) -> Next {
    // Whatever became of it, the task is not this attempt's any more.
    if *report.end == RemoteEnd::HandedBack {
        return told(RemoteTold::Recorded);
    }
    let Some(read) = errand.read.take() else {
        return ask(report.attempt.task);
    };
    let outcome = outcome_of(&read);
    let by_outcome = outcome.as_ref().is_some_and(|outcome| {
        outcome.fence == Some(report.attempt.fence) && outcome.worker.as_ref() == Some(caller.id)
    });
    let noted = |carry: &Carry| {
        carry
            .notes
            .iter()
            .any(|it| it.fence == Some(report.attempt.fence))
    };
    let by_note = outcome.as_ref().is_some_and(|it| noted(&it.carry))
        || carry(report.attempt.task, view).is_some_and(noted);
    if by_outcome && planted!("P-remote-done-counted-again") {
        let counted = Totals {
            completed: 1,
            ..Totals::default()
        };
        return Next::Commit(Step::default(), counted);
    }
    if by_outcome || by_note {
        return told(RemoteTold::Recorded);
    }
    errand.remote.stale = true;
    let counted = Totals {
        refused_stale: 1,
        ..Totals::default()
    };
    Next::Commit(Step::default(), counted)
}

/// What a task that has not ended carries.
fn carry(task: TaskId, view: &ClusterView) -> Option<&Carry> {
    match view.spot(task)? {
        Spot::Entry(queue, rank) => view.entry(queue, rank.of(task)).map(|it| &it.carry),
        Spot::Claim(worker, rank) => view.claim(worker, rank.of(task)).map(|it| &it.record.carry),
        Spot::Delayed(due) => view.delayed.get(&(*due, task)).map(|it| &it.record.carry),
        Spot::Dead(queue) => {
            let dead = view.dead.get(queue)?.get(&task);
            dead.map(|it| &it.record.carry)
        }
    }
}

fn ask(task: TaskId) -> Next {
    let keys = vec![Key::task(task), Key::outcome(task)];
    Next::Ask(Call::Read(Query::Keys(keys)))
}

fn task_of(read: &Read) -> Option<TaskRecord> {
    let mut items = read.items.iter();
    let item = items.find(|item| matches!(Meaning::of(&item.key), Meaning::Task(_)))?;
    TaskRecord::decode(&item.found.value).ok()
}

fn outcome_of(read: &Read) -> Option<OutcomeRecord> {
    let mut items = read.items.iter();
    let item = items.find(|item| matches!(Meaning::of(&item.key), Meaning::Outcome(_)))?;
    OutcomeRecord::decode(&item.found.value).ok()
}

fn before(wall: Wall, span: Millis) -> Wall {
    Wall::from_millis(wall.as_millis().saturating_sub(span.get()))
}

/// Shows how far an attempt is.
pub(super) fn progress(
    errand: &mut Errand,
    caller: &Caller<'_>,
    attempt: RemoteAttempt,
    progress: &Json,
    view: &ClusterView,
    own: &Own,
) -> Next {
    if errand.committed {
        return told(RemoteTold::Recorded);
    }
    match caller.claim(attempt, view) {
        Some((place, claimed)) => {
            let claim = ClaimRecord {
                progress: Some(progress.clone()),
                ..(*claimed.record).clone()
            };
            let step = steps::progress(caller.id, place, claimed.since, &claim);
            Next::Commit(step, Totals::default())
        }
        None if may_come(errand, attempt.fence, own) => ask(attempt.task),
        None => told(RemoteTold::Stale),
    }
}

/// Whether the claim may be newer than the view: then the store is read once, so that the view catches up.
fn may_come(errand: &mut Errand, fence: Fence, own: &Own) -> bool {
    let looked = std::mem::replace(&mut errand.remote.looked, true);
    !looked && own.view_at < fence.0
}
