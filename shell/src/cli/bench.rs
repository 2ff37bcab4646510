//! `windlass bench`

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::daemon;
use super::exit::{CliError, Exit};
use super::output::{Output, Table};
use super::values;
use crate::bench::{self, Plan};
use crate::clock::SystemClock;
use crate::host::{self, Store};
use crate::store::embedded::EmbeddedStore;
use crate::store::etcd::{EtcdConfig, EtcdStore};

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
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..))]
    pub slots: u32,
    /// The size of each payload
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = values::payload_max)]
    pub payload: usize,
    /// Over how many queues the tasks are spread, in turn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub queues: u32,
    /// Over how many priorities, from the most urgent on; one means normal
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub priorities: u8,
    /// How long each handler takes
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = values::duration)]
    pub handler: Duration,
    /// How many submissions are under way at a time, unless there is a --rate
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub submitters: u32,
    /// How many tasks one submission has, unless there is a --rate
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub batch: u32,
    /// How large an etcd's file may become, as its --quota-backend-bytes says; etcd 3.6 and later tell it themselves
    #[arg(long, value_name = "BYTES", default_value = "2GiB", value_parser = values::quota)]
    pub etcd_quota: u64,
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
    /// How long ended tasks are kept; as long as `windlass scheduler` keeps them unless given
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub retention: Option<Duration>,
    /// Also tell what happened in each interval of this length: what grows in a long run shows there
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub interval: Option<Duration>,
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
pub(super) async fn run(command: BenchCommand, output: Output) -> anyhow::Result<ExitCode> {
    let (store, options, is_run, retention, interval) = match command {
        BenchCommand::Run(args) => {
            let RunArgs {
                store,
                options,
                retention,
                interval,
            } = args;
            (store, options, true, retention, interval)
        }
        BenchCommand::Limit(args) => (args.store, args.options, false, None, None),
    };
    let plan = Plan {
        tasks: options.tasks,
        workers: options.workers,
        slots: options.slots,
        payload: options.payload,
        queues: options.queues,
        priorities: options.priorities,
        handler: options.handler,
        submitters: options.submitters,
        batch: options.batch,
        rate: options.rate.filter(|rate| *rate > 0.0),
        retention: retention.map(daemon::millis),
        interval: interval.filter(|it| !it.is_zero()),
    };
    let clock = SystemClock::start();
    let opened = Opened::open(&store, options.etcd_quota, &clock).await?;
    let measured = if is_run {
        bench::run(&opened.store, opened.name.clone(), &plan, clock).await
    } else {
        bench::limit(&opened.store, opened.name.clone(), &plan, clock).await
    };
    opened.close();
    output.result(&serde_json::to_string(&measured?)?, table)?;
    Ok(ExitCode::SUCCESS)
}

fn table(measured: &Value) -> Table {
    let mut table = Table::new(&["WHAT", "VALUE"]);
    for (name, value) in measured.as_object().into_iter().flatten() {
        if let Some(bars) = value["bars"].as_array() {
            for quantile in ["p50", "p90", "p99", "p999", "max"] {
                table.row([format!("{name} {quantile}"), value[quantile].to_string()]);
            }
            plot(&mut table, bars);
        } else if let Some(intervals) = value.as_array() {
            for interval in intervals {
                table.row([
                    format!("until {:.0} s", number(&interval["until_seconds"])),
                    brief(interval),
                ]);
            }
        } else {
            table.row([name.clone(), value.to_string()]);
        }
    }
    table
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// One interval, in a line.
fn brief(interval: &Value) -> String {
    let mib = |bytes: &Value| number(bytes) / f64::from(1 << 20);
    let mut line = format!(
        "{} completed, {} refused, acknowledged p99 {} ms, started p99 {} ms, {:.0} MiB",
        interval["completed"],
        interval["refused"],
        interval["submit_to_ack_ms"]["p99"],
        interval["submit_to_start_ms"]["p99"],
        mib(&interval["rss_bytes"]),
    );
    if let Some(store) = interval.get("store") {
        let (used, size) = (mib(&store["used"]), mib(&store["size"]));
        line += &format!("; store {used:.0} of {size:.0} MiB");
    }
    line
}

/// A distribution as bars of characters, the longest of all as wide as this.
const BAR_MAX: f64 = 50.0;

fn plot(table: &mut Table, bars: &[Value]) {
    let samples = |bar: &Value| bar["samples"].as_f64().unwrap_or(0.0);
    let most = bars.iter().map(samples).fold(1.0, f64::max);
    let bars = bars.iter().skip_while(|bar| samples(bar) == 0.0);
    for bar in bars {
        // Whatever was seen at all shows.
        let share = (samples(bar) / most * BAR_MAX).ceil();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to BAR_MAX"
        )]
        let line = "#".repeat(share as usize);
        table.row([
            format!("  ≤ {} ms", bar["up_to_ms"]),
            format!("{line} {}", bar["samples"]),
        ]);
    }
}

/// A store of its own for the measurement.
struct Opened {
    store: Store,
    name: String,
    directory: Option<PathBuf>,
}

impl Opened {
    async fn open(store: &BenchStore, quota: u64, clock: &SystemClock) -> anyhow::Result<Self> {
        match store {
            BenchStore::Embedded => {
                let directory =
                    std::env::temp_dir().join(format!("windlass-bench-{}", std::process::id()));
                let embedded = EmbeddedStore::open(&directory, clock.clone())?;
                let store = Store::Embedded(Arc::new(embedded));
                Ok(Self {
                    store,
                    name: "embedded".to_owned(),
                    directory: Some(directory),
                })
            }
            BenchStore::Etcd(endpoints) => {
                let mut config = EtcdConfig::new(endpoints.clone());
                config.quota = quota;
                // Out of the way of whatever else this etcd holds.
                config.prefix = format!("/windlass-bench-{}", host::fresh_id());
                let store = EtcdStore::connect(config)
                    .await
                    .map_err(|error| CliError::new(Exit::Unreachable, error.to_string()))?;
                Ok(Self {
                    store: Store::Etcd(Arc::new(store)),
                    name: endpoints.join(","),
                    directory: None,
                })
            }
        }
    }

    fn close(self) {
        drop(self.store);
        if let Some(directory) = self.directory {
            // What is left in the system's temporary directory is the system's to remove.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}
