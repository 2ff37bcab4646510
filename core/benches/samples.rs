//! Tasks as they come in, with all that is stored of them, drawn from a seed.

use std::collections::BTreeMap;

use windlass_core::ids::{
    Attempt, Fence, NodeId, Priority, QueueName, Registration, Revision, TaskId,
};
use windlass_core::keyspace::Place;
use windlass_core::record::{
    AttemptEnd, AttemptNote, Carry, ClaimRecord, EntryRecord, Json, LaneRecord, Outcome,
    OutcomeRecord, TaskRecord, Totals, Version,
};
use windlass_core::retry::RetryPolicy;
use windlass_core::rng::Rng;
use windlass_core::time::{Millis, Wall};

/// What every wall clock shows at first.
const EPOCH: Wall = Wall::from_millis(1_800_000_000_000);
/// How many tasks are accepted in each millisecond.
const TASKS_PER_MS: u64 = 25;
/// As many letters as make a payload of 256 bytes with its quotes.
const PAYLOAD: usize = 254;

/// Draws samples.
pub(crate) struct Samples {
    rng: Rng,
    drawn: u64,
}

impl Samples {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            drawn: 0,
        }
    }

    /// Where the next task stands: of ten priorities, and later than those before.
    pub(crate) fn place(&mut self) -> Place {
        let timestamp = EPOCH.after(Millis::new(self.drawn / TASKS_PER_MS));
        self.drawn += 1;
        let digit = u8::try_from(self.rng.below(10)).expect("below ten");
        Place {
            priority: Priority::new(digit).expect("a digit"),
            timestamp,
            task: TaskId::new(&mut self.rng, timestamp),
        }
    }

    pub(crate) fn places(&mut self, count: usize) -> Vec<Place> {
        (0..count).map(|_| self.place()).collect()
    }

    /// One of a hundred workers, with a name as long as those that are drawn.
    pub(crate) fn worker(&mut self) -> NodeId {
        node(self.rng.below(100))
    }

    /// One of ten queues.
    pub(crate) fn queue(&mut self) -> QueueName {
        let text = format!("queue-{}", self.rng.below(10));
        text.parse().expect("a legal name")
    }

    /// What a task carries into its first attempt, or, once in ten, into one that follows failures.
    pub(crate) fn carry(&mut self) -> Carry {
        let mut carry = Carry {
            kind: "noop".parse().expect("a legal name"),
            timeout: Millis::from_secs(300),
            retries: 0,
            losses: 0,
            run: 0,
            notes: Vec::new(),
        };
        if self.rng.below(10) == 0 {
            for attempt in 1..=3 {
                carry.retries += 1;
                carry.note(AttemptNote {
                    attempt: Attempt(attempt),
                    worker: self.worker(),
                    started_at: Some(EPOCH),
                    ended_at: EPOCH.after(Millis::new(self.rng.below(10_000))),
                    end: AttemptEnd::Failed("the other end closed the connection".into()),
                    fence: None,
                });
            }
        }
        carry
    }

    pub(crate) fn task(&mut self) -> TaskRecord {
        let letter = |n| char::from(b'a' + u8::try_from(n).expect("below 26"));
        let payload: String = (0..PAYLOAD).map(|_| letter(self.rng.below(26))).collect();
        TaskRecord {
            v: Version,
            kind: "noop".parse().expect("a legal name"),
            queue: self.queue(),
            priority: Priority::NORMAL,
            name: None,
            payload: Json::string(&payload),
            metadata: BTreeMap::new(),
            created_at: EPOCH.after(Millis::new(self.rng.below(1_000_000))),
            due: None,
            retries_max: 3,
            retry: RetryPolicy::default(),
            timeout: Millis::from_secs(300),
            unique: None,
        }
    }

    pub(crate) fn entry(&mut self) -> EntryRecord {
        EntryRecord {
            v: Version,
            carry: self.carry(),
        }
    }

    pub(crate) fn claim(&mut self) -> ClaimRecord {
        ClaimRecord {
            v: Version,
            carry: self.carry(),
            queue: self.queue(),
            registration: Registration(self.revision()),
            assigned_at: EPOCH,
            stop: None,
            progress: None,
            task: None,
        }
    }

    pub(crate) fn outcome(&mut self) -> OutcomeRecord {
        OutcomeRecord {
            v: Version,
            outcome: Outcome::Completed(Json::null()),
            worker: Some(self.worker()),
            fence: Some(Fence(self.revision())),
            assigned_at: Some(EPOCH),
            started_at: Some(EPOCH),
            ended_at: EPOCH.after(Millis::new(self.rng.below(10_000))),
            carry: self.carry(),
            task: None,
        }
    }

    pub(crate) fn lane(&mut self) -> LaneRecord {
        LaneRecord {
            v: Version,
            number: self.rng.below(1 << 32),
            totals: Totals {
                accepted: self.rng.below(1 << 32),
                completed: self.rng.below(1 << 32),
                failed: self.rng.below(1 << 16),
                dispatched: self.rng.below(1 << 32),
                retried: self.rng.below(1 << 16),
                ..Totals::default()
            },
        }
    }

    fn revision(&mut self) -> Revision {
        Revision(1 + self.rng.below(1 << 32))
    }
}

/// Worker number `n`.
pub(crate) fn node(n: u64) -> NodeId {
    let mut rng = Rng::new(n);
    let text = format!("{:016x}{:016x}", rng.draw(), rng.draw());
    text.parse().expect("a legal name")
}

/// Goes round a list for ever, so that no measurement sees one input alone.
pub(crate) struct Round<T> {
    all: Vec<T>,
    at: usize,
}

impl<T> Round<T> {
    pub(crate) fn of(count: usize, mut make: impl FnMut() -> T) -> Self {
        assert!(count > 0, "a round needs somebody");
        Self {
            all: (0..count).map(|_| make()).collect(),
            at: 0,
        }
    }

    pub(crate) fn next(&mut self) -> &T {
        self.at = (self.at + 1) % self.all.len();
        &self.all[self.at]
    }
}
