//! What a query asks for, term by term, and whether a task has it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::facts::{Fact, Facts};
use super::moment::Moment;
use crate::ids::TaskId;
use crate::task_state::TaskState;
use crate::time::Wall;

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// The test must not hold.
    pub negated: bool,
    /// What is asked.
    pub test: Test,
}

/// A question to a task. Of several values, one is enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    /// Is it in one of these states?
    State(Vec<TaskState>),
    /// Is it of such a queue?
    Queue(Vec<Pattern>),
    /// Is it of such a type?
    Kind(Vec<Pattern>),
    /// Has such a worker run it last, or does it now?
    Worker(Vec<Pattern>),
    /// Has it such a name?
    Name(Vec<Pattern>),
    /// Does its id begin like this?
    Id(Vec<IdPrefix>),
    /// Is it as urgent as this?
    Priority(Vec<Compare>),
    /// Does this occur in its error? In lower case.
    Error(Vec<Arc<str>>),
    /// Was it accepted then?
    Created(Vec<Moment>),
    /// Did it end then?
    Ended(Vec<Moment>),
    /// Was it tried again so often?
    Retries(Vec<Compare>),
    /// Did so many workers vanish under it?
    Losses(Vec<Compare>),
    /// Has its label of this name such a value?
    Meta(Arc<str>, Vec<Pattern>),
    /// Does its id begin like this, or does this occur in its type, queue, name or error? In lower case.
    Word(Arc<str>),
}

/// A text as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pattern {
    /// Exactly this.
    Exact(Arc<str>),
    /// Whatever begins with this.
    Prefix(Arc<str>),
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => **wanted == *text,
            Self::Prefix(wanted) => text.starts_with(&**wanted),
        }
    }
}

/// How two numbers or times stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `=`
    Equal,
    /// `>=`
    AtLeast,
    /// `>`
    More,
}

impl Relation {
    pub(super) fn holds<T: Ord>(self, found: &T, wanted: &T) -> bool {
        match self {
            Self::Less => found < wanted,
            Self::AtMost => found <= wanted,
            Self::Equal => found == wanted,
            Self::AtLeast => found >= wanted,
            Self::More => found > wanted,
        }
    }
}

/// A number as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// How the task's number stands
    pub relation: Relation,
    /// to this one.
    pub number: u32,
}

impl Compare {
    fn fits(self, found: u32) -> bool {
        self.relation.holds(&found, &self.number)
    }
}

/// The beginning of an id: up to 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdPrefix {
    /// The digits, in the place that they have in an id; zeros behind them.
    pub bits: u128,
    /// How many digits there are.
    pub digits: u8,
}

/// The hexadecimal digits of an id.
pub(super) const ID_DIGITS: u8 = 32;

impl IdPrefix {
    /// The beginning that `text` spells, in lower or upper case, with hyphens where ids have them.
    pub fn new(text: &str) -> Option<Self> {
        let (mut bits, mut digits) = (0_u128, 0_u8);
        for (at, char) in text.chars().enumerate() {
            let wants_hyphen = matches!(at, 8 | 13 | 18 | 23);
            if wants_hyphen != (char == '-') || digits == ID_DIGITS {
                return None;
            }
            if !wants_hyphen {
                digits += 1;
                let shift = 4 * u32::from(ID_DIGITS - digits);
                bits |= u128::from(char.to_digit(16)?) << shift;
            }
        }
        Some(Self { bits, digits })
    }

    /// The smallest and the largest number of an id that begins like this.
    pub fn ids(self) -> (u128, u128) {
        let open = 4 * u32::from(ID_DIGITS.saturating_sub(self.digits));
        let rest = match open {
            128 => u128::MAX,
            open => (1 << open) - 1,
        };
        (self.bits, self.bits | rest)
    }

    fn fits(self, id: TaskId) -> bool {
        let (first, last) = self.ids();
        (first..=last).contains(&id.as_u128())
    }
}

/// `text` in lower case, letter by letter, so that the same letters are the same wherever they stand.
pub(super) fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn occurs(wanted: &str, text: &str) -> bool {
    wanted.is_empty() || folded(text).contains(wanted)
}

impl Term {
    pub(super) fn judge(&self, task: &Facts<'_>, now: Wall) -> Option<bool> {
        let holds = self.test.judge(task, now)?;
        Some(holds != self.negated)
    }
}

impl Test {
    fn judge(&self, task: &Facts<'_>, now: Wall) -> Option<bool> {
        let any = |patterns: &[Pattern], text: &str| patterns.iter().any(|it| it.fits(text));
        let number = |compares: &[Compare], found| compares.iter().any(|it| it.fits(found));
        match self {
            Self::State(states) => Some(states.contains(&task.state)),
            Self::Queue(patterns) => Some(any(patterns, task.queue.as_str())),
            Self::Kind(patterns) => Some(any(patterns, task.kind.as_str())),
            Self::Worker(patterns) => task
                .worker
                .tell(|worker| worker.is_some_and(|worker| any(patterns, worker.as_str()))),
            Self::Name(patterns) => task
                .name
                .tell(|name| name.is_some_and(|name| any(patterns, name))),
            Self::Id(prefixes) => Some(prefixes.iter().any(|it| it.fits(task.id))),
            Self::Priority(compares) => Some(number(compares, u32::from(task.priority.get()))),
            Self::Error(texts) => task
                .error
                .tell(|error| error.is_some_and(|error| texts.iter().any(|it| occurs(it, error)))),
            Self::Created(moments) => Some(moments.iter().any(|it| it.fits(task.created_at, now))),
            Self::Ended(moments) => {
                let fits = |at: Wall| moments.iter().any(|it| it.fits(at, now));
                Some(task.ended_at.is_some_and(fits))
            }
            Self::Retries(compares) => Some(number(compares, task.retries)),
            Self::Losses(compares) => Some(number(compares, task.losses)),
            Self::Meta(key, patterns) => task.metadata.tell(|labels| {
                let value = labels.get(&**key);
                value.is_some_and(|value| any(patterns, value))
            }),
            Self::Word(word) => judge_word(word, task),
        }
    }
}

fn judge_word(word: &str, task: &Facts<'_>) -> Option<bool> {
    let known = task.id.to_string().starts_with(word)
        || occurs(word, task.kind.as_str())
        || occurs(word, task.queue.as_str());
    let told = |text: Option<&str>| text.is_some_and(|text| occurs(word, text));
    match (known, task.name.tell(told), task.error.tell(told)) {
        (true, ..) | (_, Some(true), _) | (_, _, Some(true)) => Some(true),
        (false, Some(false), Some(false)) => Some(false),
        (false, None, _) | (false, _, None) => None,
    }
}

impl<T> Fact<T> {
    fn tell(&self, ask: impl FnOnce(T) -> bool) -> Option<bool>
    where
        T: Copy,
    {
        match self {
            Self::Known(value) => Some(ask(*value)),
            Self::Unknown => None,
        }
    }
}
