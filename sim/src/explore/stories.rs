//! The stories: each is a path of the protocol, as short as it can be told.

use std::time::Duration;

use windlass_core::gateway::{Due, Reply, Request, Submitted, TaskSpec};
use windlass_core::ids::{Fence, Priority, TaskId};
use windlass_core::keyspace::{Meaning, Range};
use windlass_core::record::{Json, Outcome};
use windlass_core::retry::{Backoff, RetryPolicy};
use windlass_core::time::Millis;

use super::{SERVER, Stage, Story};
use crate::audit::audit;
use crate::network::Rudeness;
use crate::world::{NodeIx, World};

pub(super) fn all() -> Vec<Story> {
    vec![
        Story {
            name: "complete",
            begin: one_worker,
            look: submit_and_wait,
            judge: all_completed,
        },
        Story {
            name: "lost worker",
            begin: lost_worker,
            look: |stage| all_ended(&stage.world),
            judge: completed_by_another,
        },
        Story {
            name: "cancel",
            begin: running_for_ever,
            look: cancel,
            judge: all_cancelled,
        },
        Story {
            name: "due",
            begin: delayed,
            look: |stage| all_ended(&stage.world),
            judge: all_completed,
        },
        // A crash counts as an attempt, too: the second one may be the first that starts.
        Story {
            name: "retry",
            begin: failing,
            look: |stage| all_ended(&stage.world),
            judge: all_completed,
        },
        Story {
            name: "lock",
            begin: || deployment(&[], Millis::from_secs(3_600)),
            look: lock_twice,
            judge: fences_grow,
        },
        Story {
            name: "purge",
            begin: ended_long_ago,
            look: |stage| audit(stage.world.kv()).tasks.is_empty(),
            judge: purged_once,
        },
    ]
}

