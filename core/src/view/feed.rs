//! Continuity: whether the pieces of a watch follow each other without a gap.

use std::time::Duration;

use crate::ids::{OpId, OpIds, Revision};
use crate::keyspace::Range;
use crate::planted::planted;
use crate::retry::call_backoff;
use crate::rng::Rng;
use crate::store::{Call, Change, Item, StoreCall, ViewEvent};
use crate::time::Mono;

/// The first and the longest wait before a broken watch is asked for again.
const AGAIN_MIN: Duration = Duration::from_millis(50);
const AGAIN_MAX: Duration = Duration::from_secs(2);

/// How long a full read may take before it is asked for again.
const READ_MAX: Duration = Duration::from_secs(60);

/// How often the watch is asked how far it is while somebody waits for a revision.
const PROGRESS_EVERY: Duration = Duration::from_millis(10);

/// One watched range and how far it is known.
#[derive(Debug)]
pub struct Feed {
    range: Range,
    watch: Option<OpId>,
    /// A full read is under way, at this revision.
    loading: Option<Revision>,
    /// Everything up to here is known; `None` while there is a gap.
    at: Option<Revision>,
    /// The last revision that was reached, gap or not.
    reached: Revision,
    wake: Option<Mono>,
    tries: u32,
    wanted: Revision,
    asked_progress: Option<Mono>,
    rng: Rng,
}

/// What a piece of news means for whoever keeps the view.
#[derive(Debug)]
pub enum Fed {
    /// Nothing: it belongs to a watch that was given up, or tells nothing new.
    Nothing,
    /// A gap: what was known is frozen until a reset.
    Lost,
    /// Forget everything, then take these.
    Restart(Vec<Item>),
    /// More of the same full read.
    More(Vec<Item>),
    /// What follows what is known.
    Changes(Vec<Change>),
}

impl Feed {
    /// Nothing is known of `range` yet; it is asked for as soon as time passes.
    pub fn new(range: Range, rng: Rng) -> Self {
        Self {
            range,
            watch: None,
            loading: None,
            at: None,
            reached: Revision(0),
            wake: Some(Mono::ZERO),
            tries: 0,
            wanted: Revision(0),
            asked_progress: None,
            rng,
        }
    }

    /// Nobody wants to know any more: gives the watch up.
    pub fn end<E: From<StoreCall>>(self, ops: &mut OpIds, out: &mut Vec<E>) {
        if let Some(watch) = self.watch {
            let op = ops.fresh();
            let call = Call::Unwatch { watch };
            out.push(StoreCall { op, call }.into());
        }
    }

    /// The revision up to which everything is known; `None` while there is a gap.
    pub fn at(&self) -> Option<Revision> {
        self.at
    }

    /// Whether everything up to `revision` is known.
    pub fn has_reached(&self, revision: Revision) -> bool {
        self.at.is_some_and(|at| at >= revision)
    }

    /// Somebody waits until everything up to `revision` is known.
    pub fn want(&mut self, now: Mono, revision: Revision) {
        self.wanted = self.wanted.max(revision);
        if planted!("P-progress-never-asked") {
            return;
        }
        if self.at.is_some_and(|at| at < self.wanted) && self.wake.is_none() {
            self.wake = Some(now.after(Duration::from_nanos(1)));
        }
    }

    /// What is watched.
    pub fn range(&self) -> &Range {
        &self.range
    }

    /// What is known is not what the store holds: it is read anew, and frozen until then.
    pub fn doubt(&mut self, now: Mono) {
        self.loading = None;
        self.at = None;
        self.wake = Some(now.after(Duration::from_nanos(1)));
    }

    /// When [`Feed::on_time`] must be called.
    pub fn deadline(&self) -> Option<Mono> {
        self.wake
    }

