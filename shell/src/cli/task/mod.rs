//! `windlass task`

mod act;
mod list;
mod show;
mod wait;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

pub use self::act::ActArgs;
use self::act::{Action, each};
pub use self::list::{ListArgs, Order};
pub(super) use self::show::{FIELDS, TASKS, estimate};
pub(super) use self::wait::{deadline, wait_for};
use super::exit::Exit;
use super::ids::{self, TaskRef};
use super::output::Output;
use super::servers::{Call, Client};
use super::submit::{self, SubmitArgs};
use super::values;

/// Submit, show, wait for, cancel and rerun tasks.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Submit one task, or many from a file
    Submit(Box<SubmitArgs>),
    /// Show tasks
    Get {
        /// The tasks: ids, starts of ids, or - for ids on stdin
        #[arg(required = true, value_name = "ID")]
        ids: Vec<TaskRef>,
    },
    /// List tasks
    #[command(visible_alias = "ls")]
    List(Box<ListArgs>),
    /// Wait until tasks have ended; fails if one of them did not complete
    Wait {
        /// The tasks: ids, starts of ids, or - for ids on stdin
        #[arg(required = true, value_name = "ID")]
        ids: Vec<TaskRef>,
        /// Wait no longer than this
        #[arg(long, value_name = "DURATION", value_parser = values::duration)]
        timeout: Option<Duration>,
    },
    /// Cancel tasks, waiting or running
    Cancel(ActArgs),
    /// Run failed or cancelled tasks again
    Rerun(ActArgs),
    /// Say what a task is waiting for
    Why {
        /// The task's id, or the start of it
        id: TaskRef,
    },
}

/// Does it, and prints the result.
pub(super) async fn run(
    command: TaskCommand,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let output = &output;
    match command {
        TaskCommand::Submit(args) => submit::run(*args, client, *output).await,
        TaskCommand::List(args) => list::run(&args, client, output).await,
        TaskCommand::Wait { ids, timeout } => wait::run(&ids, timeout, client, output).await,
        TaskCommand::Cancel(args) => act::run(Action::Cancel, &args, client, output).await,
        TaskCommand::Rerun(args) => act::run(Action::Rerun, &args, client, output).await,
        TaskCommand::Get { ids } => {
            let get = async |id| client.ask(&Call::get(format!("/api/v1/tasks/{id}"))).await;
            each(&ids, get, client, output).await
        }
        TaskCommand::Why { id } => {
            let id = ids::resolve_one(&id, client).await?;
            let call = Call::get(format!("/api/v1/tasks/{id}/why"));
            let why = client.ask(&call).await?;
            output.result(&why, |why| show::why(why, output.look()))?;
            Ok(Exit::Done.into())
        }
    }
}
