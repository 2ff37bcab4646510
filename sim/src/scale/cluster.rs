//! The deployment: nodes, a store, the ways between them, and clients that replace what has ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use windlass_core::config::{ServerConfig, WorkerConfig};
use windlass_core::gateway::{Reply, Request, RequestId, Submitted};
use windlass_core::ids::{NodeId, OpId};
use windlass_core::kv::{self, ClientId, Kv, Limits};
use windlass_core::machine::Machine;
use windlass_core::record::Json;
use windlass_core::rng::Rng;
use windlass_core::server::{self, Server};
use windlass_core::store::{Answer, Call, StoreCall};
use windlass_core::time::{Mono, Now, Wall};
use windlass_core::worker::{self, RunEvent, Worker};

use super::counts::{Counts, Traffic};
use super::node::{Effects, Given, Node, Wanted};
use super::tasks::Tasks;
use super::{Meter, Part, Size, WAY};
use crate::clock::EPOCH_MS;

/// Who fills the store before anybody else is there.
const FILLER: ClientId = ClientId(u64::MAX);

/// How many tasks a client submits at once.
const TOGETHER: u64 = 100;

/// How many tasks the filler accepts in one transaction: two writes each.
const FILLED: u64 = 60;

/// How much history the store keeps: little, for nobody resumes a watch.
const HISTORY: usize = 1_000;

/// How long it takes until all workers have joined: long enough for their reports to come one after the other, as those of
/// workers do that know nothing of each other.
const JOINING: Duration = Duration::from_millis(1_667);

type NodeIx = usize;

/// A deployment without faults.
#[derive(Debug)]
pub struct Cluster<M> {
    size: Size,
    meter: M,
    now: Mono,
    kv: Kv,
    nodes: Vec<Node>,
    wakes: Vec<Option<Mono>>,
    by_wake: BTreeSet<(Mono, NodeIx)>,
    /// All ways take the same time, so what is sent first arrives first.
    calls: VecDeque<(Mono, NodeIx, StoreCall)>,
    answers: VecDeque<(Mono, NodeIx, OpId, Answer)>,
    running: BTreeMap<(Mono, u64), (NodeIx, OpId)>,
    /// Handlers do not end while nothing is to happen.
    is_busy: bool,
    tasks: Tasks,
    rng: Rng,
    counts: Counts,
    /// Tasks that ended and were not replaced yet.
    owed: u64,
    requests: u64,
    effects: Effects,
    said: Vec<kv::Effect>,
}

impl<M: Meter> Cluster<M> {
    /// A store in which everything waits, and nobody else: besides those that are to stay, the tasks that will fill the
    /// workers' slots.
    pub fn new(size: Size, meter: M) -> Self {
        let limits = Limits {
            history_max: HISTORY,
            ..Limits::default()
        };
        let mut cluster = Self {
            meter,
            now: Mono::from_nanos(1),
            kv: Kv::new(limits),
            nodes: Vec::new(),
            wakes: Vec::new(),
            by_wake: BTreeSet::new(),
            calls: VecDeque::new(),
            answers: VecDeque::new(),
            running: BTreeMap::new(),
            is_busy: false,
            tasks: Tasks::new(&size),
            rng: Rng::new(2),
            counts: Counts::default(),
            owed: 0,
            requests: 0,
            effects: Effects::default(),
            said: Vec::new(),
            size,
        };
        cluster.fill();
        cluster
    }

    fn fill(&mut self) {
        let mut missing = self.size.waiting + self.size.slots();
        while missing > 0 {
            let count = missing.min(FILLED);
            missing -= count;
            let now = self.clock();
            let call = Call::Commit(self.tasks.accept(count, now.wall));
            let (client, op) = (FILLER, OpId(0));
            let input = kv::Input::Call { client, op, call };
            self.kv.handle(now, input, &mut self.said);
            self.said.clear();
            self.now = self.now.after(Duration::from_millis(1));
        }
    }

