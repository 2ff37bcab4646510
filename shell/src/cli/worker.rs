//! `windlass worker`

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use windlass_core::ids::QueueName;

use super::etcd::{EtcdArgs, NodeArgs};
use super::values;

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
    /// The largest result, at most 1MiB
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = values::payload_max)]
    pub max_payload: usize,
    /// Serve metrics here; nowhere unless given
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
}

/// Runs until it is told to stop.
pub(super) async fn run(_args: WorkerArgs) -> anyhow::Result<ExitCode> {
    std::future::ready(()).await;
    anyhow::bail!("this build has no worker")
}
