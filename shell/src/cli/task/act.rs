//! `windlass task cancel` and `rerun`: on tasks that are named, or on all that a query matches.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windlass_core::gateway::TaskState;
use windlass_core::ids::TaskId;

use super::show::{FIELDS, TASKS};
use crate::cli::exit::{CliError, Exit};
use crate::cli::ids::{self, TaskRef};
use crate::cli::output::{self, Output, Table, cell};
use crate::cli::reason::ReasonArgs;
use crate::cli::servers::{Call, Client};
use crate::cli::{prompt, servers, values};

/// How many named tasks are acted on at the same time.
const UNDER_WAY_MAX: usize = 16;
/// How many refusals are told of one by one.
const TOLD_MAX: usize = 100;
/// How often a page is asked for again that no server could do.
const TRIES_MAX: u32 = 6;
/// How long to wait before that; doubles each time.
const TRY_PAUSE: Duration = Duration::from_millis(200);
/// How long a server may take for a page.
const PAGE_TIME: Duration = Duration::from_secs(60);

/// Which tasks, and how.
#[derive(Debug, Args)]
pub struct ActArgs {
    /// The tasks: ids, starts of ids, or - for ids on stdin
    #[arg(
        value_name = "ID",
        required_unless_present = "filter",
        conflicts_with = "filter"
    )]
    pub ids: Vec<TaskRef>,
    /// All tasks that this query matches, instead: see `windlass help query`
    #[arg(short, long, value_name = "QUERY", value_parser = values::filled, allow_hyphen_values = true)]
    pub filter: Option<String>,
    /// Do not ask whether it is meant
    #[arg(short, long)]
    pub yes: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Why; for the audit log.
    #[command(flatten)]
    pub reason: ReasonArgs,
}

/// What is done to tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Cancel,
    Rerun,
}

impl Action {
    /// As the API calls it.
    fn verb(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Rerun => "rerun",
        }
    }

    fn allows(self, state: TaskState) -> bool {
        match self {
            Self::Cancel => !state.has_ended(),
            Self::Rerun => matches!(state, TaskState::Failed | TaskState::Cancelled),
        }
    }
}

/// Does it, and prints what became of it.
pub(super) async fn run(
    action: Action,
    args: &ActArgs,
    client: &Client,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    if let Some(filter) = &args.filter {
        return Sweep {
            action,
            filter,
            args,
            client,
        }
        .run(output)
        .await;
    }
    let act = async |id: TaskId| -> Result<String, CliError> {
        if args.dry_run {
            return would(action, id, client).await;
        }
        let path = format!("/api/v1/tasks/{id}/{}", action.verb());
        client.ask(&args.reason.on(Call::post(path))).await
    };
    let exit = each(&args.ids, act, client, output).await?;
    if args.dry_run {
        output::note("dry run: nothing was changed");
    }
    Ok(exit)
}

/// The task, if the action would be allowed now.
async fn would(action: Action, id: TaskId, client: &Client) -> Result<String, CliError> {
    #[derive(Debug, Deserialize)]
    struct Status {
        status: TaskState,
    }
    let call = Call::get(format!("/api/v1/tasks/{id}"));
    let task = client.ask(&call).await?;
    let Status { status } = servers::parsed(&task)?;
    if action.allows(status) {
        Ok(task)
    } else {
        Err(CliError::new(
            Exit::Refused,
            format!("the task is {status}"),
        ))
    }
}

/// Asks for each of the named tasks, and prints the answers: one task whole, several as a list. Of several, one that
/// fails does not keep the others.
pub(super) async fn each(
    tasks: &[TaskRef],
    ask: impl AsyncFn(TaskId) -> Result<String, CliError>,
    client: &Client,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    if let [TaskRef::Id(_) | TaskRef::Prefix(_)] = tasks {
        let id = ids::resolve_one(&tasks[0], client).await?;
        output.fields(&ask(id).await?, "id", &FIELDS)?;
        return Ok(Exit::Done.into());
    }
    let found = ids::resolve(tasks, client).await?;
    let answers: Vec<Result<String, CliError>> = stream::iter(found)
        .map(async |id| {
            let id = id?;
            let told = |error: CliError| CliError {
                message: format!("{id}: {}", error.message),
                ..error
            };
            ask(id).await.map_err(told)
        })
        .buffered(UNDER_WAY_MAX)
        .collect()
        .await;
    let done: Vec<&str> = answers.iter().flatten().map(String::as_str).collect();
    output.list(&format!("{{\"tasks\":[{}]}}", done.join(",")), &TASKS)?;
    let mut exit = Exit::Done;
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        output::note(&format!("error: {error}"));
        if exit == Exit::Done {
            exit = error.exit;
        }
    }
    Ok(exit.into())
}

