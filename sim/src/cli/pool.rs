//! Runs numbered jobs on all cores and gives back their results in order, so that what is reported does not depend on
//! which thread was faster.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

/// As many threads as there are cores.
pub(crate) fn jobs_default() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Does `job` for every number of `range` on `jobs` threads, and gives the results to `take` in order, until it says that
/// it has enough.
pub(crate) fn in_order<T: Send>(
    range: std::ops::Range<u64>,
    jobs: usize,
    job: impl Fn(u64) -> T + Sync,
    mut take: impl FnMut(u64, T) -> bool,
) {
    let next = AtomicU64::new(range.start);
    let stop = AtomicBool::new(false);
    let (send, receive) = mpsc::sync_channel(1_024);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (next, stop, job, send) = (&next, &stop, &job, send.clone());
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= range.end || send.send((number, job(number))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut waiting = BTreeMap::new();
        let mut expected = range.start;
        for (number, result) in receive {
            waiting.insert(number, result);
            while let Some(result) = waiting.remove(&expected) {
                if !stop.load(Ordering::Relaxed) && !take(expected, result) {
                    stop.store(true, Ordering::Relaxed);
                }
                expected += 1;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_took_longer() {
        let mut taken = Vec::new();
        in_order(
            3..100,
            4,
            |n| std::hint::black_box((0..(100 - n) * 50).fold(n, |sum, _| sum)),
            |n, result| {
                assert_eq!(n, result);
                taken.push(n);
                true
            },
        );
        assert!(taken.into_iter().eq(3..100));
    }

    #[test]
    fn nothing_is_taken_after_enough() {
        let mut taken = Vec::new();
        in_order(
            0..1_000_000,
            2,
            |n| n,
            |n, _| {
                taken.push(n);
                n < 10
            },
        );
        assert!(taken.into_iter().eq(0..=10));
    }
}
