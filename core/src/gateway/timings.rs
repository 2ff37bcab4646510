//! How long tasks wait and run, in the whole cluster: every scheduler process sees every claim come and go.
//!
//! *Wait* is the time from when a task was accepted or became due until it was given to a worker, by the clocks of the
//! gateway and the scheduler that wrote so. An attempt after a loss or a hand-back counts again, from the same beginning:
//! the task has kept its place. *Run* is the time from when this process saw the claim until it saw that it was gone, by
//! its own clock: it includes the way of both news and the wait for a slot in the worker, and all ends of attempts count.
//! What came or went while the view was read anew is not counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{Priority, QueueName, TaskId};
use crate::keyspace::Place;
use crate::time::{Mono, Wall};
use crate::view::{ClusterView, News, Waiting};

/// The upper bounds of a histogram's buckets, in milliseconds; one more bucket takes what is longer.
pub const BOUNDS_MS: [u64; 24] = [
    1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000,
    30_000, 60_000, 120_000, 300_000, 900_000, 3_600_000,
];

/// How many queues are told apart; the rest is counted together.
pub const TIMED_QUEUES_MAX: usize = 100;

/// How often a duration fell into each bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// How often, by bucket: at most this bound of [`BOUNDS_MS`] and more than the one before; longer ones last.
    pub counts: [u64; BOUNDS_MS.len() + 1],
    /// The sum of all durations, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Counts one duration.
    fn observe(&mut self, span: Duration) {
        let us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.partition_point(|bound| bound * 1_000 < us);
        self.counts[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// What was counted since `before`, which is this histogram as it was.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut rest = self.clone();
        for (count, less) in rest.counts.iter_mut().zip(before.counts) {
            *count = count.saturating_sub(less);
        }
        rest.sum_us = rest.sum_us.saturating_sub(before.sum_us);
        rest
    }

    /// The duration that `permille` of all durations do not exceed, in microseconds, as if those of one bucket lay
    /// evenly in it; `None` when nothing was counted. What is longer than the last bound is taken for that bound.
    pub fn quantile_us(&self, permille: u64) -> Option<u64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        // In thousandths, so that nothing is rounded before the end.
        let rank = u128::from(total) * u128::from(permille);
        let mut below = 0_u128;
        for (bucket, count) in self.counts.iter().enumerate() {
            let within = u128::from(*count) * 1_000;
            if *count > 0 && below + within >= rank {
                let from = bucket.checked_sub(1).map_or(0, |ix| BOUNDS_MS[ix]) * 1_000;
                let to = BOUNDS_MS.get(bucket).map_or(from, |bound| bound * 1_000);
                let part = u128::from(to - from) * rank.saturating_sub(below) / within;
                return Some(from + u64::try_from(part).unwrap_or(to - from));
            }
            below += within;
        }
        None
    }
}

/// How long the tasks of a queue wait and run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Timing {
    wait: Histogram,
    run: Histogram,
}

/// What this process has seen since it began.
#[derive(Debug, Default)]
pub(super) struct Timings {
    queues: BTreeMap<QueueName, Timing>,
    /// Of all queues that came when there was no room for more.
    others: Timing,
}

impl Timings {
    /// Takes a piece of news.
    pub(super) fn on_news(&mut self, now: Mono, news: &News) {
        match news {
            News::ClaimCame(_, place, queue, assigned_at) => {
                let wait = assigned_at.since(place.timestamp);
                self.of(queue).wait.observe(wait.into());
            }
            News::ClaimWent(_, _, claimed) => {
                let run = now.since(claimed.seen);
                self.of(&claimed.record.queue).run.observe(run);
            }
            News::EntryCame(..)
            | News::EntryWent(..)
            | News::ClaimChanged(..)
            | News::DelayedCame(..)
            | News::DelayedWent(..)
            | News::PlaceLost(_)
            | News::Unread(_)
            | News::WorkerCame(..)
            | News::WorkerBeat(_)
            | News::WorkerWent(..)
            | News::OfferChanged(_)
            | News::SchedulersChanged
            | News::QueueConfigured(_)
            | News::NodeConfigured(_)
            | News::LocksChanged => {}
        }
    }

