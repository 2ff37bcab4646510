//! Middles and tails of what was measured.

use std::time::Duration;

use serde::Serialize;

/// The middle of some measurements; of two middles, what lies half-way. Nothing when there are none.
pub fn median(mut measured: Vec<f64>) -> Option<f64> {
    measured.sort_by(f64::total_cmp);
    let upper = *measured.get(measured.len() / 2)?;
    if measured.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = measured[measured.len() / 2 - 1];
    Some(f64::midpoint(lower, upper))
}

/// Waits, in milliseconds: each quantile is a wait that somebody had.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Distribution {
    /// How many were measured.
    pub count: usize,
    /// At least half of them were no longer.
    pub p50: f64,
    /// At least 99 of a hundred were no longer.
    pub p99: f64,
    /// None was longer.
    pub max: f64,
}

impl Distribution {
    /// Of these; nothing when there are none.
    pub fn of(mut waits: Vec<Duration>) -> Option<Self> {
        waits.sort_unstable();
        let longest = waits.last()?;
        let at = |permille: usize| {
            let rank = (waits.len() * permille).div_ceil(1_000);
            millis(waits[rank.saturating_sub(1)])
        };
        Some(Self {
            count: waits.len(),
            p50: at(500),
            p99: at(990),
            max: millis(*longest),
        })
    }
}

/// A span in milliseconds.
pub fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_lies_between_its_two_middles() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![7.0]), Some(7.0));
        assert_eq!(median(vec![9.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(vec![10.0, 1.0, 2.0, 4.0]), Some(3.0));
    }

    #[test]
    fn a_tail_is_a_wait_that_somebody_had() {
        let waits = |count: u64| (1..=count).rev().map(Duration::from_millis).collect();
        let of_hundred = Distribution::of(waits(100)).unwrap();
        assert_eq!(
            (of_hundred.p50, of_hundred.p99, of_hundred.max),
            (50.0, 99.0, 100.0)
        );
        let of_three = Distribution::of(waits(3)).unwrap();
        assert_eq!((of_three.p50, of_three.p99, of_three.max), (2.0, 3.0, 3.0));
        assert_eq!(Distribution::of(Vec::new()), None);
    }
}
