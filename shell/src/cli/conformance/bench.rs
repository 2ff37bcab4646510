//! The bench that a worker is judged on: a scheduler on an embedded store, a way to it that can be cut, and the worker's
//! process.

use std::future;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;
use windlass_core::config::ServerConfig;

use crate::api::{self, Door, Front, Limits};
use crate::clock::SystemClock;
use crate::host::{self, Store};
use crate::node::{self, SchedulerNode};
use crate::store::embedded::EmbeddedStore;

/// How long the bench waits for what must come, where the protocol names no time.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

/// How many addresses the gateway has: to the worker they are as many gateways.
pub(super) const GATEWAYS: usize = 2;
/// None of them.
const NONE: usize = usize::MAX;

/// The way from the worker to the gateways.
struct Way {
    router: Mutex<Option<Router>>,
    /// Nothing passes.
    cut: AtomicBool,
    /// The gateway that takes calls and says nothing.
    silent: AtomicUsize,
    /// So many answers more of each kind of call are lost.
    lose_done: AtomicU32,
    lose_fetch: AtomicU32,
}

impl Way {
    fn new() -> Self {
        Self {
            router: Mutex::new(None),
            cut: AtomicBool::new(false),
            silent: AtomicUsize::new(NONE),
            lose_done: AtomicU32::new(0),
            lose_fetch: AtomicU32::new(0),
        }
    }

    fn router(&self) -> Option<Router> {
        // Nothing panics while the lock is held.
        self.router
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, router: Option<Router>) {
        *self.router.lock().unwrap_or_else(PoisonError::into_inner) = router;
    }

    fn loses(&self, path: &str) -> bool {
        let left = if path.ends_with("/done") {
            &self.lose_done
        } else if path.ends_with("/fetch") {
            &self.lose_fetch
        } else {
            return self.cut.load(Ordering::Relaxed);
        };
        let one_less = |left: u32| left.checked_sub(1);
        let lost = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        lost.is_ok() || self.cut.load(Ordering::Relaxed)
    }
}

/// Takes a call to the gateway, and its answer back, unless one of them is lost.
async fn pass(State((way, gateway)): State<(Arc<Way>, usize)>, request: Request) -> Response {
    if way.silent.load(Ordering::Relaxed) == gateway {
        return future::pending().await;
    }
    let router = way.router().filter(|_| !way.cut.load(Ordering::Relaxed));
    let Some(router) = router else {
        return broken();
    };
    let path = request.uri().path().to_owned();
    let Ok(response) = router.oneshot(request).await;
    if way.loses(&path) { broken() } else { response }
}

/// An answer that breaks off: its connection is closed before there is anything of use.
fn broken() -> Response {
    let cut = io::Error::other("the way to the gateway is cut");
    Response::new(Body::from_stream(stream::iter([Err::<Bytes, _>(cut)])))
}

/// Servers and a worker.
pub(super) struct Bench {
    store: Store,
    scheduler: SchedulerNode,
    clock: SystemClock,
    way: Arc<Way>,
    serving: Vec<tokio::task::JoinHandle<()>>,
    servers: String,
    directory: PathBuf,
    command: Vec<String>,
    pub(super) ttl: Duration,
    worker: Option<Child>,
}

