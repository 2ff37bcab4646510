//! What may grow, and how fast: with ten times as much of anything, a task may cost half as much again.
//!
//! The time of workers is not judged: here thousands of them share one processor and its caches, which none of them does
//! elsewhere.

use crate::plan::Series;
use crate::point::Point;

/// The most that a cost may grow by when a deployment is ten times as large. A logarithm grows by no more from the second
/// step on.
pub(crate) const FACTOR_MAX: f64 = 1.5;

/// A cost, and what is too little of it to be compared.
struct Cost {
    what: &'static str,
    of: fn(&Point) -> f64,
    least: f64,
}

const COSTS: [Cost; 5] = [
    Cost {
        what: "a scheduler's time for a task, in us",
        of: |it| it.scheduler_us,
        least: 1.0,
    },
    Cost {
        what: "transactions for a task",
        of: |it| it.txns(),
        least: 0.1,
    },
    Cost {
        what: "changes that a scheduler is told of for a task",
        of: |it| it.told_schedulers(),
        least: 1.0,
    },
    Cost {
        what: "a scheduler's bytes for a waiting task",
        of: |it| it.bytes_waiting(),
        least: 300.0,
    },
    Cost {
        what: "a scheduler's time to start for a waiting task, in us",
        of: |it| it.start_us_waiting(),
        least: 1.0,
    },
];

/// What grows too fast.
pub(crate) fn findings(series: &Series) -> Vec<String> {
    let mut found = Vec::new();
    let pairs = series.points.windows(2).filter(|_| series.is_ladder);
    for pair in pairs {
        for cost in &COSTS {
            let (before, after) = ((cost.of)(&pair[0]), (cost.of)(&pair[1]));
            if after > cost.least && after > before * FACTOR_MAX {
                found.push(format!(
                    "{}, {}: {}: {before:.2}, then {after:.2}",
                    series.title,
                    series.step(&pair[1].size),
                    cost.what,
                ));
            }
        }
    }
    found
}
