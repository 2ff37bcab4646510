//! The routes of tasks.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use utoipa::ToSchema;
use windlass_core::filter::{Filter, Test};
use windlass_core::gateway::{Order, Reply, Request, Submitted, TaskSpec, TaskState};
use windlass_core::ids::TaskId;
use windlass_core::time::Millis;

use super::body;
use super::cursor::Cursor;
use super::problem::{Fault, Problem};
use super::query::Query;
use super::submission::{self, Refused};
use super::{
    Answer, App, AppState, Named, TASKS_MAX, WAIT_MAX, answer, field, json, reasons, view,
};
use crate::executor::TRACE_PARENT;
use crate::trace;

/// Tasks on a page unless the query says otherwise.
const PAGE_DEFAULT: u32 = 100;
/// Tasks on a page at most.
const PAGE_MAX: u32 = 1_000;
/// Marks the answer to a submission whose key came before.
const REPLAY_HEADER: &str = "idempotent-replay";
/// How many tasks of one array are looked up at the same time, when their keys came before.
const LOOKUPS_MAX: usize = 32;

/// `POST /api/v1/tasks`: one task, or an array of them.
pub(super) async fn submit(State(app): AppState, headers: HeaderMap, body: Body) -> Answer {
    // Held until all is answered.
    let (bytes, _room) = body::read_submission(&app, &headers, body).await?;
    let text = json::text(&bytes).map_err(|fault| Problem::bad(vec![fault]))?;
    let key = submission::key_in(&headers).map_err(|fault| Problem::bad(vec![fault]))?;
    match text.trim_ascii_start().as_bytes().first() {
        Some(b'[') if key.is_some() => Err(Problem::bad_field(
            submission::KEY_HEADER,
            "is for one task; each of an array has a key of its own",
        )),
        Some(b'[') => submit_array(&app, text, trace_in(&headers)).await,
        Some(b'{') => submit_one(&app, text, key.as_deref(), trace_in(&headers)).await,
        Some(_) => Err(Problem::bad_field(
            "body",
            "must be an object or an array of objects",
        )),
        None => Err(Problem::bad_field("body", "is missing")),
    }
}

/// The trace that the request belongs to. One that is not sound is passed over, as W3C wants it.
fn trace_in(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(TRACE_PARENT).iter();
    let (only, None) = (given.next()?, given.next()) else {
        return None;
    };
    only.to_str().ok().filter(|it| trace::is_sound(it))
}

/// Lets a task that says nothing of traces carry the request's.
fn carry(spec: &mut TaskSpec, trace: Option<&str>) {
    if let Some(trace) = trace {
        let carried = spec.metadata.entry(TRACE_PARENT.to_owned());
        carried.or_insert_with(|| trace.to_owned());
    }
}

