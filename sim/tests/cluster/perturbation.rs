//! Every fault at every call of small scenarios: whatever is lost, late or dead, the task ends as it should, once.

use std::time::Duration;

use windlass_core::gateway::{Due, Reply, Request, RequestId, TaskSpec};
use windlass_core::ids::{Fence, TaskId};
use windlass_core::keyspace::{Key, Meaning, Range};
use windlass_core::record::Outcome;
use windlass_core::time::Millis;
use windlass_sim::audit::audit;
use windlass_sim::network::Rudeness;
use windlass_sim::perturb::{Aim, Perturbation};
use windlass_sim::world::{NodeIx, World};

use crate::{all_ended, assert_sound, ids_of, ready, spec, submit};

const SERVER: NodeIx = 0;

/// A deployment that does something, and a client that asks again until it knows that it was done.
struct Run {
    world: World,
    /// Nodes that stay down.
    gone: Vec<NodeIx>,
    asked: Option<RequestId>,
    fences: Vec<Fence>,
}

/// A scenario: how it begins, what the client does each time that it looks, and what must hold in the end.
struct Scenario {
    name: &'static str,
    begin: fn() -> Run,
    /// Says whether it is done.
    look: fn(&mut Run) -> bool,
    judge: fn(&Run, &str),
}

fn deployment(workers: &[&str]) -> Run {
    let mut world = World::new(11, Rudeness::default());
    let mut nodes = vec![world.add_server("s1", |config| {
        config.retention = Millis::from_secs(3_600);
    })];
    for id in workers {
        nodes.push(world.add_worker(id, |_| {}));
    }
    ready(&mut world, &nodes);
    Run {
        world,
        gone: Vec::new(),
        asked: None,
        fences: Vec::new(),
    }
}

impl Run {
    /// Takes the reply to the client's request, and asks again when there will not be one.
    fn ask(&mut self, request: impl FnOnce() -> Request) -> Option<Reply> {
        if let Some(reply) = self.asked.and_then(|id| self.world.replies.remove(&id)) {
            self.asked = None;
            return Some(reply);
        }
        let serves = self.world.server(SERVER).is_some_and(|it| it.is_ready());
        if self.asked.is_none() && serves {
            self.asked = Some(self.world.request(SERVER, request()));
        }
        None
    }

    /// Lets time pass. Nodes that went down come back, but for those that are gone.
    fn pass(&mut self, span: Duration) {
        self.world.run_for(span);
        for node in 0..self.world.nodes.len() {
            if self.world.nodes[node].brain.is_none() && !self.gone.contains(&node) {
                self.world.boot(node);
                if node == SERVER {
                    self.asked = None;
                }
            }
        }
    }
}

fn run(scenario: &Scenario, aim: Option<(u64, Perturbation)>) -> Option<u64> {
    let what = format!("{}: {aim:?}", scenario.name);
    let mut run = (scenario.begin)();
    run.world.aim = aim.map_or_else(Aim::default, |(nth, how)| Aim::at(nth, how));
    let mut done = false;
    for _ in 0..4_000 {
        done = (scenario.look)(&mut run);
        if done {
            break;
        }
        run.pass(Duration::from_millis(20));
    }
    assert!(
        done,
        "{what}: it never ends; {:?}",
        audit(run.world.kv()).live
    );
    let calls = run.world.aim.calls;
    let hit = aim.is_none() || run.world.aim.was_hit();
    // What is late is late by a few seconds.
    for _ in 0..10 {
        run.pass(Duration::from_millis(800));
    }
    for _ in 0..100 {
        if (scenario.look)(&mut run) {
            break;
        }
        run.pass(Duration::from_millis(100));
    }
    assert_sound(&run.world, &what);
    (scenario.judge)(&run, &what);
    hit.then_some(calls)
}

fn at_every_call(scenario: &Scenario) {
    let calls = run(scenario, None).expect("nothing was aimed at");
    assert!(
        calls > 2,
        "{}: something is asked of the store",
        scenario.name
    );
    for nth in 0..calls {
        for how in Perturbation::ALL {
            let hit = run(scenario, Some((nth, how)));
            assert!(hit.is_some(), "{}: there are {calls} calls", scenario.name);
        }
    }
}

/// The tasks that were acknowledged are those that are there, and they ended like this.
fn ended(run: &Run, what: &str, is: fn(&Outcome) -> bool) {
    let audit = audit(run.world.kv());
    assert!(
        !audit.tasks.is_empty() && audit.live.is_empty(),
        "{what}: {:?}",
        audit.live
    );
    for (id, outcome) in &audit.tasks {
        assert!(outcome.as_ref().is_some_and(is), "{what}: {id} {outcome:?}");
    }
}

fn completed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Completed(_))
}

fn first_task(run: &Run) -> TaskId {
    *audit(run.world.kv())
        .tasks
        .keys()
        .next()
        .expect("there is a task")
}

