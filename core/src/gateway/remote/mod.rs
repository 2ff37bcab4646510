//! Workers that have no connection to the store: they ask gateways, and a gateway does for them what a worker does for
//! itself, with the same guards and the same records.
//!
//! Such a worker's session is a lease in the store, and all that is known of it lies in its own leased key. So any gateway
//! serves any of its calls, and none keeps anything between two of them: a call that was answered by nobody is made again,
//! at another gateway.
//!
//! - *Join* makes the key. The offer is made by the first fetch: a join whose answer was lost is given no tasks.
//! - *Fetch* gives claims that its caller does not name as held, joined with their tasks, and waits until there is one. What it
//!   gives was read from the store after the call came: what a view shows may be over, and no fence is started twice.
//! - *Beat* renews the lease, and tells what must stop.
//! - *Done* ends an attempt under its fence. Who asks again is told what became of it, from the outcome or the attempt's note.
//! - *Leave* takes the offer away, hands back what is left, and ends the lease.
//!
//! Only the worker itself ends, or hands back, a claim that a fetch may have given it: nobody else can know that it never
//! starts. The exceptions are those of every worker: its lease ends, or it is silent for too long.

mod beat;
mod call;
mod done;
mod fetch;
mod join;
mod leave;

use std::collections::BTreeSet;

pub use self::call::{
    RemoteAsk, RemoteAttempt, RemoteEnd, RemoteSpec, RemoteStart, RemoteStop, RemoteToken,
    RemoteTold,
};
use super::Own;
use super::errand::{Errand, Next};
use super::request::Reply;
use crate::ids::{Fence, LeaseId, NodeId, Revision};
use crate::keyspace::{Key, Place, Role};
use crate::planted::planted;
use crate::record::{RemoteRecord, StopReason};
use crate::store::{Call, LeaseAnswer, Query, Refusal};
use crate::time::Now;
use crate::view::{Claimed, ClusterView, Node, Spot};

/// The most tasks that one fetch gives.
pub const FETCH_TASKS_MAX: u32 = 32;

/// How far a remote worker's call is.
#[derive(Debug, Default)]
pub(super) struct Stage {
    /// What became of the lease that was asked for.
    pub(super) lease: Option<LeaseAnswer>,
    /// The revision of the last step that was applied.
    pub(super) at: Revision,
    /// A fetch has seen to the offer.
    offered: bool,
    /// Claims whose tasks nobody can read.
    unreadable: BTreeSet<RemoteAttempt>,
    /// The worker's key is being looked for in the store, because the view does not show it.
    looking: bool,
    /// The view has caught up with the store since the call came.
    looked: bool,
    /// A completion under a claim that is gone was counted.
    stale: bool,
    /// Random bits of its own.
    draw: u64,
}

impl Stage {
    /// Nothing was done yet.
    pub(super) fn new(draw: u64) -> Self {
        Self {
            draw,
            ..Self::default()
        }
    }

    /// The lease that nobody would ever use, were the call given up now.
    pub(super) fn lease_to_revoke(&self) -> Option<LeaseId> {
        match self.lease {
            Some(LeaseAnswer::Live { lease, .. }) => Some(lease),
            Some(LeaseAnswer::Gone | LeaseAnswer::Refused(_) | LeaseAnswer::Unknown) | None => None,
        }
    }
}

fn told(told: RemoteTold) -> Next {
    Next::Reply(Reply::Remote(Box::new(told)))
}

/// Decides what to do for a remote worker with all that is known.
pub(super) fn next(
    errand: &mut Errand,
    ask: &RemoteAsk,
    now: Now,
    view: &ClusterView,
    own: &Own,
) -> Next {
    match ask {
        RemoteAsk::Join(spec) => join::next(errand, spec, now, own),
        RemoteAsk::Fetch {
            token,
            held,
            stopping,
            draining,
            max,
            wait,
        } => {
            let known = fetch::Known {
                held,
                stopping,
                draining: *draining,
                max: *max,
                waits: wait.is_some(),
            };
            match pass(errand, token, view, own) {
                Ok(caller) => fetch::next(errand, &caller, &known, view, own),
                Err(next) => *next,
            }
        }
        RemoteAsk::Beat {
            token,
            held,
            leaving,
        } => match pass(errand, token, view, own) {
            Ok(caller) => beat::next(errand, &caller, held, *leaving, view, own),
            Err(next) => *next,
        },
        RemoteAsk::Progress {
            token,
            attempt,
            progress,
        } => match pass(errand, token, view, own) {
            Ok(caller) => done::progress(errand, &caller, *attempt, progress, view, own),
            Err(next) => *next,
        },
        RemoteAsk::Done {
            token,
            attempt,
            end,
            ran,
        } => match pass(errand, token, view, own) {
            Ok(caller) => {
                let report = done::Report {
                    attempt: *attempt,
                    end,
                    ran: *ran,
                };
                done::next(errand, &caller, &report, now, view, own)
            }
            Err(next) => *next,
        },
        RemoteAsk::Leave { token } => match pass(errand, token, view, own) {
            Ok(caller) => leave::next(errand, &caller, now, view),
            // It has left before, or its lease has ended.
            Err(next)
                if matches!(*next, Next::Reply(_)) && !view.workers.contains_key(&token.worker) =>
            {
                told(RemoteTold::Left)
            }
            Err(next) => *next,
        },
    }
}

