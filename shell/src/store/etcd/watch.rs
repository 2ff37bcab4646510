//! Watches. Each one is a task with a gRPC stream of its own, so that what etcd says about a stream's progress holds for
//! exactly this watch. The task reads the range, then follows it, and begins again whenever it cannot prove that it
//! missed nothing.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::{PbEvent, PbWatchResponse};
use etcd_client::{EventType, WatchOptions, WatchRequestSender, WatchResponseStream};
use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use windlass_core::ids::{OpId, Revision};
use windlass_core::keyspace::Range;
use windlass_core::store::{Answer, Change, ViewEvent};

use super::super::Answers;
use super::fate::{Fate, describe};
use super::link::{Backoff, Link};
use super::read::{Pages, newest};
use super::route::SLOW;
use super::wire::{Prefix, raw_revision, revision};

/// How long etcd may take to begin a watch.
const CREATED_MAX: Duration = Duration::from_secs(5);
/// A watch that was silent this long is asked how far it is.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// A stream that leaves a question open this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How often etcd is asked for progress at most.
const ASK_INTERVAL: Duration = Duration::from_millis(5);
/// How often, at least, while it does not answer.
const ASK_INTERVAL_MAX: Duration = Duration::from_secs(1);
const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// A watch that goes on until this is dropped.
#[derive(Debug)]
pub(super) struct Watching {
    progress: Arc<Notify>,
    task: AbortHandle,
}

