//! The janitor's duties.

use std::time::Duration;

use windlass_core::gateway::{IdempotencyKey, Reply, Request, Submitted, TaskSpec};
use windlass_core::keyspace::{Key, Meaning, Range, Role};
use windlass_core::record::Outcome;
use windlass_core::store::{Step, Txn, Write};
use windlass_core::time::Millis;
use windlass_core::worker::Exit;
use windlass_sim::audit::audit;
use windlass_sim::network::Rudeness;
use windlass_sim::world::World;

use crate::{all_ended, assert_sound, ready, spec, submit};

fn keyed(key: &str, body: &str) -> TaskSpec {
    TaskSpec {
        key: Some(IdempotencyKey {
            key_hash: key.into(),
            body_hash: body.into(),
        }),
        ..spec("noop", "null")
    }
}

fn count(world: &World, is: impl Fn(&Meaning) -> bool) -> usize {
    let everything = Range::new(Key::from_store(""), Key::from_store("\u{10ffff}"));
    let keys = world.kv().entries(&everything);
    keys.filter(|(key, _)| is(&Meaning::of(key))).count()
}

#[test]
fn what_has_ended_is_removed_after_its_retention_and_what_failed_stays() {
    let mut world = World::new(21, Rudeness::default());
    let server = world.add_server("s1", |config| config.retention = Millis::from_secs(5));
    let worker = world.add_worker("w1", |config| config.slots = 50);
    ready(&mut world, &[server, worker]);
    let mut tasks = vec![spec("noop", "null"); 700];
    for n in (0..700).step_by(50) {
        tasks[n].key = keyed(&format!("k{n}"), "b").key;
    }
    submit(&mut world, server, tasks);
    let dead = submit(
        &mut world,
        server,
        vec![
            TaskSpec {
                retries_max: 0,
                ..spec("fail", "{\"times\":9}")
            };
            3
        ],
    );
    submit(&mut world, server, vec![spec("noop", "null"); 20]);
    assert!(world.run_until(Duration::from_secs(20), all_ended));
    let purged = world.run_until(Duration::from_secs(60), |world| {
        audit(world.kv()).tasks.len() == dead.len()
    });
    assert!(purged, "{} are left", audit(world.kv()).tasks.len());
    world.run_for(Duration::from_secs(30));
    assert_sound(&world, "after the purge");
    let audit = audit(world.kv());
    assert_eq!(audit.totals.purged, 720);
    assert!(
        audit
            .tasks
            .iter()
            .all(|(id, outcome)| dead.contains(id) && matches!(outcome, Some(Outcome::Failed(_))))
    );
    assert_eq!(count(&world, |it| *it == Meaning::Unique), 0);
}

#[test]
fn a_purged_key_may_be_used_again() {
    let mut world = World::new(22, Rudeness::default());
    let server = world.add_server("s1", |config| config.retention = Millis::from_secs(5));
    let worker = world.add_worker("w1", |_| {});
    ready(&mut world, &[server, worker]);
    let first = submit(&mut world, server, vec![keyed("k", "b")])[0];
    let again = |world: &mut World, body: &str| {
        let Reply::Submitted(fates) = world.ask(server, Request::Submit(vec![keyed("k", body)]))
        else {
            panic!()
        };
        fates[0].clone()
    };
    assert_eq!(again(&mut world, "b"), Submitted::Repeated { id: first });
    assert_eq!(again(&mut world, "c"), Submitted::KeyTaken { id: first });
    let purged = world.run_until(Duration::from_secs(30), |world| {
        audit(world.kv()).tasks.is_empty()
    });
    assert!(purged);
    assert!(matches!(again(&mut world, "c"), Submitted::Accepted { id, .. } if id != first));
    assert_sound(&world, "after all");
}

