//! A scheduler process under any inputs, in any order and at any time: its gateway, its scheduler and its janitor.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_sim::core::balance::Strategy;
use windlass_sim::core::config::ServerConfig;
use windlass_sim::core::filter::Filter;
use windlass_sim::core::gateway::{
    Due, IdempotencyKey, LockToken, Order, Reply, Request, RequestId, TaskSpec, TaskState,
};
use windlass_sim::core::ids::{LeaseId, OpId, Priority, QueueName, TaskId};
use windlass_sim::core::keyspace::{Key, Meaning, Place, Range, Role};
use windlass_sim::core::record::{EntryRecord, Json, Record, Version};
use windlass_sim::core::retry::RetryPolicy;
use windlass_sim::core::server::{Effect, Input, Server};
use windlass_sim::core::store::{Answer, StoreCall, Write};
use windlass_sim::core::time::{Millis, Mono, Wall};

use crate::choices::Choices;
use crate::rig::{Rig, Subject};
use crate::samples;

/// As the API cuts its pages.
const LIST_MAX: usize = 100;

impl Subject for Server {
    fn elapsed() -> Input {
        Input::Elapsed
    }

    fn store(op: OpId, answer: Answer) -> Input {
        Input::Store { op, answer }
    }

    fn asks(input: &Input) -> bool {
        matches!(input, Input::Request { .. })
    }

    fn call(effect: &Effect) -> Option<&StoreCall> {
        if let Effect::Store(call) = effect {
            Some(call)
        } else {
            None
        }
    }
}

/// What clients asked and got.
#[derive(Default)]
struct Clients {
    /// Who waits for a reply, and until when at most.
    waiting: BTreeMap<RequestId, Mono>,
    tokens: Vec<LockToken>,
    asked: u64,
    has_exited: bool,
}

/// Lets things happen until the bytes run out.
pub fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut rig = Rig::new(|now| Server::new(config(), 7, now));
    if !choices.one_in(4) {
        rig.run_until(Server::is_ready);
    }
    let mut clients = Clients::default();
    rig.meet_all(&mut choices, |rig, c| {
        clients.look(rig);
        happen(rig, c, &mut clients);
    });
    clients.look(&mut rig);
    clients.wait(&mut rig);
    rig.replay(|now| Server::new(config(), 7, now));
}

fn config() -> ServerConfig {
    let mut config = ServerConfig::new(samples::node(0), "test".into());
    config.ttl = Duration::from_secs(6);
    config.gateway_lanes = 2;
    config.scheduler_lanes = 2;
    config.retention = Millis::from_secs(5);
    config
}

impl Clients {
    /// Takes note of what the process wanted.
    fn look(&mut self, rig: &mut Rig<Server>) {
        for effect in rig.wanted.drain(..) {
            match effect {
                Effect::Reply { id, reply } => {
                    let waited = self.waiting.remove(&id);
                    assert!(waited.is_some(), "{reply:?} for nobody who waits");
                    if let Reply::Lock { token, .. } = reply {
                        self.tokens.push(token);
                    } else if let Reply::Tasks { tasks, .. } = reply {
                        assert!(tasks.len() <= LIST_MAX, "{} tasks on a page", tasks.len());
                    }
                }
                Effect::Exit(_) => {
                    assert!(!self.has_exited, "a process ends once");
                    self.has_exited = true;
                }
                Effect::Store(_) => {}
            }
        }
        assert!(
            !self.has_exited || self.waiting.is_empty(),
            "nobody waits for a process that has ended"
        );
    }

    /// Nothing comes from the store any more: whoever waits is told so when the time for it is over.
    fn wait(&mut self, rig: &mut Rig<Server>) {
        let Some(end) = self.waiting.values().max().copied() else {
            return;
        };
        // A process that was paused sees only now that a wait is over, and looks once more at what was waited for.
        for span in [end.since(rig.now.mono), config().request_max] {
            let end = rig.now.mono.after(span);
            rig.wake(span, 2_000);
            rig.now.mono = end;
            rig.give(Input::Elapsed);
        }
        self.look(rig);
        assert!(
            self.waiting.is_empty(),
            "{:?} were never answered",
            self.waiting
        );
    }

    fn ask(&mut self, rig: &mut Rig<Server>, request: Request) {
        self.asked += 1;
        let id = RequestId(self.asked);
        let patience = request.patience(config().request_max);
        self.waiting.insert(id, rig.now.mono.after(patience));
        rig.give(Input::Request { id, request });
        self.look(rig);
    }
}

fn happen(rig: &mut Rig<Server>, c: &mut Choices<'_>, clients: &mut Clients) {
    match c.below(16) {
        0..=7 => {
            let request = request(rig, c, &clients.tokens);
            clients.ask(rig, request);
        }
        8 => {
            let all: Vec<RequestId> = clients.waiting.keys().copied().collect();
            if let Some(id) = c.pick(&all).copied() {
                rig.give(Input::Forget { id });
                // What was due before comes before.
                clients.look(rig);
                clients.waiting.remove(&id);
            }
        }
        9 | 10 => worker_comes(rig, c),
        11 => {
            let worker = samples::node(1 + c.below(2));
            let keys = [Key::node(Role::Worker, &worker), Key::offer(&worker)];
            rig.write(keys.map(|key| Write::Delete { key }).to_vec());
        }
        12 | 13 => claim_ends(rig, c),
        14 => rig.give(Input::Load {
            cpu_permille: c.wide(),
            memory_bytes: 1,
        }),
        _ if c.one_in(4) => rig.give(Input::Drain),
        _ => {}
    }
}

