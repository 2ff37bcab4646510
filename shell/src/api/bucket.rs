//! A token bucket, and many of them by key. Pure: the time comes with the question.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::time::Mono;

/// How often something may happen: `burst` times at once, and then once each `each`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// How often at once, at least once.
    pub burst: u32,
    /// How long one more takes to come; longer than nothing.
    pub each: Duration,
}

impl Rate {
    /// `count` times a second, and as often at once.
    pub(crate) fn per_second(count: u32) -> Self {
        let count = count.max(1);
        Self {
            burst: count,
            each: (Duration::from_secs(1) / count).max(Duration::from_nanos(1)),
        }
    }

    fn span(self) -> Duration {
        self.each * self.burst
    }
}

/// When the bucket will be full again. In the past: it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    full_at: Mono,
}

impl Bucket {
    const FULL: Self = Self {
        full_at: Mono::ZERO,
    };

    /// How long until there is one to take; nothing if there is one now.
    fn wait(self, now: Mono, rate: Rate) -> Duration {
        let missing = self.full_at.max(now).since(now) + rate.each;
        missing.saturating_sub(rate.span())
    }

    fn take(&mut self, now: Mono, rate: Rate) -> Result<(), Duration> {
        match self.wait(now, rate) {
            Duration::ZERO => {
                self.full_at = self.full_at.max(now).after(rate.each);
                Ok(())
            }
            wait => Err(wait),
        }
    }

    fn is_full(self, now: Mono) -> bool {
        self.full_at <= now
    }
}

/// One bucket for each key, of so many keys at most: those that come beyond share one.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    keys_max: usize,
    by_key: BTreeMap<K, Bucket>,
    others: Bucket,
}

impl<K: Ord + Clone> Buckets<K> {
    /// Full buckets for up to `keys_max` keys.
    pub(crate) fn new(rate: Rate, keys_max: usize) -> Self {
        Self {
            rate,
            keys_max,
            by_key: BTreeMap::new(),
            others: Bucket::FULL,
        }
    }

    /// Takes one for `key`, or tells how long until there is one.
    pub(crate) fn take(&mut self, key: &K, now: Mono) -> Result<(), Duration> {
        let rate = self.rate;
        if let Some(bucket) = self.by_key.get_mut(key) {
            return bucket.take(now, rate);
        }
        if self.by_key.len() >= self.keys_max {
            // A full bucket is as good as none.
            self.by_key.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.by_key.len() >= self.keys_max {
            return self.others.take(now, rate);
        }
        self.by_key
            .entry(key.clone())
            .or_insert(Bucket::FULL)
            .take(now, rate)
    }

    /// How long until there is one for `key`; nothing if there is one now. Takes none.
    pub(crate) fn wait(&self, key: &K, now: Mono) -> Duration {
        let bucket = match self.by_key.get(key) {
            Some(bucket) => *bucket,
            None if self.by_key.len() >= self.keys_max => self.others,
            None => Bucket::FULL,
        };
        bucket.wait(now, self.rate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::ZERO.after(Duration::from_millis(millis))
    }

    const RATE: Rate = Rate {
        burst: 3,
        each: Duration::from_millis(100),
    };

    #[test]
    fn a_burst_is_let_through_and_then_one_by_one() {
        let mut buckets = Buckets::new(RATE, 10);
        for _ in 0..3 {
            assert_eq!(buckets.take(&'a', at(1_000)), Ok(()));
        }
        let wait = Duration::from_millis(100);
        assert_eq!(buckets.take(&'a', at(1_000)), Err(wait));
        assert_eq!(
            buckets.wait(&'a', at(1_040)),
            wait - Duration::from_millis(40)
        );
        assert_eq!(buckets.take(&'a', at(1_100)), Ok(()));
        assert!(buckets.take(&'a', at(1_199)).is_err());
        assert_eq!(buckets.take(&'a', at(1_200)), Ok(()));
        assert_eq!(
            buckets.take(&'b', at(1_200)),
            Ok(()),
            "others have their own"
        );
    }

    #[test]
    fn keys_beyond_the_most_share_one_bucket_until_others_are_full_again() {
        let mut buckets = Buckets::new(RATE, 2);
        assert!(buckets.take(&1, at(0)).is_ok() && buckets.take(&2, at(0)).is_ok());
        for key in 3..6 {
            assert_eq!(buckets.take(&key, at(0)), Ok(()));
        }
        assert!(buckets.take(&6, at(0)).is_err());
        assert!(buckets.wait(&7, at(0)) > Duration::ZERO);
        assert_eq!(buckets.take(&6, at(100)), Ok(()), "a place is free again");
        assert!(buckets.by_key.len() <= 2);
    }

    proptest! {
        #[test]
        fn no_more_than_the_rate_is_let_through(steps in prop::collection::vec(0_u64..500, 1..200), count in 1_u32..50) {
            let rate = Rate::per_second(count);
            let mut buckets = Buckets::new(rate, 4);
            let (mut now, mut taken) = (0, 0_u64);
            for step in steps {
                now += step;
                taken += u64::from(buckets.take(&(), at(now)).is_ok());
                let most = u64::from(count) + now * u64::from(count) / 1_000 + 1;
                prop_assert!(taken <= most, "{taken} of {most} at {now}");
            }
        }
    }
}
