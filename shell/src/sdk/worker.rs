//! A worker inside another program.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower::{Layer, Service};
use windlass_core::config::WorkerConfig;
use windlass_core::ids::{NodeId, QueueName};
use windlass_core::keyspace::{Range, Role};
use windlass_core::record::Json;

use super::running::{Plan, RunningWorker};
use super::store::Place;
use super::{NodeError, Task, TaskHandler, traces};
use crate::clock::SystemClock;
use crate::executor::{
    AnyLayer, ExecutorOptions, Handlers, RESULT_LEN_MAX, TaskRequest, TaskService, service,
};
use crate::host::{self, Stop, Store};
use crate::node;
use crate::store::etcd::EtcdConfig;

/// A worker: takes tasks from a cluster's queues, and runs handlers of this program for them.
///
/// [`Worker::builder`] says what it does, [`WorkerBuilder::run`] does it until the process is told to stop, and
/// [`WorkerBuilder::start`] beside whatever else the program does.
#[derive(Debug)]
#[non_exhaustive]
pub struct Worker;

impl Worker {
    /// A worker with everything as by default: 8 slots, all queues, and the stock types `noop`, `echo`, `sleep` and
    /// `fail`.
    pub fn builder() -> WorkerBuilder {
        WorkerBuilder {
            place: Place::Nowhere,
            prefix: None,
            id: None,
            queues: Vec::new(),
            slots: None,
            weight: None,
            labels: BTreeMap::new(),
            ttl: None,
            grace: None,
            result_max: None,
            handlers: Vec::new(),
            layers: Vec::new(),
            otlp: None,
            on_wedged: Arc::new(|| std::process::exit(1)),
        }
    }
}

/// What a worker will be. What it was told is checked when it starts.
#[must_use = "a worker does nothing before it is run or started"]
pub struct WorkerBuilder {
    place: Place,
    prefix: Option<String>,
    id: Option<String>,
    queues: Vec<String>,
    slots: Option<u32>,
    weight: Option<u32>,
    labels: BTreeMap<String, String>,
    ttl: Option<Duration>,
    grace: Option<Duration>,
    result_max: Option<usize>,
    handlers: Vec<(String, TaskService)>,
    layers: Vec<AnyLayer>,
    otlp: Option<String>,
    on_wedged: Arc<dyn Fn() + Send + Sync>,
}

impl WorkerBuilder {
    /// Works for the cluster whose store is this etcd: its members' URLs.
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

    /// Works for a cluster in this process, whose store is open: see [`RunningScheduler::store`](super::RunningScheduler::store).
    pub fn store(mut self, store: Store) -> Self {
        self.place = Place::Open(store);
        self
    }

    /// The worker's id. One that no other process has, unless given.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The queues to serve; all unless given.
    pub fn queues<Q: Into<String>>(mut self, queues: impl IntoIterator<Item = Q>) -> Self {
        self.queues.extend(queues.into_iter().map(Into::into));
        self
    }