    /// Asks for the range when it is not watched, and for progress when somebody waits for it.
    pub fn on_time<E: From<StoreCall>>(&mut self, now: Mono, ops: &mut OpIds, out: &mut Vec<E>) {
        if self.wake.is_none_or(|at| at > now) {
            return;
        }
        self.wake = None;
        match (self.watch, self.at) {
            (Some(watch), Some(at)) if at < self.wanted => {
                out.push(
                    StoreCall {
                        op: ops.fresh(),
                        call: Call::Progress { watch },
                    }
                    .into(),
                );
                self.asked_progress = Some(now);
                self.wake = Some(now.after(PROGRESS_EVERY));
            }
            (Some(_), Some(_)) => {}
            (old, _) => {
                if let Some(watch) = old {
                    out.push(
                        StoreCall {
                            op: ops.fresh(),
                            call: Call::Unwatch { watch },
                        }
                        .into(),
                    );
                }
                let op = ops.fresh();
                self.watch = Some(op);
                self.loading = None;
                self.wake = Some(now.after(READ_MAX));
                out.push(
                    StoreCall {
                        op,
                        call: Call::Watch(self.range.clone()),
                    }
                    .into(),
                );
            }
        }
    }

    /// Whether `op` is the current watch.
    pub fn is_watch(&self, op: OpId) -> bool {
        self.watch == Some(op)
    }

    /// Takes a piece of news of watch `op`.
    pub fn on_event(&mut self, now: Mono, op: OpId, event: ViewEvent) -> Fed {
        if !self.is_watch(op) && !planted!("P-old-watch-heard") {
            return Fed::Nothing;
        }
        match event {
            ViewEvent::Lost if planted!("M-10") => Fed::Nothing,
            ViewEvent::Lost => self.lose(now),
            ViewEvent::Reset { at, items, more } => self.on_reset(now, at, items, more),
            ViewEvent::Delta { after, at, changes } => self.on_delta(now, after, at, changes),
        }
    }

    fn lose(&mut self, now: Mono) -> Fed {
        self.watch = None;
        self.loading = None;
        self.at = None;
        self.wake = Some(now.after(call_backoff(
            AGAIN_MIN,
            AGAIN_MAX,
            self.tries,
            &mut self.rng,
        )));
        self.tries = self.tries.saturating_add(1);
        Fed::Lost
    }

    fn on_reset(&mut self, now: Mono, at: Revision, items: Vec<Item>, more: bool) -> Fed {
        let continues = match self.loading {
            Some(_) if planted!("P-reads-mixed") => true,
            loading => loading == Some(at),
        };
        if at < self.reached && !planted!("P-older-read-taken") {
            // A member that lags, or a store that was restored: either way not a base to decide on.
            return self.lose(now);
        }
        self.loading = more.then_some(at);
        if more {
            self.at = None;
            self.wake = Some(now.after(READ_MAX));
        } else {
            self.arrive(now, at);
            self.tries = 0;
        }
        if continues {
            Fed::More(items)
        } else {
            Fed::Restart(items)
        }
    }

    fn on_delta(
        &mut self,
        now: Mono,
        after: Revision,
        at: Revision,
        mut changes: Vec<Change>,
    ) -> Fed {
        let Some(known) = self.at else {
            return Fed::Nothing;
        };
        if (after > known && !planted!("P-gap-accepted")) || at < after {
            return self.lose(now);
        }
        let at = if planted!("M-12") { at.max(known) } else { at };
        let skipped = if planted!("M-11") && after < known {
            known.next()
        } else {
            known
        };
        // Duplicates after a reconnect.
        changes.retain(|change| change.at() > skipped || planted!("M-12"));
        if at <= known && !planted!("M-12") {
            return Fed::Nothing;
        }
        assert!(
            changes.iter().all(|change| change.at() <= at),
            "a delta reaches its own changes"
        );
        self.arrive(now, at);
        Fed::Changes(changes)
    }

