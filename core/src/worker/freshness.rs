//! Freshness: whether the news of claims keep up with what this worker itself has written.
//!
//! A watch may fall behind or go mute while everything else works, and a scheduler takes back the claims of a worker that
//! does nothing with them. Its own transactions tell a worker that the store has moved on: what it has written must come
//! to be known by its watch within a while, or its view is not one to start anything on.

use std::time::Duration;

use crate::ids::Revision;
use crate::planted::planted;
use crate::time::Mono;

/// What the view owes this worker.
#[derive(Debug)]
pub(super) struct Freshness {
    lag_max: Duration,
    /// The last of its own revisions.
    written: Revision,
    /// Since when the view has not reached one of them.
    behind_since: Option<Mono>,
    stale: bool,
}

impl Freshness {
    /// A view that is behind for longer than `lag_max` is stale.
    pub(super) fn new(lag_max: Duration) -> Self {
        Self {
            lag_max,
            written: Revision(0),
            behind_since: None,
            stale: false,
        }
    }

    /// The worker has written at `at`.
    pub(super) fn wrote(&mut self, now: Mono, at: Revision) {
        self.written = self.written.max(at);
        self.behind_since.get_or_insert(now);
    }

    /// The view has reached `at`. Who was stale is fresh again only when nothing is owed any more: old news come in a row.
    pub(super) fn reached(&mut self, now: Mono, at: Revision) {
        if at >= self.written {
            self.behind_since = None;
            self.stale = false;
        } else if !self.stale {
            self.behind_since = Some(now);
        }
    }

    pub(super) fn pass_time(&mut self, now: Mono) {
        if let Some(since) = self.behind_since
            && since.after(self.lag_max) <= now
        {
            self.stale = true;
        }
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale && !planted!("P-stale-news-started")
    }

    /// What the view should reach.
    pub(super) fn owed(&self) -> Option<Revision> {
        self.behind_since.map(|_| self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::ZERO.after(Duration::from_millis(ms))
    }

    fn behind() -> Freshness {
        let mut freshness = Freshness::new(Duration::from_millis(100));
        freshness.wrote(at(0), Revision(5));
        freshness
    }

    #[test]
    fn a_view_that_keeps_up_is_fresh_however_much_is_written() {
        let mut freshness = behind();
        for step in 1..100 {
            freshness.wrote(at(step * 50), Revision(5 + step));
            freshness.reached(at(step * 50 + 40), Revision(4 + step));
            freshness.pass_time(at(step * 50 + 49));
            assert!(!freshness.is_stale());
        }
    }

    #[test]
    fn a_view_that_does_not_reach_what_was_written_is_stale_until_it_has_all_of_it() {
        let mut freshness = behind();
        freshness.pass_time(at(99));
        assert!(!freshness.is_stale());
        freshness.pass_time(at(100));
        assert!(freshness.is_stale());
        freshness.wrote(at(150), Revision(9));
        freshness.reached(at(160), Revision(6));
        assert!(freshness.is_stale(), "what follows 6 is still on its way");
        assert_eq!(freshness.owed(), Some(Revision(9)));
        freshness.reached(at(161), Revision(9));
        assert!(!freshness.is_stale());
        assert_eq!(freshness.owed(), None);
    }
}
