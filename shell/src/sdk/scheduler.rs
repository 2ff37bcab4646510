//! A scheduler inside another program.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windlass_core::config::ServerConfig;
use windlass_core::ids::NodeId;
use windlass_core::keyspace::{Range, Role};
use windlass_core::time::Millis;

use super::store::Place;
use super::{NodeError, traces};
use crate::api::{self, Door, Front, Keys, Limits, Ready};
use crate::client::Client;
use crate::clock::{Clock, SystemClock};
use crate::host::{self, Store};
use crate::node::{self, SchedulerNode};
use crate::store::etcd::EtcdConfig;
use crate::trace::Traces;

/// How often it is looked whether a scheduler is ready.
const READY_LOOK: Duration = Duration::from_millis(5);

/// A scheduler: accepts tasks and places them on workers. With a store of its own it makes a whole cluster inside one
/// process, which needs no server and no network.
#[derive(Debug)]
#[non_exhaustive]
pub struct Scheduler;

impl Scheduler {
    /// A scheduler with everything as by default. It serves no HTTP unless told where to.
    pub fn builder() -> SchedulerBuilder {
        SchedulerBuilder::default()
    }
}

/// What a scheduler will be. What it was told is checked when it starts.
#[derive(Debug, Default)]
#[must_use = "a scheduler does nothing before it is started"]
pub struct SchedulerBuilder {
    place: Place,
    prefix: Option<String>,
    id: Option<String>,
    ttl: Option<Duration>,
    retention: Option<Duration>,
    listen: Option<SocketAddr>,
    tokens: Option<PathBuf>,
    otlp: Option<String>,
}

impl SchedulerBuilder {
    /// Keeps everything in this process, and forgets it when the scheduler ends.
    pub fn in_memory(mut self) -> Self {
        self.place = Place::Memory;
        self
    }

    /// Keeps everything in this directory, durably. One process at a time may use it.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.place = Place::Directory(path.into());
        self
    }

    /// Keeps everything in this etcd: its members' URLs.
    pub fn etcd<U: Into<String>>(self, urls: impl IntoIterator<Item = U>) -> Self {
        self.etcd_config(EtcdConfig::new(urls))
    }

    /// The same, where etcd wants certificates or a login.
    pub fn etcd_config(mut self, config: EtcdConfig) -> Self {
        self.place = Place::Etcd(config);
        self
    }

    /// What every key begins with, in an etcd that is shared with others.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// The scheduler's id. One that no other process has, unless given.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// How long the scheduler is believed alive without news of it: 10 s unless given.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How long completed and cancelled tasks are kept: a day unless given.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Serves the HTTP API here; nowhere unless given. Port 0 picks a free one. Without tokens only to this machine.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Whoever calls the HTTP API must show a token of this file, as `windlass token new` makes it.
    pub fn tokens(mut self, path: impl Into<PathBuf>) -> Self {
        self.tokens = Some(path.into());
        self
    }

    /// Exports a span of each submission to the OpenTelemetry collector at this URL, by OTLP over gRPC, such as
    /// `http://127.0.0.1:4317`.
    pub fn otlp(mut self, url: impl Into<String>) -> Self {
        self.otlp = Some(url.into());
        self
    }

    /// Starts the scheduler, and waits until it is ready.
    pub async fn start(self) -> Result<RunningScheduler, NodeError> {
        let id = match &self.id {
            Some(id) => NodeId::new(id).map_err(|error| NodeError::option("id", error))?,
            None => host::fresh_id(),
        };
        let mut config = ServerConfig::new(id, node::VERSION.into());
        config.ttl = self.ttl.unwrap_or(config.ttl);
        if let Some(retention) = self.retention {
            config.retention =
                Millis::new(u64::try_from(retention.as_millis()).unwrap_or(u64::MAX));
        }
        config.check()?;
        let traces = traces(self.otlp.as_deref(), Role::Scheduler, &config.id)?;
        let entrance = match self.listen {
            Some(address) => {
                let door = door(address, self.tokens)?;
                let listener = TcpListener::bind(address)
                    .await
                    .map_err(|error| NodeError::Listen(address, error))?;
                Some((listener, door))
            }
            None => None,
        };
        let clock = SystemClock::start();
        let store = self
            .place
            .open(self.prefix, Range::cluster(), &clock)
            .await?;
        let mut scheduler = launch(store, config, clock, entrance, traces);
        scheduler.ready().await?;
        Ok(scheduler)
    }
}

/// Who is let in at `address`.
fn door(address: SocketAddr, tokens: Option<PathBuf>) -> Result<Door, NodeError> {
    match tokens {
        Some(path) => Keys::watch(path)
            .map(Door::locked)
            .map_err(|error| NodeError::option("tokens", error)),
        None if address.ip().to_canonical().is_loopback() => Ok(Door::local()),
        None => Err(NodeError::option(
            "listen",
            format!("{address} can be reached from other machines: give it tokens()"),
        )),
    }
}

