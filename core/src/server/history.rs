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

/// How often history is forgotten while there is room. A store looks at every key for that, so not too often.
const EVERY: Duration = Duration::from_secs(5);

/// And when there is little.
const EVERY_TIGHT: Duration = Duration::from_secs(1);

/// How long the store may take before it is asked again.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// What a janitor knows of the store's history.
#[derive(Debug)]
pub(super) struct History {
    kept_min: Option<Duration>,
    samples: VecDeque<(Mono, Revision)>,
    forgotten: Revision,
    /// What the store was asked to forget, and until when its answer is waited for.
    asked: Option<(OpId, Revision, Mono)>,
    rest_until: Mono,
}

impl History {
    /// History of which `kept_min` is kept while there is room; all of it when absent.
    pub(super) fn new(kept_min: Option<Duration>) -> Self {
        Self {
            kept_min,
            samples: VecDeque::new(),
            forgotten: Revision(0),
            asked: None,
            rest_until: Mono::ZERO,
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
        let waits = self.asked.is_some_and(|(.., until)| now < until);
        let Some(kept) = self.kept_min.filter(|_| !waits && self.rest_until <= now) else {
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
        self.asked = Some((op, at, now.after(ANSWER_MAX)));
        self.rest_until = now.after(match level {
            Level::Roomy => EVERY,
            Level::Tight | Level::Full => EVERY_TIGHT,
        });
        let call = Call::Compact { at };
        out.push(StoreCall { op, call }.into());
    }

    /// Takes an answer. The revision before which everything is forgotten, when that is new.
    pub(super) fn on_answer(&mut self, op: OpId, is_done: bool) -> Option<Revision> {
        let (_, at, _) = self.asked.take_if(|(own, ..)| *own == op)?;
        if !is_done {
            return None;
        }
        self.forgotten = self.forgotten.max(at);
        Some(at)
    }
}
