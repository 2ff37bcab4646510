//! The routes of workers that talk to gateways only. What each call means, and what a worker must do, is written in
//! `docs/guide/src/protocol.md`.

pub(super) mod described;
mod read;
mod token;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use windlass_core::gateway::{
    FETCH_TASKS_MAX, RemoteAsk, RemoteSpec, RemoteToken, RemoteTold, Reply, Request,
};
use windlass_core::ids::NodeId;
use windlass_core::time::Millis;

use self::read::{Item, RESULTS_MAX};
use super::body::{self, Size};
use super::json::Object;
use super::problem::Problem;
use super::{Answer, App, AppState, Named, WAIT_MAX, answer, field, json};

/// Fetches that may wait in this process at the same time: each keeps a connection, and the others need some too.
pub(super) const FETCHES_MAX: usize = 4_000;

/// How long a session lasts without a beat, unless its worker says otherwise.
const TTL_DEFAULT: Millis = Millis::from_secs(10);
/// The shortest and the longest that may be asked for.
const TTL_RANGE: (Millis, Millis) = (Millis::from_secs(2), Millis::from_secs(3_600));
/// The most handlers of one worker.
const SLOTS_MAX: u32 = 1_000;
/// The largest share under the weighted strategy.
const WEIGHT_MAX: u32 = 1_000_000;
/// The most types, and the most queues, that one worker names.
const NAMES_MAX: usize = 256;
/// The longest version, in characters.
const VERSION_MAX: usize = 64;

/// `POST /api/v1/workers`
pub(super) async fn join(State(app): AppState, headers: HeaderMap, body: Body) -> Answer {
    let bytes = body::read(&app, &headers, body, Size::Small).await?;
    let mut object = open(&bytes)?;
    let id = object.take("id", field::parsed::<NodeId>);
    let version = object.take("version", |raw| field::line(raw, VERSION_MAX));
    let ttl = object
        .take("ttl", |raw| field::span(raw, TTL_RANGE.0, TTL_RANGE.1))
        .unwrap_or(TTL_DEFAULT);
    let slots = read::at_least_one(&mut object, "slots", SLOTS_MAX);
    let weight = read::at_least_one(&mut object, "weight", WEIGHT_MAX);
    let types = object.take("types", |raw| read::names(raw, NAMES_MAX));
    if types.as_ref().is_none_or(Vec::is_empty) && object.is_sound() {
        object.refuse("types", "is missing: a worker runs at least one type");
    }
    let queues = object.take("queues", |raw| read::names(raw, NAMES_MAX));
    let labels = read::labels(&mut object);
    close(object)?;
    let secret = token::secret();
    let spec = RemoteSpec {
        id,
        version: version.map_or_else(|| Arc::from("remote"), Arc::from),
        ttl: ttl.into(),
        slots,
        queues: queues.unwrap_or_default(),
        types: types.unwrap_or_default(),
        weight,
        labels,
        secret_hash: field::hex(&Sha256::digest(secret.as_bytes())).into(),
    };
    let told = ask(&app, RemoteAsk::Join(Box::new(spec)), Duration::ZERO).await?;
    if let RemoteTold::Joined {
        worker,
        registration,
        ttl,
    } = &told
    {
        let token = token::spell(*registration, &secret);
        answer(StatusCode::CREATED, &told::Joined::of(worker, token, *ttl))
    } else if told == RemoteTold::Taken {
        Err(Problem::new(
            StatusCode::CONFLICT,
            "a worker with this id takes part still: its session ends a TTL after its last beat, or join without an id",
        ))
    } else {
        Err(unexpected(&told))
    }
}

/// `POST /api/v1/workers/ID/fetch`
pub(super) async fn fetch(
    State(app): AppState,
    Named(worker): Named<NodeId>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let bytes = body::read(&app, &headers, body, Size::Results).await?;
    let mut object = open(&bytes)?;
    let token = token::take(&mut object, worker);
    let held = read::attempts(&mut object, "held");
    let stopping = read::attempts(&mut object, "stopping");
    let draining = object.take("draining", field::boolean).unwrap_or_default();
    let max = object
        .take("max", |raw| field::whole(raw, FETCH_TASKS_MAX))
        .unwrap_or(FETCH_TASKS_MAX);
    let most = Millis::new(u64::try_from(WAIT_MAX.as_millis()).unwrap_or(u64::MAX));
    let wait = object
        .take("wait", |raw| field::span(raw, Millis::ZERO, most))
        .map_or(Duration::ZERO, Duration::from);
    close(object)?;
    let Ok(_room) = app.0.fetches.try_acquire() else {
        return Err(Problem::unavailable(
            "nothing was done: as many workers wait here as there is room for, try another gateway",
        ));
    };
    let fetch = RemoteAsk::Fetch {
        token: token?,
        held,
        stopping,
        draining,
        max,
        wait: Some(wait).filter(|wait| !wait.is_zero()),
    };
    let told = ask(&app, fetch, wait).await?;
    if let RemoteTold::Fetched {
        tasks,
        stops,
        draining,
        at: _,
    } = &told
    {
        answer(StatusCode::OK, &told::Fetched::of(tasks, stops, *draining))
    } else {
        Err(unexpected(&told))
    }
}

