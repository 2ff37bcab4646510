//! `windlass dev`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::values;

/// Everything in one process, with the embedded store.
#[derive(Debug, Clone, Args)]
pub struct DevArgs {
    /// Where the store lives; a directory of its own that is removed at the end, unless given
    #[arg(long, env = "WINDLASS_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the API and the dashboard are served; port 0 picks a free one
    #[arg(
        long,
        env = "WINDLASS_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:7070"
    )]
    pub listen: SocketAddr,
    /// How many workers to run
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub workers: u32,
    /// Handlers that run at the same time, for each worker
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub slots: u32,
    /// Run this command for tasks of this type; may be repeated
    #[arg(long = "handler", value_name = "TYPE=COMMAND", value_parser = values::handler)]
    pub handlers: Vec<String>,
    /// The largest payload and result, at most 1MiB
    #[arg(long, value_name = "BYTES", default_value = "256KiB", value_parser = values::payload_max)]
    pub max_payload: usize,
    /// Submit a workload that shows what there is
    #[arg(long)]
    pub demo: bool,
}

/// Runs until it is told to stop.
pub(super) async fn run(_args: DevArgs) -> anyhow::Result<ExitCode> {
    std::future::ready(()).await;
    anyhow::bail!("this build has no embedded store")
}
