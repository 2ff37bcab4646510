//! Every route: where it is, what it needs, who serves it, and what it says of itself.

use axum::http::StatusCode;

use super::access::Access::{Admin, Open, Operate, Read, Submit, Work};
use super::access::{audit, session};
use super::describe::types::{
    Bulk, Document, HistoryRange, Id, LockProof, LockTake, Name, Order, PageSize, QueueSettings,
    SessionBegin, Span, Status, Submissions, Terms, Text,
};
use super::route::Route;
use super::workers::described::{
    WorkerBeat, WorkerBeaten, WorkerDone, WorkerFetch, WorkerJoin, WorkerLeft, WorkerNews,
    WorkerProof, WorkerRecorded, WorkerSession,
};
use super::{
    bulk, cluster, events, health, history, locks, metrics, reasons, tasks, view, workers,
};

const OK: StatusCode = StatusCode::OK;

const TASK_ID: &str = "The task's id.";
const QUEUE: &str = "The queue's name.";
const LOCK: &str = "The lock's name.";
const EVENTS: &str = "A stream of server-sent events that never ends by itself. `changes` (at most four a second) tells what has changed since the one before: each task once, as it is now, at most 500 tasks and 100 queues, the rest counted; its id is the revision to come back with. The first one tells only where the stream begins. `stats` (at most one a second) has the counts of `/api/v1/stats`. `resync` says that changes were missed: read anew what you show. A comment comes every 15 seconds. A status is that of a task, or `ended` (it ended while it was told to stop: it was cancelled, or had completed just before) or `unknown` (a later version wrote where it is): ask for the task.";
const HISTORY: &str = "Kept in the memory of this scheduler since it started. Waits are from when a task was accepted or became due until it was given to a worker; runs are from when this scheduler saw that until it saw that the attempt was over, the wait for a slot of the worker included. Both are read from buckets, so that they are right to about a third.";
const QUERY: &str = "A query is a list of terms with white space between them, all of which hold: `field:value`, `field:a,b` for any of them, `-field:value` for none. Fields are state, queue, type, worker, name and meta.KEY (a `*` behind a value leaves its end open), id (its beginning), priority, retries and losses (`3`, `>2` …), error (a text in it), created and ended (`>T` or `<T`, where T is a time, a date, or an age such as `-1h`). A word alone is looked for in id, type, queue, name and error. Values with spaces stand in double quotes. At most 2,048 bytes and 32 terms.";
const BULK: &str = "Ask again with `next_cursor` until it is null; any scheduler can go on, and whoever stops asking stops it.";
const REASON: &str = "Why, for the audit log; at most 256 characters.";

