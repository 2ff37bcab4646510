//! What `top` asks the servers: everything anew when something changed, or every few seconds when they do not tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};

use super::app::{Action, Event};
use crate::cli::exit::CliError;
use crate::cli::output::{Look, cell};
use crate::cli::servers::{self, Call, Client};
use crate::cli::sse::Feed;
use crate::cli::task::{FIELDS, estimate};

/// How often the servers are asked while they do not tell of changes.
const POLL_EVERY: Duration = Duration::from_secs(2);
/// How often while they do: what they forget to tell of is seen too.
const SURE_EVERY: Duration = Duration::from_secs(15);
/// The least time from one round of questions to the next.
const ROUND_PAUSE: Duration = Duration::from_millis(500);
/// How long after the servers' changes stopped they are asked for again.
const LIVE_PAUSE: Duration = Duration::from_secs(5);
/// So many of the newest tasks are shown.
const TASKS_MAX: u32 = 200;
/// How many pages are looked through for them: a query that matches little must not keep the screen waiting.
const PAGES_MAX: usize = 5;

/// Asks for all that is shown; for tasks only when they are.
pub(super) async fn load(
    client: &Client,
    query: &str,
    with_tasks: bool,
) -> Result<Vec<Event>, CliError> {
    let mut events = vec![
        Event::Stats(ask(client, "/api/v1/stats").await?),
        Event::Queues(list(ask(client, "/api/v1/queues").await?, "queues")),
        Event::Nodes(list(ask(client, "/api/v1/nodes").await?, "nodes")),
    ];
    if with_tasks {
        events.push(tasks(client, query).await?);
    }
    Ok(events)
}

async fn ask(client: &Client, path: &str) -> Result<Value, CliError> {
    servers::parsed(&client.ask(&Call::get(path)).await?)
}

fn list(mut answer: Value, field: &str) -> Vec<Value> {
    match answer[field].take() {
        Value::Array(items) => items,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Vec::new()
        }
    }
}

async fn tasks(client: &Client, query: &str) -> Result<Event, CliError> {
    let mut found = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let call = Call::get("/api/v1/tasks")
            .query(
                "q",
                Some(query.to_owned()).filter(|query| !query.is_empty()),
            )
            .query("order", Some("newest".to_owned()))
            .query("limit", Some(TASKS_MAX.to_string()))
            .query("cursor", cursor.take());
        let page: Value = servers::parsed(&client.ask(&call).await?)?;
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        found.extend(list(page, "tasks"));
        if cursor.is_none() || found.len() >= TASKS_MAX as usize {
            break;
        }
    }
    Ok(Event::Tasks {
        query: query.to_owned(),
        tasks: found,
    })
}

/// What is shown, as far as it decides what is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) query: String,
    pub(super) tasks: bool,
}

/// Asks again and again, and tells `events`, until nobody listens.
pub(super) async fn keep_loading(
    client: Arc<Client>,
    mut shown: watch::Receiver<Shown>,
    changed: Arc<Notify>,
    events: mpsc::Sender<Event>,
) {
    let is_live = AtomicBool::new(false);
    let live = async {
        loop {
            let mut feed = Feed::new(&client, None, None);
            while feed.next().await.is_ok() {
                is_live.store(true, Ordering::Relaxed);
                changed.notify_one();
                if events.send(Event::Live(true)).await.is_err() {
                    return;
                }
            }
            is_live.store(false, Ordering::Relaxed);
            if events.send(Event::Live(false)).await.is_err() {
                return;
            }
            tokio::time::sleep(LIVE_PAUSE).await;
        }
    };
    let rounds = async {
        loop {
            let Shown { query, tasks } = shown.borrow_and_update().clone();
            let told = match load(&client, &query, tasks).await {
                Ok(told) => told,
                Err(error) => vec![Event::Lost(error.message)],
            };
            for event in told {
                if events.send(event).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(ROUND_PAUSE).await;
            let pause = if is_live.load(Ordering::Relaxed) {
                SURE_EVERY
            } else {
                POLL_EVERY
            };
            tokio::select! { biased;
                asked = shown.changed() => if asked.is_err() { return },
                () = changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    };
    tokio::select! { biased;
        () = rounds => {}
        () = live => {}
    }
}

/// Does `action`, and says how that went.
pub(super) async fn act(client: &Client, action: &Action) -> Event {
    let path = match action {
        Action::Pause(queue) => format!("/api/v1/queues/{queue}/pause"),
        Action::Resume(queue) => format!("/api/v1/queues/{queue}/resume"),
        Action::Cancel(task) => format!("/api/v1/tasks/{task}/cancel"),
        Action::Rerun(task) => format!("/api/v1/tasks/{task}/rerun"),
        Action::Drain(node) => format!("/api/v1/nodes/{node}/drain"),
    };
    match client.ask(&Call::post(path)).await {
        Ok(_) => Event::Done(format!("done: {}", action.told())),
        Err(error) => Event::Failed(error.message),
    }
}

/// Everything about a task.
pub(super) async fn show(client: &Client, id: &str, look: &Look) -> Event {
    match ask(client, &format!("/api/v1/tasks/{id}")).await {
        Err(error) => Event::Failed(error.message),
        Ok(task) => Event::Told {
            title: format!("Task {id}"),
            lines: FIELDS
                .iter()
                .map(|(field, kind)| {
                    format!("{field:<14}{}", kind.cell(&task[*field], look).text())
                })
                .collect(),
        },
    }
}

/// Why a task waits.
pub(super) async fn why(client: &Client, id: &str, look: &Look) -> Event {
    let why = match ask(client, &format!("/api/v1/tasks/{id}/why")).await {
        Err(error) => return Event::Failed(error.message),
        Ok(why) => why,
    };
    let mut lines = Vec::new();
    for reason in why["reasons"].as_array().into_iter().flatten() {
        lines.push(cell(&reason["message"]));
    }
    if let Some(ahead) = why["ahead"].as_u64() {
        lines.push(format!("{ahead} tasks of its queue go before it"));
    }
    lines.extend(estimate(&why["estimate"], look));
    Event::Told {
        title: format!("Why {id}"),
        lines,
    }
}
