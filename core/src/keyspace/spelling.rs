//! Puts keys together. The machines spell several keys for each step of a task's life, and the machinery of formats took
//! longer than the rest of a step.

use super::{Key, Place};
use crate::ids::TaskId;
use crate::time::Wall;

/// How long most keys are at most, in bytes.
const KEY_MOSTLY: usize = 160;

/// How many digits a time has in keys: so many that their order is that of times.
const MILLIS_DIGITS: usize = 13;

/// A key in the making.
pub(super) struct Spelling(String);

impl Spelling {
    pub(super) fn new(start: &str) -> Self {
        let mut text = String::with_capacity(KEY_MOSTLY);
        text.push_str(start);
        Self(text)
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        self.0.push_str(text);
        self
    }

    /// Thirteen digits: [`Wall::MAX`] has no more.
    pub(super) fn millis(mut self, wall: Wall) -> Self {
        let (mut digits, mut rest) = ([b'0'; MILLIS_DIGITS], wall.as_millis());
        for digit in digits.iter_mut().rev() {
            *digit += u8::try_from(rest % 10).expect("a digit is small");
            rest /= 10;
        }
        assert_eq!(rest, 0, "a time has at most thirteen digits");
        self.0.extend(digits.iter().map(|digit| char::from(*digit)));
        self
    }

    pub(super) fn task(mut self, task: TaskId) -> Self {
        task.spell(&mut self.0);
        self
    }

    pub(super) fn place(mut self, place: Place) -> Self {
        self.0.push_str("priority_");
        self.0.push(char::from(b'0' + place.priority.get()));
        self.text("_")
            .millis(place.timestamp)
            .text("_")
            .task(place.task)
    }

    pub(super) fn key(self) -> Key {
        Key(self.0.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Priority;

    proptest! {
        #[test]
        fn a_place_is_spelled_as_it_is_shown(
            priority in 0_u8..=9,
            millis in 0_u64..=9_999_999_999_999,
            task in any::<u128>(),
        ) {
            let place = Place {
                priority: Priority::new(priority).unwrap(),
                timestamp: Wall::from_millis(millis),
                task: TaskId::from_u128(task),
            };
            let spelled = Spelling::new("").place(place).key();
            prop_assert_eq!(spelled.as_str(), place.to_string());
        }
    }
}
