//! Watches, as many as wanted on each stream.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use etcd_client::proto::{
    PbEvent, PbWatchRequest, PbWatchRequestUnion, PbWatchResponse, PbWatchService,
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};
use tonic::codegen::tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use windlass::core::ids::Revision;
use windlass::core::keyspace::Range;

use super::member::{Received, Served};
use super::wire::{event, odd, range, raw, revision};
use crate::world::{Lie, World};

/// How long a stream outlives its member's leader.
const LEADERLESS_MAX: Duration = Duration::from_secs(3);
/// How often etcd tells by itself how far a watch is. Of a real etcd that is ten minutes.
const NOTIFY_EVERY: Duration = Duration::from_secs(7);

type Told = Result<PbWatchResponse, Status>;

#[tonic::async_trait]
impl PbWatchService for Served {
    type WatchStream = Pin<Box<dyn Stream<Item = Told> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<PbWatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (metadata, _, incoming) = request.into_parts();
        let repeats = self.shared.with(|world| {
            if world.now() < world.members[self.id].leaderless {
                world.strike("no_leader");
                return Err(Status::unavailable("etcdserver: no leader"));
            }
            Ok(world.members[self.id].repeats)
        })?;
        let (sender, received) = unbounded_channel();
        let now = Instant::now();
        let watching = Watching {
            own: self.clone(),
            metadata,
            sender,
            watches: BTreeMap::new(),
            ids: 0,
            muted: false,
            repeats,
            leaderless_since: None,
            notify_at: now + NOTIFY_EVERY,
        };
        tokio::spawn(watching.run(incoming));
        Ok(Response::new(Box::pin(Received(received))))
    }
}

struct Watch {
    range: Range,
    /// The first revision that was not told.
    next: Revision,
    fragment: bool,
    notify: bool,
}

/// One stream.
struct Watching {
    own: Served,
    metadata: MetadataMap,
    sender: UnboundedSender<Told>,
    watches: BTreeMap<i64, Watch>,
    ids: i64,
    /// It never says anything again.
    muted: bool,
    repeats: u64,
    leaderless_since: Option<Instant>,
    notify_at: Instant,
}

impl Watching {
    async fn run(mut self, mut incoming: Streaming<PbWatchRequest>) {
        let shared = self.own.shared.clone();
        loop {
            let changed = shared.changed.notified();
            if self.tell().is_err() {
                return;
            }
            let leaderless = self.leaderless_since.map(|since| since + LEADERLESS_MAX);
            tokio::select! { biased;
                asked = incoming.message() => match asked {
                    Ok(Some(asked)) => {
                        // No progress is told ahead of an event.
                        if self.tell().is_err() || self.on_request(asked).is_err() {
                            return;
                        }
                    }
                    Ok(None) | Err(_) => return,
                },
                () = changed => {}
                () = sleep_until(self.notify_at) => {
                    if self.tell().is_err() {
                        return;
                    }
                    self.notify();
                }
                () = sleep_until(leaderless.unwrap_or(self.notify_at)), if leaderless.is_some() => {
                    drop(self.sender.send(Err(Status::unavailable("etcdserver: no leader"))));
                    return;
                }
            }
        }
    }

    fn say(&mut self, told: PbWatchResponse) -> Result<(), ()> {
        if self.muted {
            self.own.shared.with(|world| world.strike("mute"));
            return Ok(());
        }
        self.sender.send(Ok(told)).map_err(drop)
    }

    fn response(&self, world: &mut World, watch_id: i64) -> PbWatchResponse {
        let at = world.visible(self.own.id);
        PbWatchResponse {
            header: self.own.header(world, at),
            watch_id,
            ..PbWatchResponse::default()
        }
    }

    fn on_request(&mut self, asked: PbWatchRequest) -> Result<(), ()> {
        let shared = self.own.shared.clone();
        match asked.request_union {
            Some(PbWatchRequestUnion::CreateRequest(asked)) => {
                let denied = shared.with(|world| self.own.admit(world, &self.metadata).err());
                let mut response = shared.with(|world| self.response(world, self.ids));
                response.created = true;
                if let Some(denied) = denied {
                    response.watch_id = -1;
                    response.canceled = true;
                    response.cancel_reason = in_words(&denied);
                    return self.say(response);
                }
                let Ok(range) = range(&asked.key, &asked.range_end) else {
                    drop(self.sender.send(Err(odd("such a range"))));
                    return Err(());
                };
                let at = response.header.as_ref().map_or(0, |it| it.revision);
                let from = if asked.start_revision > 0 {
                    asked.start_revision
                } else {
                    at + 1
                };
                let watch = Watch {
                    range,
                    next: revision(from),
                    fragment: asked.fragment,
                    notify: asked.progress_notify,
                };
                self.watches.insert(self.ids, watch);
                self.ids += 1;
                self.say(response)
            }
            Some(PbWatchRequestUnion::CancelRequest(asked)) => {
                if self.watches.remove(&asked.watch_id).is_none() {
                    return Ok(());
                }
                let mut response = shared.with(|world| self.response(world, asked.watch_id));
                response.canceled = true;
                self.say(response)
            }
            Some(PbWatchRequestUnion::ProgressRequest(_)) => {
                let deaf = shared.with(|world| {
                    let deaf = world.now() < world.members[self.own.id].deaf;
                    if deaf {
                        world.strike("deaf");
                    }
                    deaf
                });
                if deaf {
                    return Ok(());
                }
                let response = shared.with(|world| self.response(world, -1));
                self.say(response)
            }
            None => Ok(()),
        }
    }

