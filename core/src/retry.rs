//! When a failed attempt is tried again. Pure: policy, failures so far and randomness in, a verdict out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::planted::planted;
use crate::rng::Rng;
use crate::time::Millis;

/// The longest wait between attempts that a policy may name: 365 days.
pub const RETRY_DELAY_MAX: Millis = Millis::from_secs(365 * 24 * 3_600);

/// How the wait grows from failure to failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Doubles each time.
    #[default]
    Exponential,
    /// Grows by the same amount each time.
    Linear,
    /// Stays the same.
    Fixed,
}

/// How long to wait before a failed attempt is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryPolicy {
    /// How the wait grows.
    pub kind: Backoff,
    /// The first wait.
    pub delay: Millis,
    /// No wait is longer.
    pub cap: Millis,
    /// Draw each wait between nothing and the computed one, so that tasks that failed together do not return together.
    pub jitter: bool,
    /// Give up this long after the task was accepted, whatever is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed_max: Option<Millis>,
}

impl Default for RetryPolicy {
    /// Exponential from 1 s to 5 min with full jitter.
    fn default() -> Self {
        Self {
            kind: Backoff::Exponential,
            delay: Millis::from_secs(1),
            cap: Millis::from_secs(300),
            jitter: true,
            elapsed_max: None,
        }
    }
}

/// What a handler may say about its failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Let the policy decide.
    #[default]
    Retry,
    /// Try again after exactly this long, if attempts are left.
    RetryAfter(Millis),
    /// Trying again is useless.
    FailNow,
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Try again after this long.
    RetryAfter(Millis),
    /// The task has failed.
    GiveUp(GiveUp),
}

/// Why a task is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// All its retries were used.
    RetriesSpent,
    /// Its time is over.
    TimeSpent,
    /// The handler said so.
    Final,
}

/// What is known about a task whose attempt just failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Retries used so far.
    pub retries: u32,
    /// Retries allowed.
    pub retries_max: u32,
    /// Time since the task was accepted, or run again.
    pub age: Millis,
    /// What the handler said.
    pub verdict: Verdict,
}

impl RetryPolicy {
    /// The wait after failure number `retries` (the first is 0), before jitter: never zero, never over the cap,
    /// never less than after an earlier failure.
    pub fn delay_after(&self, retries: u32) -> Millis {
        let first = self.delay.get().max(1);
        let grown = match self.kind {
            Backoff::Fixed => first,
            Backoff::Linear => first.saturating_mul(u64::from(retries).saturating_add(1)),
            Backoff::Exponential => {
                first.saturating_mul(1_u64.checked_shl(retries.min(63)).unwrap_or(u64::MAX))
            }
        };
        if planted!("M-18") {
            return Millis::new(grown.min(RETRY_DELAY_MAX.get()));
        }
        Millis::new(grown.min(self.cap.get().clamp(1, RETRY_DELAY_MAX.get())))
    }

    /// What follows from `failure`.
    pub fn decide(&self, failure: &Failure, rng: &mut Rng) -> Decision {
        if failure.verdict == Verdict::FailNow {
            return Decision::GiveUp(GiveUp::Final);
        }
        let spare = u32::from(planted!("P-retries-off-by-one"));
        if failure.retries >= failure.retries_max.saturating_add(spare) {
            return Decision::GiveUp(GiveUp::RetriesSpent);
        }
        let wait = match failure.verdict {
            Verdict::RetryAfter(wait) => Millis::new(wait.get().clamp(1, RETRY_DELAY_MAX.get())),
            Verdict::Retry | Verdict::FailNow => self.jittered(failure.retries, rng),
        };
        match self.elapsed_max {
            Some(most) if failure.age.get().saturating_add(wait.get()) > most.get() => {
                Decision::GiveUp(GiveUp::TimeSpent)
            }
            Some(_) | None => Decision::RetryAfter(wait),
        }
    }

    fn jittered(&self, retries: u32, rng: &mut Rng) -> Millis {
        let whole = self.delay_after(retries);
        let wait = if self.jitter {
            Millis::new(1 + rng.below(whole.get()))
        } else {
            whole
        };
        assert!(
            wait > Millis::ZERO && wait <= whole,
            "jitter only shortens, never to nothing"
        );
        wait
    }
}

