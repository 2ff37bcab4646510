//! What clients may ask, beyond the main job.

use std::time::Duration;

use windlass_core::balance::Strategy;
use windlass_core::filter::Filter;
use windlass_core::gateway::{
    Due, LockToken, Order, Reply, Request, TaskSpec, TaskState, TaskView, WhyReason, Workers,
};
use windlass_core::ids::{LeaseId, LockName, TaskId};
use windlass_core::keyspace::Range;
use windlass_core::retry::RetryPolicy;
use windlass_core::time::Millis;
use windlass_sim::book::Spot;
use windlass_sim::network::Rudeness;
use windlass_sim::world::{NodeIx, World};

use crate::{all_ended, assert_sound, ready, spec, submit};

const SERVER: NodeIx = 0;

fn deployment(slots: u32) -> World {
    let mut world = World::new(31, Rudeness::default());
    let mut nodes = vec![world.add_server("s1", |_| {})];
    if slots > 0 {
        nodes.push(world.add_worker("w1", |config| config.slots = slots));
    }
    ready(&mut world, &nodes);
    world
}

fn list(world: &mut World, state: Option<TaskState>, order: Order, limit: u32) -> Vec<TaskView> {
    let mut all: Vec<TaskView> = Vec::new();
    let mut after = None;
    loop {
        let filter = state.map_or_else(Filter::default, |it| Filter::of_states(&[it]));
        let request = Request::List {
            filter,
            order,
            limit,
            after,
        };
        let Reply::Tasks { tasks, next } = world.ask(SERVER, request) else {
            panic!()
        };
        assert!(tasks.len() <= limit as usize);
        all.extend(tasks);
        if next.is_none() {
            return all;
        }
        after = next;
    }
}

fn why(world: &mut World, id: TaskId) -> (Vec<WhyReason>, Option<u64>) {
    let Reply::Why(why) = world.ask(SERVER, Request::Why(id)) else {
        panic!()
    };
    (why.reasons, why.ahead)
}

fn take(world: &mut World, wait: u64) -> Reply {
    world.ask(
        SERVER,
        Request::LockTake {
            lock: "l".parse().unwrap(),
            owner: Some("somebody".into()),
            ttl: Duration::from_secs(5),
            wait: Duration::from_secs(wait),
        },
    )
}

#[test]
fn every_task_is_listed_once_under_its_state_however_small_the_pages() {
    let mut world = deployment(2);
    let running = submit(
        &mut world,
        SERVER,
        vec![spec("sleep", "{\"ms\":900000}"); 2],
    );
    assert!(world.run_until(Duration::from_secs(5), |world| world.started().len() == 2));
    let pending = submit(&mut world, SERVER, vec![spec("noop", "null"); 7]);
    let later = TaskSpec {
        due: Due::In(Millis::from_secs(900)),
        ..spec("noop", "null")
    };
    let scheduled = submit(&mut world, SERVER, vec![later; 5]);
    let cancelled = submit(&mut world, SERVER, vec![spec("noop", "null"); 3]);
    for id in &cancelled {
        world.ask(SERVER, Request::Cancel(*id));
    }
    for (state, mut wanted) in [
        (Some(TaskState::Running), running.clone()),
        (Some(TaskState::Pending), pending.clone()),
        (Some(TaskState::Scheduled), scheduled.clone()),
        (Some(TaskState::Retrying), vec![]),
        (Some(TaskState::Cancelled), cancelled.clone()),
        (Some(TaskState::Completed), vec![]),
        (None, [running, pending, scheduled, cancelled].concat()),
    ] {
        wanted.sort();
        for limit in [1, 2, 3, 100] {
            let mut listed = |order| -> Vec<_> {
                let tasks = list(&mut world, state, order, limit);
                tasks.iter().map(|it| it.id).collect()
            };
            assert_eq!(listed(Order::Oldest), wanted, "{state:?} by {limit}");
            let mut newest = listed(Order::Newest);
            newest.reverse();
            assert_eq!(newest, wanted, "{state:?} by {limit}");
        }
    }
}

