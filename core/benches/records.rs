//! The records of a task's life as bytes, and back.

use std::fmt::Debug;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use windlass_core::record::Record;
use windlass_core::store::Value;

use crate::samples::{Round, Samples};

const SAMPLES: usize = 1_024;

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut samples = Samples::new(2);
    both_ways(criterion, "task", || samples.task());
    both_ways(criterion, "entry", || samples.entry());
    both_ways(criterion, "claim", || samples.claim());
    both_ways(criterion, "outcome", || samples.outcome());
    both_ways(criterion, "lane", || samples.lane());
}

fn both_ways<R: Record + PartialEq + Debug>(
    criterion: &mut Criterion,
    name: &str,
    make: impl FnMut() -> R,
) {
    let mut records = Round::of(SAMPLES, make);
    let mut values = Round::of(SAMPLES, || records.next().encode());
    let mean = (0..SAMPLES)
        .map(|_| values.next().as_bytes().len())
        .sum::<usize>()
        / SAMPLES;
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Bytes(mean as u64));
    group.bench_function(format!("encode/{name}"), |b| {
        b.iter(|| black_box(records.next()).encode());
    });
    let decode = |value: &Value| R::decode(value).expect("what was encoded decodes");
    group.bench_function(format!("decode/{name}"), |b| {
        b.iter(|| decode(black_box(values.next())));
    });
    group.finish();
}
