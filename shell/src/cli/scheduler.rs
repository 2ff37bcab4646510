//! `windlass scheduler`

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;

use super::etcd::{EtcdArgs, NodeArgs};
use super::values;

/// A scheduler with its HTTP API, on etcd.
#[derive(Debug, Clone, Args)]
pub struct SchedulerArgs {
    /// How to reach etcd.
    #[command(flatten)]
    pub etcd: EtcdArgs,
    /// What every node is told.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Where the API and the dashboard are served; port 0 picks a free one
    #[arg(
        long,
        env = "WINDLASS_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:7070"
    )]
    pub listen: SocketAddr,
    /// The largest payload, at most 1MiB
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = values::payload_max)]
    pub max_payload: usize,
}

/// Runs until it is told to stop.
pub(super) async fn run(_args: SchedulerArgs) -> anyhow::Result<ExitCode> {
    std::future::ready(()).await;
    anyhow::bail!("this build has no scheduler")
}
