//! A store that has not much room.

use std::time::Duration;

use windlass_core::gateway::{Reply, Request};
use windlass_core::ids::TaskId;
use windlass_core::room::{FULL_FROM, Level, TIGHT_FROM};
use windlass_core::store::Refusal;
use windlass_sim::audit::audit;
use windlass_sim::network::Rudeness;
use windlass_sim::world::World;

use crate::{all_ended, assert_sound, ready, spec, submit};

fn level(world: &World, server: usize) -> Level {
    world.server(server).map(|it| it.room().level).unwrap()
}

fn share(world: &World, quota: u64) -> u64 {
    world.kv().bytes() * 1_000 / quota
}

#[test]
fn a_small_store_keeps_the_youngest_of_what_has_ended_and_only_as_many_as_fit() {
    const QUOTA: u64 = 400_000;
    let mut world = World::new(31, Rudeness::default());
    world.set_quota(Some(QUOTA));
    let server = world.add_server("s1", |_| {});
    let worker = world.add_worker("w1", |config| config.slots = 50);
    ready(&mut world, &[server, worker]);
    let mut tasks: Vec<TaskId> = Vec::new();
    for _ in 0..60 {
        tasks.extend(submit(&mut world, server, vec![spec("noop", "null"); 20]));
        world.run_for(Duration::from_secs(1));
        let share = share(&world, QUOTA);
        assert!(
            share < FULL_FROM,
            "{share} thousandths after {}",
            tasks.len()
        );
    }
    assert!(world.run_until(Duration::from_secs(20), all_ended));
    world.run_for(Duration::from_secs(20));
    let left = audit(world.kv()).tasks;
    let oldest_left = tasks.iter().position(|task| left.contains_key(task));
    let oldest_left = oldest_left.expect("a day's retention keeps what there is room for");
    assert!(oldest_left > 500, "{oldest_left}: the oldest went");
    let youngest = &tasks[tasks.len() - 50..];
    assert!(youngest.iter().all(|task| left.contains_key(task)));
    let share = share(&world, QUOTA);
    assert!((200..TIGHT_FROM).contains(&share), "{share} thousandths");
    assert_sound(&world, "after all");
}

#[test]
fn a_full_store_gets_no_new_tasks_until_what_it_holds_has_ended() {
    let mut world = World::new(32, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    ready(&mut world, &[server]);
    let tasks = submit(&mut world, server, vec![spec("noop", "null"); 100]);
    let quota = world.kv().bytes() * 100 / 85;
    world.set_quota(Some(quota));
    let full = world.run_until(Duration::from_secs(5), |world| {
        level(world, server) == Level::Full
    });
    assert!(full);
    let request = || Request::Submit(vec![spec("noop", "null")]);
    let reply = world.ask(server, request());
    assert_eq!(reply, Reply::Refused(Refusal::NoRoom));
    assert_eq!(audit(world.kv()).totals.accepted, 100);
    // Half of what waits is cancelled, which works; that they have ended makes room by and by.
    for task in &tasks[..50] {
        let reply = world.ask(server, Request::Cancel(*task));
        assert!(matches!(reply, Reply::Task(_)), "{reply:?}");
    }
    let roomier = world.run_until(Duration::from_secs(60), |world| {
        level(world, server) != Level::Full
    });
    assert!(roomier, "{} thousandths", share(&world, quota));
    assert!(matches!(world.ask(server, request()), Reply::Submitted(_)));
    assert!(
        tasks[50..]
            .iter()
            .all(|task| audit(world.kv()).tasks.contains_key(task))
    );
    assert_sound(&world, "after all");
}

#[test]
fn a_small_store_is_not_filled_to_the_last_byte_between_two_looks() {
    const QUOTA: u64 = 400_000;
    let mut world = World::new(33, Rudeness::default());
    world.set_quota(Some(QUOTA));
    let server = world.add_server("s1", |_| {});
    ready(&mut world, &[server]);
    let told = world.run_until(Duration::from_secs(5), |world| {
        world.server(server).unwrap().room().usage.is_some()
    });
    assert!(told, "it has looked once");
    let payload = format!("{:?}", "x".repeat(5_000));
    let refused = (0..100).filter(|_| {
        let request = Request::Submit(vec![spec("noop", &payload)]);
        world.ask(server, request) == Reply::Refused(Refusal::NoRoom)
    });
    assert!((30..70).contains(&refused.count()), "about half do not fit");
    let share = share(&world, QUOTA);
    assert!(
        share < FULL_FROM,
        "{share} thousandths, and room is left to end them"
    );
    assert_sound(&world, "after all");
}
