//! What may grow, and how fast: as a logarithm. With ten times as much of anything, a task may cost as much more as it
//! costs in the smallest deployment.
//!
//! The time of workers is not judged: here thousands of them share one processor and its caches, which none of them does
//! elsewhere.

use crate::plan::Series;
use crate::point::Point;

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
    let Some(smallest) = series.points.first().filter(|_| series.is_ladder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (steps, point) in (0_u32..).zip(&series.points) {
        for cost in &COSTS {
            let (least, cost_here) = ((cost.of)(smallest), (cost.of)(point));
            let most = least * f64::from(1 + steps);
            if cost_here > cost.least && cost_here > most {
                found.push(format!(
                    "{}, {}: {}: {cost_here:.2}, where {most:.2} is a logarithm of {least:.2}",
                    series.title,
                    series.step(&point.size),
                    cost.what,
                ));
            }
        }
    }
    found
}
