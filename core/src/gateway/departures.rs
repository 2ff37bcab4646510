//! How fast tasks of a queue are given to workers, whether they waited or not: counted over the last minute, in steps of
//! five seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::QueueName;
use crate::time::{Millis, Mono};

/// How long one step is.
const STEP: Duration = Duration::from_secs(5);

/// How many steps are remembered.
const STEPS: usize = 12;

/// What left a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// So many tasks, at least one,
    pub(super) departed: u64,
    /// in this time, which is not zero.
    pub(super) over: Millis,
}

/// What left the queues lately. A queue that nothing leaves any more is forgotten.
#[derive(Debug, Default)]
pub(super) struct Departures {
    queues: BTreeMap<QueueName, Ring>,
    /// The step in which queues were last forgotten.
    swept: u64,
}

#[derive(Debug)]
struct Ring {
    /// When the first of these left.
    since: Mono,
    /// The last step in which one left.
    last: u64,
    counts: [u64; STEPS],
}

fn step_of(at: Mono) -> u64 {
    let step = u64::try_from(STEP.as_nanos()).expect("seconds fit");
    at.as_nanos() / step
}

fn slot_of(step: u64) -> usize {
    usize::try_from(step % STEPS as u64).expect("a small number")
}

/// Whether a step is too long ago to count.
fn is_past(step: u64, now: u64) -> bool {
    step + STEPS as u64 <= now
}

impl Departures {
    /// A task of this queue was given to a worker.
    pub(super) fn note(&mut self, now: Mono, queue: &QueueName) {
        let step = step_of(now);
        if self.swept != step {
            self.swept = step;
            self.queues.retain(|_, ring| !is_past(ring.last, step));
        }
        let fresh = || Ring {
            since: now,
            last: step,
            counts: [0; STEPS],
        };
        if !self.queues.contains_key(queue) {
            self.queues.insert(queue.clone(), fresh());
        }
        let ring = self.queues.get_mut(queue).expect("it was put there above");
        for silent in ring.last + 1..=step {
            ring.counts[slot_of(silent)] = 0;
        }
        ring.last = step;
        ring.counts[slot_of(step)] += 1;
    }

    /// How fast tasks leave this queue; `None` when none did.
    pub(super) fn rate(&self, now: Mono, queue: &QueueName) -> Option<Rate> {
        let ring = self.queues.get(queue)?;
        let step = step_of(now);
        let first = (step + 1).saturating_sub(STEPS as u64);
        let counted = (first..=ring.last).filter(|it| !is_past(*it, step));
        // A slot is of the last step that it can be of: those of steps before were overwritten.
        let counted = counted.filter(|it| !is_past(*it, ring.last));
        let departed: u64 = counted.map(|it| ring.counts[slot_of(it)]).sum();
        let begin = Mono::ZERO.after(STEP.saturating_mul(u32::try_from(first).unwrap_or(u32::MAX)));
        let over = now.since(begin.max(ring.since)).max(STEP);
        let over = Millis::new(u64::try_from(over.as_millis()).unwrap_or(u64::MAX));
        (departed > 0).then_some(Rate { departed, over })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::ZERO.after(Duration::from_secs(seconds))
    }

    fn rate(departures: &Departures, seconds: u64) -> Option<(u64, u64)> {
        let rate = departures.rate(at(seconds), &"q".parse().unwrap())?;
        Some((rate.departed, rate.over.get() / 1_000))
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let (mut departures, queue) = (Departures::default(), "q".parse().unwrap());
        assert_eq!(rate(&departures, 100), None, "nothing has left");
        for second in 100..300 {
            departures.note(at(second), &queue);
            departures.note(at(second), &queue);
        }
        assert_eq!(rate(&departures, 299), Some((2 * 60, 59)));
        assert_eq!(rate(&departures, 340), Some((2 * 15, 55)));
        assert_eq!(rate(&departures, 355), None);
        assert_eq!(rate(&departures, 10_000), None);
    }

    #[test]
    fn a_rate_begins_with_the_first_departure_and_is_not_of_less_than_a_step() {
        let (mut departures, queue) = (Departures::default(), "q".parse().unwrap());
        departures.note(at(101), &queue);
        assert_eq!(rate(&departures, 101), Some((1, 5)));
        assert_eq!(rate(&departures, 121), Some((1, 20)));
        departures.note(at(121), &queue);
        assert_eq!(rate(&departures, 121), Some((2, 20)));
    }

    #[test]
    fn queues_that_nothing_leaves_any_more_are_forgotten() {
        let mut departures = Departures::default();
        for n in 0..100_u64 {
            departures.note(at(n), &format!("q{n}").parse().unwrap());
        }
        assert!(departures.queues.len() <= 65, "{}", departures.queues.len());
    }
}
