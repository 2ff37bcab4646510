//! The one grammar of all machines.

use serde::{Deserialize, Serialize};

use crate::time::{Mono, Now};

/// A pure state machine: everything that it knows came as input, everything that it wants is an effect.
///
/// A driver that only calls [`Machine::handle`] for each input and once more at each [`Machine::deadline`] is correct.
pub trait Machine {
    /// What can happen to it.
    type Input;
    /// What it can ask for.
    type Effect;
    /// Why it must be called again.
    type Timer;

    /// Fires every timer due at `now`, then applies `input`, and appends what must be done, in order.
    fn handle(&mut self, now: Now, input: Self::Input, out: &mut Vec<Self::Effect>);

    /// When, and why, `handle` must next be called if nothing else happens.
    fn deadline(&self) -> Option<(Mono, Self::Timer)>;
}

/// Nothing but time: the input of a driver that woke up for a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

/// Why a machine's process must end, or may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It was told to stop, and holds nothing any more.
    Drained,
    /// Its own key is gone: the cluster believes it dead.
    Deposed,
    /// Another process uses its node id.
    Usurped,
    /// A handler runs on though the session is over.
    HandlerWedged,
    /// It was told to stop, and the store did not answer: what it held is taken over once its lease ends.
    Unheard,
}
