//! The main job on the machines and the store's model: submit, place, run, record, under faults.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "a test panics when it fails, and tells its story in one piece"
)]

use std::time::Duration;

use windlass_core::gateway::{Due, Reply, Request, Submitted, TaskSpec, TaskState};
use windlass_core::ids::{Priority, TaskId};
use windlass_core::record::Json;
use windlass_core::retry::RetryPolicy;
use windlass_core::time::Millis;
use windlass_sim::audit::audit;
use windlass_sim::network::Rudeness;
use windlass_sim::world::World;

fn spec(kind: &str, payload: &str) -> TaskSpec {
    TaskSpec {
        kind: kind.parse().unwrap(),
        queue: "default".parse().unwrap(),
        priority: Priority::NORMAL,
        name: None,
        payload: Json::parse(payload.to_owned()).unwrap(),
        metadata: Default::default(),
        retries_max: 3,
        retry: RetryPolicy::default(),
        timeout: Millis::from_secs(60),
        due: Due::Now,
        key: None,
    }
}

fn accepted(reply: Reply) -> Vec<TaskId> {
    let Reply::Submitted(fates) = reply else {
        panic!("{reply:?}")
    };
    fates
        .into_iter()
        .map(|fate| match fate {
            Submitted::Accepted { id, .. } => id,
            fate @ (Submitted::Repeated { .. }
            | Submitted::KeyTaken { .. }
            | Submitted::Refused(_)
            | Submitted::Unknown { .. }) => panic!("{fate:?}"),
        })
        .collect()
}

fn ready(world: &mut World, nodes: &[usize]) {
    let up = world.run_until(Duration::from_secs(30), |world| {
        nodes.iter().all(|node| {
            world.server(*node).is_some_and(|it| it.is_ready())
                || world.worker(*node).is_some_and(|it| it.is_ready())
        })
    });
    assert!(up, "every node comes up");
}

fn all_ended(world: &World) -> bool {
    let audit = audit(world.kv());
    audit.live.is_empty() && audit.tasks.values().all(Option::is_some)
}

