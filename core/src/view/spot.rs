//! Where a task is, in few bytes: a view has one of these for each task that has not ended.

use crate::ids::{NodeId, Priority, QueueName, TaskId};
use crate::keyspace::Place;
use crate::time::Wall;

/// Where a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// It waits.
    Entry(QueueName, Rank),
    /// A worker has it.
    Claim(NodeId, Rank),
    /// It waits for its time.
    Delayed(Wall),
    /// Its attempts are spent.
    Dead(QueueName),
}

/// A task's place in a queue without its id, which whoever looks for it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rank(u64);

/// The bits of a timestamp: 13 decimal digits.
const TIME_BITS: u32 = 44;

impl Rank {
    /// The place of `task`, which has this rank.
    pub fn of(self, task: TaskId) -> Place {
        Place {
            priority: self.priority(),
            timestamp: Wall::from_millis(self.0 & ((1 << TIME_BITS) - 1)),
            task,
        }
    }

    /// How urgent the task is.
    pub fn priority(self) -> Priority {
        let digit = u8::try_from(self.0 >> TIME_BITS).ok();
        let priority = digit.and_then(|digit| Priority::new(digit).ok());
        priority.expect("a rank is made of a priority")
    }
}

impl From<Place> for Rank {
    fn from(place: Place) -> Self {
        let millis = place.timestamp.as_millis();
        assert!(millis >> TIME_BITS == 0, "keys have 13 digits for a time");
        Self(u64::from(place.priority.get()) << TIME_BITS | millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_and_an_id_are_a_place() {
        let task = "00000000-0000-7000-8000-000000000001".parse().unwrap();
        for priority in 0..=9 {
            for millis in [0, 1, 1_800_000_000_000, 9_999_999_999_999] {
                let place = Place {
                    priority: Priority::new(priority).unwrap(),
                    timestamp: Wall::from_millis(millis),
                    task,
                };
                assert_eq!(Rank::from(place).of(task), place);
            }
        }
    }

    #[test]
    fn a_million_spots_are_few_bytes() {
        assert!(size_of::<Spot>() <= 32, "{} bytes", size_of::<Spot>());
    }
}
