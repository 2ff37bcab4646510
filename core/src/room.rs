//! How much room is left in the store, and what follows from that? Pure decisions on what the store says of itself; who
//! asks it, and who makes room, is no concern of this module.
//!
//! What counts is what is in use. The store's file may be larger: what became free is used again before it grows.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::store::Usage;
use crate::time::Millis;

/// From this share of the quota on, in thousandths, the store is tight: history and ended tasks are kept shorter.
pub const TIGHT_FROM: u64 = 550;

/// Below this share it is roomy again.
pub const ROOMY_BELOW: u64 = 450;

/// From this share on it is full: no new tasks. The rest is for the tasks that are there, until they have ended.
pub const FULL_FROM: u64 = 800;

/// Below this share new tasks are taken again.
pub const TIGHT_BELOW: u64 = 700;

/// How much history a tight store keeps at least: whoever reads all of it anew must have come to the end by then.
pub const HISTORY_TIGHT: Duration = Duration::from_secs(5);

/// How long an ended task is kept even in a full store, for those who wait for its outcome.
pub const KEPT_MIN: Millis = Millis::from_secs(5);

/// What a task writes from its acceptance to its end, besides its payload and its result, in bytes of etcd's file: measured.
const LIFE_BYTES: u64 = 1_700;

/// What a gateway's transaction of so many bytes and steps takes in the end, if each step is a new task; results left out.
pub(crate) fn cost(bytes: usize, steps: usize) -> u64 {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    count(bytes).saturating_add(count(steps).saturating_mul(LIFE_BYTES))
}

/// How much room the store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Enough: everything is kept as long as it was configured.
    #[default]
    Roomy,
    /// Little: history and ended tasks are kept shorter.
    Tight,
    /// Too little for new tasks: they are refused. What has been accepted goes on.
    Full,
}

impl Level {
    /// The word of API and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Roomy => "roomy",
            Self::Tight => "tight",
            Self::Full => "full",
        }
    }

    /// The level that follows this one when the store says that it is so full.
    #[must_use]
    pub fn after(self, usage: &Usage) -> Self {
        if usage.full {
            return Self::Full;
        }
        let Some(quota) = usage.quota else {
            return Self::Roomy;
        };
        let reaches = |mark| usage.used >= share(quota, mark);
        let (tight, full) = match self {
            Self::Roomy => (TIGHT_FROM, FULL_FROM),
            Self::Tight => (ROOMY_BELOW, FULL_FROM),
            Self::Full => (ROOMY_BELOW, TIGHT_BELOW),
        };
        if reaches(full) {
            Self::Full
        } else if reaches(tight) {
            Self::Tight
        } else {
            Self::Roomy
        }
    }

    /// How much history is kept, where `configured` is kept while there is room.
    pub fn history(self, configured: Duration) -> Duration {
        match self {
            Self::Roomy => configured,
            Self::Tight | Self::Full => configured.min(HISTORY_TIGHT),
        }
    }
}

/// How many bytes must become free until the store is roomy.
pub fn excess(usage: &Usage) -> u64 {
    let roomy = usage.quota.map(|quota| share(quota, ROOMY_BELOW));
    roomy.map_or(0, |roomy| usage.used.saturating_sub(roomy))
}

fn share(quota: u64, thousandths: u64) -> u64 {
    let bytes = u128::from(quota) * u128::from(thousandths) / 1_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// What a scheduler process knows of the room in its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Room {
    /// What follows from it.
    pub level: Level,
    /// What the store said last, if it ever did.
    pub usage: Option<Usage>,
    /// How long the ended tasks that this process removed last, before their time, had been kept.
    pub kept: Option<Millis>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(used: u64) -> Usage {
        Usage {
            used,
            size: 1_000,
            quota: Some(1_000),
            full: false,
        }
    }

    #[test]
    fn a_level_is_left_at_another_mark_than_it_is_entered() {
        use Level::{Full, Roomy, Tight};
        for (before, bytes, after) in [
            (Roomy, 0, Roomy),
            (Roomy, TIGHT_FROM - 1, Roomy),
            (Roomy, TIGHT_FROM, Tight),
            (Roomy, FULL_FROM - 1, Tight),
            (Roomy, FULL_FROM, Full),
            (Tight, ROOMY_BELOW - 1, Roomy),
            (Tight, ROOMY_BELOW, Tight),
            (Tight, FULL_FROM - 1, Tight),
            (Tight, FULL_FROM, Full),
            (Full, 1_000, Full),
            (Full, TIGHT_BELOW, Full),
            (Full, TIGHT_BELOW - 1, Tight),
            (Full, ROOMY_BELOW, Tight),
            (Full, ROOMY_BELOW - 1, Roomy),
        ] {
            assert_eq!(before.after(&used(bytes)), after, "{before:?} at {bytes}");
        }
    }

    #[test]
    fn a_store_that_takes_no_puts_is_full_whatever_the_numbers_say() {
        let usage = Usage {
            full: true,
            ..used(0)
        };
        assert_eq!(Level::Roomy.after(&usage), Level::Full);
        let mended = Level::Full.after(&used(0));
        assert_eq!(mended, Level::Roomy);
    }

    #[test]
    fn a_store_without_a_quota_is_always_roomy() {
        let usage = Usage {
            quota: None,
            ..used(u64::MAX)
        };
        assert_eq!(Level::Full.after(&usage), Level::Roomy);
        assert_eq!(excess(&usage), 0);
    }

    #[test]
    fn no_quota_is_too_large_or_too_small_to_be_reckoned_with() {
        let of = |used, quota| Usage {
            used,
            size: used,
            quota: Some(quota),
            full: false,
        };
        assert_eq!(Level::Roomy.after(&of(0, 0)), Level::Full);
        assert_eq!(
            Level::Roomy.after(&of(u64::MAX / 2, u64::MAX)),
            Level::Roomy
        );
        assert_eq!(Level::Roomy.after(&of(u64::MAX, u64::MAX)), Level::Full);
    }

    #[test]
    fn what_is_too_much_is_what_keeps_the_store_from_being_roomy() {
        assert_eq!(excess(&used(ROOMY_BELOW)), 0);
        assert_eq!(excess(&used(ROOMY_BELOW + 7)), 7);
        assert_eq!(excess(&used(1)), 0);
    }

    #[test]
    fn only_a_roomy_store_keeps_all_of_the_history_that_was_asked_for() {
        let minute = Duration::from_secs(60);
        assert_eq!(Level::Roomy.history(minute), minute);
        assert_eq!(Level::Tight.history(minute), HISTORY_TIGHT);
        let second = Duration::from_secs(1);
        assert_eq!(Level::Full.history(second), second);
    }
}