async fn submit_one(app: &App, text: &str, key: Option<&str>, trace: Option<&str>) -> Answer {
    let payload_max = app.limits().payload_max;
    let spec = submission::read_keyed(text, key, payload_max, app.now()).map_err(refuse)?;
    let fates = send(app, vec![spec], trace).await?;
    let fate = fates.into_iter().next().expect("as many fates as tasks");
    if let Submitted::Unknown { id } = fate {
        return Err(Problem::unknown_fate(&[id]));
    }
    let repeated = matches!(fate, Submitted::Repeated { .. });
    let status = if repeated {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    match item(app, fate).await {
        Item::Accepted(accepted) => {
            let mut response = answer(status, &accepted)?;
            if repeated {
                let headers = response.headers_mut();
                headers.insert(REPLAY_HEADER, HeaderValue::from_static("true"));
            }
            Ok(response)
        }
        Item::Refused { error } => Err(error),
    }
}

fn refuse(refused: Refused) -> Problem {
    let status = if refused.too_large {
        StatusCode::PAYLOAD_TOO_LARGE
    } else {
        StatusCode::BAD_REQUEST
    };
    Problem::faulty(status, refused.faults)
}

/// What became of one task of an array.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AcceptedOrRefused)]
#[serde(untagged)]
pub(super) enum Item {
    Accepted(view::Accepted),
    Refused { error: Problem },
}

/// What became of each task of an array, in order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AcceptedArray)]
pub(super) struct Items {
    tasks: Vec<Item>,
}

async fn submit_array(app: &App, text: &str, trace: Option<&str>) -> Answer {
    let elements = json::elements(text, TASKS_MAX).map_err(|fault| Problem::bad(vec![fault]))?;
    if elements.is_empty() || elements.len() > TASKS_MAX {
        return Err(Problem::bad(vec![Fault::new(
            "body",
            format!("must have 1 to {TASKS_MAX} tasks"),
        )]));
    }
    let (now, payload_max) = (app.now(), app.limits().payload_max);
    let mut specs = Vec::new();
    let read: Vec<Option<Refused>> = elements
        .into_iter()
        .map(|raw| {
            submission::read(raw.get(), payload_max, now)
                .map(|spec| specs.push(spec))
                .err()
        })
        .collect();
    let fates = submit_specs(app, specs, trace).await?;
    let unknown: Vec<TaskId> = fates
        .iter()
        .filter_map(|fate| match fate {
            Submitted::Unknown { id } => Some(*id),
            Submitted::Accepted { .. }
            | Submitted::Repeated { .. }
            | Submitted::KeyTaken { .. }
            | Submitted::Refused(_) => None,
        })
        .collect();
    let items = Items {
        tasks: interleave(app, read, fates).await,
    };
    if unknown.is_empty() {
        answer(StatusCode::CREATED, &items)
    } else {
        Err(Problem::unknown_fate(&unknown).with_tasks(&items.tasks))
    }
}

/// The answer to a submission, of one task or of an array.
#[derive(ToSchema)]
#[schema(as = AcceptedOneOrMany)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described: the two are answered apart")]
pub(super) enum Answered {
    One(view::Accepted),
    Many(Items),
}

/// Submits `specs` as the part of a trace, and tells the fate of each.
async fn send(
    app: &App,
    mut specs: Vec<TaskSpec>,
    trace: Option<&str>,
) -> Result<Vec<Submitted>, Problem> {
    let count = specs.len();
    let _room = app.admission().of_tasks(count)?;
    let sending = app.traces().map(|traces| traces.send(&mut specs, trace));
    if sending.is_none() {
        specs.iter_mut().for_each(|spec| carry(spec, trace));
    }
    let fates = fates(app.ask(Request::Submit(specs)).await, count);
    if let Some(sending) = sending {
        sending.end(fates.as_deref().ok());
    }
    fates
}

/// The fate of each of `specs`. Fails as a whole when the store took none of them for want of room or time.
async fn submit_specs(
    app: &App,
    specs: Vec<TaskSpec>,
    trace: Option<&str>,
) -> Result<Vec<Submitted>, Problem> {
    if specs.is_empty() {
        return Ok(Vec::new());
    }
    let fates = send(app, specs, trace).await?;
    let busy = |fate: &Submitted| {
        matches!(fate, Submitted::Refused(refusal)
            if Problem::refused(refusal).status() == StatusCode::SERVICE_UNAVAILABLE)
    };
    match fates.first() {
        Some(Submitted::Refused(refusal)) if fates.iter().all(busy) => {
            Err(Problem::refused(refusal))
        }
        Some(_) | None => Ok(fates),
    }
}

/// The items in the order of the array: the faulty ones where they stood, the others as the store decided.
async fn interleave(app: &App, read: Vec<Option<Refused>>, fates: Vec<Submitted>) -> Vec<Item> {
    let mut fates = fates.into_iter();
    let ordered: Vec<Result<Submitted, Refused>> = read
        .into_iter()
        .map(|refused| match refused {
            Some(refused) => Err(refused),
            None => Ok(fates.next().expect("a fate for each task that was sound")),
        })
        .collect();
    assert!(fates.next().is_none(), "no fate without a task");
    stream::iter(ordered)
        .map(async |fate| match fate {
            Ok(fate) => item(app, fate).await,
            Err(refused) => Item::Refused {
                error: refuse(refused),
            },
        })
        .buffered(LOOKUPS_MAX)
        .collect()
        .await
}

async fn item(app: &App, fate: Submitted) -> Item {
    let error = match fate {
        Submitted::Accepted { id, state } => {
            return Item::Accepted(view::Accepted::new(id, Some(state)));
        }
        Submitted::Repeated { id } => {
            return Item::Accepted(view::Accepted::new(id, state_of(app, id).await));
        }
        Submitted::KeyTaken { id } => Problem::new(
            StatusCode::CONFLICT,
            "the same key came with another body before",
        )
        .about(id),
        Submitted::Refused(refusal) => Problem::refused(&refusal),
        Submitted::Unknown { id } => Problem::unknown_fate(&[id]).about(id),
    };
    Item::Refused { error }
}

/// The state of a task that was accepted before, unless it is gone already or the store is silent.
async fn state_of(app: &App, task: TaskId) -> Option<TaskState> {
    if let Reply::Task(view) = app.ask(Request::Get { task, wait: None }).await {
        Some(view.state)
    } else {
        None
    }
}

fn fates(reply: Reply, count: usize) -> Result<Vec<Submitted>, Problem> {
    let Reply::Submitted(fates) = reply else {
        return Err(match reply {
            Reply::TimedOut => Problem::unknown_fate(&[]),
            Reply::Submitted(_)
            | Reply::Task(_)
            | Reply::Tasks { .. }
            | Reply::Found { .. }
            | Reply::Count { .. }
            | Reply::Why(_)
            | Reply::Stats(_)
            | Reply::Queues(_)
            | Reply::Nodes(_)
            | Reply::Changes(_)
            | Reply::Missed { .. }
            | Reply::Timings(_)
            | Reply::Lock { .. }
            | Reply::Remote(_)
            | Reply::Done
            | Reply::NotFound
            | Reply::Forbidden { .. }
            | Reply::Refused(_)
            | Reply::NotReady => Problem::from_reply(&reply, "task"),
        });
    };
    if fates.len() == count {
        Ok(fates)
    } else {
        Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the gateway told the fate of another number of tasks",
        ))
    }
}

