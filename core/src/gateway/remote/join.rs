//! Joining: a lease, then the worker's own key, whose create revision names its life.

use super::super::Own;
use super::super::errand::{Errand, Next};
use super::super::request::Reply;
use super::call::{RemoteSpec, RemoteTold};
use super::told;
use crate::ids::{LeaseId, NodeId, Registration};
use crate::keyspace::{Key, Role};
use crate::record::{NodeRecord, OfferRecord, Record, RemoteRecord, Version};
use crate::store::{Call, Guard, LeaseAnswer, Refusal, Step, Write};
use crate::time::{Millis, Now};

pub(super) fn next(errand: &mut Errand, spec: &RemoteSpec, now: Now, own: &Own) -> Next {
    let (lease, ttl) = match errand.remote.lease {
        None | Some(LeaseAnswer::Unknown) => return Next::Ask(Call::Grant { ttl: spec.ttl }),
        Some(LeaseAnswer::Live { lease, ttl }) => (lease, ttl),
        Some(LeaseAnswer::Refused(reason)) => return Next::Reply(Reply::Refused(reason)),
        Some(LeaseAnswer::Gone) => return Next::Reply(Reply::Refused(Refusal::LeaseGone)),
    };
    let id = id_of(errand, spec);
    if errand.committed {
        return told(RemoteTold::Joined {
            worker: id,
            registration: Registration(errand.remote.at),
            ttl,
        });
    }
    if errand.disproved {
        return told(RemoteTold::Taken);
    }
    let key = Key::node(Role::Worker, &id);
    let write = Write::Put {
        key: key.clone(),
        value: record_of(errand, spec, lease, now, own).encode(),
        lease: Some(lease),
    };
    // Only one of the name: a former life's claims are orphaned with its key, and never inherited.
    Next::Commit(
        Step::new(vec![Guard::Absent(key)], vec![write]),
        crate::record::Totals::default(),
    )
}

fn id_of(errand: &Errand, spec: &RemoteSpec) -> NodeId {
    spec.id.clone().unwrap_or_else(|| {
        NodeId::new(&format!("remote-{:016x}", errand.remote.draw))
            .expect("a word and hexadecimal digits make a name")
    })
}

fn record_of(
    errand: &Errand,
    spec: &RemoteSpec,
    lease: LeaseId,
    now: Now,
    own: &Own,
) -> NodeRecord {
    let mut types = spec.types.clone();
    types.sort();
    NodeRecord {
        v: Version,
        life: errand.remote.draw,
        version: spec.version.clone(),
        view: own.view_at,
        load: 0,
        cpu_permille: 0,
        memory_bytes: 0,
        ttl: Millis::new(u64::try_from(spec.ttl.as_millis()).unwrap_or(u64::MAX)),
        started_at: now.wall,
        remote: Some(Box::new(RemoteRecord {
            lease,
            secret: spec.secret_hash.clone(),
            offer: OfferRecord {
                v: Version,
                slots: spec.slots,
                queues: spec.queues.clone(),
                types,
                weight: spec.weight,
                labels: spec.labels.clone(),
            },
            leaving: false,
        })),
    }
}
