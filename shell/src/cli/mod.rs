//! The command line: one file a noun. Client commands talk HTTP; the daemons are started from here.

mod api;
mod audit;
mod bench;
mod bulk;
mod conformance;
mod daemon;
mod demo;
mod dev;
mod doctor;
mod etcd;
mod events;
mod examples;
mod exit;
mod files;
mod front;
mod generate;
mod guardian;
mod health;
mod help;
mod ids;
mod lock;
mod node;
mod output;
mod prompt;
mod queue;
mod reason;
mod scheduler;
mod servers;
mod sse;
mod stats;
mod submit;
mod task;
mod token;
mod top;
mod traces;
mod values;
mod version;
mod worker;

use std::process::ExitCode;

use clap::{Args, FromArgMatches, Parser, Subcommand};

pub use self::api::{ApiArgs, CallMethod, CallPath};
pub use self::audit::AuditArgs;
pub use self::bench::{BenchCommand, BenchOptions, BenchStore, LimitArgs, RunArgs};
pub use self::conformance::{ConformanceArgs, ConformanceCommand};
pub use self::dev::DevArgs;
pub use self::doctor::DoctorArgs;
pub use self::etcd::{EtcdArgs, NodeArgs};
pub use self::events::EventsArgs;
pub use self::exit::{CliError, Exit};
pub use self::front::{DoorArgs, FrontArgs};
pub use self::generate::{CompletionsArgs, ManArgs};
pub use self::health::HealthArgs;
pub use self::help::HelpArgs;
pub use self::ids::TaskRef;
pub use self::lock::LockArgs;
pub use self::node::NodeCommand;
use self::output::Output;
pub use self::output::{ColorChoice, Format, OutputArgs, TimeStyle};
pub use self::queue::QueueCommand;
pub use self::reason::ReasonArgs;
pub use self::scheduler::SchedulerArgs;
use self::servers::Client;
pub use self::servers::ServerArgs;
pub use self::submit::SubmitArgs;
pub use self::task::{ActArgs, ListArgs, Order, TaskCommand};
pub use self::token::TokenCommand;
pub use self::top::{Tab, TopArgs};
pub use self::traces::TraceArgs;
pub use self::version::VersionArgs;
pub use self::worker::WorkerArgs;
pub use crate::client::ServerUrl;
use crate::logging::{self, LogFormat};

/// A distributed task scheduler: at-least-once start, exactly-once recorded completion.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten, next_help_heading = "Options of every command")]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 server unreachable, 6 timed out.
Results go to stdout, everything else to stderr.
Topics: windlass help exit-codes|environment|query|formatting";

/// What every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Where servers are.
    #[command(flatten)]
    pub servers: ServerArgs,
    /// How results are dressed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// What log lines look like
    #[arg(
        long,
        global = true,
        env = "WINDLASS_LOG_FORMAT",
        value_enum,
        default_value = "human"
    )]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or directives [default: info for daemons, warn for clients]
    #[arg(long, global = true, env = "WINDLASS_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process, with the embedded store
    Dev(DevArgs),
    /// Run a scheduler with its HTTP API, on etcd
    Scheduler(SchedulerArgs),
    /// Run a worker, on etcd
    Worker(WorkerArgs),
    /// Submit, show, wait for, cancel and rerun tasks
    #[command(subcommand)]
    Task(TaskCommand),
    /// Show, configure, pause and resume queues
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Show schedulers and workers, drain workers
    #[command(subcommand)]
    Node(NodeCommand),
    /// Count tasks, nodes and slots
    Stats,
    /// Watch the cluster and act on it, full screen
    Top(TopArgs),
    /// Print what happens, as it happens
    Events(EventsArgs),
    /// Look for what is wrong, and say what to do about it
    Doctor(DoctorArgs),
    /// Print who did what
    Audit(AuditArgs),
    /// Call the HTTP API
    Api(ApiArgs),
    /// Ask whether a server or a worker is well; for probes
    Health(HealthArgs),
    /// Run a command under a lock of the cluster
    #[command(subcommand)]
    Lock(LockArgs),
    /// Make tokens, which servers ask for
    #[command(subcommand)]
    Token(TokenCommand),
    /// Measure throughput and latency
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Judge a worker that talks HTTP by the protocol of workers
    #[command(subcommand)]
    Conformance(ConformanceCommand),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write those of all commands
    Man(ManArgs),
    /// Print the help of a topic or a command
    Help(HelpArgs),
    /// Print the version of this program and of the server
    Version(VersionArgs),
}

impl Command {
    fn log_level(&self) -> &'static str {
        match self {
            Self::Dev(_) | Self::Scheduler(_) | Self::Worker(_) => "info",
            Self::Task(_)
            | Self::Queue(_)
            | Self::Node(_)
            | Self::Stats
            | Self::Top(_)
            | Self::Events(_)
            | Self::Doctor(_)
            | Self::Audit(_)
            | Self::Api(_)
            | Self::Health(_)
            | Self::Lock(_)
            | Self::Token(_)
            | Self::Bench(_)
            | Self::Conformance(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Help(_)
            | Self::Version(_) => "warn",
        }
    }
}

/// The whole program: reads the command line, does it, says what went wrong, and returns the exit code.
pub fn main() -> ExitCode {
    if let Some(words) = guardian::words(std::env::args_os()) {
        return guardian::run(words);
    }
    let mut matches = help::command().get_matches();
    let cli = Cli::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit());
    match start(cli) {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            exit::of(&error).into()
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { global, command } = cli;
    let level = global
        .log_level
        .as_deref()
        .unwrap_or_else(|| command.log_level());
    logging::init(global.log_format, level)
        .map_err(|error| CliError::new(Exit::Usage, format!("{error:#}")))?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(run(global, command))
}

async fn run(global: Global, command: Command) -> anyhow::Result<ExitCode> {
    let output = Output::new(&global.output);
    let client = || Client::new(&global.servers);
    match command {
        Command::Dev(args) => dev::run(args).await,
        Command::Scheduler(args) => scheduler::run(args).await,
        Command::Worker(args) => worker::run(args).await,
        Command::Bench(command) => bench::run(command, output).await,
        Command::Conformance(command) => conformance::run(command, output).await,
        Command::Token(command) => token::run(command, output),
        Command::Task(command) => task::run(command, &client()?, output).await,
        Command::Queue(command) => queue::run(command, &client()?, output).await,
        Command::Node(command) => node::run(command, &client()?, output).await,
        Command::Stats => stats::run(&client()?, output).await,
        Command::Top(args) => top::run(&args, client()?, output).await,
        Command::Events(args) => events::run(&args, &client()?, output).await,
        Command::Doctor(args) => doctor::run(&args, &client()?, output).await,
        Command::Audit(args) => audit::run(&args, &client()?, output).await,
        Command::Api(args) => api::run(&args, &client()?, output).await,
        Command::Version(args) => version::run(&args, &client()?, output).await,
        Command::Completions(args) => generate::completions(&args, output),
        Command::Man(args) => generate::man(&args, output),
        Command::Help(args) => help::run(&args, output),
        Command::Health(args) => health::run(args, &client()?, output).await,
        Command::Lock(args) => lock::run(args, &client()?, output).await,
    }
}

#[cfg(test)]
mod tests;
