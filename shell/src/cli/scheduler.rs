//! `windlass scheduler`

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tracing::info;
use windlass_core::config::ServerConfig;
use windlass_core::keyspace::{Range, Role};

use super::daemon::{self, Site, Stop};
use super::etcd::{EtcdArgs, NodeArgs};
use super::exit::{CliError, Exit};
use super::files;
use super::front::FrontArgs;
use super::traces::TraceArgs;
use super::{traces, values};
use crate::api::{Entrance, Limits};
use crate::clock::SystemClock;
use crate::host;
use crate::node::{self, SchedulerNode};

/// A scheduler with its HTTP API, on etcd.
#[derive(Debug, Clone, Args)]
pub struct SchedulerArgs {
    /// How to reach etcd.
    #[command(flatten)]
    pub etcd: EtcdArgs,
    /// What every node is told.
    #[command(flatten)]
    pub node: NodeArgs,
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
    /// How long completed and cancelled tasks are kept
    #[arg(long, env = "WINDLASS_RETENTION", default_value = "24h", value_parser = values::positive_duration)]
    pub retention: Duration,
    /// The largest payload, at most 1MiB
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = values::payload_max)]
    pub max_payload: usize,
    /// Where traces go.
    #[command(flatten)]
    pub traces: TraceArgs,
}

/// Runs until it is told to stop.
pub(super) async fn run(args: SchedulerArgs) -> anyhow::Result<ExitCode> {
    let stop = Stop::listen()?;
    let (front, tls) = args.front.open(args.listen)?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let shares_etcd = !args.etcd.prefix.is_empty();
    let store = daemon::connect(args.etcd, Range::cluster()).await?;
    let mut config = ServerConfig::new(
        args.node.id.unwrap_or_else(host::fresh_id),
        node::VERSION.into(),
    );
    config.ttl = args.node.ttl;
    config.retention = daemon::millis(args.retention);
    // Whoever shares an etcd does not decide how much history the others need.
    config.history_min = config.history_min.filter(|_| !shares_etcd);
    config
        .check()
        .map_err(|error| CliError::new(Exit::Usage, error.to_string()))?;
    let limits = Limits::default();
    let limits = Limits {
        payload_max: args.max_payload,
        connections_max: files::connections_max(limits.connections_max),
        source_connections_max: args.front.source_connections_max(),
        ..limits
    };
    let traces = args.traces.open(Role::Scheduler, &config.id)?;
    let scheduler = SchedulerNode::start(&store, config, SystemClock::start());
    info!(address = %listener.local_addr()?, "serves the API");
    let site = Site {
        entrance: Entrance::new(listener, tls),
        front,
        limits,
        traces: traces.clone(),
    };
    let life = async { daemon::code_of(daemon::serve(scheduler, site, &stop).await) };
    let ended = daemon::while_store_lasts(&store, life).await;
    traces::close(traces).await;
    ended
}