    /// How many handlers run at the same time: 8 unless given.
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = Some(slots);
        self
    }

    /// The worker's share under the weighted strategy: 1 unless given.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// A label for people; may be repeated.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// How long the worker is believed alive without news of it: 10 s unless given.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Told to stop: how long what runs may take to finish before it is stopped and handed back. 25 s unless given, which
    /// is below the 30 s of Kubernetes.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// The longest result, in bytes of JSON: 256 KiB unless given, at most [`RESULT_LEN_MAX`].
    pub fn result_max(mut self, bytes: usize) -> Self {
        self.result_max = Some(bytes);
        self
    }

    /// Runs `handler` for the tasks of the type that its argument is the payload of. A payload that is none fails the
    /// task for good, with an error that names the type and the mismatch.
    pub fn handler<Args, H>(self, handler: H) -> Self
    where
        H: TaskHandler<Args>,
        H::Input: Task<Output = H::Output>,
    {
        self.handler_for(<H::Input as Task>::TYPE, handler)
    }

    /// Runs `handler` for tasks of the type `kind`, whatever its argument is: a `serde_json::Value` for example.
    pub fn handler_for<Args, H>(mut self, kind: impl Into<String>, handler: H) -> Self
    where
        H: TaskHandler<Args>,
    {
        let service = service(move |input, context| handler.handle(input, context));
        self.handlers.push((kind.into(), service));
        self
    }

    /// Puts `layer` around every handler of this worker, the stock types excepted. The first layer is the outermost, as
    /// with `tower::ServiceBuilder`. tower's own layers fit: an error of theirs is an attempt that failed, to be tried
    /// again.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<TaskService> + Send + Sync + 'static,
        L::Service: Service<TaskRequest, Response = Json> + Clone + Send + Sync + 'static,
        <L::Service as Service<TaskRequest>>::Error: Into<Box<dyn Error + Send + Sync>>,
        <L::Service as Service<TaskRequest>>::Future: Send + 'static,
    {
        self.layers.push(AnyLayer::new(layer));
        self
    }

    /// Exports a span of each attempt to the OpenTelemetry collector at this URL, by OTLP over gRPC, such as
    /// `http://127.0.0.1:4317`. The child of the submission's, and the parent of what the handler calls with
    /// [`Context::trace_parent`](crate::Context::trace_parent).
    pub fn otlp(mut self, url: impl Into<String>) -> Self {
        self.otlp = Some(url.into());
        self
    }

    /// What to do when the worker has lost its tasks to others, and a handler of them cannot be stopped because it blocks
    /// its thread. Ends the process, unless given: nothing else ends such a handler. Whoever does not want that must make
    /// sure by fences that it can do no harm.
    pub fn on_wedged(mut self, act: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_wedged = Arc::new(act);
        self
    }

    /// Runs the worker until the process gets SIGTERM or SIGINT; what runs then may finish within the grace. A second
    /// signal ends the process at once. Fails when the worker has ended by itself: a supervisor should start it anew.
    pub async fn run(self) -> Result<(), NodeError> {
        let stop = Stop::listen().map_err(NodeError::Signals)?;
        let mut worker = self.start().await?;
        tokio::select! { biased;
            ended = worker.wait() => ended,
            () = stop.asked() => {
                worker.stop();
                worker.wait().await
            }
        }
    }

    /// Starts the worker beside whatever else the program does.
    pub async fn start(mut self) -> Result<RunningWorker, NodeError> {
        let (place, prefix) = (std::mem::take(&mut self.place), self.prefix.take());
        // All mistakes of this program are told before the network is asked.
        let plan = self.plan()?;
        let clock = SystemClock::start();
        let store = place
            .open(prefix, Range::claims_of(&plan.config.id), &clock)
            .await?;
        Ok(plan.launch(store, clock))
    }

    /// Everything that the builder was told, checked.
    pub(crate) fn plan(self) -> Result<Plan, NodeError> {
        let id = match &self.id {
            Some(id) => NodeId::new(id).map_err(|error| NodeError::option("id", error))?,
            None => host::fresh_id(),
        };
        let mut config = WorkerConfig::new(id, Vec::new(), node::VERSION.into());
        config.queues = self
            .queues
            .iter()
            .map(|queue| {
                QueueName::new(queue)
                    .map_err(|error| NodeError::option("queues", format!("{queue:?}: {error}")))
            })
            .collect::<Result<_, _>>()?;
        config.slots = self.slots.unwrap_or(config.slots);
        config.weight = self.weight.unwrap_or(config.weight);
        config.ttl = self.ttl.unwrap_or(config.ttl);
        config.drain_grace = self.grace.unwrap_or(config.drain_grace);
        config.labels = self.labels;
        config.check()?;
        let mut options = ExecutorOptions::default();
        options.result_len_max = self.result_max.unwrap_or(options.result_len_max);
        if !(1..=RESULT_LEN_MAX).contains(&options.result_len_max) {
            let reason = format!("must be from 1 to {RESULT_LEN_MAX} bytes");
            return Err(NodeError::option("result_max", reason));
        }
        options.traces = traces(self.otlp.as_deref(), Role::Worker, &config.id)?;
        let mut handlers = Handlers::new();
        for (kind, service) in self.handlers {
            let layers = self.layers.iter().rev();
            let service = layers.fold(service, |inner, layer| layer.around(inner));
            handlers.add_service(&kind, service)?;
        }
        config.types = handlers.types().cloned().collect();
        Ok(Plan {
            config,
            handlers,
            options,
            on_wedged: self.on_wedged,
        })
    }
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<&str> = self
            .handlers
            .iter()
            .map(|(kind, _)| kind.as_str())
            .collect();
        f.debug_struct("WorkerBuilder")
            .field("place", &self.place)
            .field("queues", &self.queues)
            .field("slots", &self.slots)
            .field("types", &types)
            .finish_non_exhaustive()
    }
}
