//! `windlass dev`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tracing::{info, warn};
use windlass_core as core;
use windlass_core::config::{ServerConfig, WorkerConfig};
use windlass_core::keyspace::Role;

use super::daemon::{self, Site, Stop};
use super::exit::{CliError, Exit};
use super::files;
use super::front::FrontArgs;
use super::traces::TraceArgs;
use super::{demo, traces, values};
use crate::api::{Entrance, Limits};
use crate::clock::SystemClock;
use crate::executor::{ExecutorOptions, Handlers};
use crate::host::{self, Store};
use crate::node::{self, SchedulerNode, WorkerNode};
use crate::store::embedded::EmbeddedStore;
use crate::trace::Traces;

/// Everything in one process, with the embedded store.
#[derive(Debug, Clone, Args)]
pub struct DevArgs {
    /// Where the store lives [default: windlass/dev below the user's data directory; a temporary one for --demo]
    #[arg(long, env = "WINDLASS_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the HTTP API is served; port 0 picks a free one
    #[arg(
        long,
        env = "WINDLASS_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:7070"
    )]
    pub listen: SocketAddr,
    /// Who may reach it.
    #[command(flatten)]
    pub front: FrontArgs,
    /// How many workers to run; none where all workers talk HTTP
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub workers: u32,
    /// Handlers that run at the same time, for each worker
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub slots: u32,
    /// Run this command for tasks of this type; may be repeated
    #[arg(long = "handler", value_name = "TYPE=COMMAND", value_parser = values::handler)]
    pub handlers: Vec<String>,
    /// Told to stop: how long what runs may take to finish before it is stopped and handed back
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = values::duration)]
    pub drain_grace: Duration,
    /// How long completed and cancelled tasks are kept
    #[arg(long, env = "WINDLASS_RETENTION", default_value = "24h", value_parser = values::positive_duration)]
    pub retention: Duration,
    /// The largest payload and result, at most 1MiB
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = values::payload_max)]
    pub max_payload: usize,
    /// Submit a workload that shows what there is
    #[arg(long)]
    pub demo: bool,
    /// Where traces go.
    #[command(flatten)]
    pub traces: TraceArgs,
}

/// Runs until it is told to stop.
pub(super) async fn run(args: DevArgs) -> anyhow::Result<ExitCode> {
    let stop = Stop::listen()?;
    let handlers = (0..args.workers)
        .map(|_| daemon::handlers(&args.handlers))
        .collect::<Result<Vec<_>, _>>()?;
    let (front, tls) = args.front.open(args.listen)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let directory = Directory::of(&args)?;
    let clock = SystemClock::start();
    let embedded = EmbeddedStore::open(&directory.path, clock.clone()).map_err(|error| {
        CliError::new(
            Exit::Failed,
            format!("{}: {error}", directory.path.display()),
        )
    })?;
    let embedded = Arc::new(embedded);
    let store = Store::Embedded(Arc::clone(&embedded));
    let mut config = ServerConfig::new(host::fresh_id(), node::VERSION.into());
    config.retention = daemon::millis(args.retention);
    let traces = args.traces.open(Role::Scheduler, &config.id)?;
    let scheduler = SchedulerNode::start(&store, config, clock.clone());
    let mut all_traces: Vec<_> = traces.iter().cloned().collect();
    let mut workers = Vec::new();
    for handlers in handlers {
        let (worker, traces) = start_worker(&args, &store, handlers, clock.clone())?;
        workers.push(worker);
        all_traces.extend(traces);
    }
    info!(store = %directory.path.display(), "serves the API at {scheme}://{address}");
    if args.demo {
        tokio::spawn(demo::run(scheduler.gateway(), address));
    }
    let limits = Limits::default();
    let limits = Limits {
        payload_max: args.max_payload,
        connections_max: files::connections_max(limits.connections_max),
        source_connections_max: args.front.source_connections_max(),
        ..limits
    };
    let site = Site {
        entrance: Entrance::new(listener, tls),
        front,
        limits,
        traces,
    };
    let exit = tokio::select! { biased;
        exit = run_nodes(scheduler, workers, site, &stop) => exit,
        // Nothing can be recorded any more, so nobody is asked to leave: they end as in a crash.
        () = embedded.stopped() => core::worker::Exit::Deposed,
    };
    traces::close(all_traces).await;
    drop(store);
    if let Some(embedded) = Arc::into_inner(embedded) {
        embedded
            .close()
            .map_err(|error| CliError::new(Exit::Failed, error.to_string()))?;
    }
    directory.remove_if_ours();
    daemon::code_of(exit)
}

