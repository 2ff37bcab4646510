//! The task types of every worker: for trying out, for tests and for measuring.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use serde::Deserialize;
use windlass_core::record::Json;
use windlass_core::worker::Start;

use super::context::Context;
use super::failure::TaskError;
use super::handlers::{Handler, Trouble, parse};

/// The stock types.
pub(super) fn handlers() -> [(&'static str, Handler); 4] {
    [
        ("noop", Handler::Instant(|_| Ok(Json::null()))),
        ("echo", Handler::Instant(|start| Ok(start.payload))),
        ("fail", Handler::Instant(fail)),
        (
            "sleep",
            Handler::Task(Arc::new(|payload, ctx| sleep(payload, ctx).boxed())),
        ),
    ]
}

/// The payload of `fail`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fail {
    times: u32,
}

fn fail(start: Start) -> Result<Json, TaskError> {
    let Fail { times } = parse(&start.payload, &start.kind)?;
    let attempt = start.attempt;
    if attempt.0 <= times {
        Err(TaskError::retry(format!(
            "attempt {attempt} of {times} that were to fail"
        )))
    } else {
        Ok(Json::null())
    }
}

/// The payload of `sleep`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sleep {
    ms: u64,
}

async fn sleep(payload: Json, ctx: Context) -> Result<Json, Trouble> {
    let Sleep { ms } = parse(&payload, ctx.kind())?;
    tokio::select! { biased;
        () = ctx.cancelled() => Err(Trouble::Stopped),
        () = tokio::time::sleep(Duration::from_millis(ms)) => Ok(Json::null()),
    }
}
