//! Those who read events now, and what each of them is still to get.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use windlass_core::gateway::ChangesView;
use windlass_core::ids::Revision;

use super::frame::{self, Topics};

/// How many frames wait for one reader at most. One that is further behind misses the rest, and is told so.
const WAITING_MAX: usize = 16;

/// A frame on its way to a reader.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Of a frame of changes: up to which revision.
    pub(super) at: Option<Revision>,
    pub(super) text: Bytes,
}

/// All readers. Changes come from one pump, which runs only while there are readers.
#[derive(Debug)]
pub(in crate::api) struct Hub {
    state: Mutex<State>,
    /// From which revision on the pump tells everything; `None` while it does not run or does not know yet.
    told: watch::Sender<Option<Revision>>,
    /// The last reader has gone.
    emptied: Notify,
}

#[derive(Debug, Default)]
struct State {
    seats: Vec<Seat>,
    last_id: u64,
    pumps: bool,
}

#[derive(Debug)]
struct Seat {
    id: u64,
    topics: Topics,
    frames: mpsc::Sender<Frame>,
    behind: Arc<AtomicBool>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            told: watch::channel(None).0,
            emptied: Notify::new(),
        }
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, and every operation on the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many readers there are.
    pub(in crate::api) fn readers(&self) -> usize {
        self.lock().seats.len()
    }

    /// A seat for one more reader, and whether the pump must be started for it; `None` when there are `readers_max`.
    pub(super) fn enter(
        self: &Arc<Self>,
        topics: Topics,
        readers_max: usize,
    ) -> Option<(Reader, bool)> {
        let mut state = self.lock();
        if state.seats.len() >= readers_max {
            return None;
        }
        let (sender, frames) = mpsc::channel(WAITING_MAX);
        let behind = Arc::new(AtomicBool::new(false));
        state.last_id += 1;
        let id = state.last_id;
        state.seats.push(Seat {
            id,
            topics,
            frames: sender,
            behind: Arc::clone(&behind),
        });
        let starts = !std::mem::replace(&mut state.pumps, true);
        drop(state);
        let reader = Reader {
            hub: Arc::clone(self),
            id,
            frames,
            behind,
            told: self.told.subscribe(),
        };
        Some((reader, starts))
    }

    /// Whether anybody reads counts.
    pub(super) fn wants_stats(&self) -> bool {
        self.lock().seats.iter().any(|seat| seat.topics.stats)
    }

    /// The pump may end, because nobody reads: then another reader starts it again.
    pub(super) fn may_end(&self) -> bool {
        let mut state = self.lock();
        let ends = state.seats.is_empty();
        if ends {
            state.pumps = false;
            self.told.send_replace(None);
        }
        ends
    }

    /// Done when the last reader has gone.
    pub(super) async fn emptied(&self) {
        self.emptied.notified().await;
    }

    /// From `at` on everything is told.
    pub(super) fn begin(&self, at: Revision) {
        self.told.send_replace(Some(at));
    }

    /// Tells everybody what has changed.
    pub(super) fn tell_changes(&self, changes: &ChangesView) {
        let mut spelled: Vec<(Topics, Option<Bytes>)> = Vec::new();
        for seat in &self.lock().seats {
            // Counts are told apart.
            let topics = Topics {
                stats: false,
                ..seat.topics
            };
            let known = spelled.iter().find(|(known, _)| *known == topics);
            let text = match known {
                Some((_, text)) => text.clone(),
                None => {
                    let text = frame::changes(changes, topics);
                    spelled.push((topics, text.clone()));
                    text
                }
            };
            if let Some(text) = text {
                let at = Some(changes.revision);
                seat.tell(Frame { at, text });
            }
        }
        self.begin(changes.revision);
    }

    /// Tells everybody that changes were missed.
    pub(super) fn tell_missed(&self, at: Revision) {
        let text = frame::resync(at);
        for seat in &self.lock().seats {
            let text = text.clone();
            seat.tell(Frame { at: Some(at), text });
        }
        self.begin(at);
    }

    /// Tells those who want to know the counts.
    pub(super) fn tell_stats(&self, text: &Bytes) {
        for seat in self.lock().seats.iter().filter(|seat| seat.topics.stats) {
            let text = text.clone();
            seat.tell(Frame { at: None, text });
        }
    }
}