/// The wait before an unanswered call of our own is repeated: doubles from `first` to `cap`, half of it jitter.
pub fn call_backoff(first: Duration, cap: Duration, tries: u32, rng: &mut Rng) -> Duration {
    let whole = first
        .saturating_mul(1_u32.checked_shl(tries.min(20)).unwrap_or(u32::MAX))
        .min(cap);
    let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX).max(2);
    if planted!("M-29") {
        return Duration::from_nanos(nanos);
    }
    Duration::from_nanos(nanos / 2 + rng.below(nanos / 2) + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;

    fn policy() -> impl Strategy<Value = RetryPolicy> {
        let kind = prop_oneof![
            Just(Backoff::Exponential),
            Just(Backoff::Linear),
            Just(Backoff::Fixed)
        ];
        (
            kind,
            any::<u64>(),
            any::<u64>(),
            any::<bool>(),
            any::<Option<u64>>(),
        )
            .prop_map(|(kind, delay, cap, jitter, most)| RetryPolicy {
                kind,
                delay: Millis::new(delay),
                cap: Millis::new(cap),
                jitter,
                elapsed_max: most.map(Millis::new),
            })
    }

    proptest! {
        #[test]
        fn waits_are_positive_capped_and_never_shrink(policy in policy(), retries in any::<u32>()) {
            let wait = policy.delay_after(retries);
            prop_assert!(wait > Millis::ZERO && wait <= RETRY_DELAY_MAX && wait.get() <= policy.cap.get().max(1));
            prop_assert!(policy.delay_after(retries.saturating_add(1)) >= wait);
        }

        #[test]
        fn no_failure_overflows(policy in policy(), retries in any::<u32>(), retries_max in any::<u32>(), age in any::<u64>(), after in any::<u64>(), seed in any::<u64>()) {
            let mut rng = Rng::new(seed);
            for verdict in [Verdict::Retry, Verdict::RetryAfter(Millis::new(after)), Verdict::FailNow] {
                let failure = Failure { retries, retries_max, age: Millis::new(age), verdict };
                if let Decision::RetryAfter(wait) = policy.decide(&failure, &mut rng) {
                    prop_assert!(wait > Millis::ZERO && wait <= RETRY_DELAY_MAX && retries < retries_max);
                }
            }
        }

        #[test]
        fn calls_are_repeated_within_their_cap(tries in any::<u32>(), seed in any::<u64>()) {
            let cap = Duration::from_secs(5);
            let wait = call_backoff(Duration::from_millis(50), cap, tries, &mut Rng::new(seed));
            prop_assert!(wait > Duration::ZERO && wait <= cap + Duration::from_nanos(1));
        }
    }

    #[test]
    fn the_default_doubles_from_a_second_to_five_minutes() {
        let waits: Vec<u64> = [0, 1, 2, 8, 9, 31, 64, u32::MAX]
            .map(|n| RetryPolicy::default().delay_after(n).get() / 1_000)
            .into();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300, 300, 300]);
    }

    #[test]
    fn the_handler_has_the_last_word() {
        let (policy, mut rng) = (RetryPolicy::default(), Rng::new(1));
        let failure = |retries, verdict| Failure {
            retries,
            retries_max: 3,
            age: Millis::ZERO,
            verdict,
        };
        assert_eq!(
            policy.decide(&failure(0, Verdict::FailNow), &mut rng),
            Decision::GiveUp(GiveUp::Final)
        );
        let after = Verdict::RetryAfter(Millis::from_secs(90));
        assert_eq!(
            policy.decide(&failure(2, after), &mut rng),
            Decision::RetryAfter(Millis::from_secs(90))
        );
        assert_eq!(
            policy.decide(&failure(3, after), &mut rng),
            Decision::GiveUp(GiveUp::RetriesSpent)
        );
    }

    #[test]
    fn a_task_gives_up_when_its_time_would_be_over_before_the_retry() {
        let policy = RetryPolicy {
            jitter: false,
            elapsed_max: Some(Millis::from_secs(10)),
            ..RetryPolicy::default()
        };
        let failure = |age| Failure {
            retries: 0,
            retries_max: 3,
            age: Millis::from_secs(age),
            verdict: Verdict::Retry,
        };
        assert_eq!(
            policy.decide(&failure(9), &mut Rng::new(1)),
            Decision::RetryAfter(Millis::from_secs(1))
        );
        assert_eq!(
            policy.decide(&failure(10), &mut Rng::new(1)),
            Decision::GiveUp(GiveUp::TimeSpent)
        );
    }
}