/// Pages through what `filter` means; between two pages, `meanwhile` happens.
fn paged(
    world: &mut World,
    filter: &Filter,
    order: Order,
    mut meanwhile: impl FnMut(&mut World, usize),
) -> Vec<TaskId> {
    let (mut all, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let request = Request::Find {
            filter: filter.clone(),
            order,
            limit: 4,
            after,
        };
        let Reply::Found { ids, next } = world.ask(SERVER, request) else {
            panic!()
        };
        all.extend(ids);
        after = next;
        if after.is_none() {
            return all;
        }
        pages += 1;
        assert!(pages < 1_000, "it does not come to an end");
        meanwhile(world, pages);
    }
}

#[test]
fn a_task_that_stays_is_on_one_page_whatever_others_do_meanwhile() {
    for query in [
        "",
        "state:pending",
        "queue:default -state:completed",
        "noop",
    ] {
        for order in [Order::Oldest, Order::Newest] {
            let mut world = deployment(0);
            let mut stays = Vec::new();
            let mut goes = Vec::new();
            for _ in 0..8 {
                stays.extend(submit(&mut world, SERVER, vec![spec("noop", "null"); 4]));
                goes.extend(submit(&mut world, SERVER, vec![spec("noop", "null"); 3]));
            }
            let filter: Filter = query.parse().unwrap();
            let mut found = paged(&mut world, &filter, order, |world, page| {
                submit(world, SERVER, vec![spec("noop", "null"); 2 - page % 2]);
                for id in goes.pop().into_iter().chain(goes.first().copied()) {
                    world.ask(SERVER, Request::Cancel(id));
                }
            });
            assert!(order == Order::Newest || found.is_sorted(), "{query}");
            let count = found.len();
            found.sort();
            found.dedup();
            assert_eq!(found.len(), count, "none twice: {query:?} {order:?}");
            assert!(
                stays.iter().all(|id| found.contains(id)),
                "none skipped: {query:?} {order:?}"
            );
        }
    }
}

#[test]
fn tasks_are_counted_as_they_are_listed() {
    let mut world = deployment(1);
    let running = submit(
        &mut world,
        SERVER,
        vec![spec("sleep", "{\"ms\":900000}"); 3],
    );
    assert!(world.run_until(Duration::from_secs(5), |world| world.started().len() == 1));
    for id in submit(&mut world, SERVER, vec![spec("nobody", "null"); 5])
        .into_iter()
        .take(2)
    {
        world.ask(SERVER, Request::Cancel(id));
    }
    let later = TaskSpec {
        due: Due::In(Millis::from_secs(900)),
        name: Some("late".into()),
        ..spec("noop", "null")
    };
    submit(&mut world, SERVER, vec![later; 4]);
    assert_eq!(running.len(), 3);
    for (query, wanted) in [
        ("", 12),
        ("state:pending", 5),
        ("state:pending type:sleep", 2),
        ("state:running", 1),
        ("state:scheduled queue:default", 4),
        ("state:scheduled queue:other", 0),
        ("state:cancelled", 2),
        ("-state:cancelled", 10),
        ("name:late", 4),
        ("-name:* state:scheduled,pending", 5),
        ("worker:w1", 1),
        ("state:pending state:running", 0),
    ] {
        let filter: Filter = query.parse().unwrap();
        let reply = world.ask(SERVER, Request::Count(filter.clone()));
        let Reply::Count { count, exact } = reply else {
            panic!("{reply:?}")
        };
        assert_eq!((count, exact), (wanted, true), "{query:?}");
        let listed = paged(&mut world, &filter, Order::Newest, |_, _| {});
        assert_eq!(listed.len() as u64, wanted, "{query:?}");
    }
}

