//! Newtypes for every id and number that crosses a boundary.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::rng::Rng;
use crate::time::Wall;

/// A task's identity: a UUID v7, so that its order is the order of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(Uuid);

impl TaskId {
    /// A new id from the machine's own generator and wall clock.
    pub fn new(rng: &mut Rng, wall: Wall) -> Self {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&rng.draw().to_be_bytes());
        random[8..].copy_from_slice(&rng.draw().to_be_bytes()[..2]);
        Self(uuid::Builder::from_unix_timestamp_millis(wall.as_millis(), &random).into_uuid())
    }

    /// The id that is this number. Its order is that of the numbers.
    pub const fn from_u128(number: u128) -> Self {
        Self(Uuid::from_u128(number))
    }

    /// When a task of this id was accepted, by the clock of its gateway.
    pub fn created_at(self) -> Wall {
        let millis = self.as_u128() >> 80;
        Wall::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// The id as a number.
    pub fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// Appends the one spelling that keys use.
    pub(crate) fn spell(self, out: &mut String) {
        let mut buffer = Uuid::encode_buffer();
        out.push_str(self.0.as_hyphenated().encode_lower(&mut buffer));
    }

    /// The smallest id of a task created at `wall` or later.
    pub fn floor_of(wall: Wall) -> Self {
        Self(Uuid::from_u128(u128::from(wall.as_millis()) << 80))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    /// Accepts only the one spelling that keys use: lower case, with hyphens.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let id = Uuid::try_parse(text).map_err(|_| IdError::Task)?;
        let mut spelled = Uuid::encode_buffer();
        if id.as_hyphenated().encode_lower(&mut spelled) == text {
            Ok(Self(id))
        } else {
            Err(IdError::Task)
        }
    }
}

/// Why a text is not the id it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a UUID in its canonical spelling.
    #[error("a task id is a UUID in lower case with hyphens")]
    Task,
    /// Not a legal name.
    #[error("a {what} has 1 to 128 characters out of A-Z, a-z, 0-9, '.', '_' and '-'")]
    Name {
        /// What the name was for.
        what: &'static str,
    },
    /// Not a digit or one of the four names.
    #[error(
        "a priority is a number from 0 (most urgent) to 9, or one of critical, high, normal, low"
    )]
    Priority,
}

/// The longest legal name, in characters.
pub const NAME_LEN_MAX: usize = 128;

fn is_name(text: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Reads a name where it lies, without a copy of its text in between: a view reads many.
struct Spelled<T>(PhantomData<T>);

impl<T: FromStr<Err = IdError>> Visitor<'_> for Spelled<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name, if it is legal.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if is_name(text) { Ok(Self(text.into())) } else { Err(IdError::Name { what: $what }) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<Arc<str>> for $name {
            type Error = IdError;
            fn try_from(text: Arc<str>) -> Result<Self, IdError> {
                if is_name(&text) { Ok(Self(text)) } else { Err(IdError::Name { what: $what }) }
            }
        }

        impl From<$name> for Arc<str> {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Spelled(PhantomData))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name!(
    /// The name of a queue.
    QueueName, "queue name"
);
name!(
    /// The name of a task type: it selects the handler.
    TaskType, "task type"
);
name!(
    /// The id of a scheduler or worker.
    NodeId, "node id"
);
name!(
    /// The name of a lock.
    LockName, "lock name"
);

/// How urgent a task is: 0 first, 9 last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// The most urgent.
    pub const CRITICAL: Self = Self(0);
    /// Sooner than normal.
    pub const HIGH: Self = Self(3);
    /// The default.
    pub const NORMAL: Self = Self(5);
    /// Later than normal.
    pub const LOW: Self = Self(7);

    /// The priority `digit`, if it is one digit.
    pub const fn new(digit: u8) -> Result<Self, IdError> {
        if digit <= 9 {
            Ok(Self(digit))
        } else {
            Err(IdError::Priority)
        }
    }

    /// The digit.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::NORMAL
    }
}

impl TryFrom<u8> for Priority {
    type Error = IdError;
    fn try_from(digit: u8) -> Result<Self, IdError> {
        Self::new(digit)
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

impl FromStr for Priority {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text {
            "critical" => Ok(Self::CRITICAL),
            "high" => Ok(Self::HIGH),
            "normal" => Ok(Self::NORMAL),
            "low" => Ok(Self::LOW),
            _ => match text.as_bytes() {
                [digit @ b'0'..=b'9'] => Ok(Self(digit - b'0')),
                _ => Err(IdError::Priority),
            },
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The store's clock: one step for each transaction that changes something. Zero is before everything.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The revision that created a claim or a lock. Later claims have larger fences; a resource that remembers the
/// largest fence it has seen can refuse everything older.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub Revision);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the questions of one execution for locks: names each, and what is answered to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LockAsk(pub u32);

impl fmt::Display for LockAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The create revision of a node's key: names one life of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Registration(pub Revision);

/// The store's name for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub i64);

/// Names one question to the outside, so that its answer is recognised; unique within one life of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpId(pub u64);

/// Hands out operation ids.
#[derive(Debug, Clone, Default)]
pub struct OpIds(u64);

impl OpIds {
    /// An id that was never given out before.
    pub fn fresh(&mut self) -> OpId {
        self.0 += 1;
        OpId(self.0)
    }
}

/// The how-manieth execution of a task's current run this is; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_sort_by_creation_and_read_back() {
        let mut rng = Rng::new(1);
        let early = TaskId::new(&mut rng, Wall::from_millis(1_000));
        let late = TaskId::new(&mut rng, Wall::from_millis(1_001));
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse(), Ok(early));
        assert!(TaskId::floor_of(Wall::from_millis(1_001)) <= late);
        assert!(TaskId::floor_of(Wall::from_millis(1_001)) > early);
    }

    #[test]
    fn a_task_id_has_one_spelling() {
        let id = TaskId::new(&mut Rng::new(1), Wall::from_millis(1));
        for other in [
            id.to_string().to_uppercase(),
            id.to_string().replace('-', ""),
            format!("{{{id}}}"),
            String::new(),
        ] {
            assert_eq!(other.parse::<TaskId>(), Err(IdError::Task), "{other:?}");
        }
    }

    #[test]
    fn names_outside_the_alphabet_are_refused() {
        let long = "a".repeat(129);
        for bad in [
            "",
            &long,
            "../x",
            "a/b",
            "%2f",
            "\0",
            "a\n",
            "\u{202e}x",
            "é",
            "e\u{301}",
            "１",
            "🦀",
            "@x",
            "a b",
        ] {
            assert!(QueueName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "A.b_c-9", &"a".repeat(128)] {
            assert_eq!(QueueName::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn priorities_are_one_digit_or_one_of_four_names() {
        assert_eq!("critical".parse(), Ok(Priority::CRITICAL));
        assert_eq!("9".parse::<Priority>().unwrap().get(), 9);
        for bad in [
            "10",
            "-1",
            "",
            "256",
            "Critical",
            "９",
            "9223372036854775807",
        ] {
            assert_eq!(bad.parse::<Priority>(), Err(IdError::Priority), "{bad:?}");
        }
    }
}