/// `POST /api/v1/workers/ID/beat`
pub(super) async fn beat(
    State(app): AppState,
    Named(worker): Named<NodeId>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let bytes = body::read(&app, &headers, body, Size::Results).await?;
    let mut object = open(&bytes)?;
    let token = token::take(&mut object, worker);
    let held = read::attempts(&mut object, "held");
    let leaving = object.take("leaving", field::boolean).unwrap_or_default();
    let reports = object.take("progress", Ok).map(read::reports);
    let reports = match reports {
        Some(Ok(reports)) => reports,
        Some(Err(fault)) => {
            object.refuse_all([fault]);
            Vec::new()
        }
        None => Vec::new(),
    };
    close(object)?;
    let token = token?;
    let reports = reports.into_iter().map(|report| {
        let progress = RemoteAsk::Progress {
            token: token.clone(),
            attempt: report.attempt,
            progress: report.progress,
        };
        ask(&app, progress, Duration::ZERO)
    });
    let beat = RemoteAsk::Beat {
        token: token.clone(),
        held,
        leaving,
    };
    // What people see may be late or lost; the session may not.
    let (beaten, _) = tokio::join!(ask(&app, beat, Duration::ZERO), join_all(reports));
    let told = beaten?;
    if let RemoteTold::Beaten {
        ttl,
        stops,
        draining,
    } = &told
    {
        answer(StatusCode::OK, &told::Beaten::of(*ttl, stops, *draining))
    } else {
        Err(unexpected(&told))
    }
}

/// `POST /api/v1/workers/ID/done`
pub(super) async fn done(
    State(app): AppState,
    Named(worker): Named<NodeId>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let bytes = body::read(&app, &headers, body, Size::Results).await?;
    let mut object = open(&bytes)?;
    let token = token::take(&mut object, worker);
    let items = object.take("results", Ok);
    if items.is_none() && object.is_sound() {
        object.refuse("results", format!("is missing: 1 to {RESULTS_MAX} of them"));
    }
    let read = items.map(|raw| read::results(raw, app.limits().payload_max));
    let items = match read {
        Some(Ok(items)) => items,
        Some(Err(fault)) => {
            object.refuse_all([fault]);
            Vec::new()
        }
        None => Vec::new(),
    };
    close(object)?;
    let token = token?;
    let results = items.into_iter().map(|item| record(&app, &token, item));
    let results: Result<Vec<told::Result>, Problem> = join_all(results).await.into_iter().collect();
    answer(StatusCode::OK, &told::Results { results: results? })
}

/// Has one end recorded. Fails when the whole call does: the session is over.
async fn record(app: &App, token: &RemoteToken, item: Item) -> Result<told::Result, Problem> {
    let (known, end, ran) = match item {
        Item::Sound { known, end, ran } => (known, end, ran),
        Item::Refused { known, faults } => return Ok(told::Result::refused(known, faults)),
    };
    let done = RemoteAsk::Done {
        token: token.clone(),
        attempt: known,
        end,
        ran,
    };
    let request = Request::Remote(Box::new(done));
    let reply = app.ask(request).await;
    let fate = if let Reply::Remote(told) = &reply {
        match **told {
            RemoteTold::Recorded => told::Fate::Recorded,
            RemoteTold::Stale => told::Fate::Stale,
            RemoteTold::Over => return Err(over()),
            RemoteTold::Joined { .. }
            | RemoteTold::Fetched { .. }
            | RemoteTold::Beaten { .. }
            | RemoteTold::Left
            | RemoteTold::Taken => return Err(unexpected(told)),
        }
    } else if reply == Reply::NotFound {
        // The task was purged, or its record is of a later version: nobody can run it.
        told::Fate::Stale
    } else {
        tracing::debug!(?reply, task = %known.task, "a remote worker's report has no answer yet");
        told::Fate::Unknown
    };
    Ok(told::Result::of(known, fate))
}

/// `POST /api/v1/workers/ID/leave`
pub(super) async fn leave(
    State(app): AppState,
    Named(worker): Named<NodeId>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let bytes = body::read(&app, &headers, body, Size::Small).await?;
    let mut object = open(&bytes)?;
    let token = token::take(&mut object, worker);
    close(object)?;
    let told = ask(&app, RemoteAsk::Leave { token: token? }, Duration::ZERO).await?;
    if told == RemoteTold::Left {
        answer(StatusCode::OK, &BTreeMap::from([("status", "left")]))
    } else {
        Err(unexpected(&told))
    }
}

/// What the gateway tells a remote worker, or the problem that it answers instead.
async fn ask(app: &App, ask: RemoteAsk, wait: Duration) -> Result<RemoteTold, Problem> {
    let reply = app.ask_waiting(Request::Remote(Box::new(ask)), wait).await;
    if let Reply::Remote(told) = reply {
        if *told == RemoteTold::Over {
            return Err(over());
        }
        return Ok(*told);
    }
    Err(Problem::from_reply(&reply, "worker"))
}

fn over() -> Problem {
    Problem::new(
        StatusCode::GONE,
        "this session is over, or the token is not its own: stop every handler, and join again",
    )
}

fn unexpected(told: &RemoteTold) -> Problem {
    tracing::error!(?told, "the gateway answered a question that was not asked");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the gateway answered another question",
    )
}

fn open(bytes: &[u8]) -> Result<Object<'_>, Problem> {
    let bad = |fault| Problem::bad(vec![fault]);
    Object::open("", json::text(bytes).map_err(bad)?).map_err(bad)
}

fn close(object: Object<'_>) -> Result<(), Problem> {
    let faults = object.close();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Problem::bad(faults))
    }
}
