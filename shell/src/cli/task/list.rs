//! `windlass task list`

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use windlass_core::gateway::TaskState;
use windlass_core::ids::{QueueName, TaskType};

use super::show::TASKS;
use super::watch;
use crate::cli::exit::Exit;
use crate::cli::output::{Format, Output};
use crate::cli::servers::{Call, Client};

/// The most tasks of one page.
const PAGE_MAX: u64 = 1_000;

/// Which tasks, and how many.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only tasks that this query matches: see `windlass help query`
    #[arg(short, long, value_name = "QUERY", allow_hyphen_values = true)]
    pub filter: Option<String>,
    /// Only in this state: scheduled, pending, running, retrying, completed, failed or cancelled
    #[arg(long)]
    pub state: Option<TaskState>,
    /// Only of this queue
    #[arg(long)]
    pub queue: Option<QueueName>,
    /// Only of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<TaskType>,
    /// Which come first, by the time of submission [default: oldest]
    #[arg(long, value_enum)]
    pub order: Option<Order>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: u64,
    /// All of them, however many
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    /// Continue behind an earlier list: the next_cursor that `-o json` shows
    #[arg(long)]
    pub cursor: Option<String>,
    /// Show the list anew whenever something changes; on a pipe, print each task that changed
    #[arg(short, long, conflicts_with_all = ["all", "cursor"])]
    pub watch: bool,
}

/// Which tasks come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Those that were submitted first.
    Oldest,
    /// Those that were submitted last.
    Newest,
}

impl ListArgs {
    /// The request for the page of at most `limit` tasks behind `cursor`.
    fn page(&self, limit: u64, cursor: Option<String>) -> Call {
        self.page_matching(self.filter.clone(), limit, cursor)
    }

    fn page_matching(&self, query: Option<String>, limit: u64, cursor: Option<String>) -> Call {
        let order = self.order.map(|order| match order {
            Order::Oldest => "oldest",
            Order::Newest => "newest",
        });
        Call::get("/api/v1/tasks")
            .query("q", query)
            .query("state", self.state.map(|state| state.to_string()))
            .query("queue", self.queue.as_ref().map(ToString::to_string))
            .query("type", self.kind.as_ref().map(ToString::to_string))
            .query("order", order.map(str::to_owned))
            .query("limit", Some(limit.min(PAGE_MAX).to_string()))
            .query("cursor", cursor)
    }

    /// The same of the tasks `ids` alone, which is a term of a query.
    pub(super) fn page_of(&self, ids: &str, cursor: Option<String>) -> Call {
        let query = self.filter.iter().map(String::as_str).chain([ids]);
        let query: Vec<&str> = query.collect();
        self.page_matching(Some(query.join(" ")), PAGE_MAX, cursor)
    }

    fn wanted(&self) -> u64 {
        if self.all { u64::MAX } else { self.limit }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Page {
    pub(super) tasks: Vec<Box<RawValue>>,
    pub(super) next_cursor: Option<String>,
}

/// Lists, once or whenever something changes.
pub(super) async fn run(
    args: &ListArgs,
    client: &Client,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    if args.watch {
        return watch::run(args, client, output).await;
    }
    let streams = matches!(output.format(), Format::Jsonl | Format::Name);
    if args.all && streams {
        return stream(args, client, output).await;
    }
    let listed = listed(args, client).await?;
    output.list(&serde_json::to_string(&listed)?, &TASKS)?;
    Ok(Exit::Done.into())
}

/// As many as are wanted, page by page.
pub(super) async fn listed(args: &ListArgs, client: &Client) -> anyhow::Result<Page> {
    let mut listed = Page {
        tasks: Vec::new(),
        next_cursor: args.cursor.clone(),
    };
    loop {
        let left = args.wanted() - listed.tasks.len() as u64;
        let call = args.page(left, listed.next_cursor.take());
        let page: Page = serde_json::from_str(&client.ask(&call).await?)?;
        listed.tasks.extend(page.tasks);
        listed.next_cursor = page.next_cursor;
        if listed.next_cursor.is_none() || listed.tasks.len() as u64 >= args.wanted() {
            return Ok(listed);
        }
    }
}

/// All of them, printed as they come: nothing is kept.
async fn stream(args: &ListArgs, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
    let mut cursor = args.cursor.clone();
    loop {
        let text = client.ask(&args.page(PAGE_MAX, cursor.take())).await?;
        output.list(&text, &TASKS)?;
        let page: Page = serde_json::from_str(&text)?;
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(Exit::Done.into());
        }
    }
}
