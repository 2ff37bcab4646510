//! What users do in a run, and what they remember of it.

use windlass_core::filter::Filter;
use windlass_core::gateway::{
    Due, IdempotencyKey, LockToken, Order, Reply, Request, RequestId, Submitted, TaskSpec,
};
use windlass_core::ids::{LockName, Revision, TaskId};
use windlass_core::retry::{Backoff, RetryPolicy};
use windlass_core::server;
use windlass_core::time::{Millis, Mono};

use crate::ambush::{Ambush, Ambushes};
use crate::book::{Ending, TaskState};
use crate::fact::{Fact, NodeIx};
use crate::nemesis::FaultKind;
use crate::node::AnyInput;
use crate::scenario::{Act, QUEUES, TaskPlan, Wish};
use crate::world::World;

/// How many tasks somebody who cleans up asks about.
const SWEEP_MAX: usize = 30;

/// How often somebody who follows asks again.
const FOLLOW_MAX: u32 = 12;

/// A lock that somebody got.
#[derive(Debug, Clone)]
struct Got {
    lock: LockName,
    token: LockToken,
}

/// What was asked, and waits for a reply.
#[derive(Debug)]
struct Open {
    id: RequestId,
    node: NodeIx,
    lock: Option<LockName>,
    follows: Option<Follower>,
}

/// Somebody who asks again when there is an answer.
#[derive(Debug)]
struct Follower {
    wait: Option<Millis>,
    /// So many times.
    left: u32,
}

/// Every user of a run.
#[derive(Debug, Default)]
pub struct Clients {
    open: Vec<Open>,
    submissions: Vec<Vec<TaskPlan>>,
    tasks: Vec<TaskId>,
    locks: Vec<Got>,
    ambushes: Ambushes,
    /// How many lists were asked for.
    listed: usize,
    /// Up to where somebody was told what has changed.
    told: Option<Revision>,
}

impl Clients {
    /// The tasks that were acknowledged, in order.
    pub fn acknowledged(&self) -> &[TaskId] {
        &self.tasks
    }

    /// Lets a user do something.
    #[allow(clippy::too_many_lines, reason = "a table: one arm for each act")]
    pub fn act(&mut self, world: &mut World, act: &Act) {
        match act {
            Act::Submit { server, tasks } => {
                self.submissions.push(tasks.clone());
                self.ask(world, *server, submit(tasks));
            }
            Act::Repeat { server, nth } => self.repeat(world, *server, *nth),
            Act::Vanish { nth } => self.vanish(world, *nth),
            Act::Get { server, nth, wait } => {
                let wait = wait.map(Into::into);
                self.about(world, *server, *nth, |task| Request::Get { task, wait });
            }
            Act::Cancel { server, nth } => {
                self.about_such(world, *server, *nth, Request::Cancel, is_live)
            }
            Act::Rerun { server, nth } => {
                self.about_such(world, *server, *nth, Request::Rerun, has_ended_badly);
            }
            Act::Sweep { server, wish } => self.sweep(world, *server, *wish),
            Act::Ambush {
                step,
                skip,
                after,
                wish,
                server,
                also,
            } => self.ambushes.lay(Ambush {
                step: *step,
                skip: *skip,
                after: (*after).into(),
                wish: *wish,
                servers: std::iter::once(*server).chain(*also).collect(),
            }),
            Act::List { server, state } => {
                let filter = state.map_or_else(Filter::default, |it| Filter::of_states(&[it]));
                self.listed += 1;
                let request = search(self.listed, filter);
                self.ask(world, *server, request);
            }
            Act::Stats { server } => self.ask(world, *server, Request::Stats),
            Act::Follow { server, wait } => self.follow(world, *server, *wait, FOLLOW_MAX),
            Act::Configure {
                server,
                queue,
                strategy,
                paused,
            } => {
                let queue = queue_name(*queue);
                let (strategy, paused) = (*strategy, *paused);
                let request = Request::ConfigureQueue {
                    queue,
                    strategy,
                    paused,
                };
                self.ask(world, *server, request);
            }
            Act::Drain { node, .. } => world.drain(*node),
            Act::Order { server, node } => {
                let id = world.id_of(*node).clone();
                self.ask(world, *server, Request::Drain(id));
            }
            Act::LockTake {
                server,
                lock,
                ttl,
                wait,
            } => self.take(world, *server, *lock, *ttl, *wait),
            Act::LockRenew { server, nth } => {
                self.with_lock(world, *server, *nth, |lock, token| Request::LockRenew {
                    lock,
                    token,
                });
            }
            Act::LockRelease { server, nth } => {
                self.with_lock(world, *server, *nth, |lock, token| Request::LockRelease {
                    lock,
                    token,
                });
            }
        }
    }

