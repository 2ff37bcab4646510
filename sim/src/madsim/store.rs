//! The store's process: serves the core's own model of a store to connections, and mistreats them as it is told. What the
//! model holds outlives the process; its connections do not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ::madsim::net::{Endpoint, Receiver, Sender};
use ::madsim::time::TimeHandle;
use tokio::sync::{Notify, mpsc};
use windlass_core::ids::{LeaseId, OpId, Revision};
use windlass_core::keyspace::Range;
use windlass_core::kv::{ClientId, Effect, Input, Kv, Limits, Log};
use windlass_core::machine::Machine;
use windlass_core::store::{Answer, Call, LeaseAnswer, ViewEvent};
use windlass_core::time::{Mono, Now, Wall};

use super::fault::Kind;
use super::scenario::NodeIx;
use super::wire::{Down, STORE_PORT, Up, node_of};
use super::world::{World, lock};

/// Who meddles from outside of all nodes.
const OUTSIDER: ClientId = ClientId(0);
/// What a connection's only watch is called.
const THE_WATCH: OpId = OpId(0);

/// The store, whether its process runs or not.
#[derive(Debug)]
pub(super) struct Store {
    state: Mutex<State>,
    /// The deadline of the leases may have changed.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    kv: Kv,
    clients: BTreeMap<ClientId, Client>,
    last_client: u64,
    /// The lease that each node was granted last.
    leases: BTreeMap<NodeIx, LeaseId>,
    lose: BTreeMap<NodeIx, u32>,
    delay: BTreeMap<NodeIx, (u32, Duration)>,
    muted: BTreeMap<NodeIx, bool>,
    /// Since when it is down.
    down_since: Option<Duration>,
    /// How long it was down so far: a lease does not end while nobody looks at it.
    down_for: Duration,
}

#[derive(Debug)]
struct Client {
    node: NodeIx,
    letters: mpsc::UnboundedSender<Letter>,
    /// News that a mute watch keeps to itself.
    held: Vec<Down>,
}

/// What a connection is to do.
#[derive(Debug)]
enum Letter {
    Send(Down),
    Later(Down, Duration),
    HangUp,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                kv: Kv::new(Limits::default()),
                clients: BTreeMap::new(),
                last_client: 0,
                leases: BTreeMap::new(),
                lose: BTreeMap::new(),
                delay: BTreeMap::new(),
                muted: BTreeMap::new(),
                down_since: None,
                down_for: Duration::ZERO,
            }),
            changed: Notify::new(),
        }
    }
}

/// The store's process, until it is killed.
pub(super) async fn run(world: Arc<World>) {
    tokio::spawn(end_leases(Arc::clone(&world)));
    let address = std::net::SocketAddr::from(([0, 0, 0, 0], STORE_PORT));
    let listening = Endpoint::bind(address)
        .await
        .expect("the store's port is free when its process starts");
    loop {
        if let Ok((sender, receiver, from)) = listening.accept1().await {
            let node = node_of(from.ip());
            tokio::spawn(serve(Arc::clone(&world), node, sender, receiver));
        }
    }
}

/// Ends leases in time.
async fn end_leases(world: Arc<World>) {
    loop {
        let wait = world.store.until_deadline();
        tokio::select! { biased;
            () = world.store.changed.notified() => {}
            () = pause(wait) => world.store.handle(&world, Input::Elapsed),
        }
    }
}

