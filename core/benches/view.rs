//! What a scheduler knows, read whole and followed, with a hundred thousand tasks in it.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use windlass_core::ids::{NodeId, QueueName, Revision};
use windlass_core::keyspace::{Key, Place};
use windlass_core::record::Record;
use windlass_core::store::{Change, Item, Value};
use windlass_core::time::Mono;
use windlass_core::view::ClusterView;

use crate::samples::Samples;

const TASKS: usize = 100_000;
/// How many items a part of a full read has.
const PART: usize = 1_000;
const BEFORE: Revision = Revision(10);
const AFTER: Revision = Revision(11);

/// One waiting task, and the claim that it becomes.
struct Sample {
    place: Place,
    queue: QueueName,
    worker: NodeId,
    entry: Value,
    claim: Value,
}

impl Sample {
    fn entry(&self) -> Item {
        let key = Key::entry(&self.queue, self.place);
        Item::new(key, BEFORE, BEFORE, self.entry.clone())
    }

    fn claim(&self) -> Item {
        let key = Key::claim(&self.worker, self.place);
        Item::new(key, AFTER, AFTER, self.claim.clone())
    }

    /// It is given to its worker.
    fn dispatched(&self) -> [Change; 2] {
        exchanged(self.entry(), self.claim())
    }

    /// It is handed back.
    fn handed_back(&self) -> [Change; 2] {
        exchanged(self.claim(), self.entry())
    }
}

fn exchanged(gone: Item, came: Item) -> [Change; 2] {
    let at = AFTER.max(gone.found.modified);
    [Change::Delete { key: gone.key, at }, Change::Put(came)]
}

fn samples() -> Vec<Sample> {
    let mut samples = Samples::new(8);
    let mut draw = || {
        let mut claim = samples.claim();
        let entry = samples.entry();
        claim.carry = entry.carry.clone();
        Sample {
            place: samples.place(),
            queue: claim.queue.clone(),
            worker: samples.worker(),
            entry: entry.encode(),
            claim: claim.encode(),
        }
    };
    (0..TASKS).map(|_| draw()).collect()
}

fn filled(parts: Vec<Vec<Item>>) -> ClusterView {
    let (mut view, mut news) = (ClusterView::default(), Vec::new());
    for part in parts {
        news.clear();
        view.fill(Mono::ZERO, part, &mut news);
    }
    view
}

fn parts(samples: &[Sample]) -> Vec<Vec<Item>> {
    let mut items: Vec<Item> = samples.iter().map(Sample::entry).collect();
    items.sort_by(|a, b| a.key.cmp(&b.key));
    items.chunks(PART).map(<[Item]>::to_vec).collect()
}

/// What a view is filled with.
struct Cluster {
    samples: Vec<Sample>,
    parts: Vec<Vec<Item>>,
}

impl Cluster {
    fn new() -> Self {
        let samples = samples();
        let parts = parts(&samples);
        Self { samples, parts }
    }

    /// That many tasks from all over: given to their workers, and handed back.
    fn there_and_back(&self, tasks: usize) -> [Vec<Change>; 2] {
        let some = || self.samples.iter().step_by(TASKS / tasks).take(tasks);
        let there = some().flat_map(Sample::dispatched).collect();
        [there, some().flat_map(Sample::handed_back).collect()]
    }
}

pub(crate) fn measure(criterion: &mut Criterion) {
    // Made when it is first wanted.
    let mut cluster: Option<Cluster> = None;
    let mut group = criterion.benchmark_group("view");
    group.sample_size(10);
    group.throughput(Throughput::Elements(TASKS as u64));
    group.bench_function(format!("reset/{TASKS}"), |b| {
        let parts = &cluster.get_or_insert_with(Cluster::new).parts;
        b.iter_batched(|| parts.clone(), filled, BatchSize::PerIteration);
    });
    group.sample_size(30);
    for changes in [2, 128, 10_000] {
        group.throughput(Throughput::Elements(changes as u64));
        group.bench_function(format!("delta/{changes}"), |b| {
            let cluster = cluster.get_or_insert_with(Cluster::new);
            let mut view = filled(cluster.parts.clone());
            let both = cluster.there_and_back(changes / 2);
            // There and back again, so that the view stays as large.
            let (mut ways, mut news) = (both.iter().cycle(), Vec::new());
            b.iter_batched(
                || ways.next().expect("a circle has no end").clone(),
                |changes| {
                    news.clear();
                    view.apply(Mono::ZERO, black_box(changes), &mut news);
                },
                BatchSize::SmallInput,
            );
            assert!(news.len() >= changes, "each change is news");
            assert_eq!((view.spots_len(), view.foreign()), (TASKS, 0));
        });
    }
    group.finish();
}