    /// How large it is to be.
    pub fn size(&self) -> &Size {
        &self.size
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Who measures.
    pub fn meter(&mut self) -> &mut M {
        &mut self.meter
    }

    fn clock(&self) -> Now {
        let millis = u64::try_from(self.now.since(Mono::ZERO).as_millis()).unwrap_or(u64::MAX);
        Now {
            mono: self.now,
            wall: Wall::from_millis(EPOCH_MS + millis),
        }
    }

    /// Starts one more scheduler process, and waits until all that were started serve.
    pub fn start_scheduler(&mut self) {
        let number = self.nodes.len();
        let id: NodeId = format!("scheduler-{number:03}")
            .parse()
            .expect("a legal name");
        let config = ServerConfig::new(id, "scale".into());
        let seed = self.rng.draw();
        let now = self.clock();
        self.add(Node::Server(Box::new(Server::new(config, seed, now))));
        self.run_until_ready();
    }

    /// Starts the workers, and waits until they have filled their slots.
    pub fn start_workers(&mut self) {
        for number in 0..self.size.workers {
            let id: NodeId = format!("worker-{number:05}").parse().expect("a legal name");
            let kind = self.tasks.kind();
            let mut config = WorkerConfig::new(id, vec![kind], "scale".into());
            let worker = usize::try_from(number).expect("a small number");
            config.queues = self.tasks.served_by(worker, &self.size);
            let seed = self.rng.draw();
            let now = self.clock();
            self.add(Node::Worker(Box::new(Worker::new(config, seed, now))));
            self.run_for(JOINING / u32::try_from(self.size.workers).unwrap_or(u32::MAX));
        }
        self.run_until_ready();
        while (self.running.len() as u64) < self.size.slots() {
            self.step();
        }
    }

    fn add(&mut self, node: Node) {
        let ix = self.nodes.len();
        let wake = node.deadline();
        self.nodes.push(node);
        self.wakes.push(None);
        self.wake_at(ix, wake);
    }

    /// From now on handlers end, and what ends is replaced.
    pub fn begin_work(&mut self) {
        self.is_busy = true;
        let running = std::mem::take(&mut self.running);
        for handler in running.into_values() {
            // As if they had begun one after the other.
            let whole = self.size.handling();
            self.run_handler(Duration::ZERO, whole, handler);
        }
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now.after(span);
        while self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    fn run_until_ready(&mut self) {
        while !self.nodes.iter().rev().all(Node::is_ready) {
            self.step();
        }
    }

    /// Ends a scheduler process without a word, and forgets it.
    pub fn drop_scheduler(&mut self, number: usize) {
        self.wake_at(number, None);
        self.nodes[number] = Node::Gone;
    }

    fn next_at(&self) -> Option<Mono> {
        let running = self.running.first_key_value().map(|((at, _), _)| *at);
        [
            self.calls.front().map(|it| it.0),
            self.answers.front().map(|it| it.0),
            running.filter(|_| self.is_busy),
            self.by_wake.first().map(|it| it.0),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does the next thing that is to happen. What comes from outside comes before wake-ups of the same moment.
    fn step(&mut self) {
        let at = self.next_at().expect("nodes always have something to do");
        self.now = self.now.max(at);
        if self.calls.front().is_some_and(|it| it.0 <= at) {
            let (_, from, call) = self.calls.pop_front().expect("looked at above");
            self.ask(from, call);
        } else if self.answers.front().is_some_and(|it| it.0 <= at) {
            let (_, to, op, answer) = self.answers.pop_front().expect("looked at above");
            self.traffic(to).hears(&answer);
            self.give(to, Given::Store(op, answer));
        } else if let Some((first, handler)) = self.running.first_key_value()
            && self.is_busy
            && first.0 <= at
        {
            let (first, (node, run)) = (*first, *handler);
            self.running.remove(&first);
            self.counts.ended += 1;
            self.give(node, Given::Ended(run, RunEvent::Completed(Json::null())));
            self.replace();
        } else {
            let (_, node) = *self.by_wake.first().expect("nothing else is due");
            self.give(node, Given::Time);
        }
    }

    fn ask(&mut self, from: NodeIx, StoreCall { op, call }: StoreCall) {
        let now = self.clock();
        let client = ClientId(from as u64);
        let input = kv::Input::Call { client, op, call };
        let (kv, said) = (&mut self.kv, &mut self.said);
        self.meter
            .during(Part::Store, || kv.handle(now, input, said));
        let at = self.now.after(WAY);
        for effect in self.said.drain(..) {
            if let kv::Effect::Answer { client, op, answer } = effect {
                let to = usize::try_from(client.0).expect("a node's number");
                self.answers.push_back((at, to, op, answer));
            }
        }
    }

    fn give(&mut self, to: NodeIx, given: Given) {
        let now = self.clock();
        let (node, effects) = (&mut self.nodes[to], &mut self.effects);
        let wake = self.meter.during(node.part(), || {
            node.give(now, given, effects);
            node.deadline()
        });
        self.traffic(to).inputs += 1;
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain() {
            self.traffic(to).effects += 1;
            self.perform(to, effect);
        }
        self.effects = effects;
        self.wake_at(to, wake);
    }

    fn perform(&mut self, node: NodeIx, effect: Wanted) {
        match effect {
            Wanted::Server(server::Effect::Store(call))
            | Wanted::Worker(worker::Effect::Store(call)) => {
                self.traffic(node).asks(&call.call);
                self.calls.push_back((self.now.after(WAY), node, call));
            }
            Wanted::Server(server::Effect::Reply { reply, .. }) => {
                let Reply::Submitted(fates) = reply else {
                    unreachable!("clients only submit")
                };
                let is_accepted = |it: &&Submitted| matches!(it, Submitted::Accepted { .. });
                self.counts.accepted += fates.iter().filter(is_accepted).count() as u64;
            }
            Wanted::Worker(worker::Effect::Start(start)) => {
                self.counts.started += 1;
                let mean = self.size.handling();
                self.run_handler(mean / 2, mean, (node, start.run));
            }
            Wanted::Worker(worker::Effect::Fence { .. }) => {}
            Wanted::Worker(
                worker::Effect::Stop { .. }
                | worker::Effect::Locked { .. }
                | worker::Effect::LockRefused { .. }
                | worker::Effect::Exit(_),
            )
            | Wanted::Server(server::Effect::Exit(_)) => {
                panic!("nothing goes wrong here: {effect:?}")
            }
        }
    }

    fn run_handler(&mut self, least: Duration, spread: Duration, handler: (NodeIx, OpId)) {
        let nanos = u64::try_from(spread.as_nanos()).expect("seconds fit");
        let span = least + Duration::from_nanos(self.rng.below(nanos));
        let key = (self.now.after(span), self.rng.draw());
        self.running.insert(key, handler);
    }

    /// A client submits as many tasks as have ended, to one gateway after the other.
    fn replace(&mut self) {
        self.owed += 1;
        if self.owed < TOGETHER {
            return;
        }
        self.owed = 0;
        self.requests += 1;
        let gateway = usize::try_from(self.requests % self.size.schedulers).expect("small");
        let specs = (0..TOGETHER).map(|_| self.tasks.spec()).collect();
        let input = server::Input::Request {
            id: RequestId(self.requests),
            request: Request::Submit(specs),
        };
        self.give(gateway, Given::Request(input));
    }

    fn traffic(&mut self, node: NodeIx) -> &mut Traffic {
        match self.nodes[node].part() {
            Part::Scheduler => &mut self.counts.schedulers,
            Part::Worker | Part::Store => &mut self.counts.workers,
        }
    }

    fn wake_at(&mut self, node: NodeIx, at: Option<Mono>) {
        let before = std::mem::replace(&mut self.wakes[node], at);
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_wake.remove(&(before, node));
        }
        if let Some(at) = at {
            self.by_wake.insert((at, node));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::Untimed;

    const SMALL: Size = Size {
        waiting: 300,
        workers: 5,
        queues: 1,
        schedulers: 1,
        dedicated: false,
    };

    /// What happens in a tenth of a second of a busy deployment.
    fn busy(size: Size) -> Counts {
        let mut cluster = Cluster::new(size, Untimed);
        for _ in 0..size.schedulers {
            cluster.start_scheduler();
        }
        cluster.start_workers();
        assert_eq!(cluster.counts().started, size.slots());
        cluster.run_for(Duration::from_millis(100));
        assert_eq!(cluster.counts().ended, 0, "nothing is to happen yet");
        cluster.begin_work();
        let before = cluster.counts();
        cluster.run_for(Duration::from_millis(100));
        cluster.counts() - before
    }

    #[test]
    fn what_ends_is_followed_by_as_much_and_nothing_is_done_twice() {
        let counts = busy(SMALL);
        assert!(counts.ended >= 500, "{counts:?}");
        assert!(counts.started.abs_diff(counts.ended) <= SMALL.slots());
        let behind = counts.ended - counts.accepted;
        assert!(behind < TOGETHER * 4, "{behind} are not accepted yet");
        assert_eq!(counts.schedulers.conflicts + counts.workers.conflicts, 0);
    }

    #[test]
    fn what_a_task_costs_the_store_does_not_depend_on_how_many_wait_in_how_many_queues() {
        let few = busy(SMALL);
        for dedicated in [false, true] {
            let many = busy(Size {
                waiting: 3_000,
                queues: 5,
                dedicated,
                ..SMALL
            });
            assert_eq!(many.ended, few.ended);
            assert!(many.schedulers.events.abs_diff(few.schedulers.events) < few.ended / 20);
            assert!(many.workers.txns.abs_diff(few.workers.txns) < few.ended / 20);
        }
    }

    #[test]
    fn every_scheduler_is_told_everything_and_each_task_is_given_out_by_one() {
        let one = busy(SMALL);
        let three = busy(Size {
            schedulers: 3,
            ..SMALL
        });
        let told = |counts: &Counts| counts.schedulers.events / counts.ended;
        assert!(told(&three) > told(&one) * 2);
        let in_vain = three.schedulers.conflicts + three.workers.conflicts;
        assert!(in_vain < three.ended / 20, "{three:?}");
    }
}
