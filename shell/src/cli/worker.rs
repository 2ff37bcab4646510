//! `windlass worker`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use clap::Args;
use tokio::net::TcpListener;
use windlass_core::config::WorkerConfig;
use windlass_core::ids::QueueName;
use windlass_core::keyspace::{Range, Role};

use super::daemon::{self, Stop};
use super::etcd::{EtcdArgs, NodeArgs};
use super::exit::{CliError, Exit};
use super::front::DoorArgs;
use super::traces::TraceArgs;
use super::{traces, values};
use crate::api::{self, Entrance, Front, Limits, Tls};
use crate::clock::SystemClock;
use crate::executor::ExecutorOptions;
use crate::host;
use crate::node::{self, WorkerNode};

/// A worker, on etcd.
#[derive(Debug, Clone, Args)]
pub struct WorkerArgs {
    /// How to reach etcd.
    #[command(flatten)]
    pub etcd: EtcdArgs,
    /// What every node is told.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Handlers that run at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub slots: u32,
    /// The queues to serve; all unless given
    #[arg(long, value_name = "Q,…", value_delimiter = ',')]
    pub queues: Vec<QueueName>,
    /// The worker's share under the weighted strategy
    #[arg(long, value_name = "W", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub weight: u32,
    /// A label for people; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = values::pair)]
    pub labels: Vec<(String, String)>,
    /// Run this command for tasks of this type; may be repeated
    #[arg(long = "handler", value_name = "TYPE=COMMAND", value_parser = values::handler)]
    pub handlers: Vec<String>,
    /// Told to stop: how long what runs may take to finish before it is stopped and handed back
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = values::duration)]
    pub drain_grace: Duration,
    /// The largest result, at most 1MiB
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = values::payload_max)]
    pub max_payload: usize,
    /// Serve metrics here; nowhere unless given
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
    /// Who may reach them.
    #[command(flatten)]
    pub door: DoorArgs,
    /// Write this file again every second while the session lives, for `windlass health --file`
    #[arg(long, env = "WINDLASS_HEALTH_FILE", value_name = "FILE")]
    pub health_file: Option<PathBuf>,
    /// Where traces go.
    #[command(flatten)]
    pub traces: TraceArgs,
}

/// Runs until it is told to stop.
pub(super) async fn run(args: WorkerArgs) -> anyhow::Result<ExitCode> {
    let stop = Stop::listen()?;
    let metrics = match args.metrics {
        Some(listen) => Some((listen, args.door.open(listen)?)),
        None => None,
    };
    let handlers = daemon::handlers(&args.handlers)?;
    let id = args.node.id.unwrap_or_else(host::fresh_id);
    // A worker's user need not be able to read more than what is the worker's own.
    let store = daemon::connect(args.etcd, Range::claims_of(&id)).await?;
    let mut config = WorkerConfig::new(id.clone(), Vec::new(), node::VERSION.into());
    config.slots = args.slots;
    config.drain_grace = args.drain_grace;
    config.queues = args.queues;
    config.weight = args.weight;
    config.labels = args.labels.into_iter().collect();
    config.ttl = args.node.ttl;
    config
        .check()
        .map_err(|error| CliError::new(Exit::Usage, error.to_string()))?;
    let traces = args.traces.open(Role::Worker, &id)?;
    let options = ExecutorOptions {
        result_len_max: args.max_payload,
        traces: traces.clone(),
        ..ExecutorOptions::default()
    };
    let clock = SystemClock::start();
    let mut worker = WorkerNode::start(&store, config, handlers, options, clock.clone());
    let sign_of_life = args.health_file.map(|path| {
        let node = id.to_string();
        tokio::spawn(host::keep_written(path, node, worker.status(), clock))
    });
    if let Some((listen, (door, tls))) = metrics {
        let router = api::worker_metrics(worker.status(), id.as_str(), &Front::new(door));
        serve_metrics(listen, tls, router, &stop).await?;
    }
    let life = async {
        daemon::code_of(tokio::select! { biased;
            exit = worker.wait() => exit,
            () = stop.asked() => {
                worker.drain();
                worker.wait().await
            }
        })
    };
    let ended = daemon::while_store_lasts(&store, life).await;
    if let Some(task) = sign_of_life {
        task.abort();
    }
    traces::close(traces).await;
    ended
}

async fn serve_metrics(
    listen: SocketAddr,
    tls: Option<Tls>,
    router: Router,
    stop: &Stop,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    tokio::spawn(api::serve(
        Entrance::new(listener, tls),
        router,
        Limits::default(),
        stop.asked(),
    ));
    Ok(())
}
