//! Which history may be forgotten: what every live node has passed, and what is old enough for the slowest watcher. A
//! store that is short of room keeps less of it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::{OpId, OpIds, Revision};
use crate::room::Level;
use crate::store::{Call, StoreCall};
use crate::time::Mono;
use crate::view::ClusterView;

/// How often the view's revision is noted, to know which history is old enough.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// How often history is forgotten while there is room. A store looks at every key for that, the more often the more work:
/// it is left alone as long as it took, but at least so long.
const REST_MIN: Duration = Duration::from_secs(5);
/// And at most so long: what is not forgotten takes room, and the longer it grows the longer the next time takes.
const REST_MAX: Duration = Duration::from_secs(30);

/// How often it is asked when there is little room.
const EVERY_TIGHT: Duration = Duration::from_secs(1);

/// How long the store may take before it is asked again.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// What a janitor knows of the store's history.
#[derive(Debug)]
pub(super) struct History {
    kept_min: Option<Duration>,
    samples: VecDeque<(Mono, Revision)>,
    forgotten: Revision,
    /// What the store was asked to forget.
    asked: Option<(OpId, Revision)>,
    /// When that was, or the time before.
    asked_at: Option<Mono>,
    /// How long the store took the last time.
    took: Duration,
}

impl History {
    /// History of which `kept_min` is kept while there is room; all of it when absent.
    pub(super) fn new(kept_min: Option<Duration>) -> Self {
        Self {
            kept_min,
            samples: VecDeque::new(),
            forgotten: Revision(0),
            asked: None,
            asked_at: None,
            took: Duration::ZERO,
        }
    }

    /// Whether any of it is ever forgotten by this janitor.
    pub(super) fn is_cut(&self) -> bool {
        self.kept_min.is_some()
    }

    /// Notes how far the view is.
    pub(super) fn on_view_at(&mut self, now: Mono, at: Revision) {
        let fresh = self
            .samples
            .back()
            .is_some_and(|(noted, _)| now.since(*noted) < SAMPLE_EVERY);
        let Some(kept) = self.kept_min.filter(|_| !fresh) else {
            return;
        };
        self.samples.push_back((now, at));
        // Of those that are old enough, only the newest says anything.
        while self
            .samples
            .get(1)
            .is_some_and(|(noted, _)| now.since(*noted) >= kept)
        {
            self.samples.pop_front();
        }
    }

    /// Asks the store to forget what it may, one thing at a time.
    pub(super) fn advance<E: From<StoreCall>>(
        &mut self,
        now: Mono,
        level: Level,
        view: &ClusterView,
        ops: &mut OpIds,
        out: &mut Vec<E>,
    ) {
        let every = match level {
            Level::Roomy => self.took + self.took.clamp(REST_MIN, REST_MAX),
            Level::Tight | Level::Full => EVERY_TIGHT,
        };
        let every = if self.asked.is_some() {
            ANSWER_MAX
        } else {
            every
        };
        let rests = self.asked_at.is_some_and(|at| now.since(at) < every);
        let Some(kept) = self.kept_min.filter(|_| !rests) else {
            return;
        };
        let kept = level.history(kept);
        let is_old = |(noted, _): &&(Mono, Revision)| now.since(*noted) >= kept;
        let Some((_, old)) = self.samples.iter().rev().find(is_old) else {
            return;
        };
        let lowest = view
            .workers
            .values()
            .chain(view.schedulers.values())
            .map(|node| node.record.view)
            .filter(|at| *at > Revision(0))
            .min();
        let at = lowest.map_or(*old, |lowest| lowest.min(*old));
        if at <= self.forgotten {
            return;
        }
        let op = ops.fresh();
        self.asked = Some((op, at));
        self.asked_at = Some(now);
        let call = Call::Compact { at };
        out.push(StoreCall { op, call }.into());
    }

    /// Takes an answer. The revision before which everything is forgotten, when that is new.
    pub(super) fn on_answer(&mut self, now: Mono, op: OpId, is_done: bool) -> Option<Revision> {
        let (_, at) = self.asked.take_if(|(own, _)| *own == op)?;
        if !is_done {
            return None;
        }
        self.took = self.asked_at.map_or(self.took, |since| now.since(since));
        self.forgotten = self.forgotten.max(at);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE_KEPT: Option<Duration> = Some(Duration::ZERO);

    fn s(n: u64) -> Mono {
        Mono::ZERO.after(Duration::from_secs(n))
    }

    /// Whether history is to be forgotten at second `n`, when the view is at that revision.
    fn asks(history: &mut History, ops: &mut OpIds, n: u64, level: Level) -> Option<OpId> {
        history.on_view_at(s(n), Revision(n));
        let mut out: Vec<StoreCall> = Vec::new();
        history.advance(s(n), level, &ClusterView::default(), ops, &mut out);
        out.pop().map(|call| call.op)
    }

    #[test]
    fn the_store_is_left_alone_as_long_as_it_took_and_at_most_half_a_minute() {
        let (mut it, mut ops) = (History::new(NONE_KEPT), OpIds::default());
        let op = asks(&mut it, &mut ops, 10, Level::Roomy).unwrap();
        assert_eq!(
            asks(&mut it, &mut ops, 20, Level::Roomy),
            None,
            "it is at it"
        );
        assert_eq!(it.on_answer(s(20), op, true), Some(Revision(10)));
        assert_eq!(asks(&mut it, &mut ops, 29, Level::Roomy), None);
        let op = asks(&mut it, &mut ops, 30, Level::Roomy).unwrap();
        it.on_answer(s(80), op, true);
        assert_eq!(asks(&mut it, &mut ops, 109, Level::Roomy), None);
        assert!(asks(&mut it, &mut ops, 110, Level::Roomy).is_some());
    }

    #[test]
    fn a_store_short_of_room_forgets_as_soon_as_it_can() {
        let (mut it, mut ops) = (History::new(NONE_KEPT), OpIds::default());
        let op = asks(&mut it, &mut ops, 10, Level::Roomy).unwrap();
        it.on_answer(s(20), op, true);
        assert!(asks(&mut it, &mut ops, 21, Level::Tight).is_some());
    }

    #[test]
    fn a_quick_store_is_asked_every_five_seconds_and_a_silent_one_again_after_a_minute() {
        let (mut it, mut ops) = (History::new(NONE_KEPT), OpIds::default());
        let op = asks(&mut it, &mut ops, 10, Level::Roomy).unwrap();
        it.on_answer(s(10), op, true);
        assert_eq!(asks(&mut it, &mut ops, 14, Level::Roomy), None);
        assert!(asks(&mut it, &mut ops, 15, Level::Roomy).is_some());
        assert_eq!(asks(&mut it, &mut ops, 74, Level::Roomy), None);
        assert!(asks(&mut it, &mut ops, 75, Level::Roomy).is_some());
    }
}
