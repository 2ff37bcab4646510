//! `windlass task list --watch`: on a terminal the list anew whenever something changes, on a pipe each task that changed.

use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::list::{ListArgs, Page, listed};
use super::show::TASKS;
use crate::cli::exit::Exit;
use crate::cli::output::{Format, Output, Table, write_stdout};
use crate::cli::servers::{self, Client};
use crate::cli::sse::{Feed, Frame};

/// The least time from one drawing of the list to the next.
const DRAW_PAUSE: Duration = Duration::from_secs(1);
/// The most bytes of one query: a little less than servers bear.
const QUERY_BYTES_MAX: usize = 2_000;

#[derive(Debug, Deserialize)]
struct Changes {
    tasks: Vec<Changed>,
    #[serde(default)]
    tasks_omitted: u64,
}

#[derive(Debug, Deserialize)]
struct Changed {
    id: String,
}

/// Goes on until it is interrupted, or nobody reads it any more.
pub(super) async fn run(
    args: &ListArgs,
    client: &Client,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let redraws = output.look().terminal && matches!(output.format(), Format::Table | Format::Wide);
    let mut feed = Feed::new(client, Some("tasks".to_owned()), None);
    let ended = if redraws {
        draw(args, client, output, &mut feed).await
    } else {
        follow(args, client, output, &mut feed).await
    };
    match ended {
        Err(error) if reader_left(&error) => Ok(Exit::Done.into()),
        Err(error) => Err(error),
        Ok(never) => match never {},
    }
}

fn reader_left(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

async fn draw(
    args: &ListArgs,
    client: &Client,
    output: &Output,
    feed: &mut Feed<'_>,
) -> anyhow::Result<std::convert::Infallible> {
    loop {
        let drawn = Instant::now();
        let page = serde_json::to_string(&listed(args, client).await?)?;
        let page: Value = serde_json::from_str(&page)?;
        let tasks = page["tasks"].as_array().map_or(&[][..], Vec::as_slice);
        // Times are told as seen from now.
        let look = output.refreshed();
        let table = Table::of(tasks, TASKS.columns, output.format() == Format::Wide, &look);
        let text = table.render(&look, true).replace('\n', "\u{1b}[K\n");
        // Begin of a synchronised update, home, the lines, what is left below erased, end of the update.
        write_stdout(&format!("\u{1b}[?2026h\u{1b}[H{text}\u{1b}[J\u{1b}[?2026l"))?;
        feed.next().await?;
        tokio::time::sleep_until(drawn + DRAW_PAUSE).await;
        // What came meanwhile is seen by the same look.
        while let Ok(frame) = tokio::time::timeout(Duration::ZERO, feed.next()).await {
            frame?;
        }
    }
}

async fn follow(
    args: &ListArgs,
    client: &Client,
    output: &Output,
    feed: &mut Feed<'_>,
) -> anyhow::Result<std::convert::Infallible> {
    let mut heading = true;
    loop {
        let Frame { event, data, .. } = feed.next().await?;
        if event == "resync" {
            crate::cli::output::note("changes were missed here");
        }
        if event != "changes" {
            continue;
        }
        let changes: Changes = servers::parsed(&data)?;
        if changes.tasks_omitted > 0 {
            let told = format!("{} more tasks changed", changes.tasks_omitted);
            crate::cli::output::note(&told);
        }
        let ids: Vec<&str> = changes.tasks.iter().map(|task| task.id.as_str()).collect();
        let taken = args.filter.as_ref().map_or(0, String::len);
        for query in queries(&ids, QUERY_BYTES_MAX.saturating_sub(taken)) {
            let tasks = matching(args, &query, client).await?;
            if !tasks.is_empty() {
                output.stream(&tasks, &TASKS, heading)?;
                heading = false;
            }
        }
    }
}

/// Queries for all of `ids`, each of at most so many bytes unless one id alone has more.
fn queries(ids: &[&str], bytes_max: usize) -> Vec<String> {
    let mut queries: Vec<String> = Vec::new();
    for id in ids {
        match queries.last_mut() {
            Some(last) if last.len() + id.len() < bytes_max => {
                last.push(',');
                last.push_str(id);
            }
            Some(_) | None => queries.push(format!("id:{id}")),
        }
    }
    queries
}

/// Those of the tasks `ids` that the list would show.
async fn matching(args: &ListArgs, ids: &str, client: &Client) -> anyhow::Result<Vec<Value>> {
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let text = client.ask(&args.page_of(ids, cursor)).await?;
        let Page { tasks, next_cursor } = servers::parsed(&text)?;
        for task in tasks {
            found.push(serde_json::from_str(task.get())?);
        }
        cursor = next_cursor;
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_asked_for_in_queries_that_are_short_enough() {
        let ids = vec!["019aa000-0000-7000-8000-000000000000"; 500];
        for (most, expected) in [(2_000, 10), (75, 500), (76, 250), (0, 500)] {
            let queries = queries(&ids, most);
            assert!(
                queries.iter().all(|query| query.len() <= most.max(39)),
                "{most}"
            );
            let asked: usize = queries.iter().map(|query| query.split(',').count()).sum();
            assert_eq!((asked, queries.len()), (500, expected), "{most}");
        }
    }
}