fn worker_comes(rig: &mut Rig<Server>, c: &mut Choices<'_>) {
    let worker = samples::node(1 + c.below(2));
    for key in [Key::node(Role::Worker, &worker), Key::offer(&worker)] {
        let value = samples::value(&Meaning::of(&key), c);
        rig.put(key, value);
    }
}

/// A worker ends, or hands back, one of its claims.
fn claim_ends(rig: &mut Rig<Server>, c: &mut Choices<'_>) {
    let mut claims: Vec<(Key, Place)> = Vec::new();
    for item in rig.items(&Range::cluster()) {
        if let Meaning::Claim(_, place) = Meaning::of(&item.key) {
            claims.push((item.key, place));
        }
    }
    let Some((key, place)) = c.pick(&claims).cloned() else {
        return;
    };
    let mut writes = vec![Write::Delete { key }];
    if c.one_in(2) {
        let carry = samples::task_record(c).first_carry();
        let entry = EntryRecord { v: Version, carry };
        writes.push(Write::Put {
            key: Key::entry(&samples::queue(0), place),
            value: entry.encode(),
            lease: None,
        });
    }
    rig.write(writes);
}

/// Every task that the store holds, and one that it may not.
fn known_tasks(rig: &Rig<Server>) -> Vec<TaskId> {
    let mut ids = vec![samples::task(1)];
    for item in rig.items(&Range::tasks()) {
        if let Meaning::Task(id) = Meaning::of(&item.key) {
            ids.push(id);
        }
    }
    ids
}

fn request(rig: &Rig<Server>, c: &mut Choices<'_>, tokens: &[LockToken]) -> Request {
    let ids = known_tasks(rig);
    let task = *c.pick(&ids).expect("one at least");
    let span = Duration::from_millis(u64::from(c.byte()) * 50);
    let queue = samples::queue(c.below(2));
    let lock = "l".parse().expect("a legal name");
    let strange = LockToken {
        waiter: samples::node(1),
        lease: LeaseId(2),
    };
    let token = c.pick(tokens).cloned().unwrap_or(strange);
    match c.below(18) {
        0..=3 => Request::Submit((0..=c.below(5)).map(|_| spec(c)).collect()),
        4 => Request::Get {
            task,
            wait: c.one_in(2).then_some(span),
        },
        5 => search(c, &queue, task),
        6 => Request::Why(task),
        7 => Request::Cancel(task),
        8 => Request::Rerun(task),
        9 => Request::Stats,
        10 => Request::Queues,
        11 => Request::Nodes,
        12 => {
            let all = [Strategy::Random, Strategy::RoundRobin, Strategy::Weighted];
            Request::ConfigureQueue {
                queue,
                strategy: all.get(c.below(4)).copied(),
                paused: c.one_in(2).then(|| c.one_in(2)),
            }
        }
        13 => Request::Drain(samples::node(c.below(3))),
        14 | 15 => Request::LockTake {
            lock,
            owner: None,
            ttl: span,
            wait: span,
        },
        16 => Request::LockRenew { lock, token },
        _ => Request::LockRelease { lock, token },
    }
}

/// A listing, a search or a count.
fn search(c: &mut Choices<'_>, queue: &QueueName, task: TaskId) -> Request {
    let mut filter = match TaskState::ALL.get(c.below(8)) {
        Some(state) => Filter::of_states(&[*state]),
        None => Filter::default(),
    };
    if c.one_in(3) {
        filter = filter.of_queue(queue);
    }
    if c.one_in(3) {
        filter = filter.of_type(&samples::kind(0));
    }
    let order = [Order::Oldest, Order::Newest][c.below(2)];
    let limit = u32::from(c.byte());
    let after = c.one_in(3).then_some(task);
    match c.below(4) {
        0 | 1 => Request::List {
            filter,
            order,
            limit,
            after,
        },
        2 => Request::Find {
            filter,
            order,
            limit,
            after,
        },
        _ => Request::Count(filter),
    }
}

fn spec(c: &mut Choices<'_>) -> TaskSpec {
    let base = samples::task_record(c);
    TaskSpec {
        kind: base.kind,
        queue: base.queue,
        priority: Priority::new(c.byte() % 10).expect("a digit"),
        name: None,
        payload: Json::string("x"),
        metadata: BTreeMap::new(),
        retries_max: base.retries_max,
        retry: RetryPolicy::default(),
        timeout: base.timeout,
        due: match c.below(4) {
            0 | 1 => Due::Now,
            2 => Due::In(Millis::new(u64::from(c.byte()) * 100)),
            _ => Due::At(Wall::MAX),
        },
        key: c.one_in(4).then(|| IdempotencyKey {
            key_hash: "k".into(),
            body_hash: ["a", "b"][c.below(2)].into(),
        }),
    }
}