impl Bench {
    /// Starts everything, and waits until the worker takes tasks.
    pub(super) async fn start(command: &[String], ttl: Duration) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (pid, nth) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(format!("windlass-conformance-{pid}-{nth}"));
        std::fs::create_dir_all(&directory).context("cannot make a directory for the store")?;
        let clock = SystemClock::start();
        let embedded = EmbeddedStore::open(&directory, clock.clone()).context("the store")?;
        let store = Store::Embedded(Arc::new(embedded));
        let way = Arc::new(Way::new());
        let (mut serving, mut servers) = (Vec::new(), Vec::new());
        for gateway in 0..GATEWAYS {
            let (url, served) = serve(&way, gateway).await?;
            servers.push(url);
            serving.push(served);
        }
        let scheduler = scheduler(&store, &clock);
        let mut bench = Self {
            store,
            scheduler,
            clock,
            way,
            serving,
            servers: servers.join(","),
            directory,
            command: command.to_vec(),
            ttl,
            worker: None,
        };
        bench.open().await?;
        bench.start_worker().await?;
        Ok(bench)
    }

    /// Lets calls reach the scheduler once it serves.
    async fn open(&mut self) -> anyhow::Result<()> {
        let is_ready = self.scheduler.readiness();
        let begun = Instant::now();
        while !is_ready() {
            ensure!(
                begun.elapsed() < PATIENCE,
                "the scheduler does not get ready"
            );
            sleep(LOOK).await;
        }
        let router = api::router(
            self.scheduler.gateway(),
            Limits::default(),
            Arc::new(|| Ok(())),
            Front::new(Door::open()),
        );
        self.way.set(Some(router));
        Ok(())
    }

    /// The scheduler leaves, and another begins on the same store.
    pub(super) async fn restart_gateway(&mut self) -> anyhow::Result<()> {
        self.way.set(None);
        self.scheduler.drain();
        self.scheduler.wait().await;
        self.scheduler = scheduler(&self.store, &self.clock);
        self.open().await
    }

    /// From now on nothing passes between worker and gateway, or all does.
    pub(super) fn cut(&self, cut: bool) {
        self.way.cut.store(cut, Ordering::Relaxed);
    }

    /// From now on this gateway alone takes calls and says nothing; none does if there is no such.
    pub(super) fn silence(&self, gateway: Option<usize>) {
        let silent = gateway.unwrap_or(NONE);
        self.way.silent.store(silent, Ordering::Relaxed);
    }

    /// The answers to the next calls of each kind are lost.
    pub(super) fn lose_answers(&self, done: u32, fetch: u32) {
        self.way.lose_done.store(done, Ordering::Relaxed);
        self.way.lose_fetch.store(fetch, Ordering::Relaxed);
    }

    async fn start_worker(&mut self) -> anyhow::Result<()> {
        let (program, words) = self.command.split_first().context("a command has words")?;
        let child = Command::new(program)
            .args(words)
            .env("WINDLASS_SERVER", &self.servers)
            .env("WINDLASS_TTL", format!("{}ms", self.ttl.as_millis()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {program}"))?;
        self.worker = Some(child);
        self.until("the worker takes tasks", PATIENCE, async |bench| {
            let nodes = bench.get("nodes").await?;
            let slots = nodes["nodes"].as_array().into_iter().flatten();
            Ok(slots.filter_map(|node| node["slots"].as_u64()).sum::<u64>() > 0)
        })
        .await
    }

    /// Tells the worker to end as a service manager does. Says how it ended.
    pub(super) async fn terminate(&mut self, most: Duration) -> anyhow::Result<bool> {
        let child = self.worker.as_mut().context("the worker runs")?;
        let pid = pid_of(child).context("the worker has ended before")?;
        kill_process(pid, Signal::TERM)?;
        match timeout(most, child.wait()).await {
            Ok(status) => Ok(status?.success()),
            Err(_) => bail!("the worker has not ended {most:?} after SIGTERM"),
        }
    }

    /// Ends everything, the scheduler as it should.
    pub(super) async fn end(mut self) {
        if let Some(worker) = self.kill_worker() {
            // Whether it could be waited for changes nothing.
            let _ = worker.wait().await;
        }
        self.scheduler.drain();
        self.scheduler.wait().await;
    }

    /// Kills the worker with all that it started.
    fn kill_worker(&mut self) -> Option<&mut Child> {
        let worker = self.worker.as_mut()?;
        if let Some(pid) = pid_of(worker) {
            // It may have ended in this very moment.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        Some(worker)
    }

    /// Submits a task, and says its id.
    pub(super) async fn submit(&self, task: Value) -> anyhow::Result<String> {
        let accepted = self.ask(Method::POST, "tasks", Some(task)).await?;
        let id = accepted["id"].as_str().context("a task has an id")?;
        Ok(id.to_owned())
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, None).await
    }

    /// Asks the gateway itself, which no cut concerns.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let router = self.way.router().context("a gateway serves")?;
        let text = body.map(|body| body.to_string());
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(text.map_or_else(Body::empty, Body::from))?;
        let Ok(response) = router.oneshot(request).await;
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await?;
        let value: Value = serde_json::from_slice(&bytes)?;
        let fine = status == StatusCode::OK || status == StatusCode::CREATED;
        ensure!(fine, "{path}: {status} {value}");
        Ok(value)
    }

    /// Waits until a task is in this state, and returns it.
    pub(super) async fn await_state(
        &self,
        id: &str,
        state: &str,
        most: Duration,
    ) -> anyhow::Result<Value> {
        let begun = Instant::now();
        loop {
            let task = self.get(&format!("tasks/{id}")).await?;
            if task["status"] == state {
                return Ok(task);
            }
            let ended = ["completed", "failed", "cancelled"]
                .iter()
                .any(|it| task["status"] == *it);
            let fine = !ended && begun.elapsed() < most;
            ensure!(
                fine,
                "a task is not {state} after {:.1} s, but: {}",
                begun.elapsed().as_secs_f64(),
                brief(&task)
            );
            sleep(LOOK).await;
        }
    }

    /// Waits until something holds.
    pub(super) async fn until(
        &self,
        what: &str,
        most: Duration,
        mut holds: impl AsyncFnMut(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !holds(self).await? {
            ensure!(begun.elapsed() < most, "not within {most:?}: {what}");
            sleep(LOOK).await;
        }
        Ok(())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.kill_worker();
        self.serving.iter().for_each(|it| it.abort());
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::warn!(%error, "cannot remove the bench's store");
        }
    }
}

/// Opens one address of the gateway. Says which, and what serves there.
async fn serve(
    way: &Arc<Way>,
    gateway: usize,
) -> anyhow::Result<(String, tokio::task::JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let state = (Arc::clone(way), gateway);
    let app = Router::new().fallback(pass).with_state(state);
    let serving = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::warn!(%error, "the way to the gateway is closed");
        }
    });
    Ok((url, serving))
}

fn scheduler(store: &Store, clock: &SystemClock) -> SchedulerNode {
    let config = ServerConfig::new(host::fresh_id(), node::VERSION.into());
    SchedulerNode::start(store, config, clock.clone())
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()?).ok()?)
}

/// What matters of a task, in a line.
pub(super) fn brief(task: &Value) -> Value {
    let fields = ["status", "retry_count", "losses", "result", "error"];
    let shown = fields.map(|name| (name.to_owned(), task[name].clone()));
    json!(shown.into_iter().collect::<serde_json::Map<_, _>>())
}
