//! Fetching: the claims that their worker does not know of yet, read from the store together with their tasks.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Own;
use super::super::errand::{Errand, Next, Read};
use super::call::{RemoteAttempt, RemoteStart, RemoteTold};
use super::{Caller, FETCH_TASKS_MAX, attempt_of, beat, told};
use crate::ids::{Fence, TaskId};
use crate::keyspace::{Key, Meaning, Place, Role};
use crate::planted::planted;
use crate::record::{ClaimRecord, Record, TaskRecord, Totals};
use crate::store::{Call, Found, Query};
use crate::view::ClusterView;

/// What the worker says that it knows.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) held: &'a [RemoteAttempt],
    pub(super) stopping: &'a [RemoteAttempt],
    pub(super) draining: bool,
    pub(super) max: u32,
    pub(super) waits: bool,
}

pub(super) fn next(
    errand: &mut Errand,
    caller: &Caller<'_>,
    known: &Known<'_>,
    view: &ClusterView,
    own: &Own,
) -> Next {
    if !errand.remote.offered {
        if let Some(step) = beat::adjust_offer(caller, view) {
            return Next::Commit(step, Totals::default());
        }
        errand.remote.offered = true;
    }
    if let Some(read) = errand.read.take() {
        match found(errand, caller, known, &read, view) {
            Some(tasks) if tasks.is_empty() => {}
            Some(tasks) => return answer(caller, known, tasks, view, own),
            // The view has not heard yet that this life is over.
            None => return told(RemoteTold::Over),
        }
    }
    let wanted = wanted(errand, caller, known, view);
    if !wanted.is_empty() {
        let mut keys = vec![Key::node(Role::Worker, caller.id)];
        for (place, _) in &wanted {
            keys.extend([Key::claim(caller.id, *place), Key::task(place.task)]);
        }
        return Next::Ask(Call::Read(Query::Keys(keys)));
    }
    let stops = caller.stops(known.held, view, own);
    let new_stop = stops.iter().any(|it| !known.stopping.contains(&it.attempt));
    let new_drain = caller.is_drained(view) && !known.draining;
    if new_stop || new_drain || !known.waits {
        return answer(caller, known, Vec::new(), view, own);
    }
    Next::AwaitClaims(caller.id.clone())
}

fn answer(
    caller: &Caller<'_>,
    known: &Known<'_>,
    tasks: Vec<RemoteStart>,
    view: &ClusterView,
    own: &Own,
) -> Next {
    told(RemoteTold::Fetched {
        tasks,
        stops: caller.stops(known.held, view, own),
        draining: caller.is_drained(view),
        at: own.view_at,
    })
}

/// The claims that the view shows and the worker does not have, the most urgent first.
fn wanted(
    errand: &Errand,
    caller: &Caller<'_>,
    known: &Known<'_>,
    view: &ClusterView,
) -> Vec<(Place, RemoteAttempt)> {
    let most = known.max.min(FETCH_TASKS_MAX);
    let held: BTreeSet<RemoteAttempt> = known.held.iter().copied().collect();
    caller
        .claims(view)
        .map(|(place, claimed)| (place, attempt_of(place, claimed)))
        .filter(|(_, attempt)| !held.contains(attempt))
        .filter(|(_, attempt)| !errand.remote.unreadable.contains(attempt))
        .take(usize::try_from(most).unwrap_or(usize::MAX))
        .collect()
}

/// What was read of the claims that are still wanted; `None` when the worker's key was gone.
fn found(
    errand: &mut Errand,
    caller: &Caller<'_>,
    known: &Known<'_>,
    read: &Read,
    view: &ClusterView,
) -> Option<Vec<RemoteStart>> {
    let (mut alive, mut tasks) = (false, BTreeMap::<TaskId, TaskRecord>::new());
    let mut claims: BTreeMap<Place, (Fence, ClaimRecord)> = BTreeMap::new();
    for item in &read.items {
        match Meaning::of(&item.key) {
            Meaning::Node(..) => alive = item.found.created == caller.node.registration.0,
            Meaning::Task(task) => {
                tasks.extend(TaskRecord::decode(&item.found.value).map(|it| (task, it)));
            }
            Meaning::Claim(_, place) => {
                claims.extend(claim_of(&item.found).map(|it| (place, it)));
            }
            Meaning::Entry(..)
            | Meaning::Delayed(..)
            | Meaning::Dead(..)
            | Meaning::QueueConfig(_)
            | Meaning::NodeConfig(_)
            | Meaning::LockWaiter(..)
            | Meaning::JanitorWaiter(_)
            | Meaning::Offer(_)
            | Meaning::Lane(_)
            | Meaning::FoldedTotals
            | Meaning::Outcome(_)
            | Meaning::Run(_)
            | Meaning::Unique
            | Meaning::Foreign => {}
        }
    }
    if planted!("P-remote-fetch-by-view") {
        alive = true;
        let shown = caller.claims(view);
        claims.extend(shown.map(|(place, it)| (place, (Fence(it.created), (*it.record).clone()))));
    }
    let mut starts = Vec::new();
    for (place, attempt) in wanted(errand, caller, known, view) {
        let claim = claims.remove(&place);
        let carried = || claim.as_ref()?.1.only_copy(place.priority);
        let task = tasks.remove(&place.task).or_else(carried);
        match (claim, task) {
            (Some((read, claim)), Some(task)) if read == attempt.fence => {
                starts.push(start(attempt, &claim, task));
            }
            (Some((read, _)), None) if read == attempt.fence => {
                errand.remote.unreadable.insert(attempt);
            }
            // Gone meanwhile, or come meanwhile.
            (Some(_) | None, Some(_) | None) => {}
        }
    }
    alive.then_some(starts)
}

fn claim_of(found: &Found) -> Option<(Fence, ClaimRecord)> {
    let claim = ClaimRecord::decode(&found.value).ok()?;
    Some((Fence(found.created), claim))
}

fn start(attempt: RemoteAttempt, claim: &ClaimRecord, task: TaskRecord) -> RemoteStart {
    RemoteStart {
        task: attempt.task,
        fence: attempt.fence,
        kind: task.kind,
        queue: task.queue,
        priority: task.priority,
        name: task.name,
        payload: task.payload,
        metadata: task.metadata,
        created_at: task.created_at,
        attempt: claim.carry.attempt(),
        timeout: task.timeout,
        stop: claim.stop,
    }
}
