//! What a store is to a machine's ports: a call goes out, its answer comes back as an input.

use std::fmt;
use std::sync::Arc;

use windlass_core::ids::OpId;
use windlass_core::store::{Answer, Call};

/// Where a store's answers go: the inbox of the machine that asked. Giving one never waits.
#[derive(Clone)]
pub struct Answers(Arc<dyn Fn(OpId, Answer) + Send + Sync>);

impl Answers {
    /// Answers that go to `give`.
    pub fn new(give: impl Fn(OpId, Answer) + Send + Sync + 'static) -> Self {
        Self(Arc::new(give))
    }

    /// Hands over one answer.
    pub fn give(&self, op: OpId, answer: Answer) {
        (self.0)(op, answer);
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}

/// One client's way into a store. Dropping it ends its watches.
pub trait StorePort: Send + fmt::Debug {
    /// Begins a call and returns at once. Its answer comes by the [`Answers`] that the port was made with, exactly once
    /// ([`Call::Watch`]: again and again; [`Call::Unwatch`] and [`Call::Progress`]: never).
    fn call(&mut self, op: OpId, call: Call);
}

/// An answer that is owed. If it is dropped unanswered, its owner is told that the call's fate is unknown.
#[derive(Debug)]
pub struct Owed {
    op: OpId,
    lost: Option<Answer>,
    answers: Answers,
}

impl Owed {
    /// The answer owed to `call`.
    pub fn new(op: OpId, call: &Call, answers: Answers) -> Self {
        Self {
            op,
            lost: call.lost(),
            answers,
        }
    }

    /// Pays the debt.
    pub fn give(mut self, answer: Answer) {
        self.lost = None;
        self.answers.give(self.op, answer);
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(lost) = self.lost.take() {
            self.answers.give(self.op, lost);
        }
    }
}
