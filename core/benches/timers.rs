//! The timer table while it holds a million.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use windlass_core::rng::Rng;
use windlass_core::time::Mono;
use windlass_core::timers::Timers;

const TIMERS: u64 = 1_000_000;
/// Deadlines lie within this.
const HOUR: u64 = 3_600 * 1_000_000_000;

/// A table that is always full.
struct Full {
    timers: Timers<u64>,
    now: Mono,
    rng: Rng,
}

impl Full {
    fn new() -> Self {
        let mut full = Self {
            timers: Timers::default(),
            now: Mono::ZERO,
            rng: Rng::new(6),
        };
        (0..TIMERS).for_each(|key| full.arm(key));
        full
    }

    fn any(&mut self) -> u64 {
        self.rng.below(TIMERS)
    }

    /// Sets a deadline anew, or for the first time.
    fn arm(&mut self, key: u64) {
        let ahead = Duration::from_nanos(1 + self.rng.below(HOUR));
        self.timers.arm(self.now, key, self.now.after(ahead));
    }

    /// Time passes until somebody is due.
    fn fire(&mut self) -> u64 {
        let (at, _) = self.timers.earliest().expect("the table is full");
        self.now = self.now.max(at);
        self.timers.pop_due(self.now).expect("it is due")
    }
}

pub(crate) fn measure(criterion: &mut Criterion) {
    // Made when it is first wanted.
    let mut full: Option<Full> = None;
    let mut group = criterion.benchmark_group(format!("timers/{TIMERS}"));
    group.throughput(Throughput::Elements(1));
    group.bench_function("insert_anew", |b| {
        let full = full.get_or_insert_with(Full::new);
        b.iter(|| {
            let key = full.any();
            full.arm(black_box(key));
        });
    });
    group.bench_function("cancel_and_insert", |b| {
        let full = full.get_or_insert_with(Full::new);
        b.iter(|| {
            let key = full.any();
            full.timers.disarm(black_box(key));
            full.arm(key);
        });
    });
    group.bench_function("fire_and_insert", |b| {
        let full = full.get_or_insert_with(Full::new);
        b.iter(|| {
            let key = full.fire();
            full.arm(black_box(key));
        });
    });
    group.finish();
}