    fn arrive(&mut self, now: Mono, at: Revision) {
        self.at = Some(at);
        self.reached = self.reached.max(at);
        self.wake = match self.asked_progress {
            _ if at >= self.wanted => None,
            Some(asked) => Some(
                asked
                    .after(PROGRESS_EVERY)
                    .max(now.after(Duration::from_nanos(1))),
            ),
            None => Some(now.after(Duration::from_nanos(1))),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Key;

    struct Rig {
        feed: Feed,
        ops: OpIds,
        out: Vec<StoreCall>,
        now: Mono,
    }

    impl Rig {
        fn new() -> Self {
            let mut rig = Self {
                feed: Feed::new(Range::cluster(), Rng::new(1)),
                ops: OpIds::default(),
                out: Vec::new(),
                now: Mono::from_nanos(1),
            };
            rig.wake();
            rig
        }

        fn wake(&mut self) {
            self.now = self
                .now
                .max(self.feed.deadline().expect("it wants something"));
            self.feed.on_time(self.now, &mut self.ops, &mut self.out);
        }

        fn watch(&self) -> OpId {
            self.feed.watch.unwrap()
        }

        fn event(&mut self, event: ViewEvent) -> Fed {
            let watch = self.watch();
            self.feed.on_event(self.now, watch, event)
        }

        fn reset(&mut self, at: u64, more: bool) -> Fed {
            self.event(ViewEvent::Reset {
                at: Revision(at),
                items: vec![],
                more,
            })
        }

        fn delta(&mut self, after: u64, at: u64, changed: &[u64]) -> Fed {
            let changes = changed
                .iter()
                .map(|at| Change::Delete {
                    key: Key::from_store("/k"),
                    at: Revision(*at),
                })
                .collect();
            self.event(ViewEvent::Delta {
                after: Revision(after),
                at: Revision(at),
                changes,
            })
        }
    }

    #[test]
    fn what_follows_without_a_gap_is_taken() {
        let mut rig = Rig::new();
        assert!(matches!(rig.reset(5, true), Fed::Restart(_)));
        assert_eq!(rig.feed.at(), None, "half a read is nothing to decide on");
        assert!(matches!(rig.reset(5, false), Fed::More(_)));
        assert!(matches!(rig.delta(5, 9, &[6, 9]), Fed::Changes(changes) if changes.len() == 2));
        assert_eq!(rig.feed.at(), Some(Revision(9)));
    }

    #[test]
    fn a_gap_freezes_the_view_until_it_is_read_again() {
        let mut rig = Rig::new();
        rig.reset(5, false);
        let old = rig.watch();
        assert!(matches!(rig.delta(7, 9, &[9]), Fed::Lost));
        assert_eq!(rig.feed.at(), None);
        rig.wake();
        assert_ne!(rig.watch(), old);
        let late = ViewEvent::Delta {
            after: Revision(5),
            at: Revision(6),
            changes: vec![],
        };
        assert!(
            matches!(rig.feed.on_event(rig.now, old, late), Fed::Nothing),
            "news of the old watch"
        );
        assert!(matches!(rig.reset(9, false), Fed::Restart(_)));
    }

    #[test]
    fn duplicates_are_dropped() {
        let mut rig = Rig::new();
        rig.reset(5, false);
        assert!(matches!(rig.delta(3, 7, &[4, 5, 6]), Fed::Changes(changes) if changes.len() == 1));
        assert!(matches!(rig.delta(3, 7, &[4]), Fed::Nothing));
    }

    #[test]
    fn a_read_that_lies_before_what_was_known_is_no_base() {
        let mut rig = Rig::new();
        rig.reset(5, false);
        rig.event(ViewEvent::Lost);
        rig.wake();
        assert!(matches!(rig.reset(4, false), Fed::Lost));
    }

    #[test]
    fn progress_is_asked_for_while_somebody_waits() {
        let mut rig = Rig::new();
        rig.reset(5, false);
        assert_eq!(rig.feed.deadline(), None);
        rig.feed.want(rig.now, Revision(8));
        rig.out.clear();
        rig.wake();
        assert!(matches!(
            rig.out[..],
            [StoreCall {
                call: Call::Progress { .. },
                ..
            }]
        ));
        rig.delta(5, 8, &[]);
        assert_eq!(rig.feed.deadline(), None);
    }
}