#[test]
fn a_task_says_why_it_waits() {
    let mut world = deployment(0);
    // Tasks of the same moment go by their ids.
    let mut ids = submit(&mut world, SERVER, vec![spec("noop", "null"); 2]);
    ids.sort();
    let id = ids[1];
    let behind = WhyReason::Behind { ahead: 1 };
    assert_eq!(
        why(&mut world, id),
        (vec![WhyReason::NoWorkers, behind.clone()], Some(1))
    );
    assert_eq!(why(&mut world, ids[0]).0, [WhyReason::NoWorkers]);
    let worker = world.add_worker("w1", |config| {
        config.slots = 1;
        config.types = vec!["sleep".parse().unwrap()];
    });
    ready(&mut world, &[worker]);
    let w1: Workers = [&"w1".parse().unwrap()].into_iter().collect();
    let no_type = WhyReason::NoWorkerRunsType {
        workers: w1.clone(),
    };
    assert_eq!(why(&mut world, id).0, [no_type.clone(), behind.clone()]);
    let queue = "default".parse().unwrap();
    let pause = |paused| Request::ConfigureQueue {
        queue: "default".parse().unwrap(),
        strategy: Some(Strategy::RoundRobin),
        paused: Some(paused),
    };
    let Reply::Queues(queues) = world.ask(SERVER, pause(true)) else {
        panic!()
    };
    assert_eq!(
        (&queues[0].name, queues[0].paused, queues[0].pending),
        (&queue, true, 2)
    );
    let reasons = why(&mut world, id).0;
    assert_eq!(reasons, [WhyReason::QueuePaused, no_type, behind]);
    world.ask(SERVER, pause(false));
    let mut busy = submit(
        &mut world,
        SERVER,
        vec![spec("sleep", "{\"ms\":600000}"); 2],
    );
    busy.sort();
    assert!(world.run_until(Duration::from_secs(5), |world| world.started().len() == 1));
    let worker = "w1".parse().unwrap();
    assert_eq!(why(&mut world, busy[0]).0, [WhyReason::Running { worker }]);
    let full = WhyReason::NoFreeSlot {
        slots: 1,
        workers: w1,
    };
    let behind = WhyReason::Behind { ahead: 2 };
    assert_eq!(why(&mut world, busy[1]).0, [full, behind]);
    world.ask(SERVER, Request::Cancel(id));
    assert_eq!(why(&mut world, id).0, [WhyReason::Ended]);
    let later = TaskSpec {
        due: Due::In(Millis::from_secs(900)),
        ..spec("noop", "null")
    };
    let later = submit(&mut world, SERVER, vec![later])[0];
    assert!(matches!(
        why(&mut world, later).0[..],
        [WhyReason::NotDue {
            after_failure: false,
            ..
        }]
    ));
}

#[test]
fn a_drained_node_takes_nothing_and_is_shown_so() {
    let mut world = deployment(2);
    let Reply::Nodes(nodes) = world.ask(SERVER, Request::Drain("w1".parse().unwrap())) else {
        panic!()
    };
    assert!(nodes.len() == 1 && nodes[0].draining);
    let nobody = Request::Drain("nobody".parse().unwrap());
    assert_eq!(world.ask(SERVER, nobody), Reply::NotFound);
    world.run_for(Duration::from_secs(1));
    submit(&mut world, SERVER, vec![spec("noop", "null")]);
    world.run_for(Duration::from_secs(5));
    assert!(world.started().is_empty());
    let Reply::Nodes(nodes) = world.ask(SERVER, Request::Nodes) else {
        panic!()
    };
    let slots: Vec<_> = nodes
        .iter()
        .map(|node| (node.id.as_str(), node.slots))
        .collect();
    assert_eq!(slots, [("s1", 0), ("w1", 0)]);
    let other = world.add_worker("w2", |_| {});
    ready(&mut world, &[other]);
    assert!(world.run_until(Duration::from_secs(5), all_ended));
    assert_sound(&world, "after the drain");
}

#[test]
fn a_lock_is_kept_by_renewing_and_lost_without() {
    let mut world = deployment(0);
    let Reply::Lock { fence, token, .. } = take(&mut world, 1) else {
        panic!()
    };
    let lock: LockName = "l".parse().unwrap();
    for _ in 0..5 {
        world.run_for(Duration::from_secs(3));
        let (lock, token) = (lock.clone(), token.clone());
        let reply = world.ask(SERVER, Request::LockRenew { lock, token });
        assert!(matches!(reply, Reply::Lock { fence: same, .. } if same == fence));
    }
    assert_eq!(take(&mut world, 1), Reply::TimedOut, "it is held");
    let Reply::Lock { fence: next, .. } = take(&mut world, 20) else {
        panic!("its lease ends")
    };
    assert!(next > fence);
    let reply = world.ask(SERVER, Request::LockRenew { lock, token });
    assert!(matches!(reply, Reply::Forbidden { .. }));
}