async fn pause(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// One connection, until either side ends it.
async fn serve(world: Arc<World>, node: NodeIx, sender: Sender, mut receiver: Receiver) {
    let (letters, mut inbox) = mpsc::unbounded_channel();
    let client = world.store.arrive(node, letters);
    let sender = Arc::new(sender);
    loop {
        tokio::select! { biased;
            letter = inbox.recv() => match letter {
                Some(Letter::Send(down)) => {
                    if sender.send(Box::new(down)).await.is_err() {
                        break;
                    }
                }
                Some(Letter::Later(down, by)) => {
                    let sender = Arc::clone(&sender);
                    tokio::spawn(async move {
                        tokio::time::sleep(by).await;
                        // Who does not wait any more has hung up.
                        let _ = sender.send(Box::new(down)).await;
                    });
                }
                Some(Letter::HangUp) | None => break,
            },
            up = receiver.recv() => match up {
                Ok(up) => {
                    let up = up.downcast::<Up>().expect("nodes send nothing else");
                    world.store.on_message(&world, client, *up);
                }
                Err(_) => break,
            },
        }
    }
    world.store.leave(&world, client);
}

impl Store {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Looks at what is kept.
    pub(super) fn look<T>(&self, at: impl FnOnce(&Kv) -> T) -> T {
        at(&self.state().kv)
    }

    fn arrive(&self, node: NodeIx, letters: mpsc::UnboundedSender<Letter>) -> ClientId {
        let mut state = self.state();
        state.last_client += 1;
        let client = ClientId(state.last_client);
        let held = Vec::new();
        state.clients.insert(
            client,
            Client {
                node,
                letters,
                held,
            },
        );
        client
    }

    fn leave(&self, world: &World, client: ClientId) {
        if self.state().clients.remove(&client).is_some() {
            self.handle(world, Input::Leave { client });
        }
    }

    fn until_deadline(&self) -> Option<Duration> {
        let state = self.state();
        let (at, _) = state.kv.deadline()?;
        Some(at.since(state.mono()))
    }

    fn handle(&self, world: &World, input: Input) {
        self.state().handle(world, input);
        self.changed.notify_one();
    }

    fn on_message(&self, world: &World, client: ClientId, up: Up) {
        world.note(format_args!("store < {} {up:?}", client.0));
        match up {
            Up::Call { id, call } => self.on_call(world, client, id, call),
            Up::Watch { range, told } => self.state().on_watch(world, client, range, told),
            Up::Progress => {
                let call = Call::Progress { watch: THE_WATCH };
                let op = THE_WATCH;
                self.handle(world, Input::Call { client, op, call });
            }
        }
    }

    fn on_call(&self, world: &World, client: ClientId, op: OpId, call: Call) {
        let loses = self.state().loses_answer(client);
        if loses {
            world.count(Kind::LostAnswer);
            self.state().hang_up(client);
        }
        self.handle(world, Input::Call { client, op, call });
    }

    /// Breaks all connections of a node. Says whether there were any.
    pub(super) fn reset(&self, node: NodeIx) -> bool {
        let mut state = self.state();
        let theirs = state.of(node);
        for client in &theirs {
            state.hang_up(*client);
        }
        !theirs.is_empty()
    }

    /// Ends the lease that a node was granted last. Says whether it lived.
    pub(super) fn expire_early(&self, world: &World, node: NodeIx) -> bool {
        let lease = {
            let state = self.state();
            let lease = state.leases.get(&node).copied();
            lease.filter(|lease| state.kv.lease(*lease).is_some())
        };
        let Some(lease) = lease else {
            return false;
        };
        self.meddle(world, Call::Revoke { lease });
        true
    }

    /// Another member leads.
    pub(super) fn change_leader(&self, world: &World) {
        self.state().hang_up_all();
        self.handle(world, Input::LeaderChanged);
    }

    /// Forgets the history so far.
    pub(super) fn compact(&self, world: &World) {
        let at = self.look(Kv::revision);
        self.meddle(world, Call::Compact { at });
    }

    fn meddle(&self, world: &World, call: Call) {
        let (client, op) = (OUTSIDER, OpId(0));
        self.handle(world, Input::Call { client, op, call });
    }

    /// The next `count` calls of a node are applied, and their connection breaks.
    pub(super) fn lose_answers(&self, node: NodeIx, count: u32) {
        self.state().lose.insert(node, count);
    }

    /// The answers to the next `count` calls of a node leave that much later.
    pub(super) fn delay_answers(&self, node: NodeIx, count: u32, by: Duration) {
        self.state().delay.insert(node, (count, by));
    }

    /// The watches of a node tell nothing, or all that they have kept to themselves.
    pub(super) fn mute(&self, node: NodeIx, muted: bool) {
        let mut state = self.state();
        state.muted.insert(node, muted);
        if !muted {
            for client in state.of(node) {
                state.tell_held(client);
            }
        }
    }

    /// No answer will be lost or delayed any more.
    pub(super) fn behave(&self) {
        let mut state = self.state();
        state.lose.clear();
        state.delay.clear();
    }

    /// Its process has died.
    pub(super) fn go_down(&self) {
        let mut state = self.state();
        let now = TimeHandle::current().elapsed();
        state.down_since.get_or_insert(now);
    }

    /// Its process starts again: nobody is connected, and every lease lives its full time again.
    pub(super) fn come_up(&self, world: &World) {
        let gone: Vec<ClientId> = {
            let mut state = self.state();
            if let Some(since) = state.down_since.take() {
                state.down_for += TimeHandle::current().elapsed().saturating_sub(since);
            }
            std::mem::take(&mut state.clients).into_keys().collect()
        };
        for client in gone {
            self.handle(world, Input::Leave { client });
        }
        self.handle(world, Input::LeaderChanged);
    }
}

impl State {
    fn mono(&self) -> Mono {
        let now = self.down_since;
        let now = now.unwrap_or_else(|| TimeHandle::current().elapsed());
        Mono::ZERO.after(now.saturating_sub(self.down_for))
    }

    fn of(&self, node: NodeIx) -> Vec<ClientId> {
        let theirs = self.clients.iter().filter(|(_, it)| it.node == node);
        theirs.map(|(client, _)| *client).collect()
    }

    fn hang_up(&mut self, client: ClientId) {
        if let Some(client) = self.clients.get(&client) {
            // A connection that has ended needs no ending.
            let _ = client.letters.send(Letter::HangUp);
        }
    }

    fn hang_up_all(&mut self) {
        for client in self.clients.keys().copied().collect::<Vec<_>>() {
            self.hang_up(client);
        }
    }

    fn loses_answer(&mut self, client: ClientId) -> bool {
        let node = self.clients.get(&client).map(|it| it.node);
        let left = node.and_then(|node| self.lose.get_mut(&node));
        match left {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    fn note(world: &World, log: &Log) {
        world.note(format_args!("store : {log:?}"));
        if let Log::Ended { lease } = log {
            world.disturb(format_args!("the lease {} ends", lease.0));
        }
    }

    fn handle(&mut self, world: &World, input: Input) {
        let mut out = Vec::new();
        let mono = self.mono();
        let wall = Wall::default();
        self.kv.handle(Now { mono, wall }, input, &mut out);
        for effect in out {
            match effect {
                Effect::Applied(log) => Self::note(world, &log),
                Effect::Answer { client, op, answer } => self.route(world, client, op, answer),
            }
        }
    }

    /// Follows from a full read on, as the model does; or from `told` on, that revision included, as etcd is asked.
    fn on_watch(&mut self, world: &World, client: ClientId, range: Range, told: Option<Revision>) {
        let op = THE_WATCH;
        let call = Call::Watch(range.clone());
        let Some(told) = told else {
            return self.handle(world, Input::Call { client, op, call });
        };
        let after = Revision(told.0.saturating_sub(1));
        let Ok(changes) = self.kv.changes_since(&range, after) else {
            return self.send(world, client, Down::Compacted);
        };
        // The model's watches begin with a full read, which this one does not want.
        let mut read = Vec::new();
        let mono = self.mono();
        let wall = Wall::default();
        let input = Input::Call { client, op, call };
        self.kv.handle(Now { mono, wall }, input, &mut read);
        let at = self.kv.revision();
        for effect in read {
            match effect {
                Effect::Answer {
                    client: to,
                    op: THE_WATCH,
                    answer: Answer::View(ViewEvent::Reset { .. }),
                } if to == client => {}
                Effect::Answer { client, op, answer } => self.route(world, client, op, answer),
                Effect::Applied(log) => Self::note(world, &log),
            }
        }
        self.send(
            world,
            client,
            Down::News(ViewEvent::Delta { after, at, changes }),
        );
    }

    fn route(&mut self, world: &World, client: ClientId, op: OpId, answer: Answer) {
        if let Answer::View(event) = answer {
            return self.send(world, client, Down::News(event));
        }
        let node = self.clients.get(&client).map(|it| it.node);
        if let (Some(node), Answer::Lease(LeaseAnswer::Live { lease, .. })) = (node, &answer) {
            self.leases.insert(node, *lease);
        }
        self.send(world, client, Down::Answer { id: op, answer });
    }

    fn send(&mut self, world: &World, to: ClientId, down: Down) {
        let Some(client) = self.clients.get_mut(&to) else {
            return;
        };
        world.note(format_args!("store > {} {down:?}", to.0));
        let is_news = !matches!(down, Down::Answer { .. });
        if is_news && self.muted.get(&client.node) == Some(&true) {
            client.held.push(down);
            return;
        }
        let delay = self.delay.get_mut(&client.node);
        let letter = match delay {
            Some((left, by)) if *left > 0 && !is_news => {
                *left -= 1;
                world.count(Kind::LateAnswer);
                Letter::Later(down, *by)
            }
            Some(_) | None => Letter::Send(down),
        };
        // A connection that has just ended needs nothing.
        let _ = client.letters.send(letter);
    }

    fn tell_held(&mut self, client: ClientId) {
        if let Some(client) = self.clients.get_mut(&client) {
            for down in std::mem::take(&mut client.held) {
                // A connection that has just ended needs nothing.
                let _ = client.letters.send(Letter::Send(down));
            }
        }
    }
}