#[test]
fn a_submitted_task_is_completed() {
    at_every_call(&Scenario {
        name: "submit, dispatch, complete",
        begin: || deployment(&["w1"]),
        look: |run| {
            if !run.fences.is_empty() {
                return all_ended(&run.world);
            }
            let reply = run.ask(|| Request::Submit(vec![spec("echo", "1")]));
            let accepted = reply.is_some_and(|reply| !ids_of(&reply).is_empty());
            if accepted {
                run.fences.push(Fence(run.world.kv().revision()));
            }
            accepted && all_ended(&run.world)
        },
        judge: |run, what| ended(run, what, completed),
    });
}

#[test]
fn a_lost_workers_task_is_completed_by_another() {
    at_every_call(&Scenario {
        name: "lost worker",
        begin: || {
            let mut run = deployment(&["w1"]);
            submit(&mut run.world, SERVER, vec![spec("sleep", "{\"ms\":200}")]);
            let begun = run
                .world
                .run_until(Duration::from_secs(5), |world| world.started().len() == 1);
            assert!(begun);
            run.world.add_worker("w2", |_| {});
            run.world.crash(1);
            run.gone.push(1);
            ready(&mut run.world, &[2]);
            run
        },
        look: |run| all_ended(&run.world),
        judge: |run, what| {
            ended(run, what, completed);
            let starts = run.world.ledger.starts_of(first_task(run)).len();
            assert!(starts >= 2, "{what}: {starts} starts");
        },
    });
}

#[test]
fn a_cancelled_running_task_is_cancelled() {
    at_every_call(&Scenario {
        name: "cancel running",
        begin: || {
            let mut run = deployment(&["w1"]);
            submit(
                &mut run.world,
                SERVER,
                vec![spec("sleep", "{\"ms\":600000}")],
            );
            let begun = run
                .world
                .run_until(Duration::from_secs(5), |world| world.started().len() == 1);
            assert!(begun);
            run
        },
        look: |run| {
            let id = first_task(run);
            run.ask(|| Request::Cancel(id));
            all_ended(&run.world)
        },
        judge: |run, what| ended(run, what, |outcome| *outcome == Outcome::Cancelled),
    });
}

#[test]
fn a_due_task_is_completed() {
    at_every_call(&Scenario {
        name: "due",
        begin: || {
            let mut run = deployment(&["w1"]);
            let task = TaskSpec {
                due: Due::In(Millis::new(300)),
                ..spec("noop", "null")
            };
            submit(&mut run.world, SERVER, vec![task]);
            run
        },
        look: |run| all_ended(&run.world),
        judge: |run, what| ended(run, what, completed),
    });
}

#[test]
fn a_failed_attempt_is_tried_again() {
    at_every_call(&Scenario {
        name: "retry",
        begin: || {
            let mut run = deployment(&["w1"]);
            submit(&mut run.world, SERVER, vec![spec("fail", "{\"times\":1}")]);
            run
        },
        look: |run| all_ended(&run.world),
        // A crash counts as an attempt, too: the second one may be the first that starts.
        judge: |run, what| ended(run, what, completed),
    });
}

fn take() -> Request {
    Request::LockTake {
        lock: "backup".parse().unwrap(),
        owner: None,
        ttl: Duration::from_secs(2),
        wait: Duration::from_secs(8),
    }
}

#[test]
fn a_lock_is_held_by_one_after_the_other_and_given_back() {
    at_every_call(&Scenario {
        name: "lock",
        begin: || deployment(&[]),
        look: |run| {
            // Takes the lock, gives it back, takes it again and leaves it to its lease.
            if run.fences.len() < 2
                && let Some(reply) = run.ask(take)
                && let Reply::Lock { fence, token, .. } = reply
            {
                run.fences.push(fence);
                if run.fences.len() == 1 {
                    let lock = "backup".parse().unwrap();
                    run.world
                        .request(SERVER, Request::LockRelease { lock, token });
                }
            }
            let all = Range::new(Key::from_store("/locks/"), Key::from_store("/locks0"));
            let waiters = run
                .world
                .kv()
                .entries(&all)
                .filter(|(key, _)| matches!(Meaning::of(key), Meaning::LockWaiter(..)))
                .count();
            run.fences.len() == 2 && waiters == 0
        },
        judge: |run, what| {
            assert!(
                run.fences.is_sorted() && run.fences[0] < run.fences[1],
                "{what}: {:?}",
                run.fences
            );
        },
    });
}

#[test]
fn what_has_ended_long_ago_is_removed_and_counted_once() {
    at_every_call(&Scenario {
        name: "purge",
        begin: || {
            let mut world = World::new(12, Rudeness::default());
            let server = world.add_server("s1", |config| config.retention = Millis::new(800));
            let worker = world.add_worker("w1", |_| {});
            ready(&mut world, &[server, worker]);
            submit(&mut world, server, vec![spec("noop", "null"); 3]);
            assert!(world.run_until(Duration::from_secs(5), all_ended));
            Run {
                world,
                gone: Vec::new(),
                asked: None,
                fences: Vec::new(),
            }
        },
        look: |run| audit(run.world.kv()).tasks.is_empty(),
        judge: |run, what| {
            let totals = audit(run.world.kv()).totals;
            assert_eq!((totals.accepted, totals.purged), (3, 3), "{what}");
        },
    });
}