    fn take(&mut self, world: &mut World, server: NodeIx, lock: u8, ttl: Millis, wait: Millis) {
        let lock: LockName = format!("lock-{lock}").parse().expect("a legal name");
        let request = Request::LockTake {
            lock: lock.clone(),
            owner: None,
            ttl: ttl.into(),
            wait: wait.into(),
        };
        if let Some(id) = reach(world, server, request) {
            self.open.push(Open {
                id,
                node: server,
                lock: Some(lock),
                follows: None,
            });
        }
    }

    fn follow(&mut self, world: &mut World, node: NodeIx, wait: Option<Millis>, left: u32) {
        let request = Request::Changes {
            after: self.told,
            wait: wait.map(Into::into),
        };
        if let Some(id) = reach(world, node, request) {
            self.open.push(Open {
                id,
                node,
                lock: None,
                follows: Some(Follower { wait, left }),
            });
        }
    }

    fn repeat(&mut self, world: &mut World, server: NodeIx, nth: u32) {
        if let Some(tasks) = pick(&self.submissions, nth).cloned() {
            let now = world.now().mono;
            world.hit(FaultKind::ClientRepeats, Some(server), now);
            self.ask(world, server, submit(&tasks));
        }
    }

    fn with_lock(
        &mut self,
        world: &mut World,
        server: NodeIx,
        nth: u32,
        request: impl FnOnce(LockName, LockToken) -> Request,
    ) {
        if let Some(Got { lock, token }) = pick(&self.locks, nth).cloned() {
            self.ask(world, server, request(lock, token));
        }
    }

    fn about(
        &mut self,
        world: &mut World,
        server: NodeIx,
        nth: u32,
        request: impl FnOnce(TaskId) -> Request,
    ) {
        if let Some(task) = pick(&self.tasks, nth).copied() {
            self.ask(world, server, request(task));
        }
    }

    /// Asks about a task that is worth it, as users do that looked at a list before; now and then about any.
    fn about_such(
        &mut self,
        world: &mut World,
        server: NodeIx,
        nth: u32,
        request: impl FnOnce(TaskId) -> Request,
        such: impl Fn(&TaskState) -> bool,
    ) {
        let (blindly, nth) = (nth.is_multiple_of(8), nth / 8);
        let all = world.book.tasks().iter();
        let worth: Vec<TaskId> = all
            .filter(|(_, state)| !blindly && such(state))
            .map(|(task, _)| *task)
            .collect();
        match pick(&worth, nth).copied() {
            Some(task) => self.ask(world, server, request(task)),
            None => self.about(world, server, nth, request),
        }
    }

    fn sweep(&mut self, world: &mut World, server: NodeIx, wish: Wish) {
        let such = match wish {
            Wish::Get | Wish::Cancel => is_live,
            Wish::Rerun => has_ended_badly,
        };
        let all = world.book.tasks().iter();
        let tasks: Vec<TaskId> = all
            .filter(|(_, state)| such(state))
            .map(|(task, _)| *task)
            .take(SWEEP_MAX)
            .collect();
        for task in tasks {
            self.ask(world, server, crate::ambush::request(wish, task));
        }
    }

    /// Lets those ask who waited for what has just happened.
    pub fn spring(&mut self, world: &mut World) {
        for (server, request) in self.ambushes.take_due(world.now().mono) {
            self.ask(world, server, request);
        }
    }

    /// Takes note of what happened.
    pub fn observe(&mut self, at: Mono, fact: &Fact) {
        self.ambushes.observe(at, fact);
    }

    /// Nobody lies in wait any more.
    pub fn disarm(&mut self) {
        self.ambushes.clear();
    }

    /// Asks something, if anybody listens there.
    pub fn ask(&mut self, world: &mut World, node: NodeIx, request: Request) {
        if let Some(id) = reach(world, node, request) {
            self.open.push(Open {
                id,
                node,
                lock: None,
                follows: None,
            });
        }
    }

    fn vanish(&mut self, world: &mut World, nth: u32) {
        if self.open.is_empty() {
            return;
        }
        let open = self.open.remove(nth as usize % self.open.len());
        let now = world.now().mono;
        world.hit(FaultKind::ClientVanishes, Some(open.node), now);
        world.give(
            open.node,
            AnyInput::Server(server::Input::Forget { id: open.id }),
        );
    }