impl Seat {
    fn tell(&self, frame: Frame) {
        if self.behind.load(Ordering::Acquire) {
            return;
        }
        // A reader that has just gone needs nothing.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.frames.try_send(frame) {
            self.behind.store(true, Ordering::Release);
        }
    }
}

/// One reader's end. Dropping it gives the seat up.
#[derive(Debug)]
pub(super) struct Reader {
    hub: Arc<Hub>,
    id: u64,
    frames: mpsc::Receiver<Frame>,
    behind: Arc<AtomicBool>,
    told: watch::Receiver<Option<Revision>>,
}

impl Reader {
    /// Waits until everything that happens from now on will be told.
    pub(super) async fn begun(&mut self) {
        // The hub, and with it the sender, lives as long as its readers.
        let _ = self.told.wait_for(Option::is_some).await;
    }

    /// The next frame; that frames were missed, once those before are read. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Frame {
        if let Ok(frame) = self.frames.try_recv() {
            return frame;
        }
        if self.behind.load(Ordering::Acquire) {
            let told = *self.told.borrow();
            self.behind.store(false, Ordering::Release);
            if let Some(at) = told {
                let text = frame::resync(at);
                return Frame { at: Some(at), text };
            }
        }
        match self.frames.recv().await {
            Some(frame) => frame,
            // The seat is given up only by this reader's end.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        state.seats.retain(|seat| seat.id != self.id);
        if state.seats.is_empty() {
            self.hub.emptied.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(at: u64) -> ChangesView {
        ChangesView {
            nodes: true,
            ..ChangesView::none(Revision(at))
        }
    }

    fn enter(hub: &Arc<Hub>, topics: Topics) -> Reader {
        hub.enter(topics, 2).unwrap().0
    }

    async fn text(reader: &mut Reader) -> String {
        String::from_utf8(reader.next().await.text.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn everybody_hears_of_what_they_want() {
        let hub = Arc::new(Hub::default());
        let mut all = enter(&hub, Topics::ALL);
        let mut some = enter(&hub, Topics::parse("queues").unwrap());
        assert!(hub.wants_stats());
        hub.tell_changes(&changes(1));
        hub.tell_stats(&frame::stats("{}"));
        hub.tell_missed(Revision(2));
        assert!(text(&mut all).await.contains("changes"));
        assert!(text(&mut all).await.contains("stats"));
        assert!(text(&mut all).await.contains("resync"));
        assert!(text(&mut some).await.contains("resync"));
    }

    #[tokio::test]
    async fn a_reader_that_falls_behind_is_told_that_it_missed_something() {
        let hub = Arc::new(Hub::default());
        let (mut slow, mut quick) = (enter(&hub, Topics::ALL), enter(&hub, Topics::ALL));
        for at in 1..=40 {
            hub.tell_changes(&changes(at));
            assert_eq!(quick.next().await.at, Some(Revision(at)));
        }
        for at in 1..=WAITING_MAX as u64 {
            assert_eq!(slow.next().await.at, Some(Revision(at)));
        }
        assert_eq!(text(&mut slow).await, frame::resync(Revision(40)));
        hub.tell_changes(&changes(41));
        assert_eq!(
            slow.next().await.at,
            Some(Revision(41)),
            "it keeps up again"
        );
    }

    #[tokio::test]
    async fn there_is_room_for_so_many_readers_and_the_pump_runs_only_for_them() {
        let hub = Arc::new(Hub::default());
        let (one, starts) = hub.enter(Topics::ALL, 2).unwrap();
        assert!(starts);
        let (two, starts) = hub.enter(Topics::ALL, 2).unwrap();
        assert!(!starts);
        assert!(hub.enter(Topics::ALL, 2).is_none());
        drop(two);
        assert!(!hub.may_end());
        assert_eq!(hub.readers(), 1);
        drop(one);
        hub.emptied().await;
        assert!(hub.may_end());
        assert!(hub.enter(Topics::ALL, 2).unwrap().1, "it starts again");
    }
}
