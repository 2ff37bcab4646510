//! The spelling of keys, and what keys stand for.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use windlass_core::ids::{NodeId, QueueName};
use windlass_core::keyspace::{Key, LaneName, Meaning, Place, Role};

use crate::samples::{Round, Samples};

const SAMPLES: usize = 4_096;

/// What keys are made of.
struct Parts {
    place: Place,
    queue: QueueName,
    worker: NodeId,
}

type Print = fn(&Parts) -> Key;

/// The keys of a task's life and of a node's, by name.
const KINDS: [(&str, Print); 8] = [
    ("task", |it| Key::task(it.place.task)),
    ("outcome", |it| Key::outcome(it.place.task)),
    ("entry", |it| Key::entry(&it.queue, it.place)),
    ("claim", |it| Key::claim(&it.worker, it.place)),
    ("delayed", |it| {
        Key::delayed(it.place.timestamp, it.place.task)
    }),
    ("node", |it| Key::node(Role::Worker, &it.worker)),
    ("offer", |it| Key::offer(&it.worker)),
    ("lane", |it| {
        let lane = LaneName {
            part: 'w',
            index: 3,
        };
        Key::lane(&it.worker, lane)
    }),
];

fn parts() -> Round<Parts> {
    let mut samples = Samples::new(1);
    Round::of(SAMPLES, || Parts {
        place: samples.place(),
        queue: samples.queue(),
        worker: samples.worker(),
    })
}

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("key/print");
    group.throughput(Throughput::Elements(1));
    for (kind, print) in KINDS {
        let mut all = parts();
        group.bench_function(kind, |b| b.iter(|| print(black_box(all.next()))));
    }
    group.finish();
    let mut group = criterion.benchmark_group("key/parse");
    group.throughput(Throughput::Elements(1));
    for (kind, print) in KINDS {
        let mut all = parts();
        let mut keys = Round::of(SAMPLES, || print(all.next()));
        group.bench_function(kind, |b| b.iter(|| Meaning::of(black_box(keys.next()))));
    }
    group.finish();
}