    /// Tells what a watch that wants it hears now and then.
    fn notify(&mut self) {
        self.notify_at = Instant::now() + NOTIFY_EVERY;
        let wanting = self.watches.iter().filter(|(_, watch)| watch.notify);
        let wanting: Vec<i64> = wanting.map(|(id, _)| *id).collect();
        let shared = self.own.shared.clone();
        for id in wanting {
            let response = shared.with(|world| self.response(world, id));
            // A stream that is gone is found out by the next event.
            let _: Result<(), ()> = self.say(response);
        }
    }

    /// Tells every watch what it does not know, and ends those whose history is gone.
    fn tell(&mut self) -> Result<(), ()> {
        let shared = self.own.shared.clone();
        shared.with(|world| self.look(world));
        let ids: Vec<i64> = self.watches.keys().copied().collect();
        for id in ids {
            let Some(watch) = self.watches.get_mut(&id) else {
                continue;
            };
            let (told, over) = shared.with(|world| news(&self.own, world, id, watch));
            if over {
                self.watches.remove(&id);
            }
            for response in told {
                self.say(response)?;
            }
        }
        Ok(())
    }

    /// Takes notice of what is wrong with the member.
    fn look(&mut self, world: &mut World) {
        let now = world.now();
        let member = &world.members[self.own.id];
        self.muted |= now < member.mute;
        self.leaderless_since = if now < member.leaderless {
            self.leaderless_since.or_else(|| Some(Instant::now()))
        } else {
            None
        };
        if self.repeats < member.repeats {
            self.repeats = member.repeats;
            world.strike("repeat");
            let oldest = world.kv.compacted();
            for watch in self.watches.values_mut() {
                watch.next = Revision(watch.next.0.saturating_sub(5).max(oldest.0).max(1));
            }
        }
    }
}

/// What a watch is to be told, and whether it is over with that.
fn news(
    own: &Served,
    world: &mut World,
    id: i64,
    watch: &mut Watch,
) -> (Vec<PbWatchResponse>, bool) {
    let visible = world.visible(own.id);
    if visible < world.kv.revision() {
        world.strike("lag");
    }
    if watch.next > visible {
        return (vec![], false);
    }
    let header = own.header(world, visible);
    let compacted = world.kv.compacted();
    if watch.next < compacted {
        world.strike("compact");
        let response = PbWatchResponse {
            header,
            watch_id: id,
            canceled: true,
            compact_revision: raw(compacted),
            cancel_reason: "etcdserver: mvcc: required revision has been compacted".to_owned(),
            ..PbWatchResponse::default()
        };
        return (vec![response], true);
    }
    let from = std::mem::replace(&mut watch.next, visible.next());
    let events: Vec<PbEvent> = (from.0..=visible.0)
        .flat_map(|at| {
            let edits = world.ledger.edits(Revision(at)).iter();
            edits.map(move |edit| (Revision(at), edit))
        })
        .filter(|(_, edit)| watch.range.contains(edit.key()))
        .filter(|(at, _)| world.lie != Some(Lie::SkippedEvents) || at.0 % 16 != 0)
        .map(|(at, edit)| event(at, edit))
        .collect();
    if events.is_empty() {
        return (vec![], false);
    }
    let size = if watch.fragment {
        world.fragment
    } else {
        events.len()
    };
    let parts = events.len().div_ceil(size);
    let told = events
        .chunks(size)
        .enumerate()
        .map(|(at, part)| PbWatchResponse {
            header,
            watch_id: id,
            fragment: at + 1 < parts,
            events: part.to_vec(),
            ..PbWatchResponse::default()
        });
    (told.collect(), false)
}

/// As etcd puts an error into a cancellation.
fn in_words(status: &Status) -> String {
    let code = status.code();
    format!("rpc error: code = {code:?} desc = {}", status.message())
}