/// A scheduler on an open store.
pub(crate) fn launch(
    store: Store,
    config: ServerConfig,
    clock: impl Clock,
    entrance: Option<(TcpListener, Door)>,
    traces: Option<Traces>,
) -> RunningScheduler {
    let node = SchedulerNode::launch(
        |answers| store.client(answers),
        config,
        clock,
        host::entropy(),
    );
    let load = tokio::spawn(host::measure(node.load_reporter()));
    let node = node.with_measuring(load);
    let is_ready: Arc<dyn Fn() -> bool + Send + Sync> = Arc::new(node.readiness());
    let ready: Ready = {
        let is_ready = Arc::clone(&is_ready);
        Arc::new(move || match is_ready() {
            true => Ok(()),
            false => Err("the scheduler is not ready".to_owned()),
        })
    };
    let limits = Limits::default();
    let router = |door| {
        let (limits, ready) = (limits.clone(), Arc::clone(&ready));
        api::traced_router(
            node.gateway(),
            limits,
            ready,
            Front::new(door),
            traces.clone(),
        )
    };
    let address = entrance
        .as_ref()
        .and_then(|(listener, _)| listener.local_addr().ok());
    // Whoever is in the process may do everything anyway.
    let client = Client::local(router(Door::open()));
    let (close, closed) = oneshot::channel::<()>();
    let server = entrance.map(|(listener, door)| {
        tokio::spawn(api::serve(listener, router(door), limits.clone(), async {
            let _ = closed.await;
        }))
    });
    let stop = CancellationToken::new();
    let life = Life {
        node,
        store: store.clone(),
        close,
        server,
        traces: traces.clone(),
    };
    RunningScheduler {
        store,
        client,
        address,
        is_ready,
        life: Some(tokio::spawn(life.live(stop.clone()))),
        stop,
    }
}

struct Life {
    node: SchedulerNode,
    store: Store,
    close: oneshot::Sender<()>,
    server: Option<JoinHandle<()>>,
    traces: Option<Traces>,
}

impl Life {
    async fn live(mut self, stop: CancellationToken) -> Result<(), NodeError> {
        let node = &mut self.node;
        let life = async {
            let by_itself = tokio::select! { biased;
                exit = node.wait() => Some(exit),
                () = stop.cancelled() => None,
            };
            match by_itself {
                Some(exit) => exit,
                None => {
                    node.drain();
                    node.wait().await
                }
            }
        };
        let ended = tokio::select! { biased;
            exit = life => NodeError::of_exit(exit),
            why = self.store.gone() => Err(NodeError::StoreGone(why)),
        };
        let _ = self.close.send(());
        if let Some(server) = self.server {
            // Requests under way get their grace; one that died of a bug has been told of already.
            let _ = server.await;
        }
        if let Some(traces) = &self.traces {
            traces.close().await;
        }
        ended
    }
}

/// A scheduler at work. Dropping it ends it at once, as a crash would. To end well, [`stop`](Self::stop) it and
/// [`wait`](Self::wait), after the workers in the same process.
#[must_use = "a scheduler ends when this is dropped"]
pub struct RunningScheduler {
    store: Store,
    client: Client,
    address: Option<SocketAddr>,
    is_ready: Arc<dyn Fn() -> bool + Send + Sync>,
    stop: CancellationToken,
    life: Option<JoinHandle<Result<(), NodeError>>>,
}

impl fmt::Debug for RunningScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningScheduler")
            .field("address", &self.address)
            .field("ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

impl RunningScheduler {
    /// A client of this very scheduler, which talks to it without a network.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The store, for workers in this process: see [`WorkerBuilder::store`](super::WorkerBuilder::store).
    pub fn store(&self) -> Store {
        self.store.clone()
    }

    /// Where it serves the HTTP API, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Whether it can serve now.
    pub fn is_ready(&self) -> bool {
        (self.is_ready)()
    }

    /// Waits until it can serve; fails when it ends before.
    pub(crate) async fn ready(&mut self) -> Result<(), NodeError> {
        while !self.is_ready() {
            tokio::select! { biased;
                ended = self.wait() => return Err(ended.err().unwrap_or(NodeError::Dropped)),
                () = tokio::time::sleep(READY_LOOK) => {}
            }
        }
        Ok(())
    }

    /// Tells it to finish what is under way and leave. Returns at once.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for its end, told to or by itself. Nothing is lost when this is dropped and called again; once it has said
    /// how the scheduler ended, it says no more than that it has.
    pub async fn wait(&mut self) -> Result<(), NodeError> {
        let Some(life) = &mut self.life else {
            return Ok(());
        };
        let ended = life.await.unwrap_or(Err(NodeError::Dropped));
        self.life = None;
        ended
    }
}

impl Drop for RunningScheduler {
    fn drop(&mut self) {
        if let Some(life) = &self.life {
            life.abort();
        }
    }
}