#[test]
fn a_place_in_line_is_kept_however_often_other_locks_change() {
    let mut world = deployment(0);
    let take = |lock: &str, ttl, wait| Request::LockTake {
        lock: lock.parse().unwrap(),
        owner: None,
        ttl: Duration::from_secs(ttl),
        wait: Duration::from_secs(wait),
    };
    let line = |world: &World| -> Vec<_> {
        let range = Range::waiters_of(&"l".parse().unwrap());
        let all = world.kv().entries(&range);
        all.map(|(_, entry)| entry.found.created).collect()
    };
    world.ask(SERVER, take("l", 30, 1));
    world.request(SERVER, take("l", 3, 25));
    world.run_for(Duration::from_secs(1));
    let places = line(&world);
    assert_eq!(places.len(), 2);
    for _ in 0..20 {
        let Reply::Lock { token, .. } = world.ask(SERVER, take("other", 3, 1)) else {
            panic!("nobody else wants it")
        };
        let lock = "other".parse().unwrap();
        world.ask(SERVER, Request::LockRelease { lock, token });
        world.run_for(Duration::from_millis(400));
    }
    assert_eq!(line(&world), places);
}

#[test]
fn no_token_touches_a_lease_that_is_not_its_own() {
    let mut world = deployment(1);
    let Reply::Lock { token, .. } = take(&mut world, 1) else {
        panic!()
    };
    let waiters = [
        token.waiter.clone(),
        "waiter-1".parse().unwrap(),
        "x-1".parse().unwrap(),
    ];
    for waiter in waiters {
        for lease in (0..10).map(LeaseId).filter(|lease| *lease != token.lease) {
            let token = LockToken {
                waiter: waiter.clone(),
                lease,
            };
            let lock = "l".parse().unwrap();
            let renew = Request::LockRenew {
                lock,
                token: token.clone(),
            };
            assert!(matches!(world.ask(SERVER, renew), Reply::Forbidden { .. }));
            let lock = "l".parse().unwrap();
            world.ask(SERVER, Request::LockRelease { lock, token });
        }
    }
    assert_eq!(
        take(&mut world, 1),
        Reply::TimedOut,
        "the lock is still held"
    );
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.exits, [], "no node lost its session");
}

#[test]
fn who_waits_for_a_task_is_told_when_it_ends_or_when_the_wait_is_over() {
    let mut world = deployment(1);
    let id = submit(&mut world, SERVER, vec![spec("sleep", "{\"ms\":3000}")])[0];
    let get = |seconds| Request::Get {
        task: id,
        wait: Some(Duration::from_secs(seconds)),
    };
    let Reply::Task(task) = world.ask(SERVER, get(1)) else {
        panic!()
    };
    assert_eq!(task.state, TaskState::Running);
    let Reply::Task(task) = world.ask(SERVER, get(60)) else {
        panic!()
    };
    assert_eq!(task.state, TaskState::Completed);
    let unknown = "00000000-0000-7000-8000-000000000001".parse().unwrap();
    for request in [
        Request::Get {
            task: unknown,
            wait: None,
        },
        Request::Why(unknown),
        Request::Cancel(unknown),
        Request::Rerun(unknown),
    ] {
        assert_eq!(world.ask(SERVER, request), Reply::NotFound);
    }
    let rerun = world.ask(SERVER, Request::Rerun(id));
    assert!(matches!(rerun, Reply::Forbidden { .. }));
}

#[test]
fn a_task_that_is_run_again_is_listed_with_its_run_wherever_it_is() {
    let mut world = deployment(1);
    let fails_once_a_run = TaskSpec {
        retries_max: 1,
        retry: RetryPolicy {
            delay: Millis::from_secs(100),
            ..RetryPolicy::default()
        },
        ..spec("fail", "{\"times\":9}")
    };
    let id = submit(&mut world, SERVER, vec![fails_once_a_run])[0];
    assert!(world.run_until(Duration::from_secs(200), all_ended));
    world.ask(SERVER, Request::Rerun(id));
    let waits = world.run_until(Duration::from_secs(5), |world| {
        let state = &world.book.tasks()[&id];
        state.end.is_none() && matches!(state.spots[..], [Spot::Delayed { .. }])
    });
    assert!(waits, "its first attempt has failed again");
    world.run_for(Duration::from_millis(500));
    let retrying = list(&mut world, Some(TaskState::Retrying), Order::Oldest, 5);
    assert_eq!(retrying.iter().map(|it| it.run).collect::<Vec<_>>(), [1]);
}