#[test]
fn an_idle_deployment_is_quiet() {
    let mut world = World::new(23, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    let worker = world.add_worker("w1", |_| {});
    ready(&mut world, &[server, worker]);
    submit(
        &mut world,
        server,
        vec![
            TaskSpec {
                retries_max: 0,
                ..spec("fail", "{\"times\":9}")
            };
            3
        ],
    );
    world.run_for(Duration::from_secs(10));
    let before = world.events;
    world.run_for(Duration::from_secs(60));
    // Reports six times a TTL, renewals three times, one look of the janitor's a second, and the news of them.
    let events = world.events - before;
    assert!(events < 60 * 60, "{events} happenings in a minute");
}

#[test]
fn the_totals_of_nodes_that_are_gone_are_kept_without_their_lanes() {
    let mut world = World::new(24, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    let first = world.add_worker("w1", |_| {});
    ready(&mut world, &[server, first]);
    submit(&mut world, server, vec![spec("noop", "null"); 10]);
    assert!(world.run_until(Duration::from_secs(5), all_ended));
    world.crash(first);
    let folded = world.run_until(Duration::from_secs(200), |world| {
        count(world, |it| *it == Meaning::Lane("w1".parse().unwrap())) == 0
    });
    assert!(folded && count(&world, |it| *it == Meaning::FoldedTotals) == 1);
    assert_sound(&world, "after folding");
    assert_eq!(audit(world.kv()).totals.completed, 10);
    // The same id comes back, works, goes, and is folded again.
    world.boot(first);
    ready(&mut world, &[first]);
    assert!(count(&world, |it| *it == Meaning::Lane("w1".parse().unwrap())) > 0);
    submit(&mut world, server, vec![spec("noop", "null"); 5]);
    assert!(world.run_until(Duration::from_secs(5), all_ended));
    world.crash(first);
    let folded = world.run_until(Duration::from_secs(200), |world| {
        count(world, |it| *it == Meaning::Lane("w1".parse().unwrap())) == 0
    });
    assert!(folded);
    assert_sound(&world, "after folding again");
    let Reply::Stats(stats) = world.ask(server, Request::Stats) else {
        panic!()
    };
    assert_eq!((stats.totals.completed, stats.totals.accepted), (15, 15));
}

#[test]
fn history_is_forgotten_once_it_is_old_enough_and_only_by_one() {
    let mut world = World::new(25, Rudeness::default());
    let keep = Some(Duration::from_secs(20));
    let servers = ["s1", "s2"].map(|id| world.add_server(id, |config| config.history_min = keep));
    let worker = world.add_worker("w1", |_| {});
    ready(&mut world, &[servers[0], servers[1], worker]);
    let mut revisions = Vec::new();
    for _ in 0..40 {
        submit(&mut world, servers[0], vec![spec("noop", "null"); 5]);
        revisions.push(world.kv().revision());
        world.run_for(Duration::from_secs(1));
        let young = revisions.len().saturating_sub(20);
        let limit = revisions[young];
        assert!(world.kv().compacted() <= limit, "what is young is kept");
    }
    assert!(world.kv().compacted() > revisions[10], "what is old is not");
    assert_eq!(
        count(&world, |it| matches!(it, Meaning::JanitorWaiter(_))),
        2
    );
    assert_sound(&world, "after forgetting");
}

#[test]
fn another_process_takes_the_duties_over() {
    let mut world = World::new(26, Rudeness::default());
    let servers = ["s1", "s2"]
        .map(|id| world.add_server(id, |config| config.retention = Millis::from_secs(3)));
    let worker = world.add_worker("w1", |_| {});
    ready(&mut world, &[servers[0], servers[1], worker]);
    world.run_for(Duration::from_secs(3));
    let holder = servers
        .into_iter()
        .find(|node| {
            let id = world.id_of(*node).clone();
            world
                .server(*node)
                .unwrap()
                .view()
                .janitors
                .fence_of(&id)
                .is_some()
        })
        .expect("somebody holds the lock");
    let other = servers[usize::from(holder == servers[0])];
    world.crash(holder);
    submit(&mut world, other, vec![spec("noop", "null"); 30]);
    let purged = world.run_until(Duration::from_secs(40), |world| {
        audit(world.kv()).totals.purged == 30
    });
    assert!(purged);
    assert_sound(&world, "after the take-over");
}

#[test]
fn a_process_whose_own_key_was_taken_away_leaves() {
    let mut world = World::new(27, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    let worker = world.add_worker("w1", |_| {});
    ready(&mut world, &[server, worker]);
    for role in [Role::Scheduler, Role::Worker] {
        let id = if role == Role::Worker { "w1" } else { "s1" };
        let key = Key::node(role, &id.parse().unwrap());
        let mut txn = Txn::default();
        txn.push(Step::new(vec![], vec![Write::Delete { key }]))
            .unwrap();
        world.meddle(txn);
    }
    let left = world.run_until(Duration::from_secs(2), |world| world.exits.len() == 2);
    assert!(left, "{:?}", world.exits);
    assert!(world.exits.iter().all(|(_, exit)| *exit == Exit::Deposed));
}

#[test]
fn an_order_to_drain_is_for_one_life_of_a_node() {
    let mut world = World::new(29, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    let worker = world.add_worker("w1", |_| {});
    ready(&mut world, &[server, worker]);
    let id = world.id_of(worker).clone();
    assert!(matches!(
        world.ask(server, Request::Drain(id)),
        Reply::Nodes(_)
    ));
    let drained = world.run_until(Duration::from_secs(5), |world| {
        world.worker(worker).is_some_and(|it| !it.is_ready())
    });
    assert!(drained);
    assert_eq!(
        count(&world, |key| matches!(key, Meaning::NodeConfig(_))),
        1
    );
    world.crash(worker);
    let forgotten = world.run_until(Duration::from_secs(20), |world| {
        count(world, |key| matches!(key, Meaning::NodeConfig(_))) == 0
    });
    assert!(forgotten, "nobody is left to obey it");
    world.boot(worker);
    ready(&mut world, &[worker]);
}

#[test]
fn an_order_to_drain_is_for_one_life_however_soon_the_next_begins() {
    let mut world = World::new(24, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    let worker = world.add_worker("w1", |_| {});
    ready(&mut world, &[server, worker]);
    world.ask(server, Request::Drain("w1".parse().unwrap()));
    let obeyed = world.run_until(Duration::from_secs(5), |world| {
        !world.worker(worker).unwrap().is_ready()
    });
    assert!(obeyed, "it was told to");
    // The service manager starts it again sooner than the janitor looks.
    world.drain(worker);
    let left = world.run_until(Duration::from_secs(5), |world| {
        world.worker(worker).is_none()
    });
    assert!(left);
    world.boot(worker);
    let serves = world.run_until(Duration::from_secs(5), |world| {
        world.worker(worker).is_some_and(|it| it.is_ready())
    });
    assert!(serves, "the order was for the life before");
    let forgotten = world.run_until(Duration::from_secs(5), |world| !world.has_orders(worker));
    assert!(
        forgotten,
        "orders that nobody can obey any more are removed"
    );
}
