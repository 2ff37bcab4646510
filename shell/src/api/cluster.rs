//! The routes of counts, queues and nodes.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use windlass_core::gateway::{QueueView, Reply, Request};
use windlass_core::ids::{NodeId, QueueName};

use super::body::{self, Size};
use super::json::Object;
use super::problem::Problem;
use super::{Answer, App, AppState, Named, answer, field, json, view};
use crate::clock::Clock;

/// `GET /api/v1/stats`
pub(super) async fn stats(State(app): AppState) -> Answer {
    answer(StatusCode::OK, &stats_now(&app).await?)
}

/// Counts, and how fast they have grown.
pub(super) async fn stats_now(app: &App) -> Result<view::Stats, Problem> {
    let reply = app.ask(Request::Stats).await;
    if let Reply::Stats(stats) = &reply {
        let rates = app.0.history.rates(app.0.clock.now().mono);
        Ok(view::Stats::of(stats, rates))
    } else {
        Err(Problem::from_reply(&reply, "count"))
    }
}

/// The queues.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Queues<'a> {
    queues: Vec<view::Queue<'a>>,
}

/// `GET /api/v1/queues`
pub(super) async fn queues(State(app): AppState) -> Answer {
    let reply = app.ask(Request::Queues).await;
    if let Reply::Queues(queues) = &reply {
        let queues = queues.iter().map(view::Queue::of).collect();
        answer(StatusCode::OK, &Queues { queues })
    } else {
        Err(Problem::from_reply(&reply, "queue"))
    }
}

/// `GET /api/v1/queues/Q`
pub(super) async fn queue(State(app): AppState, Named(queue): Named<QueueName>) -> Answer {
    one_queue(&app.ask(Request::Queues).await, &queue)
}

/// `PUT /api/v1/queues/Q`
pub(super) async fn configure(
    State(app): AppState,
    Named(queue): Named<QueueName>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let bytes = body::read(&app, &headers, body, Size::Small).await?;
    let bad = |fault| Problem::bad(vec![fault]);
    let mut object = Object::open("", json::text(&bytes).map_err(bad)?).map_err(bad)?;
    let strategy = object.take("strategy", field::parsed);
    if strategy.is_none() && object.is_sound() {
        object.refuse("strategy", "is missing");
    }
    let faults = object.close();
    if !faults.is_empty() {
        return Err(Problem::bad(faults));
    }
    let request = Request::ConfigureQueue {
        queue: queue.clone(),
        strategy,
        paused: None,
    };
    one_queue(&app.ask(request).await, &queue)
}

/// `POST /api/v1/queues/Q/pause`
pub(super) async fn pause(app: AppState, queue: Named<QueueName>) -> Answer {
    set_paused(app, queue, true).await
}

/// `POST /api/v1/queues/Q/resume`
pub(super) async fn resume(app: AppState, queue: Named<QueueName>) -> Answer {
    set_paused(app, queue, false).await
}

async fn set_paused(State(app): AppState, Named(queue): Named<QueueName>, paused: bool) -> Answer {
    let request = Request::ConfigureQueue {
        queue: queue.clone(),
        strategy: None,
        paused: Some(paused),
    };
    one_queue(&app.ask(request).await, &queue)
}

fn one_queue(reply: &Reply, name: &QueueName) -> Answer {
    let Reply::Queues(queues) = reply else {
        return Err(Problem::from_reply(reply, "queue"));
    };
    let named = |queue: &&QueueView| queue.name == *name;
    match queues.iter().find(named) {
        Some(queue) => answer(StatusCode::OK, &view::Queue::of(queue)),
        None => Err(Problem::from_reply(&Reply::NotFound, "queue")),
    }
}

/// The live nodes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Nodes<'a> {
    nodes: Vec<view::Node<'a>>,
}

/// `GET /api/v1/nodes`
pub(super) async fn nodes(State(app): AppState) -> Answer {
    let reply = app.ask(Request::Nodes).await;
    if let Reply::Nodes(nodes) = &reply {
        let nodes = nodes.iter().map(view::Node::of).collect();
        answer(StatusCode::OK, &Nodes { nodes })
    } else {
        Err(Problem::from_reply(&reply, "node"))
    }
}

/// `POST /api/v1/nodes/ID/drain`
pub(super) async fn drain(State(app): AppState, Named(node): Named<NodeId>) -> Answer {
    let reply = app.ask(Request::Drain(node.clone())).await;
    let Reply::Nodes(nodes) = &reply else {
        return Err(Problem::from_reply(&reply, "node"));
    };
    match nodes.iter().find(|found| found.id == node) {
        Some(node) => answer(StatusCode::OK, &view::Node::of(node)),
        None => Err(Problem::from_reply(&Reply::NotFound, "node")),
    }
}