/// What the store's refusal of a step means for the worker that it was for.
pub(super) fn refused(reason: Refusal) -> Reply {
    match reason {
        Refusal::LeaseGone => Reply::Remote(Box::new(RemoteTold::Over)),
        Refusal::Busy
        | Refusal::TooLarge
        | Refusal::Denied
        | Refusal::NoRoom
        | Refusal::Invalid => Reply::Refused(reason),
    }
}

/// A worker that proved who it is, as the view shows it.
#[derive(Debug)]
struct Caller<'a> {
    id: &'a NodeId,
    node: &'a Node,
    remote: &'a RemoteRecord,
}

/// Lets in whose session lives. A wrong token is told the same as an old one. Revisions that callers name are not
/// waited for: anybody could name one that never comes. The store is asked, and the view waits for what was read.
fn pass<'a>(
    errand: &mut Errand,
    token: &'a RemoteToken,
    view: &'a ClusterView,
    own: &Own,
) -> Result<Caller<'a>, Box<Next>> {
    let known = view.workers.get(&token.worker);
    let Some(node) = known.filter(|node| node.registration == token.registration) else {
        // Another gateway may have let it join, and this one not have heard of that yet.
        if own.view_at < token.registration.0 && !errand.remote.looking {
            errand.remote.looking = true;
            let keys = vec![Key::node(Role::Worker, &token.worker)];
            return Err(Box::new(Next::Ask(Call::Read(Query::Keys(keys)))));
        }
        return Err(Box::new(told(RemoteTold::Over)));
    };
    match node.record.remote.as_deref() {
        Some(remote) if remote.secret == token.secret_hash => {
            if std::mem::take(&mut errand.remote.looking) {
                errand.read = None;
            }
            Ok(Caller {
                id: &token.worker,
                node,
                remote,
            })
        }
        Some(_) | None => Err(Box::new(told(RemoteTold::Over))),
    }
}

impl Caller<'_> {
    fn is_drained(&self, view: &ClusterView) -> bool {
        view.node_configs
            .get(self.id)
            .is_some_and(|(_, config)| config.drains(self.node.registration))
    }

    /// Its claims, in the order of keys.
    fn claims<'v>(&self, view: &'v ClusterView) -> impl Iterator<Item = (Place, &'v Claimed)> {
        let registration = self.node.registration;
        let claims = view.claims.get(self.id).into_iter().flatten();
        claims
            .map(|(place, claimed)| (*place, claimed))
            .filter(move |(_, claimed)| claimed.record.registration == registration)
    }

    /// The claim that this attempt has, as long as it has it.
    fn claim<'v>(
        &self,
        attempt: RemoteAttempt,
        view: &'v ClusterView,
    ) -> Option<(Place, &'v Claimed)> {
        let Some(Spot::Claim(worker, rank)) = view.spot(attempt.task) else {
            return None;
        };
        let place = rank.of(attempt.task);
        let claimed = view.claim(worker, place)?;
        let ours = worker == self.id && claimed.record.registration == self.node.registration;
        let same = Fence(claimed.created) == attempt.fence || planted!("P-remote-stale-done");
        (ours && same).then_some((place, claimed))
    }

    /// The attempts among `held` that must stop, and why.
    fn stops(&self, held: &[RemoteAttempt], view: &ClusterView, own: &Own) -> Vec<RemoteStop> {
        let stop = |attempt: &RemoteAttempt| {
            let reason = match self.claim(*attempt, view) {
                Some((_, claimed)) => claimed.record.stop?,
                // A claim that is newer than this view may stand all the same.
                None if attempt.fence.0 > own.view_at => return None,
                None => StopReason::Fenced,
            };
            Some(RemoteStop {
                attempt: *attempt,
                reason,
            })
        };
        held.iter().filter_map(stop).collect()
    }
}

/// The attempt that a claim is of.
fn attempt_of(place: Place, claimed: &Claimed) -> RemoteAttempt {
    RemoteAttempt {
        task: place.task,
        fence: Fence(claimed.created),
    }
}
