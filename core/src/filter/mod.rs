//! The query language: which tasks people mean, in one line of text.
//!
//! A query is a list of terms separated by white space; a task matches when every term holds. `field:value` holds when the
//! field has the value, `field:a,b` when it has one of them, `-field:value` when it has none. A word without a field is
//! looked for in what people recognise a task by. The empty query matches every task. The same text is understood by the
//! API, the command line and the dashboard.
//!
//! | field | values |
//! |---|---|
//! | `state` | the names of states |
//! | `queue`, `type`, `worker`, `name`, `meta.KEY` | the whole text, or its beginning with a `*` behind; `*` alone: any |
//! | `id` | the beginning of an id |
//! | `priority` | 0 to 9 or a name, and `<3`, `>=5` … |
//! | `error` | a text that occurs in it, whatever the case; `*`: any |
//! | `created`, `ended` | `>T`, `<T`, where T is a time, a date or an age such as `-1h` |
//! | `retries`, `losses` | `>2`, `=0` … |
//!
//! This module reads and judges; where tasks are looked for is decided by whoever lists them.

mod facts;
mod moment;
mod parse;
mod reach;
mod spell;
mod term;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::facts::{Fact, Facts};
pub use self::moment::{Moment, When};
pub use self::parse::FilterError;
pub use self::reach::Reach;
pub use self::term::{Compare, IdPrefix, Pattern, Relation, Term, Test};
use crate::ids::{QueueName, TaskType};
use crate::task_state::TaskState;
use crate::time::Wall;

/// The longest query, in bytes.
pub const TEXT_MAX: usize = 2_048;

/// The most terms of a query.
pub const TERMS_MAX: usize = 32;

/// Which tasks are meant: those for which every term holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Filter {
    terms: Vec<Term>,
}

impl Filter {
    /// Whether it means every task because it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// What it asks for.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The same, and `test` must hold too.
    #[must_use]
    pub fn and(mut self, test: Test) -> Self {
        let negated = false;
        self.terms.push(Term { negated, test });
        self
    }

    /// Tasks in one of these states.
    pub fn of_states(states: &[TaskState]) -> Self {
        Self::default().and(Test::State(states.to_vec()))
    }

    /// The same, of this queue only.
    #[must_use]
    pub fn of_queue(self, queue: &QueueName) -> Self {
        let exact = Pattern::Exact(queue.as_str().into());
        self.and(Test::Queue(vec![exact]))
    }

    /// The same, of this type only.
    #[must_use]
    pub fn of_type(self, kind: &TaskType) -> Self {
        let exact = Pattern::Exact(kind.as_str().into());
        self.and(Test::Kind(vec![exact]))
    }

    /// Whether it means this task at `now`; `None` when too little is known of the task to say so.
    pub fn judge(&self, task: &Facts<'_>, now: Wall) -> Option<bool> {
        let mut verdict = Some(true);
        for term in &self.terms {
            match term.judge(task, now) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => verdict = None,
            }
        }
        verdict
    }
}

impl FromStr for Filter {
    type Err = FilterError;
    fn from_str(text: &str) -> Result<Self, FilterError> {
        parse::terms(text).map(|terms| Self { terms })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            term.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