    fn of(&mut self, queue: &QueueName) -> &mut Timing {
        if !self.queues.contains_key(queue) {
            if self.queues.len() >= TIMED_QUEUES_MAX {
                return &mut self.others;
            }
            self.queues.insert(queue.clone(), Timing::default());
        }
        self.queues
            .get_mut(queue)
            .expect("it was there or was just put there")
    }

    /// What was seen, beside how the queues are now.
    pub(super) fn show(&self, view: &ClusterView) -> TimingsView {
        let mut names: BTreeSet<&QueueName> = self.queues.keys().collect();
        let now = view.entries.keys().chain(view.running_queues());
        let now: BTreeSet<&QueueName> = now.chain(view.dead.keys()).collect();
        let room = TIMED_QUEUES_MAX.saturating_sub(names.len());
        let fresh: Vec<&QueueName> = now.difference(&names).take(room).copied().collect();
        names.extend(fresh);
        let mut others = QueueTimings::of(None, &self.others);
        for queue in now.difference(&names) {
            others.add_levels(queue, view);
        }
        let none = Timing::default();
        let of_queue = |queue: &&QueueName| {
            let timing = self.queues.get(*queue).unwrap_or(&none);
            let mut shown = QueueTimings::of(Some((*queue).clone()), timing);
            shown.add_levels(queue, view);
            shown
        };
        let mut queues: Vec<QueueTimings> = names.iter().map(of_queue).collect();
        if others != QueueTimings::default() {
            queues.push(others);
        }
        let (slots, slots_used) = slots(view);
        TimingsView {
            queues,
            slots,
            slots_used,
        }
    }
}

/// Slots that workers offer, and those of them that claims take.
fn slots(view: &ClusterView) -> (u64, u64) {
    let of_worker = view.offers.iter().map(|(worker, offer)| {
        let slots = u64::from(offer.record.slots);
        let claims = view.claims.get(worker).map_or(0, BTreeMap::len);
        (slots, slots.min(u64::try_from(claims).unwrap_or(u64::MAX)))
    });
    of_worker.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// When the task that waits longest was accepted or became due.
fn oldest(entries: &BTreeMap<Place, Waiting>) -> Option<Wall> {
    let mut oldest: Option<Wall> = None;
    let mut from = entries.first_key_value().map(|(place, _)| *place);
    while let Some(place) = from {
        oldest = Some(oldest.map_or(place.timestamp, |it| it.min(place.timestamp)));
        // The first of each priority is the oldest of it.
        let next = Priority::new(place.priority.get() + 1).ok();
        from = next.and_then(|priority| {
            let start = Wall::from_millis(0);
            let first = Place {
                priority,
                timestamp: start,
                task: TaskId::floor_of(start),
            };
            entries.range(first..).next().map(|(place, _)| *place)
        });
    }
    oldest
}

/// How long tasks wait and run, and how the queues are now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimingsView {
    /// By queue; last, if there are that many, all queues together that are not told apart.
    pub queues: Vec<QueueTimings>,
    /// Slots that workers offer.
    pub slots: u64,
    /// Those of them that claims take.
    pub slots_used: u64,
}

impl TimingsView {
    /// When the task that waits longest was accepted or became due.
    pub fn oldest(&self) -> Option<Wall> {
        self.queues.iter().filter_map(|queue| queue.oldest).min()
    }

    /// How long tasks of all queues waited.
    pub fn wait(&self) -> Histogram {
        self.sum(|queue| &queue.wait)
    }

    /// How long attempts of all queues ran.
    pub fn run(&self) -> Histogram {
        self.sum(|queue| &queue.run)
    }

    fn sum(&self, of: impl Fn(&QueueTimings) -> &Histogram) -> Histogram {
        let mut sum = Histogram::default();
        for queue in &self.queues {
            sum.add(of(queue));
        }
        sum
    }
}

