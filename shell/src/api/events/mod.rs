//! `GET /api/v1/events`: what changes, as it happens.

mod frame;
mod hub;
mod pump;

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::stream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};
use windlass_core::gateway::{Reply, Request};
use windlass_core::ids::Revision;

use self::frame::Topics;
pub(super) use self::hub::Hub;
use self::hub::Reader;
use super::problem::Problem;
use super::query::Query;
use super::serve::Stopping;
use super::{Answer, App, AppState, cluster};

/// How often a stream gives a sign of life.
const BEAT_EVERY: Duration = Duration::from_secs(15);

/// How long a reader that comes back waits at most until this gateway is as far as the one that it had before.
const CATCH_UP: Duration = Duration::from_secs(2);

/// How long to wait while the gateway does not serve.
const PAUSE: Duration = Duration::from_millis(250);

/// `GET /api/v1/events`
pub(super) async fn events(
    State(app): AppState,
    stopping: Option<Extension<Stopping>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer {
    let mut query = Query::of(&uri)?;
    let topics = query.take("topics", Topics::parse).unwrap_or(Topics::ALL);
    let after = query.take("after", revision);
    query.close()?;
    // A browser that comes back asks for the same address: what it has got since stands in the header.
    let after = last_event(&headers)?.or(after);
    let Some((reader, starts)) = app.0.events.enter(topics, app.limits().streams_max) else {
        return Err(Problem::unavailable(format!(
            "no more than {} streams of events at the same time",
            app.limits().streams_max
        )));
    };
    if starts {
        tokio::spawn(pump::run(app.clone()));
    }
    let feed = Feed {
        app,
        reader,
        topics,
        stage: Stage::Greeting { after },
    };
    let stream = Stream {
        feed,
        beat: beat(),
        stopping: stopping.map(|Extension(stopping)| stopping),
    };
    let frames = stream::unfold(stream, async |mut stream| {
        let frame = stream.next().await?;
        Some((Ok::<_, Infallible>(frame), stream))
    });
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // A proxy that collects before it passes on would hold every frame back.
        (
            header::HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    let body = Body::from_stream(Box::pin(frames));
    Ok((StatusCode::OK, headers, body).into_response())
}

fn revision(text: &str) -> Result<Revision, String> {
    let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let parsed = text.parse().ok().filter(|_| digits).map(Revision);
    parsed.ok_or_else(|| "is a revision, as an event's id tells it".to_owned())
}

fn last_event(headers: &HeaderMap) -> Result<Option<Revision>, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("?");
    let bad = |reason| Problem::bad_field("last-event-id", reason);
    revision(text).map(Some).map_err(bad)
}

fn beat() -> Interval {
    let mut beat = interval_at(Instant::now() + BEAT_EVERY, BEAT_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}

/// A frame of counts as they are now; `None` when the gateway does not tell.
async fn stats(app: &App) -> Option<Bytes> {
    let stats = cluster::stats_now(app).await.ok()?;
    let text = serde_json::to_string(&stats).ok()?;
    Some(frame::stats(&text))
}

/// One reader's stream.
struct Stream {
    feed: Feed,
    beat: Interval,
    stopping: Option<Stopping>,
}

impl Stream {
    /// The next piece; `None` when the server stops.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let piece = tokio::select! { biased;
                () = stopped(&mut self.stopping) => return None,
                _ = self.beat.tick() => Some(frame::BEAT),
                piece = self.feed.advance() => piece,
            };
            if piece.is_some() {
                return piece;
            }
        }
    }
}

async fn stopped(stopping: &mut Option<Stopping>) {
    match stopping {
        Some(stopping) => stopping.wait().await,
        None => std::future::pending().await,
    }
}

/// What one reader gets, and how far it is.
struct Feed {
    app: App,
    reader: Reader,
    topics: Topics,
    stage: Stage,
}

enum Stage {
    /// Nothing was said yet.
    Greeting { after: Option<Revision> },
    /// What has changed before it came is to be told.
    CatchingUp { after: Option<Revision> },
    /// The counts are to be told.
    Counting { until: Revision },
    /// What happens after this revision is told as it happens.
    Live { after: Revision },
}

impl Feed {
    /// Goes one step further. May be dropped and called again.
    async fn advance(&mut self) -> Option<Bytes> {
        match self.stage {
            Stage::Greeting { after } => {
                self.stage = Stage::CatchingUp { after };
                Some(frame::GREETING)
            }
            Stage::CatchingUp { after } => {
                self.reader.begun().await;
                let wait = after.map(|_| CATCH_UP);
                let request = Request::Changes { after, wait };
                let reply = self.app.ask_waiting(request, CATCH_UP).await;
                self.caught_up(&reply, after.is_none()).await
            }
            Stage::Counting { until } => {
                let stats = match self.topics.stats {
                    true => stats(&self.app).await,
                    false => None,
                };
                self.stage = Stage::Live { after: until };
                stats
            }
            Stage::Live { after } => {
                let frame = self.reader.next().await;
                let is_known = frame.at.is_some_and(|at| at <= after);
                (!is_known).then_some(frame.text)
            }
        }
    }

    async fn caught_up(&mut self, reply: &Reply, is_new: bool) -> Option<Bytes> {
        if let Reply::Changes(changes) = reply {
            let until = changes.revision;
            self.stage = Stage::Counting { until };
            // Who has just come learns from which revision on it can come back.
            match is_new {
                true => Some(frame::state(changes, self.topics)),
                false => frame::changes(changes, self.topics),
            }
        } else if let Reply::Missed { at } = reply {
            self.stage = Stage::Counting { until: *at };
            Some(frame::resync(*at))
        } else {
            sleep(PAUSE).await;
            None
        }
    }
}
