//! How the queues are, and how long their tasks wait and run.

use prometheus_client::registry::Registry;
use windlass_core::gateway::{BOUNDS_MS, Histogram, QueueTimings, TimingsView};
use windlass_core::time::Wall;

use super::table::{Spans, Table, seconds};

/// The label of all queues together that are not told apart. No queue can have this name.
const OTHERS: &str = "(other)";

fn name(queue: &QueueTimings) -> String {
    let name = queue.queue.as_ref();
    name.map_or_else(|| OTHERS.to_owned(), ToString::to_string)
}

fn spans(histogram: &Histogram) -> Spans {
    let counts = histogram.counts.into_iter();
    Spans::new(
        &BOUNDS_MS,
        1_000,
        counts,
        seconds(histogram.sum_us, 1_000_000),
    )
}

pub(super) fn register(registry: &mut Registry, timings: &TimingsView, now: Wall) {
    let each = || timings.queues.iter();
    let label = |queue: &QueueTimings| vec![("queue", name(queue))];
    let depth = each().flat_map(|queue| {
        let states = [
            ("pending", queue.pending),
            ("running", queue.running),
            ("dead", queue.dead),
        ];
        states.map(|(state, count)| {
            let labels = vec![("queue", name(queue)), ("state", state.to_owned())];
            (labels, seconds(count, 1))
        })
    });
    registry.register(
        "windlass_queue_depth",
        "Tasks of a queue that wait, run, or are dead",
        Table::levels(depth),
    );
    let oldest = each().filter_map(|queue| {
        let age = now.since(queue.oldest?).get();
        Some((label(queue), seconds(age, 1_000)))
    });
    registry.register(
        "windlass_queue_oldest_seconds",
        "How long the task waits that waits longest, since it was accepted or became due",
        Table::levels(oldest),
    );
    registry.register(
        "windlass_task_wait_seconds",
        "Time from when a task was accepted or became due until it was given to a worker, in the whole cluster",
        Table::spans(each().map(|queue| (label(queue), spans(&queue.wait)))),
    );
    registry.register(
        "windlass_task_run_seconds",
        "Time from when an attempt was seen to be given to a worker until it was seen to be over, in the whole cluster",
        Table::spans(each().map(|queue| (label(queue), spans(&queue.run)))),
    );
    registry.register(
        "windlass_worker_slots_used",
        "Slots that are taken",
        Table::levels([(vec![], seconds(timings.slots_used, 1))]),
    );
}