/// How long the tasks of a queue wait and run, and how it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueTimings {
    /// Which; `None` for all queues together that are not told apart.
    pub queue: Option<QueueName>,
    /// Entries.
    pub pending: u64,
    /// Claims.
    pub running: u64,
    /// Tasks whose attempts are spent.
    pub dead: u64,
    /// When the entry that waits longest was accepted or became due.
    pub oldest: Option<Wall>,
    /// From when a task was accepted or became due until it was given to a worker.
    pub wait: Histogram,
    /// From when a claim was seen until it was seen to be gone.
    pub run: Histogram,
}

impl QueueTimings {
    fn of(queue: Option<QueueName>, timing: &Timing) -> Self {
        Self {
            queue,
            wait: timing.wait.clone(),
            run: timing.run.clone(),
            ..Self::default()
        }
    }

    fn add_levels(&mut self, queue: &QueueName, view: &ClusterView) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let entries = view.entries.get(queue);
        self.pending += count(entries.map_or(0, BTreeMap::len));
        self.running += view.running(queue);
        self.dead += count(view.dead.get(queue).map_or(0, BTreeMap::len));
        let oldest = entries.and_then(oldest);
        self.oldest = self.oldest.into_iter().chain(oldest).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Registration, Revision};
    use crate::keyspace::Key;
    use crate::record::{Carry, ClaimRecord, EntryRecord, Record, Version};
    use crate::store::{Change, Item};
    use crate::time::Millis;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn of(spans: &[Duration]) -> Histogram {
        let mut histogram = Histogram::default();
        for span in spans {
            histogram.observe(*span);
        }
        histogram
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let bounds = BOUNDS_MS.map(ms);
        assert_eq!(of(&bounds).counts[..BOUNDS_MS.len()], [1; BOUNDS_MS.len()]);
        let longer = of(&bounds.map(|bound| bound + Duration::from_micros(1)));
        assert_eq!(longer.counts[1..], [1; BOUNDS_MS.len()]);
        assert_eq!(of(&[Duration::ZERO]).counts[0], 1);
    }

    #[test]
    fn quantiles_lie_within_their_buckets() {
        assert_eq!(Histogram::default().quantile_us(500), None);
        let all = [vec![ms(1); 50], vec![ms(40); 45], vec![ms(4_000); 5]].concat();
        let histogram = of(&all);
        assert_eq!(histogram.quantile_us(500), Some(1_000));
        assert_eq!(histogram.quantile_us(950), Some(50_000));
        let slowest = histogram.quantile_us(990).unwrap();
        assert!((3_000_000..=5_000_000).contains(&slowest), "{slowest}");
        let endless = of(&[Duration::from_secs(1_000_000)]);
        assert_eq!(endless.quantile_us(500), Some(3_600_000_000));
    }

    #[test]
    fn what_was_counted_since_then_is_the_difference() {
        let before = of(&[ms(1), ms(70)]);
        let now = of(&[ms(1), ms(70), ms(70)]);
        assert_eq!(now.since(&before), of(&[ms(70)]));
        let mut sum = before;
        sum.add(&of(&[ms(70)]));
        assert_eq!(sum, now);
    }

    fn place(priority: u8, timestamp: u64, n: u64) -> Place {
        Place {
            priority: Priority::new(priority).unwrap(),
            timestamp: Wall::from_millis(timestamp),
            task: TaskId::floor_of(Wall::from_millis(n)),
        }
    }

    fn carry() -> Carry {
        Carry {
            kind: "echo".parse().unwrap(),
            timeout: Millis::from_secs(1),
            retries: 0,
            losses: 0,
            run: 0,
            notes: vec![],
        }
    }

    struct Rig {
        view: ClusterView,
        timings: Timings,
        at: u64,
    }

    impl Rig {
        fn new() -> Self {
            Self {
                view: ClusterView::default(),
                timings: Timings::default(),
                at: 0,
            }
        }

        fn apply(&mut self, now: Mono, change: impl FnOnce(Revision) -> Change) {
            self.at += 1;
            let mut news = vec![];
            let changes = vec![change(Revision(self.at))];
            self.view.apply(now, changes, &mut news);
            for item in &news {
                self.timings.on_news(now, item);
            }
        }

        fn enqueue(&mut self, queue: &str, place: Place) {
            let carry = carry();
            let value = EntryRecord { v: Version, carry }.encode();
            let key = Key::entry(&queue.parse().unwrap(), place);
            self.apply(Mono::ZERO, |at| Change::Put(Item::new(key, at, at, value)));
        }

        fn claim(&mut self, now: Mono, queue: &str, place: Place, assigned_at: u64) {
            let record = ClaimRecord {
                v: Version,
                carry: carry(),
                queue: queue.parse().unwrap(),
                registration: Registration(Revision(1)),
                assigned_at: Wall::from_millis(assigned_at),
                stop: None,
                progress: None,
                task: None,
            };
            let (key, value, created) = (claim_key(place), record.encode(), Revision(1));
            self.apply(now, |at| Change::Put(Item::new(key, created, at, value)));
        }

        fn release(&mut self, now: Mono, place: Place) {
            let key = claim_key(place);
            self.apply(now, |at| Change::Delete { key, at });
        }

        fn queue(&self, name: Option<&str>) -> QueueTimings {
            let shown = self.timings.show(&self.view);
            let name = name.map(|name| name.parse().unwrap());
            let found = shown.queues.into_iter().find(|it| it.queue == name);
            found.unwrap_or_default()
        }
    }

    fn claim_key(place: Place) -> Key {
        Key::claim(&"w".parse().unwrap(), place)
    }

    #[test]
    fn the_way_of_a_task_is_timed_once() {
        let mut rig = Rig::new();
        let (task, began) = (place(5, 1_000, 1), Mono::from_nanos(5));
        rig.claim(began, "q", task, 1_250);
        // Progress writes the claim again.
        rig.claim(began.after(ms(10)), "q", task, 1_250);
        rig.release(began.after(ms(40)), task);
        let queue = rig.queue(Some("q"));
        assert_eq!(queue.wait, of(&[ms(250)]));
        assert_eq!(queue.run, of(&[ms(40)]));
        let shown = rig.timings.show(&rig.view);
        assert_eq!((shown.wait(), shown.run()), (queue.wait, queue.run));
    }

    #[test]
    fn the_task_that_waits_longest_may_be_the_least_urgent() {
        let mut rig = Rig::new();
        assert_eq!(rig.timings.show(&rig.view).oldest(), None);
        for (n, (priority, timestamp)) in [(0, 900), (5, 700), (5, 600), (9, 100), (9, 800)]
            .into_iter()
            .enumerate()
        {
            rig.enqueue("q", place(priority, timestamp, n as u64));
        }
        rig.enqueue("z", place(1, 300, 9));
        assert_eq!(rig.queue(Some("q")).oldest, Some(Wall::from_millis(100)));
        assert_eq!(rig.queue(Some("q")).pending, 5);
        assert_eq!(
            rig.timings.show(&rig.view).oldest(),
            Some(Wall::from_millis(100))
        );
    }

    #[test]
    fn queues_beyond_the_limit_are_counted_together() {
        let mut rig = Rig::new();
        for n in 0..TIMED_QUEUES_MAX as u64 {
            rig.claim(Mono::ZERO, &format!("q{n}"), place(5, 1, n), 1);
        }
        assert_eq!(
            rig.queue(None),
            QueueTimings::default(),
            "just as many as fit"
        );
        for n in 1_000..1_003 {
            rig.claim(Mono::ZERO, &format!("q{n}"), place(5, 1, n), 1);
        }
        rig.enqueue("another", place(5, 7, 5_000));
        let others = rig.queue(None);
        assert_eq!((others.wait.count(), others.running), (3, 3));
        assert_eq!(
            (others.pending, others.oldest),
            (1, Some(Wall::from_millis(7)))
        );
        assert_eq!(
            rig.timings.show(&rig.view).queues.len(),
            TIMED_QUEUES_MAX + 1
        );
    }
}
