//! What a process measures of itself: written by drivers and ports, read by whoever spells metrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windlass_core::ids::{OpId, Revision, TaskType};
use windlass_core::store::{Answer, AuditAnswer, Call, LeaseAnswer, ReadAnswer, TxnOutcome};
use windlass_core::time::Mono;

/// The upper bounds of a meter's buckets, in microseconds; one more bucket takes what is longer.
pub const METER_BOUNDS_US: [u64; 17] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    1_000_000, 5_000_000, 60_000_000,
];

/// How often spans of time fell into each bucket.
#[derive(Debug, Default)]
pub struct Meter {
    counts: [AtomicU64; METER_BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

impl Meter {
    /// Counts one span.
    pub fn observe(&self, span: Duration) {
        let us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let bucket = METER_BOUNDS_US.partition_point(|bound| *bound < us);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// How often, by bucket.
    pub fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().map(|it| it.load(Ordering::Relaxed))
    }

    /// The sum of all spans.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed))
    }
}

/// What is asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreOp {
    /// A transaction.
    Commit,
    /// A read of keys or of a range.
    Read,
    /// A grant, a renewal or the end of a lease.
    Lease,
    /// A comparison of what is known with what is stored.
    Audit,
    /// Forgetting history.
    Compact,
    /// A question for the room that is left.
    Usage,
}

impl StoreOp {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Commit,
        Self::Read,
        Self::Lease,
        Self::Audit,
        Self::Compact,
        Self::Usage,
    ];

    /// The word of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Read => "read",
            Self::Lease => "lease",
            Self::Audit => "audit",
            Self::Compact => "compact",
            Self::Usage => "usage",
        }
    }

    /// What a call asks; `None` for those that have no one answer.
    fn of(call: &Call) -> Option<Self> {
        match call {
            Call::Commit(_) => Some(Self::Commit),
            Call::Read(_) => Some(Self::Read),
            Call::Grant { .. } | Call::Renew { .. } | Call::Revoke { .. } => Some(Self::Lease),
            Call::Audit(_) => Some(Self::Audit),
            Call::Compact { .. } => Some(Self::Compact),
            Call::Usage => Some(Self::Usage),
            Call::Watch(_) | Call::Unwatch { .. } | Call::Progress { .. } => None,
        }
    }
}

/// What a store answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreOutcome {
    /// It did what was asked.
    Done,
    /// A guard of the transaction did not hold.
    Conflict,
    /// It said no, for certain.
    Refused,
    /// It did not say whether it did it.
    Unknown,
}

impl StoreOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Done, Self::Conflict, Self::Refused, Self::Unknown];

    /// The word of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// What an answer says; `None` for news of a watch.
    fn of(answer: &Answer) -> Option<Self> {
        Some(match answer {
            Answer::View(_) => return None,
            Answer::Txn(TxnOutcome::Committed { .. })
            | Answer::Read(ReadAnswer::Items { .. })
            | Answer::Audited(AuditAnswer::Held { .. })
            // A lease that is gone is an answer as good as any other.
            | Answer::Lease(LeaseAnswer::Live { .. } | LeaseAnswer::Gone)
            | Answer::Compacted(true)
            | Answer::Usage(Some(_)) => Self::Done,
            Answer::Txn(TxnOutcome::Conflict { .. }) => Self::Conflict,
            Answer::Txn(TxnOutcome::Refused(_)) | Answer::Lease(LeaseAnswer::Refused(_)) => {
                Self::Refused
            }
            Answer::Txn(TxnOutcome::Unknown)
            | Answer::Read(ReadAnswer::Failed)
            | Answer::Audited(AuditAnswer::Failed)
            | Answer::Lease(LeaseAnswer::Unknown)
            | Answer::Compacted(false)
            | Answer::Usage(None) => Self::Unknown,
        })
    }
}

/// What a scheduler process measures of itself.
pub struct Instruments {
    now: Box<dyn Fn() -> Mono + Send + Sync>,
    decisions: Meter,
    store: [[Meter; StoreOutcome::ALL.len()]; StoreOp::ALL.len()],
    asked: Mutex<BTreeMap<OpId, (StoreOp, Mono)>>,
    /// In nanoseconds; zero when there is no session.
    session_ends: AtomicU64,
    view_at: AtomicU64,
}

impl Default for Instruments {
    /// Of a process that measures nothing.
    fn default() -> Self {
        Self::new(|| Mono::ZERO)
    }
}

impl fmt::Debug for Instruments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instruments")
    }
}

impl Instruments {
    /// Nothing is measured yet. `now` reads the process's monotonic clock.
    pub fn new(now: impl Fn() -> Mono + Send + Sync + 'static) -> Self {
        Self {
            now: Box::new(now),
            decisions: Meter::default(),
            store: Default::default(),
            asked: Mutex::default(),
            session_ends: AtomicU64::new(0),
            view_at: AtomicU64::new(0),
        }
    }

    fn asked(&self) -> MutexGuard<'_, BTreeMap<OpId, (StoreOp, Mono)>> {
        // Nothing panics while the lock is held, and every operation on the map is whole.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine took so long to decide on what had come.
    pub fn decided(&self, span: Duration) {
        self.decisions.observe(span);
    }

    /// A call goes to the store, which answers it once, whatever happens.
    pub fn called(&self, op: OpId, call: &Call) {
        if let Some(kind) = StoreOp::of(call) {
            self.asked().insert(op, (kind, (self.now)()));
        }
    }