impl Watching {
    pub(super) fn ask_progress(&self) {
        self.progress.notify_one();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to watch.
pub(super) fn begin(link: Arc<Link>, op: OpId, range: Range, answers: Answers) -> Watching {
    let progress = Arc::new(Notify::new());
    let runtime = link.runtime().clone();
    let feed = Feed {
        backoff: link.backoff(BACKOFF_FIRST, BACKOFF_MAX),
        link,
        op,
        range,
        answers: answers.clone(),
        progress: Arc::clone(&progress),
    };
    let task = runtime.spawn(async move {
        if AssertUnwindSafe(feed.run()).catch_unwind().await.is_err() {
            answers.give(op, Answer::View(ViewEvent::Lost));
        }
    });
    Watching {
        progress,
        task: task.abort_handle(),
    }
}

/// Why a stream ended.
#[derive(Debug)]
enum End {
    /// It broke: go on from where it was.
    Broken,
    /// What follows is not known any more: read everything again.
    Gap,
}

/// How far a watch is.
#[derive(Debug, Clone, Copy)]
struct Reached {
    /// What was told last.
    told: Revision,
    /// The last revision of a read or an event. Between this and `told` etcd claims that nothing happened.
    seen: Revision,
}

struct Feed {
    link: Arc<Link>,
    op: OpId,
    range: Range,
    answers: Answers,
    progress: Arc<Notify>,
    backoff: Backoff,
}

impl Feed {
    async fn run(mut self) {
        loop {
            let at = self.read().await;
            let mut reached = Reached { told: at, seen: at };
            while let End::Broken = self.follow(&mut reached).await {
                self.backoff.pause().await;
            }
            // Compaction may be faster than this watch: never read in a tight loop.
            self.backoff.pause().await;
        }
    }

    fn tell(&self, event: ViewEvent) {
        if let ViewEvent::Reset { at, .. } | ViewEvent::Delta { at, .. } = &event {
            self.link.epoch().raise(*at);
        }
        self.answers.give(self.op, Answer::View(event));
    }

    /// Tells all of the range at one revision.
    async fn read(&mut self) -> Revision {
        let mut pages = Pages::of_small(&self.link, &self.range);
        loop {
            match pages.next(&self.link, u32::MAX, self.link.until()).await {
                Ok(part) => {
                    let (at, more) = (part.at, part.more);
                    self.tell(ViewEvent::Reset {
                        at,
                        items: part.items,
                        more,
                    });
                    if !more {
                        return at;
                    }
                }
                Err(Fate::Compacted) => pages = Pages::of_small(&self.link, &self.range),
                Err(fate) => {
                    tracing::warn!(?fate, "a watched range could not be read; trying again");
                    self.backoff.pause().await;
                }
            }
        }
    }

    /// Opens a stream and tells what it says, until it ends.
    async fn follow(&mut self, reached: &mut Reached) -> End {
        let Some(mut stream) = self.open(reached.told).await else {
            return End::Broken;
        };
        let end = self.listen(&mut stream, reached).await;
        if stream.wanted || stream.asked {
            // The question outlives the stream.
            self.progress.notify_one();
        }
        end
    }

    async fn listen(&mut self, stream: &mut Stream, reached: &mut Reached) -> End {
        loop {
            let response = match stream.next(&self.progress).await {
                Ok(Some(response)) => response,
                Ok(None) => {
                    if stream.is_slow() {
                        self.link.suspect();
                    }
                    continue;
                }
                Err(reason) => {
                    self.link.suspect();
                    tracing::info!(reason, at = %reached.told, "a watch broke; resuming");
                    return End::Broken;
                }
            };
            if response.canceled {
                return self.on_canceled(&response).await;
            }
            let head = response.header.as_ref();
            self.link
                .epoch()
                .take_cluster(head.map_or(0, |head| head.cluster_id));
            let header = revision(head.map_or(0, |head| head.revision));
            if response.created {
                self.backoff.reset();
                if header < reached.told {
                    // The member may only be behind. If the store is, asking it ends the epoch.
                    let _ = newest(&self.link, self.link.until()).await;
                }
            } else if !response.events.is_empty() {
                if let Err(gap) = self.on_events(reached, response.events) {
                    return gap;
                }
            } else if stream.take_asked() || header > reached.told {
                let after = reached.told;
                reached.told = after.max(header);
                self.tell(ViewEvent::Delta {
                    after,
                    at: reached.told,
                    changes: Vec::new(),
                });
            }
        }
    }

    async fn open(&self, told: Revision) -> Option<Stream> {
        let from = self.link.prefix().raw(&self.range.from);
        let mut to = self.link.prefix().raw(&self.range.to);
        if from >= to {
            // etcd refuses to watch nothing. What it tells of this one key is dropped on arrival.
            to = [&from[..], &[0]].concat();
        }
        let options = WatchOptions::new()
            .with_range(to)
            // Not the one after: of a watch that begins in the future etcd tells no progress. What was told before is
            // dropped on arrival.
            .with_start_revision(raw_revision(told).max(1))
            .with_fragment()
            .with_progress_notify();
        let until = Instant::now() + CREATED_MAX;
        let mut watch = self.link.watch();
        match timeout_at(until, watch.watch(from, Some(options))).await {
            Ok(Ok(stream)) => {
                let (sender, responses) = stream.split();
                Some(Stream::new(sender, responses, until))
            }
            Ok(Err(error)) => {
                tracing::info!(
                    error = describe(&error),
                    "a watch could not begin; trying again"
                );
                if Fate::of(&error) == Fate::LoginStale {
                    self.link.log_in_for_stream().await;
                }
                None
            }
            Err(_) => None,
        }
    }

    async fn on_canceled(&self, response: &PbWatchResponse) -> End {
        if response.compact_revision > 0 {
            tracing::info!(
                compacted = response.compact_revision,
                "history was compacted past a watch; reading all of it again"
            );
            return End::Gap;
        }
        tracing::warn!(
            reason = response.cancel_reason,
            "etcd canceled a watch; resuming"
        );
        let for_login = ["auth", "user name is empty"];
        if for_login
            .iter()
            .any(|word| response.cancel_reason.contains(word))
        {
            self.link.log_in_for_stream().await;
        }
        End::Broken
    }

    /// Tells the events of whole revisions, without those that were told before.
    fn on_events(&self, reached: &mut Reached, events: Vec<PbEvent>) -> Result<(), End> {
        let mut changes = Vec::with_capacity(events.len());
        let mut last = reached.told;
        for event in events {
            let at = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
            let at = revision(at);
            if at <= reached.seen {
                continue;
            }
            if at <= reached.told {
                tracing::warn!(%at, told = %reached.told, "etcd told progress ahead of an event");
                return Err(End::Gap);
            }
            last = last.max(at);
            let change = change(self.link.prefix(), event);
            changes.extend(change.filter(|it| self.range.contains(it.key())));
        }
        if last > reached.told {
            let after = reached.told;
            *reached = Reached {
                told: last,
                seen: last,
            };
            self.tell(ViewEvent::Delta {
                after,
                at: last,
                changes,
            });
        }
        Ok(())
    }
}

fn change(prefix: &Prefix, event: PbEvent) -> Option<Change> {
    let kind = event.r#type;
    let stored = event.kv?;
    if kind == EventType::Delete as i32 {
        Some(Change::Delete {
            key: prefix.key(&stored.key)?,
            at: revision(stored.mod_revision),
        })
    } else {
        prefix.item(stored).map(Change::Put)
    }
}

/// One gRPC stream, with one watch on it.
struct Stream {
    sender: WatchRequestSender,
    responses: WatchResponseStream,
    /// The parts of a response that is not complete.
    joined: Option<PbWatchResponse>,
    /// When etcd must have said that the watch exists; `None` when it has.
    created_until: Option<Instant>,
    /// When etcd said something last.
    heard: Instant,
    /// Since when etcd was asked and said nothing at all.
    silent_since: Option<Instant>,
    /// When etcd may be asked again, and how much later once more. It forgets what it is asked while it still catches up.
    next_ask: Instant,
    interval: Duration,
    /// Somebody wants to know the progress and etcd was not asked since.
    wanted: bool,
    /// Somebody wants to know the progress and etcd was asked.
    asked: bool,
}

impl Stream {
    fn new(sender: WatchRequestSender, responses: WatchResponseStream, until: Instant) -> Self {
        let now = Instant::now();
        Self {
            sender,
            responses,
            joined: None,
            created_until: Some(until),
            heard: now,
            silent_since: None,
            next_ask: now,
            interval: ASK_INTERVAL,
            wanted: false,
            asked: false,
        }
    }

    /// Whether etcd was asked a while ago and has said nothing since.
    fn is_slow(&self) -> bool {
        self.silent_since
            .is_some_and(|since| since.elapsed() > SLOW)
    }

    /// The next complete response, or `None` when there was something else to do. Fails when the stream has ended.
    async fn next(&mut self, progress: &Notify) -> Result<Option<PbWatchResponse>, String> {
        let may_ask = self.created_until.is_none();
        let must_ask = self.wanted || self.asked || self.silent_since.is_some();
        let ask_at = if must_ask {
            self.next_ask
        } else {
            self.heard + IDLE_MAX
        };
        let give_up_at = self
            .created_until
            .or_else(|| self.silent_since.map(|since| since + SILENCE_MAX));
        tokio::select! { biased;
            received = self.responses.message() => match received {
                Ok(Some(response)) => Ok(self.on_response(response.0)),
                Ok(None) => Err("etcd ended the stream".to_owned()),
                Err(error) => Err(describe(&error)),
            },
            () = sleep_until(give_up_at.unwrap_or(ask_at)), if give_up_at.is_some() => {
                Err("etcd is silent".to_owned())
            }
            () = progress.notified(), if !self.wanted => {
                self.wanted = true;
                self.next_ask = self.next_ask.min(Instant::now() + ASK_INTERVAL);
                Ok(None)
            }
            () = sleep_until(ask_at), if may_ask => self.ask().await,
        }
    }

    /// Whether the progress that was just received answers somebody's question.
    fn take_asked(&mut self) -> bool {
        self.interval = ASK_INTERVAL;
        std::mem::take(&mut self.asked)
    }

    fn on_response(&mut self, response: PbWatchResponse) -> Option<PbWatchResponse> {
        self.heard = Instant::now();
        self.silent_since = None;
        if response.created {
            self.created_until = None;
        }
        let whole = match self.joined.take() {
            Some(mut joined) => {
                joined.events.extend(response.events);
                joined.fragment = response.fragment;
                joined
            }
            None => response,
        };
        if whole.fragment {
            self.joined = Some(whole);
            return None;
        }
        Some(whole)
    }

    async fn ask(&mut self) -> Result<Option<PbWatchResponse>, String> {
        self.asked |= std::mem::take(&mut self.wanted);
        let now = Instant::now();
        self.next_ask = now + self.interval;
        self.interval = (self.interval * 2).min(ASK_INTERVAL_MAX);
        let since = *self.silent_since.get_or_insert(now);
        match timeout_at(since + SILENCE_MAX, self.sender.request_progress()).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(error)) => Err(describe(&error)),
            Err(_) => Err("etcd takes no requests".to_owned()),
        }
    }
}