/// The whole table.
pub(super) fn all() -> Vec<Route> {
    [
        of_tasks(),
        of_queues(),
        of_the_cluster(),
        of_changes(),
        of_locks(),
        of_workers(),
        of_access(),
        of_the_server(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A route whose tasks a query says.
fn filtered(route: Route) -> Route {
    route
        .query::<Terms>("q", "Only those that this query means.")
        .query::<Status>("state", "Only in this state; short for a term of `q`.")
        .query::<Name>("queue", "Only of this queue; short for a term of `q`.")
        .query::<Name>("type", "Only of this type; short for a term of `q`.")
}

fn of_tasks() -> Vec<Route> {
    vec![
        Route::post(
            "/api/v1/tasks",
            Submit,
            ("submitTasks", "Submit one task, or an array of up to 1,000. A repeated key with the same body gives the first id."),
            tasks::submit,
        )
        .takes::<Submissions>()
        .header::<Text>("Idempotency-Key", "The same as `key` in the body of one task, bare or as a quoted string. An answer to a repeated one bears `Idempotent-Replay: true`.")
        .header::<Text>("traceparent", "The W3C trace context, which tasks that have none carry to their handlers, in their metadata. A server that exports traces lets them carry its own span, below that one.")
        .answers::<view::Accepted>(OK, "The key came with the same body before: the first task.")
        .answers::<tasks::Answered>(StatusCode::CREATED, "Accepted. For an array: what became of each task, in order.")
        .refuses(&[400, 408, 409, 413, 415, 503, 504]),
        filtered(Route::get("/api/v1/tasks", Read, ("listTasks", "List tasks, page by page, in the order in which they were accepted."), tasks::list))
            .explains(QUERY)
            .query::<Order>("order", "Which come first. Each order has its own cursors.")
            .query::<PageSize>("limit", "Tasks on the page at most; there may be fewer, and more pages all the same.")
            .query::<Text>("cursor", "`next_cursor` of the page before; a page that found nothing yet may have one, too.")
            .answers::<view::Tasks<'static>>(OK, "A page.")
            .refuses(&[400, 503, 504])
            .costly(),
        filtered(Route::get("/api/v1/tasks/count", Read, ("countTasks", "Count the tasks that a query means."), tasks::count))
            .answers::<view::Count>(OK, "How many were found.")
            .refuses(&[400, 503, 504])
            .costly(),
        Route::post("/api/v1/tasks/bulk", Operate, ("actOnTasks", "Cancel, or run again, a page of the tasks that a query means."), bulk::act)
            .explains(BULK)
            .header::<Text>("X-Windlass-Reason", REASON)
            .takes::<Bulk>()
            .answers::<bulk::Done>(OK, "What became of the page.")
            .refuses(&[400, 408, 413, 415, 503, 504])
            .costly(),
        Route::get("/api/v1/tasks/{id}", Read, ("getTask", "Show a task, at once or when it has ended."), tasks::show)
            .variable::<Id>("id", TASK_ID)
            .query::<Span>("wait", "Wait this long, at most 60s, for the task to end.")
            .answers::<view::Task<'static>>(OK, "The task; not ended if the wait ran out.")
            .refuses(&[400, 404, 503, 504]),
        Route::post("/api/v1/tasks/{id}/cancel", Operate, ("cancelTask", "Cancel a task."), tasks::cancel)
            .variable::<Id>("id", TASK_ID)
            .header::<Text>("X-Windlass-Reason", REASON)
            .answers::<view::Task<'static>>(OK, "The task.")
            .refuses(&[400, 404, 409, 503, 504]),
        Route::post("/api/v1/tasks/{id}/rerun", Operate, ("rerunTask", "Run a failed or cancelled task again."), tasks::rerun)
            .variable::<Id>("id", TASK_ID)
            .header::<Text>("X-Windlass-Reason", REASON)
            .answers::<view::Task<'static>>(OK, "The task.")
            .refuses(&[400, 404, 409, 503, 504]),
        Route::get("/api/v1/tasks/{id}/why", Read, ("whyTask", "Say why a task is not running."), tasks::why)
            .variable::<Id>("id", TASK_ID)
            .answers::<reasons::Reasons<'static>>(OK, "What stands in its way.")
            .refuses(&[400, 404, 503, 504]),
    ]
}

fn of_queues() -> Vec<Route> {
    let queue = |route: Route| {
        route
            .variable::<Name>("queue", QUEUE)
            .answers::<view::Queue<'static>>(OK, "The queue.")
            .refuses(&[400, 404, 503, 504])
    };
    vec![
        Route::get(
            "/api/v1/queues",
            Read,
            ("listQueues", "List the queues."),
            cluster::queues,
        )
        .answers::<cluster::Queues<'static>>(OK, "The queues, by name.")
        .refuses(&[503, 504]),
        queue(Route::get(
            "/api/v1/queues/{queue}",
            Read,
            ("getQueue", "Show a queue."),
            cluster::queue,
        )),
        queue(Route::put(
            "/api/v1/queues/{queue}",
            Operate,
            (
                "configureQueue",
                "Change how a queue's tasks are spread over its workers.",
            ),
            cluster::configure,
        ))
        .header::<Text>("X-Windlass-Reason", REASON)
        .takes::<QueueSettings>()
        .refuses(&[408, 413, 415]),
        queue(Route::post(
            "/api/v1/queues/{queue}/pause",
            Operate,
            ("pauseQueue", "Let a queue's tasks wait."),
            cluster::pause,
        ))
        .header::<Text>("X-Windlass-Reason", REASON),
        queue(Route::post(
            "/api/v1/queues/{queue}/resume",
            Operate,
            ("resumeQueue", "Let a paused queue's tasks go on."),
            cluster::resume,
        ))
        .header::<Text>("X-Windlass-Reason", REASON),
    ]
}

fn of_the_cluster() -> Vec<Route> {
    vec![
        Route::get(
            "/api/v1/stats",
            Read,
            ("getStats", "Count tasks, nodes and slots."),
            cluster::stats,
        )
        .answers::<view::Stats>(OK, "Counts.")
        .refuses(&[503, 504]),
        Route::get(
            "/api/v1/nodes",
            Read,
            ("listNodes", "List the live schedulers and workers."),
            cluster::nodes,
        )
        .answers::<cluster::Nodes<'static>>(OK, "The nodes, by role and id.")
        .refuses(&[503, 504]),
        Route::post(
            "/api/v1/nodes/{id}/drain",
            Operate,
            ("drainNode", "Tell a worker to take no new tasks."),
            cluster::drain,
        )
        .variable::<Name>("id", "The node's id.")
        .header::<Text>("X-Windlass-Reason", REASON)
        .answers::<view::Node<'static>>(OK, "The node.")
        .refuses(&[400, 404, 503, 504]),
    ]
}

fn of_changes() -> Vec<Route> {
    vec![
        Route::get(
            "/api/v1/events",
            Read,
            ("followEvents", "Follow what changes, as it happens."),
            events::events,
        )
        .explains(EVENTS)
        .query::<Text>(
            "topics",
            "What to tell, with commas between: tasks, queues, nodes, stats; all by default.",
        )
        .query::<Text>(
            "after",
            "Begin behind this revision: the id of the last event that was read.",
        )
        .header::<Text>(
            "Last-Event-ID",
            "The same, and stronger: browsers send it when they come back.",
        )
        .answers_as::<Text>(OK, "The stream.", "text/event-stream")
        .refuses(&[400, 503]),
        Route::get(
            "/api/v1/history",
            Read,
            ("getHistory", "Show the last while as points of a chart."),
            history::show,
        )
        .explains(HISTORY)
        .query::<HistoryRange>(
            "range",
            "An hour in steps of 5 seconds, or a day in steps of 60.",
        )
        .answers::<history::Shown>(OK, "The points.")
        .refuses(&[400]),
    ]
}

fn of_locks() -> Vec<Route> {
    let lock = |route: Route| {
        route
            .variable::<Name>("key", LOCK)
            .refuses(&[400, 404, 408, 409, 413, 415, 503, 504])
    };
    vec![
        lock(Route::post(
            "/api/v1/locks/{key}",
            Submit,
            ("takeLock", "Take a lock, waiting for it in turn."),
            locks::take,
        ))
        .may_take::<LockTake>()
        .answers::<locks::Held>(OK, "The lock is held."),
        lock(Route::put(
            "/api/v1/locks/{key}",
            Submit,
            ("renewLock", "Keep a lock."),
            locks::renew,
        ))
        .takes::<LockProof>()
        .answers::<locks::Held>(OK, "The lock is held."),
        lock(Route::delete(
            "/api/v1/locks/{key}",
            Submit,
            (
                "releaseLock",
                "Give a lock back. The token comes in the body or in the query.",
            ),
            locks::release,
        ))
        .query::<Text>("token", "Proof of holding it.")
        .may_take::<LockProof>()
        .answers::<locks::Held>(OK, "The lock was given back."),
    ]
}

fn of_workers() -> Vec<Route> {
    const WORKER: &str = "The worker's id, as joining gave it.";
    let worker = |route: Route| {
        route
            .variable::<Name>("id", WORKER)
            .refuses(&[400, 408, 410, 413, 415, 503, 504])
    };
    vec![
        Route::post(
            "/api/v1/workers",
            Work,
            (
                "joinWorker",
                "Take part as a worker that talks HTTP. The protocol is a chapter of the guide.",
            ),
            workers::join,
        )
        .takes::<WorkerJoin>()
        .answers::<WorkerSession>(
            StatusCode::CREATED,
            "It takes part; its first fetch makes its offer.",
        )
        .refuses(&[400, 408, 409, 413, 415, 503, 504]),
        worker(Route::post(
            "/api/v1/workers/{id}/fetch",
            Work,
            (
                "fetchTasks",
                "Get attempts that are not named as held, waiting for the first.",
            ),
            workers::fetch,
        ))
        .takes::<WorkerFetch>()
        .answers::<WorkerNews>(OK, "What is new."),
        worker(Route::post(
            "/api/v1/workers/{id}/beat",
            Work,
            ("beatWorker", "Renew the session, and learn what must stop."),
            workers::beat,
        ))
        .takes::<WorkerBeat>()
        .answers::<WorkerBeaten>(OK, "The session goes on."),
        worker(Route::post(
            "/api/v1/workers/{id}/done",
            Work,
            ("endTasks", "Report how attempts ended. May be repeated."),
            workers::done,
        ))
        .takes::<WorkerDone>()
        .answers::<WorkerRecorded>(OK, "What became of each, in order."),
        worker(Route::post(
            "/api/v1/workers/{id}/leave",
            Work,
            (
                "leaveWorker",
                "Take part no more: what is left is handed back. May be repeated.",
            ),
            workers::leave,
        ))
        .takes::<WorkerProof>()
        .answers::<WorkerLeft>(OK, "It takes part no more."),
    ]
}

fn of_access() -> Vec<Route> {
    const SESSION: &str = "/api/v1/session";
    vec![
        Route::get(
            SESSION,
            Open,
            (
                "showSession",
                "Say who asks, and whether this server requires a token.",
            ),
            session::show,
        )
        .answers::<session::Session>(OK, "Who asks.")
        .refuses(&[400, 429]),
        Route::post(
            SESSION,
            Open,
            (
                "beginSession",
                "Begin a browser's session: the answer sets its cookie.",
            ),
            session::begin,
        )
        .takes::<SessionBegin>()
        .answers::<session::Session>(OK, "The session has begun.")
        .refuses(&[400, 401, 408, 409, 413, 415, 429]),
        Route::delete(
            SESSION,
            Open,
            (
                "endSession",
                "End a browser's session: the answer removes its cookie.",
            ),
            session::end,
        )
        .answers::<session::Session>(OK, "The session has ended."),
        Route::get(
            "/api/v1/audit",
            Admin,
            (
                "listAudit",
                "List the last actions that this scheduler served.",
            ),
            audit::show,
        )
        .query::<PageSize>("limit", "Records at most.")
        .answers::<audit::Records>(OK, "The records, the latest first.")
        .refuses(&[400]),
    ]
}

fn of_the_server() -> Vec<Route> {
    vec![
        Route::get(
            "/livez",
            Open,
            ("live", "The process answers."),
            health::live,
        )
        .answers::<health::Alive>(OK, "It does."),
        Route::get(
            "/readyz",
            Open,
            (
                "ready",
                "The process has its store and a view that does not lag.",
            ),
            health::ready,
        )
        .answers::<health::Ready>(OK, "It is ready.")
        .answers::<health::Ready>(StatusCode::SERVICE_UNAVAILABLE, "It is not, and why."),
        Route::get(
            "/metrics",
            Read,
            ("metrics", "Counts for Prometheus."),
            metrics::show,
        )
        .answers_as::<Text>(OK, "OpenMetrics text.", "application/openmetrics-text"),
        Route::get(
            "/api/v1/openapi.json",
            Open,
            ("describe", "This document."),
            health::openapi,
        )
        .answers::<Document>(OK, "The document."),
    ]
}
