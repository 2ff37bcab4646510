//! Cancelling or rerunning every task that a query means: one page of them a call, so that any gateway can go on with it,
//! and stopping is not asking again.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use windlass_core::filter::{Filter, Test};
use windlass_core::gateway::{FIND_MAX, Order, Reply, Request, TaskState};
use windlass_core::ids::TaskId;

use super::body::{self, Size};
use super::cursor::Cursor;
use super::describe::types;
use super::json::Object;
use super::problem::Problem;
use super::{Answer, App, AppState, answer, field, json};

/// How many tasks are acted on at the same time.
const AT_ONCE_MAX: usize = 64;

/// What is done to each task.
#[derive(Debug, Clone, Copy)]
enum Action {
    Cancel,
    Rerun,
}

impl Action {
    fn read(raw: &RawValue) -> Result<Self, String> {
        match field::string(raw)?.as_str() {
            "cancel" => Ok(Self::Cancel),
            "rerun" => Ok(Self::Rerun),
            _ => Err("must be cancel or rerun".to_owned()),
        }
    }

    /// The states in which it can be done.
    fn states(self) -> Vec<TaskState> {
        let all = TaskState::ALL.into_iter();
        match self {
            Self::Cancel => all.filter(|state| !state.has_ended()).collect(),
            Self::Rerun => vec![TaskState::Failed, TaskState::Cancelled],
        }
    }

    fn request(self, task: TaskId) -> Request {
        match self {
            Self::Cancel => Request::Cancel(task),
            Self::Rerun => Request::Rerun(task),
        }
    }
}

/// What is asked for.
#[derive(Debug)]
struct Bulk {
    action: Action,
    filter: Filter,
    limit: u32,
    cursor: Option<Cursor>,
    dry_run: bool,
}

/// What became of one page.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BulkDone)]
pub(super) struct Done {
    matched: usize,
    done: usize,
    refused: Vec<Refused>,
    /// Where to go on; null when nothing is left.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// A task that it was not done to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BulkRefused)]
struct Refused {
    #[schema(value_type = types::Id)]
    id: String,
    error: Problem,
}

/// `POST /api/v1/tasks/bulk`
pub(super) async fn act(State(app): AppState, headers: HeaderMap, body: Body) -> Answer {
    let bytes = body::read(&app, &headers, body, Size::Small).await?;
    let text = json::text(&bytes).map_err(|fault| Problem::bad(vec![fault]))?;
    let bulk = read(text)?;
    // Ids only grow behind a cursor, whatever becomes of the tasks before it: none is skipped, none is met twice.
    let request = Request::Find {
        filter: bulk.filter,
        order: Order::Oldest,
        limit: bulk.limit,
        after: bulk.cursor.map(|it| it.behind),
    };
    let reply = app.ask(request).await;
    let Reply::Found { ids, next } = reply else {
        return Err(Problem::from_reply(&reply, "task"));
    };
    let matched = ids.len();
    let mut refused = Vec::new();
    if !bulk.dry_run {
        let fates = stream::iter(ids).map(|id| one(&app, bulk.action, id));
        let fates: Vec<_> = fates.buffered(AT_ONCE_MAX).collect().await;
        refused.extend(fates.into_iter().flatten());
    }
    let done = if bulk.dry_run {
        0
    } else {
        matched - refused.len()
    };
    let order = Order::Oldest;
    let next_cursor = next.map(|behind| Cursor { order, behind }.to_string());
    let told = Done {
        matched,
        done,
        refused,
        next_cursor,
    };
    answer(StatusCode::OK, &told)
}

/// Does it to one task; what it is refused with, if it is.
async fn one(app: &App, action: Action, id: TaskId) -> Option<Refused> {
    let reply = app.ask(action.request(id)).await;
    if let Reply::Task(_) = reply {
        return None;
    }
    Some(Refused {
        id: id.to_string(),
        error: Problem::from_reply(&reply, "task"),
    })
}

fn read(text: &str) -> Result<Bulk, Problem> {
    let bad = |fault| Problem::bad(vec![fault]);
    let mut object = Object::open("", text).map_err(bad)?;
    let action = object.take("action", Action::read);
    let filter = object.take("q", |raw| {
        let filter: Filter = field::parsed(raw)?;
        if filter.is_empty() {
            return Err("must not be empty: it would mean every task".to_owned());
        }
        Ok(filter)
    });
    let limit = object.take("limit", |raw| match field::whole(raw, FIND_MAX) {
        Ok(0) | Err(_) => Err(format!("must be a whole number from 1 to {FIND_MAX}")),
        Ok(limit) => Ok(limit),
    });
    let cursor = object.take("cursor", |raw| {
        Cursor::read(&field::string(raw)?, Some(Order::Oldest))
    });
    let dry_run = object.take("dry_run", field::boolean);
    if object.is_sound() {
        if action.is_none() {
            object.refuse("action", "is missing");
        }
        if filter.is_none() {
            object.refuse("q", "is missing");
        }
    }
    let faults = object.close();
    match (action, filter) {
        (Some(action), Some(filter)) if faults.is_empty() => Ok(Bulk {
            action,
            filter: filter.and(Test::State(action.states())),
            limit: limit.unwrap_or(FIND_MAX),
            cursor,
            dry_run: dry_run.unwrap_or(false),
        }),
        (Some(_) | None, Some(_) | None) => Err(Problem::bad(faults)),
    }
}
