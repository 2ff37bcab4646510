//! Taking a claim from a worker that vanished or does not answer.

use super::{Ending, ended, put, set_down, unchanged};
use crate::ids::{Fence, NodeId};
use crate::keyspace::{Key, Place, Role};
use crate::planted::{planted, unless_planted};
use crate::record::{
    AttemptEnd, AttemptNote, ClaimRecord, EntryRecord, Outcome, StopReason, Version,
};
use crate::store::{Guard, Step, Write};
use crate::time::Wall;
use crate::view::Claimed;

/// How a claim is taken from a worker that vanished or is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenFrom {
    /// Its registration is gone.
    Lost,
    /// It lives, but did not stop the attempt in time.
    Silent,
}

/// What becomes of a task whose claim is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// It waits again, one loss richer.
    Requeued,
    /// Its losses are spent.
    Failed,
    /// It had been cancelled.
    Cancelled,
}

/// A scheduler takes a claim from a worker.
pub fn take(
    worker: &NodeId,
    place: Place,
    claimed: &Claimed,
    from: TakenFrom,
    losses_max: u32,
    wall: Wall,
) -> (Step, Takeover) {
    let key = Key::claim(worker, place);
    let claim = &*claimed.record;
    let guards = guards_of_taking(worker, &key, claimed, from);
    let mut carry = claim.carry.clone();
    let attempt = carry.attempt();
    carry.note(AttemptNote {
        attempt,
        worker: worker.clone(),
        started_at: None,
        ended_at: wall,
        end: lost_end(from),
        fence: None,
    });
    carry.losses = carry.losses.saturating_add(u32::from(!planted!("M-22")));
    let takeover = takeover_of(claim.stop, carry.losses, losses_max);
    let mut writes = vec![Write::Delete { key }];
    let outcome = match takeover {
        Takeover::Requeued => None,
        Takeover::Failed => Some(Outcome::Failed(
            format!("{} workers vanished while they ran it", carry.losses).into(),
        )),
        Takeover::Cancelled => Some(Outcome::Cancelled),
    };
    match outcome {
        None => {
            let timestamp = if planted!("P-place-not-kept") {
                wall
            } else {
                place.timestamp
            };
            let place = Place { timestamp, ..place };
            writes.push(put(
                Key::entry(&claim.queue, place),
                &EntryRecord { v: Version, carry },
            ));
            writes.extend(set_down(place, claim));
        }
        Some(outcome) => {
            let after = ClaimRecord {
                carry,
                ..claim.clone()
            };
            let ending = Ending {
                outcome,
                started_at: None,
                ended_at: wall,
            };
            writes.extend(ended(worker, place, Fence(claimed.created), &after, ending));
        }
    }
    (Step::new(guards, writes), takeover)
}

/// The claim is as it was seen; and a lost worker's life is over indeed.
fn guards_of_taking(worker: &NodeId, key: &Key, claimed: &Claimed, from: TakenFrom) -> Vec<Guard> {
    let own = if planted!("P-alive-for-unchanged-take") {
        Guard::Alive {
            key: key.clone(),
            since: claimed.created,
        }
    } else {
        unchanged(key, claimed.since)
    };
    let life = Guard::Gone {
        key: Key::node(Role::Worker, worker),
        since: claimed.record.registration.0,
    };
    match from {
        TakenFrom::Lost if planted!("M-02") => Vec::new(),
        TakenFrom::Lost => vec![unless_planted!("P-take-claim-unguarded", own), life],
        TakenFrom::Silent => vec![unless_planted!("P-silent-claim-unguarded", own)],
    }
}

fn takeover_of(stop: Option<StopReason>, losses: u32, losses_max: u32) -> Takeover {
    match stop {
        Some(StopReason::Cancel) if !planted!("P-cancel-lost-with-worker") => Takeover::Cancelled,
        _ if losses > losses_max && !planted!("P-losses-never-spent") => Takeover::Failed,
        Some(
            StopReason::Cancel | StopReason::TimeOut | StopReason::Fenced | StopReason::Shutdown,
        )
        | None => Takeover::Requeued,
    }
}

fn lost_end(from: TakenFrom) -> AttemptEnd {
    match from {
        TakenFrom::Lost => AttemptEnd::Lost,
        TakenFrom::Silent => AttemptEnd::TimedOut,
    }
}