#[derive(Debug, Deserialize)]
struct Count {
    count: u64,
    exact: bool,
}

/// What a page of work answers; in the end, of all pages.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Swept {
    matched: u64,
    done: u64,
    refused: Vec<Refusal>,
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    id: String,
    error: Value,
}

impl Refusal {
    fn told(&self) -> String {
        let error = match &self.error {
            Value::Object(problem) => cell(problem.get("detail").unwrap_or(&self.error)),
            error @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)) => cell(error),
        };
        format!("{}: {error}", self.id)
    }
}

/// All tasks that a query matches, page by page.
struct Sweep<'a> {
    action: Action,
    filter: &'a str,
    args: &'a ActArgs,
    client: &'a Client,
}

impl Sweep<'_> {
    async fn run(&self, output: &Output) -> anyhow::Result<ExitCode> {
        let call = Call::get("/api/v1/tasks/count").query("q", Some(self.filter.to_owned()));
        let count: Count = servers::parsed(&self.client.ask(&call).await?)?;
        if !self.args.dry_run && count.count > 0 && !self.args.yes {
            let more = if count.exact { "" } else { "at least " };
            let question = format!(
                "{} {more}{} tasks that match {}?",
                self.action.verb(),
                count.count,
                self.filter
            );
            prompt::confirm(&question)?;
        }
        let swept = self.sweep(count.count).await?;
        for refusal in swept.refused.iter().take(TOLD_MAX) {
            output::note(&refusal.told());
        }
        if swept.refused.len() > TOLD_MAX {
            let number = swept.refused.len();
            output::note(&format!(
                "{number} tasks were refused; the first {TOLD_MAX} are told above"
            ));
        }
        if swept.matched == 0 {
            output::note("no task matches");
        }
        if self.args.dry_run {
            output::note("dry run: nothing was changed");
        }
        output.result(&serde_json::to_string(&swept)?, |_| table(&swept))?;
        Ok(match (swept.done, swept.refused.len()) {
            (_, 0) => Exit::Done,
            (0, _) => Exit::Refused,
            (_, _) => Exit::Failed,
        }
        .into())
    }

    async fn sweep(&self, expected: u64) -> anyhow::Result<Swept> {
        let bar = bar(expected);
        let mut swept = Swept::default();
        loop {
            let page = self.page(swept.next_cursor.take()).await?;
            swept.matched += page.matched;
            swept.done += page.done;
            swept.refused.extend(page.refused);
            swept.next_cursor = page.next_cursor;
            bar.set_position(swept.matched);
            if swept.next_cursor.is_none() {
                bar.finish_and_clear();
                return Ok(swept);
            }
        }
    }

    /// One page. It is safe to ask for it again: what was done before no longer matches, or is refused.
    async fn page(&self, cursor: Option<String>) -> Result<Swept, CliError> {
        let mut body = json!({
            "action": self.action.verb(),
            "q": self.filter,
            "dry_run": self.args.dry_run,
        });
        if let Some(cursor) = cursor {
            body["cursor"] = cursor.into();
        }
        let call = Call::post("/api/v1/tasks/bulk")
            .body(body.to_string())
            .waiting(PAGE_TIME);
        let call = self.args.reason.on(call);
        let mut tries = 0;
        loop {
            tries += 1;
            match self.client.ask(&call).await {
                Ok(text) => return servers::parsed(&text),
                Err(error) if error.exit == Exit::Unreachable && tries < TRIES_MAX => {
                    tokio::time::sleep(TRY_PAUSE * (1 << (tries - 1))).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn bar(expected: u64) -> ProgressBar {
    // On stderr, and only where a person watches it.
    let bar = ProgressBar::new(expected);
    match ProgressStyle::with_template("{bar:40} {pos}/{len} ({eta} left)") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn table(swept: &Swept) -> Table {
    let mut table = Table::new(&["FIELD", "VALUE"]);
    let refused = swept.refused.len() as u64;
    for (name, count) in [
        ("matched", swept.matched),
        ("done", swept.done),
        ("refused", refused),
    ] {
        table.row([name.to_owned(), count.to_string()]);
    }
    table
}