fn start_worker(
    args: &DevArgs,
    store: &Store,
    handlers: Handlers,
    clock: SystemClock,
) -> Result<(WorkerNode, Option<Traces>), CliError> {
    let mut config = WorkerConfig::new(host::fresh_id(), Vec::new(), node::VERSION.into());
    config.slots = args.slots;
    config.drain_grace = args.drain_grace;
    let traces = args.traces.open(Role::Worker, &config.id)?;
    let options = ExecutorOptions {
        result_len_max: args.max_payload,
        traces: traces.clone(),
        ..ExecutorOptions::default()
    };
    let worker = WorkerNode::start(store, config, handlers, options, clock);
    Ok((worker, traces))
}

/// Runs until told to stop: first the workers leave, then the scheduler. A node that ends by itself ends the others.
async fn run_nodes(
    scheduler: SchedulerNode,
    mut workers: Vec<WorkerNode>,
    site: Site,
    stop: &Stop,
) -> core::worker::Exit {
    let (workers_left, left) = tokio::sync::oneshot::channel();
    let asked = stop.asked();
    let leaving = tokio::spawn(async move {
        let first = async {
            // Where all workers talk HTTP there is none here.
            if workers.is_empty() {
                return std::future::pending().await;
            }
            let all = workers.iter_mut().map(|worker| Box::pin(worker.wait()));
            futures_util::future::select_all(all).await.0
        };
        let ended = tokio::select! { biased;
            exit = first => Some(exit),
            () = asked => None,
        };
        if let Some(exit) = ended {
            warn!(?exit, "a worker has ended by itself: the others follow");
        }
        for worker in &workers {
            worker.drain();
        }
        let mut last = ended;
        for worker in &mut workers {
            let exit = worker.wait().await;
            last.get_or_insert(exit);
        }
        let _ = workers_left.send(());
        last
    });
    let served = daemon::serve_until(scheduler, site, async {
        let _ = left.await;
    });
    let exit = served.await;
    match leaving.await {
        Ok(Some(worker)) if worker != core::worker::Exit::Drained => worker,
        Ok(_) | Err(_) => exit,
    }
}

/// Where the store lives.
struct Directory {
    path: PathBuf,
    ours: bool,
}

impl Directory {
    /// As given; else one of this user's; the demo's is removed at the end.
    fn of(args: &DevArgs) -> anyhow::Result<Self> {
        let (path, ours) = match (&args.data_dir, args.demo) {
            (Some(path), _) => (path.clone(), false),
            (None, true) => (
                std::env::temp_dir().join(format!("windlass-demo-{}", std::process::id())),
                true,
            ),
            (None, false) => (
                user_data_dir()
                    .context("neither --data-dir nor HOME says where the store lives")?,
                false,
            ),
        };
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the directory {}", path.display()))?;
        Ok(Self { path, ours })
    }

    fn remove_if_ours(&self) {
        if self.ours
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            warn!(%error, path = %self.path.display(), "cannot remove the demo's store");
        }
    }
}

fn user_data_dir() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_DATA_HOME")
        .filter(|it| !it.is_empty())
        .map(PathBuf::from);
    let base = base.or_else(|| {
        std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"))
    })?;
    Some(base.join("windlass/dev"))
}
