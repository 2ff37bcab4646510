//! Beats: a renewed lease, then a report under the worker's key, so that schedulers trust it; and its offer as it should be.

use super::super::Own;
use super::super::errand::{Errand, Next};
use super::super::request::Reply;
use super::call::{RemoteAttempt, RemoteTold};
use super::{Caller, told};
use crate::keyspace::Role;
use crate::record::{NodeRecord, Totals};
use crate::steps;
use crate::store::{Call, LeaseAnswer, Step};
use crate::view::ClusterView;

pub(super) fn next(
    errand: &mut Errand,
    caller: &Caller<'_>,
    held: &[RemoteAttempt],
    leaving: bool,
    view: &ClusterView,
    own: &Own,
) -> Next {
    let ttl = match errand.remote.lease {
        None | Some(LeaseAnswer::Unknown) => {
            return Next::Ask(Call::Renew {
                lease: caller.remote.lease,
            });
        }
        Some(LeaseAnswer::Live { ttl, .. }) => ttl,
        Some(LeaseAnswer::Refused(reason)) => return Next::Reply(Reply::Refused(reason)),
        Some(LeaseAnswer::Gone) => return told(RemoteTold::Over),
    };
    if errand.committed {
        return told(RemoteTold::Beaten {
            ttl,
            stops: caller.stops(held, view, own),
            draining: caller.is_drained(view) || caller.remote.leaving,
        });
    }
    let mut record = NodeRecord {
        view: own.view_at.max(caller.node.record.view),
        load: u32::try_from(held.len()).unwrap_or(u32::MAX),
        ..caller.node.record.clone()
    };
    if let Some(remote) = &mut record.remote {
        remote.leaving |= leaving;
    }
    let mut step = report(caller, &record);
    if let Some(offer) = withdrawal(caller, leaving, view) {
        step.guards.extend(offer.guards);
        step.writes.extend(offer.writes);
    }
    Next::Commit(step, Totals::default())
}

/// Writes what is known of the worker.
pub(super) fn report(caller: &Caller<'_>, record: &NodeRecord) -> Step {
    let (registration, lease) = (caller.node.registration, caller.remote.lease);
    steps::beat(Role::Worker, caller.id, registration, lease, record)
}

/// Takes away what is offered while nothing may be.
fn withdrawal(caller: &Caller<'_>, leaving: bool, view: &ClusterView) -> Option<Step> {
    let offer = view.offers.get(caller.id)?;
    let unwanted = leaving || caller.remote.leaving || caller.is_drained(view);
    unwanted.then(|| steps::withdraw(caller.id, offer.created))
}

/// Makes the offer be as it should be, if it is not.
pub(super) fn adjust_offer(caller: &Caller<'_>, view: &ClusterView) -> Option<Step> {
    if caller.remote.leaving || caller.is_drained(view) {
        return withdrawal(caller, false, view);
    }
    (!view.offers.contains_key(caller.id)).then(|| {
        let (registration, remote) = (caller.node.registration, caller.remote);
        steps::offer(caller.id, registration, remote.lease, &remote.offer)
    })
}
