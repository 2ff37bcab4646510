//! Whether and when a failed attempt is tried again.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use windlass_core::retry::{Backoff, Failure, RetryPolicy, Verdict, call_backoff};
use windlass_core::rng::Rng;
use windlass_core::time::Millis;

use crate::samples::Round;

const SAMPLES: usize = 4_096;

fn failures() -> Round<Failure> {
    let mut rng = Rng::new(3);
    Round::of(SAMPLES, || Failure {
        retries: u32::try_from(rng.below(12)).expect("below twelve"),
        retries_max: 10,
        age: Millis::new(rng.below(7_200_000)),
        verdict: match rng.below(10) {
            0 => Verdict::RetryAfter(Millis::new(rng.below(60_000))),
            1 => Verdict::FailNow,
            _ => Verdict::Retry,
        },
    })
}

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("retry");
    group.throughput(Throughput::Elements(1));
    for (name, kind) in [
        ("exponential", Backoff::Exponential),
        ("linear", Backoff::Linear),
        ("fixed", Backoff::Fixed),
    ] {
        let policy = RetryPolicy {
            kind,
            elapsed_max: Some(Millis::from_secs(3_600)),
            ..RetryPolicy::default()
        };
        let (mut failures, mut rng) = (failures(), Rng::new(4));
        group.bench_function(format!("decide/{name}"), |b| {
            b.iter(|| policy.decide(black_box(failures.next()), &mut rng));
        });
    }
    let (mut failures, mut rng) = (failures(), Rng::new(5));
    let (first, cap) = (Duration::from_millis(50), Duration::from_secs(2));
    group.bench_function("call_backoff", |b| {
        b.iter(|| call_backoff(first, cap, black_box(failures.next()).retries, &mut rng));
    });
    group.finish();
}