#[test]
fn what_is_submitted_is_completed_once() {
    let mut world = World::new(1, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    let worker = world.add_worker("w1", |config| config.slots = 4);
    ready(&mut world, &[server, worker]);
    let ids = accepted(world.ask(
        server,
        Request::Submit(vec![spec("echo", "{\"a\":1}"); 200]),
    ));
    assert_eq!(ids.len(), 200);
    assert!(world.run_until(Duration::from_secs(10), all_ended));
    let report = audit(world.kv());
    assert_eq!(report.violations, Vec::<String>::new());
    assert_eq!(
        (
            report.totals.accepted,
            report.totals.completed,
            report.totals.dispatched
        ),
        (200, 200, 200)
    );
    let Reply::Task(task) = world.ask(
        server,
        Request::Get {
            task: ids[0],
            wait: None,
        },
    ) else {
        panic!()
    };
    assert_eq!(
        (task.state, task.result.unwrap().as_str()),
        (TaskState::Completed, "{\"a\":1}")
    );
}

#[test]
fn a_deployment_without_work_is_quiet() {
    let mut world = World::new(8, Rudeness::default());
    let server = world.add_server("s1", |config| config.retention = Millis::from_secs(1));
    let worker = world.add_worker("w1", |_| {});
    ready(&mut world, &[server, worker]);
    accepted(world.ask(server, Request::Submit(vec![spec("noop", "null"); 10])));
    accepted(world.ask(server, Request::Submit(vec![spec("unheard-of", "null")])));
    world.run_for(Duration::from_secs(30));
    let before = world.events;
    world.run_for(Duration::from_secs(60));
    let per_second = (world.events - before) / 60;
    assert!(
        per_second < 70,
        "{per_second} happenings a second with nothing to do"
    );
}

#[test]
fn with_one_slot_the_order_of_starts_is_the_order_of_keys() {
    let mut world = World::new(2, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    ready(&mut world, &[server]);
    let mut wanted = Vec::new();
    for priority in [7_u8, 0, 3, 9, 5] {
        let task = TaskSpec {
            priority: Priority::new(priority).unwrap(),
            ..spec("noop", "null")
        };
        let ids = accepted(world.ask(server, Request::Submit(vec![task; 20])));
        wanted.extend(ids.into_iter().map(|id| (priority, id)));
        world.run_for(Duration::from_millis(5));
    }
    // Within a priority the timestamps ascend, and equal ones go by id.
    wanted.sort();
    let worker = world.add_worker("w1", |config| config.slots = 1);
    ready(&mut world, &[worker]);
    assert!(world.run_until(Duration::from_secs(60), all_ended));
    let wanted: Vec<TaskId> = wanted.into_iter().map(|(_, id)| id).collect();
    assert_eq!(world.started(), wanted);
}

#[test]
fn a_failure_is_tried_again_and_in_the_end_dead_until_it_is_run_again() {
    let mut world = World::new(3, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    let worker = world.add_worker("w1", |_| {});
    ready(&mut world, &[server, worker]);
    let once = accepted(world.ask(server, Request::Submit(vec![spec("fail", "{\"times\":1}")])))[0];
    let always = accepted(world.ask(
        server,
        Request::Submit(vec![spec("fail", "{\"times\":99}")]),
    ))[0];
    assert!(world.run_until(Duration::from_secs(60), all_ended));
    let Reply::Task(task) = world.ask(
        server,
        Request::Get {
            task: once,
            wait: None,
        },
    ) else {
        panic!()
    };
    assert_eq!((task.state, task.retry_count), (TaskState::Completed, 1));
    let Reply::Task(task) = world.ask(
        server,
        Request::Get {
            task: always,
            wait: None,
        },
    ) else {
        panic!()
    };
    assert_eq!(
        (task.state, task.retry_count, task.error.as_deref()),
        (TaskState::Failed, 3, Some("as ordered"))
    );
    assert_eq!(world.ledger.starts_of(always).len(), 4);
    let Reply::Task(task) = world.ask(server, Request::Rerun(always)) else {
        panic!()
    };
    assert_eq!(task.run, 1);
    assert!(world.run_until(Duration::from_secs(60), all_ended));
    assert_eq!(world.ledger.starts_of(always).len(), 8);
    assert_eq!(audit(world.kv()).violations, Vec::<String>::new());
}

#[test]
fn a_cancel_ends_a_task_wherever_it_is() {
    let mut world = World::new(4, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    ready(&mut world, &[server]);
    let waiting = accepted(world.ask(server, Request::Submit(vec![spec("noop", "null")])))[0];
    let delayed = TaskSpec {
        due: Due::In(Millis::from_secs(3_600)),
        ..spec("noop", "null")
    };
    let delayed = accepted(world.ask(server, Request::Submit(vec![delayed])))[0];
    for id in [waiting, delayed] {
        let Reply::Task(task) = world.ask(server, Request::Cancel(id)) else {
            panic!()
        };
        assert_eq!(task.state, TaskState::Cancelled);
        assert!(matches!(
            world.ask(server, Request::Cancel(id)),
            Reply::Forbidden { .. }
        ));
    }
    let worker = world.add_worker("w1", |_| {});
    ready(&mut world, &[worker]);
    let running = accepted(world.ask(
        server,
        Request::Submit(vec![spec("sleep", "{\"ms\":60000}")]),
    ))[0];
    assert!(world.run_until(Duration::from_secs(5), |world| {
        !world.ledger.starts_of(running).is_empty()
    }));
    let Reply::Task(_) = world.ask(server, Request::Cancel(running)) else {
        panic!()
    };
    let Reply::Task(task) = world.ask(
        server,
        Request::Get {
            task: running,
            wait: Some(Duration::from_secs(10)),
        },
    ) else {
        panic!()
    };
    assert_eq!(task.state, TaskState::Cancelled);
    assert_eq!(audit(world.kv()).violations, Vec::<String>::new());
}

#[test]
fn a_lost_workers_tasks_are_run_by_others() {
    let mut world = World::new(5, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    let first = world.add_worker("w1", |_| {});
    ready(&mut world, &[server, first]);
    let ids = accepted(world.ask(
        server,
        Request::Submit(vec![spec("sleep", "{\"ms\":2000}"); 5]),
    ));
    assert!(world.run_until(Duration::from_secs(5), |world| {
        ids.iter().all(|id| !world.ledger.starts_of(*id).is_empty())
    }));
    world.crash(first);
    let second = world.add_worker("w2", |_| {});
    let lost_at = world.now().mono;
    assert!(world.run_until(Duration::from_secs(20), |world| {
        ids.iter().all(|id| world.ledger.starts_of(*id).len() == 2)
    }));
    assert!(
        world.now().mono.since(lost_at) <= Duration::from_secs(5),
        "TTL 3 s and 2 s more"
    );
    assert!(world.run_until(Duration::from_secs(20), all_ended));
    let Reply::Task(task) = world.ask(
        server,
        Request::Get {
            task: ids[0],
            wait: None,
        },
    ) else {
        panic!()
    };
    assert_eq!(
        (task.losses, task.worker.as_ref()),
        (1, Some(world.id_of(second)))
    );
    assert_eq!(audit(world.kv()).violations, Vec::<String>::new());
}

#[test]
fn a_zombie_records_nothing_and_leaves() {
    let mut world = World::new(6, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    let zombie = world.add_worker("w1", |_| {});
    ready(&mut world, &[server, zombie]);
    let ids = accepted(world.ask(
        server,
        Request::Submit(vec![spec("sleep", "{\"ms\":1000}"); 3]),
    ));
    assert!(world.run_until(Duration::from_secs(5), |world| {
        ids.iter().all(|id| !world.ledger.starts_of(*id).is_empty())
    }));
    world.pause(zombie, Duration::from_secs(9));
    world.add_worker("w2", |_| {});
    assert!(world.run_until(Duration::from_secs(60), all_ended));
    world.run_for(Duration::from_secs(20));
    assert_eq!(
        world.exits,
        [(zombie, windlass_core::worker::Exit::Deposed)]
    );
    assert_eq!(world.ledger.violations(), Vec::<String>::new());
    let report = audit(world.kv());
    assert_eq!((report.totals.completed, report.violations), (3, vec![]));
}

#[test]
fn a_drained_worker_hands_back_and_leaves_at_once() {
    let mut world = World::new(7, Rudeness::default());
    let server = world.add_server("s1", |_| {});
    let first = world.add_worker("w1", |config| config.slots = 2);
    ready(&mut world, &[server, first]);
    let ids = accepted(world.ask(
        server,
        Request::Submit(vec![spec("sleep", "{\"ms\":300}"); 20]),
    ));
    assert!(world.run_until(Duration::from_secs(5), |world| {
        !world.ledger.starts_of(ids[0]).is_empty()
    }));
    world.drain(first);
    assert!(world.run_until(Duration::from_secs(5), |world| !world.exits.is_empty()));
    assert_eq!(world.exits, [(first, windlass_core::worker::Exit::Drained)]);
    let second = world.add_worker("w2", |_| {});
    ready(&mut world, &[second]);
    assert!(world.run_until(Duration::from_secs(30), all_ended));
    let report = audit(world.kv());
    assert_eq!(
        (
            report.totals.completed,
            report.totals.lost,
            report.violations
        ),
        (20, 0, vec![])
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "one story")]
fn under_lost_answers_crashes_and_pauses_nothing_is_lost_and_nothing_ends_twice() {
    for seed in 0..60 {
        let rude = Rudeness {
            lose_requests: 20,
            lose_answers: 30,
            arrive_late: 20,
            break_watches: 5,
            ..Rudeness::default()
        };
        let mut world = World::new(seed, rude);
        let servers = [
            world.add_server("s1", |_| {}),
            world.add_server("s2", |_| {}),
        ];
        let workers: Vec<_> = (0..3)
            .map(|n| world.add_worker(&format!("w{n}"), |config| config.slots = 3))
            .collect();
        let mut asked = Vec::new();
        for round in 0..12_u64 {
            world.run_for(Duration::from_millis(1_500));
            let kinds = [
                ("noop", "null"),
                ("fail", "{\"times\":1}"),
                ("sleep", "{\"ms\":400}"),
                ("echo", "[1]"),
            ];
            let tasks: Vec<_> = kinds
                .iter()
                .map(|(kind, payload)| spec(kind, payload))
                .collect();
            asked.push(world.request(servers[(round % 2) as usize], Request::Submit(tasks)));
            let victim = workers[((seed + round) % 3) as usize];
            match (seed + round) % 7 {
                0 => {
                    world.crash(victim);
                    world.boot(victim);
                }
                1 => world.pause(victim, Duration::from_millis(700 + 1_100 * (round % 5))),
                2 => {
                    let server = servers[(seed % 2) as usize];
                    world.crash(server);
                    world.boot(server);
                }
                _ => {}
            }
            for node in 0..world.nodes.len() {
                if world.nodes[node].brain.is_none() {
                    world.boot(node);
                }
            }
        }
        world.network.rudeness = Rudeness::default();
        let mut calm = false;
        for _ in 0..60 {
            for node in 0..world.nodes.len() {
                if world.nodes[node].brain.is_none() {
                    world.boot(node);
                }
            }
            if world.run_until(Duration::from_secs(5), all_ended) {
                calm = true;
                break;
            }
        }
        let report = audit(world.kv());
        assert!(
            calm,
            "seed {seed}: {:?} are still live, {:?}",
            report.live, world.exits
        );
        assert_eq!(report.violations, Vec::<String>::new(), "seed {seed}");
        assert_eq!(
            world.ledger.violations(),
            Vec::<String>::new(),
            "seed {seed}"
        );
        for request in asked {
            if let Some(Reply::Submitted(fates)) = world.replies.get(&request) {
                for fate in fates {
                    if let Submitted::Accepted { id, .. } = fate {
                        assert!(
                            report.tasks.contains_key(id),
                            "seed {seed}: {id} was acknowledged and is gone"
                        );
                    }
                }
            }
        }
    }
}
