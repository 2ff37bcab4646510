//! Whole deployments in special situations.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod gateway;
mod janitor;
mod many;
mod perturbation;
mod room;

use std::time::Duration;

use windlass_core::gateway::{Due, Reply, Request, Submitted, TaskSpec};
use windlass_core::ids::{Priority, TaskId};
use windlass_core::record::Json;
use windlass_core::retry::{Backoff, RetryPolicy};
use windlass_core::time::Millis;
use windlass_sim::audit::audit;
use windlass_sim::world::{NodeIx, World};

pub(crate) fn spec(kind: &str, payload: &str) -> TaskSpec {
    TaskSpec {
        kind: kind.parse().unwrap(),
        queue: "default".parse().unwrap(),
        priority: Priority::NORMAL,
        name: None,
        payload: Json::parse(payload.to_owned()).unwrap(),
        metadata: Default::default(),
        retries_max: 3,
        retry: RetryPolicy {
            kind: Backoff::Fixed,
            ..RetryPolicy::default()
        },
        timeout: Millis::from_secs(60),
        due: Due::Now,
        key: None,
    }
}

pub(crate) fn ids_of(reply: &Reply) -> Vec<TaskId> {
    let Reply::Submitted(fates) = reply else {
        return Vec::new();
    };
    let id = |fate: &Submitted| match fate {
        Submitted::Accepted { id, .. } => Some(*id),
        Submitted::Repeated { .. }
        | Submitted::KeyTaken { .. }
        | Submitted::Refused(_)
        | Submitted::Unknown { .. } => None,
    };
    fates.iter().filter_map(id).collect()
}

pub(crate) fn submit(world: &mut World, server: NodeIx, tasks: Vec<TaskSpec>) -> Vec<TaskId> {
    let wanted = tasks.len();
    let ids = ids_of(&world.ask(server, Request::Submit(tasks)));
    assert_eq!(ids.len(), wanted, "every task is accepted");
    ids
}

pub(crate) fn ready(world: &mut World, nodes: &[NodeIx]) {
    let up = world.run_until(Duration::from_secs(30), |world| {
        nodes.iter().all(|node| {
            world.server(*node).is_some_and(|it| it.is_ready())
                || world.worker(*node).is_some_and(|it| it.is_ready())
        })
    });
    assert!(up, "every node comes up");
}

pub(crate) fn all_ended(world: &World) -> bool {
    let audit = audit(world.kv());
    audit.live.is_empty() && audit.tasks.values().all(Option::is_some)
}

pub(crate) fn assert_sound(world: &World, what: &str) {
    assert_eq!(audit(world.kv()).violations, Vec::<String>::new(), "{what}");
    assert_eq!(world.ledger.violations(), Vec::<String>::new(), "{what}");
}