fn spec(kind: &str, payload: &str) -> TaskSpec {
    TaskSpec {
        kind: kind.parse().expect("a legal type"),
        queue: "default".parse().expect("a legal name"),
        priority: Priority::NORMAL,
        name: None,
        payload: Json::parse(payload.to_owned()).expect("what is written here is JSON"),
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

fn ready(world: &mut World, nodes: &[NodeIx]) {
    let up = world.run_until(Duration::from_secs(30), |world| {
        nodes.iter().all(|node| {
            world.server(*node).is_some_and(|it| it.is_ready())
                || world.worker(*node).is_some_and(|it| it.is_ready())
        })
    });
    assert!(up, "without faults every node comes up");
}

fn deployment(workers: &[&str], retention: Millis) -> Stage {
    let mut world = World::new(11, Rudeness::default());
    world.record();
    let mut nodes = vec![world.add_server("s1", |config| config.retention = retention)];
    nodes.extend(workers.iter().map(|id| world.add_worker(id, |_| {})));
    ready(&mut world, &nodes);
    Stage::new(world)
}

fn one_worker() -> Stage {
    deployment(&["w1"], Millis::from_secs(3_600))
}

fn accepted(reply: &Reply) -> bool {
    matches!(reply, Reply::Submitted(fates) if fates.iter().any(|fate| matches!(fate, Submitted::Accepted { .. })))
}

fn submit(world: &mut World, tasks: Vec<TaskSpec>) {
    let reply = world.ask(SERVER, Request::Submit(tasks));
    assert!(
        accepted(&reply),
        "without faults tasks are accepted: {reply:?}"
    );
}

fn begun(kind: &str, payload: &str) -> Stage {
    let mut stage = one_worker();
    submit(&mut stage.world, vec![spec(kind, payload)]);
    let begun = stage
        .world
        .run_until(Duration::from_secs(5), |world| world.started().len() == 1);
    assert!(begun, "without faults a task starts");
    stage
}

fn lost_worker() -> Stage {
    let mut stage = begun("sleep", "{\"ms\":200}");
    stage.world.add_worker("w2", |_| {});
    stage.world.crash(1);
    stage.gone.push(1);
    ready(&mut stage.world, &[2]);
    stage
}

fn running_for_ever() -> Stage {
    begun("sleep", "{\"ms\":600000}")
}

fn delayed() -> Stage {
    let mut stage = one_worker();
    let task = TaskSpec {
        due: Due::In(Millis::new(300)),
        ..spec("noop", "null")
    };
    submit(&mut stage.world, vec![task]);
    stage
}

fn failing() -> Stage {
    let mut stage = one_worker();
    submit(&mut stage.world, vec![spec("fail", "{\"times\":1}")]);
    stage
}

fn ended_long_ago() -> Stage {
    let mut stage = deployment(&["w1"], Millis::new(800));
    submit(&mut stage.world, vec![spec("noop", "null"); 3]);
    let ended = stage.world.run_until(Duration::from_secs(5), all_ended);
    assert!(ended, "without faults tasks end");
    stage
}

fn all_ended(world: &World) -> bool {
    !world.book.tasks().is_empty() && world.book.tasks().values().all(|state| state.end.is_some())
}

/// Submits until it is acknowledged; then waits.
fn submit_and_wait(stage: &mut Stage) -> bool {
    if stage.fences.is_empty() {
        let reply = stage.ask(|| Request::Submit(vec![spec("echo", "1")]));
        if reply.is_some_and(|reply| accepted(&reply)) {
            stage.fences.push(Fence(stage.world.kv().revision()));
        }
    }
    !stage.fences.is_empty() && all_ended(&stage.world)
}

fn cancel(stage: &mut Stage) -> bool {
    let task = first_task(stage);
    stage.ask(|| Request::Cancel(task));
    all_ended(&stage.world)
}

fn first_task(stage: &Stage) -> TaskId {
    let first = stage.world.book.tasks().keys().next();
    *first.expect("the story began with a task")
}

/// Takes the lock, gives it back, takes it again and leaves it to its lease.
fn lock_twice(stage: &mut Stage) -> bool {
    let take = || Request::LockTake {
        lock: "backup".parse().expect("a legal name"),
        owner: None,
        ttl: Duration::from_secs(2),
        wait: Duration::from_secs(8),
    };
    if stage.fences.len() < 2
        && let Some(Reply::Lock { fence, token, .. }) = stage.ask(take)
    {
        stage.fences.push(fence);
        if stage.fences.len() == 1 {
            let lock = "backup".parse().expect("a legal name");
            stage
                .world
                .request(SERVER, Request::LockRelease { lock, token });
        }
    }
    let all = Range::cluster();
    let mut waiters = stage
        .world
        .kv()
        .entries(&all)
        .filter(|(key, _)| matches!(Meaning::of(key), Meaning::LockWaiter(..)));
    stage.fences.len() == 2 && waiters.next().is_none()
}

fn ended(stage: &Stage, is: fn(&Outcome) -> bool) -> Result<(), String> {
    let audit = audit(stage.world.kv());
    if audit.tasks.is_empty() || !audit.live.is_empty() {
        return Err(format!("not all has ended: {:?}", audit.live));
    }
    match audit
        .tasks
        .iter()
        .find(|(_, outcome)| !outcome.as_ref().is_some_and(is))
    {
        Some((task, outcome)) => Err(format!("{task} ended as {outcome:?}")),
        None => Ok(()),
    }
}

fn all_completed(stage: &Stage) -> Result<(), String> {
    ended(stage, |outcome| matches!(outcome, Outcome::Completed(_)))
}

fn all_cancelled(stage: &Stage) -> Result<(), String> {
    ended(stage, |outcome| *outcome == Outcome::Cancelled)
}

fn completed_by_another(stage: &Stage) -> Result<(), String> {
    all_completed(stage)?;
    match stage.world.ledger.starts_of(first_task(stage)).len() {
        starts @ 0..2 => Err(format!("{starts} starts")),
        _ => Ok(()),
    }
}

fn fences_grow(stage: &Stage) -> Result<(), String> {
    match &stage.fences[..] {
        [one, two] if one < two => Ok(()),
        fences => Err(format!("fences {fences:?}")),
    }
}

fn purged_once(stage: &Stage) -> Result<(), String> {
    let totals = audit(stage.world.kv()).totals;
    match (totals.accepted, totals.purged) {
        (3, 3) => Ok(()),
        counted => Err(format!("{counted:?} accepted and purged")),
    }
}
