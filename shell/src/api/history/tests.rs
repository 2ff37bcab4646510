//! Samples at chosen times, and the points that they make.

use serde_json::Value;
use windlass_core::gateway::{BOUNDS_MS, Histogram, QueueTimings, StatsView, TimingsView};
use windlass_core::record::Totals;
use windlass_core::room::Room;
use windlass_core::time::{Now, Wall};

use super::*;

/// When the tests begin.
const BEGIN: u64 = 1_700_000_000_000;

fn at(millis: u64) -> Now {
    Now {
        mono: Mono::ZERO.after(Duration::from_millis(millis)),
        wall: Wall::from_millis(BEGIN + millis),
    }
}

/// `count` waits of up to 30 ms.
fn waits(count: u64) -> Histogram {
    let mut histogram = Histogram::default();
    let bucket = BOUNDS_MS.iter().position(|bound| *bound == 30).unwrap();
    histogram.counts[bucket] = count;
    histogram
}

fn sample(millis: u64, completed: u64) -> Sample {
    let stats = StatsView {
        totals: Totals {
            accepted: 2 * completed,
            completed,
            ..Totals::default()
        },
        scheduled: 1,
        pending: 2,
        running: 3,
        retrying: 4,
        dead: 5,
        schedulers: 1,
        workers: 1,
        slots: 8,
        foreign: 0,
        drift_repaired: 0,
        room: Room::default(),
    };
    let queue = QueueTimings {
        wait: waits(completed),
        oldest: Some(Wall::from_millis(BEGIN)),
        ..QueueTimings::default()
    };
    let timings = TimingsView {
        queues: vec![queue],
        slots: 8,
        slots_used: 3,
    };
    Sample::of(at(millis), &stats, &timings)
}

fn ring() -> Ring {
    Ring::new(Duration::from_secs(5), 3)
}

fn points(ring: &Ring) -> Vec<Value> {
    ring.points()
        .map(|point| serde_json::to_value(point).unwrap())
        .collect()
}

#[test]
fn a_point_tells_what_happened_in_its_step_and_how_it_was_at_its_end() {
    let mut ring = ring();
    ring.take(&sample(0, 10));
    assert_eq!(
        ring.points().count(),
        0,
        "nothing is known of the time before"
    );
    ring.take(&sample(5_000, 30));
    let expected = serde_json::json!({
        "at": "2023-11-14T22:13:25.000Z",
        "accepted": 40, "completed": 20, "failed": 0, "cancelled": 0, "retried": 0, "lost": 0,
        "pending": 2, "running": 3, "scheduled": 1, "retrying": 4, "dead": 5,
        "oldest_age_ms": 5_000, "slots": 8, "slots_used": 3,
        "wait_ms": {"p50": 25.0, "p95": 29.5, "p99": 29.9},
        "run_ms": null,
    });
    assert_eq!(points(&ring), [expected]);
}

#[test]
fn samples_may_come_a_little_early_or_late_and_within_a_step() {
    let mut ring = ring();
    for millis in [0, 2_000, 4_499] {
        ring.take(&sample(millis, 0));
    }
    assert_eq!(ring.points().count(), 0);
    ring.take(&sample(4_500, 0));
    assert_eq!(ring.points().count(), 1);
    ring.take(&sample(14_500, 0));
    assert_eq!(ring.points().count(), 2);
}

#[test]
fn a_time_without_samples_is_a_gap_and_not_one_long_step() {
    let mut ring = ring();
    ring.take(&sample(0, 0));
    ring.take(&sample(10_001, 500));
    assert_eq!(ring.points().count(), 0);
    ring.take(&sample(15_000, 501));
    assert_eq!(points(&ring)[0]["completed"], 1);
}

#[test]
fn the_oldest_points_are_forgotten() {
    let mut ring = ring();
    for step in 0..=4 {
        ring.take(&sample(step * 5_000, step * step));
    }
    let completed: Vec<_> = points(&ring)
        .iter()
        .map(|point| point["completed"].as_u64().unwrap())
        .collect();
    assert_eq!(completed, [3, 5, 7]);
}

#[test]
fn rates_are_of_the_last_while() {
    let mut ring = Ring::new(Duration::from_secs(5), 100);
    let minute = Duration::from_secs(60);
    assert_eq!(ring.rates(at(0).mono, minute), None);
    ring.take(&sample(0, 0));
    assert_eq!(ring.rates(at(0).mono, minute), None, "of no time at all");
    ring.take(&sample(5_000, 50));
    let rates = |ring: &Ring, millis| {
        let rates = ring.rates(at(millis).mono, minute).unwrap();
        serde_json::to_value(rates).unwrap()
    };
    let expected = |completed: f64| {
        serde_json::json!({
            "accepted": 2.0 * completed, "completed": completed, "failed": 0.0, "retried": 0.0
        })
    };
    assert_eq!(rates(&ring, 5_000), expected(10.0));
    for step in 2..=13 {
        ring.take(&sample(step * 5_000, 50));
    }
    assert_eq!(
        rates(&ring, 65_000),
        expected(0.0),
        "the beginning lies too far back"
    );
    assert_eq!(
        ring.rates(at(200_000).mono, minute),
        None,
        "nobody looked lately"
    );
}
