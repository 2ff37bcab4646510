//! The one who asks the gateway what has changed, for all readers.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until};
use windlass_core::gateway::{Reply, Request};
use windlass_core::ids::Revision;

use crate::api::App;

/// The shortest time between two frames of changes: at most four a second.
const FRAME_EVERY: Duration = Duration::from_millis(250);

/// The shortest time between two frames of counts.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// How often counts are looked at though nothing has changed: rates change with time alone.
const STATS_IDLE: Duration = Duration::from_secs(5);

/// How long a question waits for an answer when there is nothing else to do.
const WAIT: Duration = Duration::from_secs(10);

/// How long to wait while the gateway does not serve.
const PAUSE: Duration = Duration::from_millis(250);

/// Runs until nobody reads any more.
pub(super) async fn run(app: App) {
    let mut pump = Pump {
        app: app.clone(),
        after: None,
        stats: Stats {
            last: Bytes::new(),
            looked: Instant::now(),
            changed: true,
        },
    };
    let hub = &app.0.events;
    while !hub.may_end() {
        tokio::select! { biased;
            () = pump.turn() => {}
            () = hub.emptied() => {}
        }
    }
}

struct Pump {
    app: App,
    after: Option<Revision>,
    stats: Stats,
}

/// The counts that were told last.
struct Stats {
    last: Bytes,
    looked: Instant,
    /// Something has changed since they were looked at.
    changed: bool,
}

impl Pump {
    /// Asks once, and tells what there is to tell.
    async fn turn(&mut self) {
        let began = Instant::now();
        let due = self.stats_due();
        let wait = due.map_or(WAIT, |due| WAIT.min(due.saturating_duration_since(began)));
        let request = Request::Changes {
            after: self.after,
            wait: Some(wait.max(Duration::from_millis(1))),
        };
        let reply = self.app.ask_waiting(request, wait).await;
        let has_told = self.tell(&reply).await;
        if due.is_some_and(|due| due <= Instant::now()) {
            self.tell_stats().await;
        }
        if has_told {
            sleep_until(Instant::now() + FRAME_EVERY).await;
        }
    }

    /// Says whether there was something to tell.
    async fn tell(&mut self, reply: &Reply) -> bool {
        let hub = &self.app.0.events;
        if let Reply::Changes(changes) = reply {
            let is_first = self.after.replace(changes.revision).is_none();
            if is_first {
                hub.begin(changes.revision);
            }
            if changes.is_empty() {
                return false;
            }
            hub.tell_changes(changes);
        } else if let Reply::Missed { at } = reply {
            self.after = Some(*at);
            hub.tell_missed(*at);
        } else {
            // It has no view of the store at the moment, or leaves.
            sleep(PAUSE).await;
            return false;
        }
        self.stats.changed = true;
        true
    }

    /// When counts are to be looked at again, if anybody reads them.
    fn stats_due(&self) -> Option<Instant> {
        let every = match self.stats.changed {
            true => STATS_EVERY,
            false => STATS_IDLE,
        };
        let wanted = self.app.0.events.wants_stats();
        wanted.then(|| self.stats.looked + every)
    }

    async fn tell_stats(&mut self) {
        self.stats.looked = Instant::now();
        self.stats.changed = false;
        let Some(text) = super::stats(&self.app).await else {
            return;
        };
        if text != self.stats.last {
            self.stats.last = text.clone();
            self.app.0.events.tell_stats(&text);
        }
    }
}
