//! `windlass bench`

use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::output::Output;
use super::values;

/// Where a measurement keeps its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BenchStore {
    /// In an embedded store of its own.
    Embedded,
    /// In the etcd at these endpoints.
    Etcd(Vec<String>),
}

impl FromStr for BenchStore {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "embedded" {
            return Ok(Self::Embedded);
        }
        let endpoints: Vec<String> = text.split(',').map(str::to_owned).collect();
        if endpoints.iter().all(|url| url.contains("://")) {
            Ok(Self::Etcd(endpoints))
        } else {
            Err("either the word embedded, or the URLs of an etcd".to_owned())
        }
    }
}

/// Measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Tasks from submission to recorded completion
    Run(RunArgs),
    /// What an etcd does with the same writes and nothing else
    Limit(LimitArgs),
}

/// What is measured, whichever way.
#[derive(Debug, Clone, Args)]
pub struct BenchOptions {
    /// How many tasks
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub tasks: u64,
    /// How many workers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub workers: u32,
    /// Handlers that run at the same time, for each worker
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub slots: u32,
    /// The size of each payload
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = values::payload_max)]
    pub payload: usize,
    /// Submit at this rate instead of as fast as possible: measures latency
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
}

/// `bench run`
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The word embedded, or the URLs of an etcd
    #[arg(long, value_name = "embedded|ETCD_URL")]
    pub store: BenchStore,
    /// What is measured.
    #[command(flatten)]
    pub options: BenchOptions,
}

/// `bench limit`
#[derive(Debug, Clone, Args)]
pub struct LimitArgs {
    /// The URLs of an etcd
    #[arg(long, value_name = "ETCD_URL")]
    pub store: BenchStore,
    /// What is measured.
    #[command(flatten)]
    pub options: BenchOptions,
}

/// Measures, and prints one result.
pub(super) async fn run(_command: BenchCommand, _output: Output) -> anyhow::Result<ExitCode> {
    std::future::ready(()).await;
    anyhow::bail!("this build measures nothing")
}