    /// The store has answered.
    pub fn answered(&self, op: OpId, answer: &Answer) {
        let Some(outcome) = StoreOutcome::of(answer) else {
            return;
        };
        let Some((kind, since)) = self.asked().remove(&op) else {
            return;
        };
        let span = (self.now)().since(since);
        self.store[kind as usize][outcome as usize].observe(span);
    }

    /// How the machine is now: when its session ends, and how far it knows the store.
    pub fn look(&self, session_ends: Option<Mono>, view_at: Option<Revision>) {
        let ends = session_ends.map_or(0, Mono::as_nanos);
        self.session_ends.store(ends, Ordering::Relaxed);
        if let Some(at) = view_at {
            self.view_at.store(at.0, Ordering::Relaxed);
        }
    }

    /// How long the machine takes to decide on what has come.
    pub fn decisions(&self) -> &Meter {
        &self.decisions
    }

    /// How long the store takes for calls of this kind that it answers so.
    pub fn store(&self, op: StoreOp, outcome: StoreOutcome) -> &Meter {
        &self.store[op as usize][outcome as usize]
    }

    /// How long the session lasts if it is not renewed; nothing when there is none.
    pub fn session_left(&self) -> Duration {
        Mono::from_nanos(self.session_ends.load(Ordering::Relaxed)).since((self.now)())
    }

    /// The last revision up to which the store was known.
    pub fn view_at(&self) -> Revision {
        Revision(self.view_at.load(Ordering::Relaxed))
    }
}

/// How long a worker's handlers run, by type.
#[derive(Debug, Default)]
pub struct Runs {
    state: Mutex<RunsState>,
}

#[derive(Debug, Default)]
struct RunsState {
    began: BTreeMap<OpId, (TaskType, Mono)>,
    /// As many as the worker has handlers for.
    ended: BTreeMap<TaskType, Arc<Meter>>,
}

impl Runs {
    fn lock(&self) -> MutexGuard<'_, RunsState> {
        // Nothing panics while the lock is held, and every operation on the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handler starts.
    pub fn begin(&self, now: Mono, run: OpId, kind: &TaskType) {
        self.lock().began.insert(run, (kind.clone(), now));
    }

    /// It has ended, however.
    pub fn end(&self, now: Mono, run: OpId) {
        let mut state = self.lock();
        let Some((kind, began)) = state.began.remove(&run) else {
            return;
        };
        let meter = state.ended.entry(kind).or_default();
        meter.observe(now.since(began));
    }

    /// How long the handlers of each type have run.
    pub fn by_type(&self) -> BTreeMap<TaskType, Arc<Meter>> {
        self.lock().ended.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(meter: &Meter) -> Vec<(usize, u64)> {
        let counts = meter.counts().enumerate();
        counts.filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn a_span_falls_into_the_first_bucket_that_holds_it() {
        let meter = Meter::default();
        for us in [0, 10, 11, 60_000_000, 60_000_001] {
            meter.observe(Duration::from_micros(us));
        }
        assert_eq!(counts(&meter), [(0, 2), (1, 1), (16, 1), (17, 1)]);
        assert_eq!(meter.sum(), Duration::from_micros(120_000_022));
    }

    #[test]
    fn each_call_is_timed_from_its_question_to_its_answer() {
        let clock = Arc::new(AtomicU64::new(0));
        let read = Arc::clone(&clock);
        let instruments = Instruments::new(move || Mono::from_nanos(read.load(Ordering::Relaxed)));
        instruments.called(OpId(1), &Call::Usage);
        instruments.called(OpId(2), &Call::Compact { at: Revision(1) });
        clock.store(2_000_000, Ordering::Relaxed);
        instruments.answered(OpId(1), &Answer::Usage(None));
        instruments.answered(OpId(1), &Answer::Usage(None));
        clock.store(4_000_000, Ordering::Relaxed);
        instruments.answered(OpId(2), &Answer::Compacted(true));
        let of = |op, outcome| counts(instruments.store(op, outcome));
        assert_eq!(of(StoreOp::Usage, StoreOutcome::Unknown), [(7, 1)]);
        assert_eq!(of(StoreOp::Compact, StoreOutcome::Done), [(8, 1)]);
        assert_eq!(of(StoreOp::Usage, StoreOutcome::Done), []);
        instruments.look(Some(Mono::from_nanos(9_000_000)), Some(Revision(7)));
        assert_eq!(instruments.session_left(), Duration::from_millis(5));
        instruments.look(None, None);
        assert_eq!(instruments.session_left(), Duration::ZERO);
        assert_eq!(
            instruments.view_at(),
            Revision(7),
            "the last that was known"
        );
    }

    #[test]
    fn runs_are_timed_by_type_and_forgotten_when_they_have_ended() {
        let (runs, at) = (Runs::default(), |ms: u64| Mono::from_nanos(ms * 1_000_000));
        let kind: TaskType = "echo".parse().unwrap();
        runs.begin(at(1), OpId(1), &kind);
        runs.end(at(6), OpId(1));
        runs.end(at(9), OpId(1));
        let meters = runs.by_type();
        assert_eq!(counts(&meters[&kind]), [(8, 1)]);
        assert!(runs.lock().began.is_empty());
    }
}
