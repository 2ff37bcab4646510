//! Leaving: the offer goes first, then what is left is handed back, and the lease ends.

use super::super::errand::{Errand, Next};
use super::call::RemoteTold;
use super::{Caller, beat, done, told};
use crate::record::{NodeRecord, Totals};
use crate::steps;
use crate::store::{Call, LeaseAnswer, Step};
use crate::time::Now;
use crate::view::ClusterView;

/// The claims that one step hands back: so few that their errors' texts fit a transaction.
const BACK_MAX: usize = 8;

pub(super) fn next(errand: &Errand, caller: &Caller<'_>, now: Now, view: &ClusterView) -> Next {
    match errand.remote.lease {
        None | Some(LeaseAnswer::Unknown) => {}
        Some(LeaseAnswer::Live { .. } | LeaseAnswer::Gone | LeaseAnswer::Refused(_)) => {
            return told(RemoteTold::Left);
        }
    }
    let offer = view.offers.get(caller.id);
    if offer.is_some() || !caller.remote.leaving {
        let mut record: NodeRecord = caller.node.record.clone();
        if let Some(remote) = &mut record.remote {
            remote.leaving = true;
        }
        let mut step = beat::report(caller, &record);
        if let Some(offer) = offer {
            let away = steps::withdraw(caller.id, offer.created);
            step.guards.extend(away.guards);
            step.writes.extend(away.writes);
        }
        return Next::Commit(step, Totals::default());
    }
    let (mut step, mut totals) = (Step::default(), Totals::default());
    for (place, claimed) in caller.claims(view).take(BACK_MAX) {
        let (back, counted) = done::hand_back(caller, place, claimed, now);
        step.guards.extend(back.guards);
        step.writes.extend(back.writes);
        totals.add(&counted);
    }
    if !step.writes.is_empty() {
        return Next::Commit(step, totals);
    }
    Next::Ask(Call::Revoke {
        lease: caller.remote.lease,
    })
}