/// `GET /api/v1/tasks/ID`, at once or when it has ended.
pub(super) async fn show(State(app): AppState, Named(task): Named<TaskId>, uri: Uri) -> Answer {
    let mut query = Query::of(&uri)?;
    let most = Millis::new(u64::try_from(WAIT_MAX.as_millis()).unwrap_or(u64::MAX));
    let wait = query.take("wait", |text| field::span_text(text, Millis::ZERO, most));
    query.close()?;
    let wait = wait.map(Duration::from).filter(|wait| !wait.is_zero());
    let request = Request::Get { task, wait };
    shown(app.ask_waiting(request, wait.unwrap_or_default()).await)
}

/// `POST /api/v1/tasks/ID/cancel`
pub(super) async fn cancel(State(app): AppState, Named(task): Named<TaskId>) -> Answer {
    shown(app.ask(Request::Cancel(task)).await)
}

/// `POST /api/v1/tasks/ID/rerun`
pub(super) async fn rerun(State(app): AppState, Named(task): Named<TaskId>) -> Answer {
    shown(app.ask(Request::Rerun(task)).await)
}

fn shown(reply: Reply) -> Answer {
    if let Reply::Task(task) = &reply {
        answer(StatusCode::OK, &view::Task::of(task))
    } else {
        Err(Problem::from_reply(&reply, "task"))
    }
}

/// `GET /api/v1/tasks/ID/why`
pub(super) async fn why(State(app): AppState, Named(task): Named<TaskId>) -> Answer {
    let reply = app.ask(Request::Why(task)).await;
    if let Reply::Why(why) = &reply {
        answer(StatusCode::OK, &reasons::Reasons::of(why))
    } else {
        Err(Problem::from_reply(&reply, "task"))
    }
}

/// `GET /api/v1/tasks`
pub(super) async fn list(State(app): AppState, uri: Uri) -> Answer {
    let mut query = Query::of(&uri)?;
    let filter = take_filter(&mut query);
    let order = query.take("order", read_order);
    let limit = query.take("limit", |text| match field::whole_text(text, PAGE_MAX) {
        Ok(0) | Err(_) => Err(format!("must be a whole number from 1 to {PAGE_MAX}")),
        Ok(limit) => Ok(limit),
    });
    let cursor = query.take("cursor", |text| Cursor::read(text, order));
    query.close()?;
    let order = order
        .or_else(|| cursor.map(|it| it.order))
        .unwrap_or_default();
    let request = Request::List {
        filter,
        order,
        limit: limit.unwrap_or(PAGE_DEFAULT),
        after: cursor.map(|it| it.behind),
    };
    let reply = app.ask(request).await;
    if let Reply::Tasks { tasks, next } = &reply {
        let page = view::Tasks {
            tasks: tasks.iter().map(view::Task::of).collect(),
            next_cursor: next.map(|behind| Cursor { order, behind }.to_string()),
        };
        answer(StatusCode::OK, &page)
    } else {
        Err(Problem::from_reply(&reply, "task"))
    }
}

/// `GET /api/v1/tasks/count`
pub(super) async fn count(State(app): AppState, uri: Uri) -> Answer {
    let mut query = Query::of(&uri)?;
    let filter = take_filter(&mut query);
    query.close()?;
    let reply = app.ask(Request::Count(filter)).await;
    if let Reply::Count { count, exact } = reply {
        answer(StatusCode::OK, &view::Count { count, exact })
    } else {
        Err(Problem::from_reply(&reply, "task"))
    }
}

/// What `q` asks for, and the parameters that are short for terms of it.
fn take_filter(query: &mut Query) -> Filter {
    let mut filter: Filter = query.take("q", from_text).unwrap_or_default();
    if let Some(state) = query.take("state", from_text) {
        filter = filter.and(Test::State(vec![state]));
    }
    if let Some(queue) = query.take("queue", from_text) {
        filter = filter.of_queue(&queue);
    }
    if let Some(kind) = query.take("type", from_text) {
        filter = filter.of_type(&kind);
    }
    filter
}

fn read_order(text: &str) -> Result<Order, String> {
    match text {
        "oldest" => Ok(Order::Oldest),
        "newest" => Ok(Order::Newest),
        _ => Err("must be oldest or newest".to_owned()),
    }
}

fn from_text<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}