    /// Reads the replies that have come.
    pub fn read(&mut self, world: &mut World) {
        if world.replies.is_empty() {
            return;
        }
        for open in std::mem::take(&mut self.open) {
            match world.replies.remove(&open.id) {
                Some(reply) => {
                    let follows = open
                        .follows
                        .as_ref()
                        .map(|it| (open.node, it.wait, it.left));
                    let has_told = matches!(reply, Reply::Changes(_) | Reply::Missed { .. });
                    self.remember(open, reply);
                    if let Some((node, wait, left)) = follows.filter(|_| has_told)
                        && let Some(left) = left.checked_sub(1)
                    {
                        self.follow(world, node, wait, left);
                    }
                }
                None if world.nodes[open.node].brain.is_some() => self.open.push(open),
                // The process ended: the connection is closed.
                None => {}
            }
        }
        // Replies to those who vanished.
        world.replies.clear();
    }

    fn remember(&mut self, open: Open, reply: Reply) {
        match reply {
            Reply::Submitted(fates) => {
                self.tasks
                    .extend(fates.iter().filter_map(|fate| match fate {
                        Submitted::Accepted { id, .. } | Submitted::Repeated { id } => Some(*id),
                        Submitted::KeyTaken { .. }
                        | Submitted::Refused(_)
                        | Submitted::Unknown { .. } => None,
                    }))
            }
            Reply::Lock { token, .. } => {
                self.locks.extend(open.lock.map(|lock| Got { lock, token }))
            }
            Reply::Changes(changes) => self.told = Some(changes.revision),
            Reply::Missed { at } => self.told = Some(at),
            Reply::Task(_)
            | Reply::Tasks { .. }
            | Reply::Found { .. }
            | Reply::Count { .. }
            | Reply::Why(_)
            | Reply::Stats(_)
            | Reply::Queues(_)
            | Reply::Nodes(_)
            | Reply::Remote(_)
            | Reply::Timings(_)
            | Reply::Done
            | Reply::NotFound
            | Reply::Forbidden { .. }
            | Reply::Refused(_)
            | Reply::NotReady
            | Reply::TimedOut => {}
        }
    }
}

/// A process that is down refuses the connection; one that is frozen does not answer yet.
fn reach(world: &mut World, node: NodeIx, request: Request) -> Option<RequestId> {
    world.nodes[node]
        .brain
        .is_some()
        .then(|| world.request(node, request))
}

fn is_live(state: &TaskState) -> bool {
    state.end.is_none() && !state.spots.is_empty()
}

fn has_ended_badly(state: &TaskState) -> bool {
    state
        .end
        .as_ref()
        .is_some_and(|end| end.how != Ending::Completed)
}

fn pick<T>(all: &[T], nth: u32) -> Option<&T> {
    all.get((nth as usize).checked_rem(all.len())?)
}

/// The name of a queue of the run.
pub fn queue_name(queue: u8) -> windlass_core::ids::QueueName {
    QUEUES[usize::from(queue) % QUEUES.len()]
        .parse()
        .expect("a legal name")
}

/// A submission of these tasks.
pub fn submit(tasks: &[TaskPlan]) -> Request {
    Request::Submit(tasks.iter().map(spec).collect())
}

fn spec(plan: &TaskPlan) -> TaskSpec {
    let delayed = plan.delay > Millis::ZERO;
    TaskSpec {
        kind: plan.kind.parse().expect("a scenario's types are legal"),
        queue: queue_name(plan.queue),
        priority: plan.priority,
        name: None,
        payload: plan.payload.clone(),
        metadata: Default::default(),
        retries_max: plan.retries_max,
        retry: plan.retry.unwrap_or_else(|| RetryPolicy {
            kind: Backoff::Fixed,
            delay: plan.backoff,
            ..RetryPolicy::default()
        }),
        timeout: plan.timeout,
        due: if delayed {
            Due::In(plan.delay)
        } else {
            Due::Now
        },
        key: plan.key.map(|(key, body)| IdempotencyKey {
            key_hash: format!("key{key}").into(),
            body_hash: format!("body{body}").into(),
        }),
    }
}

/// One of the ways to look for tasks, by turns.
fn search(turn: usize, filter: Filter) -> Request {
    let order = [Order::Oldest, Order::Newest][turn % 2];
    let (limit, after) = (7, None);
    match turn % 8 {
        0 => Request::Count(filter),
        1 => Request::Find {
            filter,
            order,
            limit,
            after,
        },
        _ => Request::List {
            filter,
            order,
            limit,
            after,
        },
    }
}
