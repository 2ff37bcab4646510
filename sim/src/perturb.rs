//! One fault at one call: what it takes to try each fault at every step of a scenario.

use windlass_core::ids::OpId;
use windlass_core::store::Call;

/// What happens to a call, or to the process that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Perturbation {
    /// The call never arrives.
    LoseRequest,
    /// The call takes effect, and its answer never arrives.
    LoseAnswer,
    /// The call takes effect long after its sender gave it up.
    ArriveLate,
    /// The process ends before the call leaves.
    CrashBefore,
    /// The process ends after the call has left.
    CrashBetween,
    /// The process ends once it has taken the answer.
    CrashAfter,
}

impl Perturbation {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::LoseRequest,
        Self::LoseAnswer,
        Self::ArriveLate,
        Self::CrashBefore,
        Self::CrashBetween,
        Self::CrashAfter,
    ];
}

/// A call of one process in one of its lives.
type Named = (usize, u64, OpId);

/// Counts calls that get an answer, and aims a fault at one of them.
#[derive(Debug, Default)]
pub struct Aim {
    /// How many calls there were since the aim was taken.
    pub calls: u64,
    at: Option<(u64, Perturbation)>,
    hit: Option<(Named, Perturbation)>,
}

impl Aim {
    /// The fault happens at the call that `nth` others will have gone before.
    pub fn at(nth: u64, how: Perturbation) -> Self {
        Self {
            calls: 0,
            at: Some((nth, how)),
            hit: None,
        }
    }

    /// Whether the call came.
    pub fn was_hit(&self) -> bool {
        self.hit.is_some()
    }

    pub(crate) fn take_call(
        &mut self,
        node: usize,
        life: u64,
        op: OpId,
        call: &Call,
    ) -> Option<Perturbation> {
        let answered = !matches!(
            call,
            Call::Watch(_) | Call::Unwatch { .. } | Call::Progress { .. }
        );
        if !answered {
            return None;
        }
        let nth = self.calls;
        self.calls += 1;
        let (_, how) = self.at.filter(|(at, _)| *at == nth)?;
        self.hit = Some(((node, life, op), how));
        Some(how)
    }

    fn is(&self, node: usize, life: u64, op: OpId, how: Perturbation) -> bool {
        self.hit == Some(((node, life, op), how))
    }

    /// The process is to end at once: what else it wanted to send does not leave.
    pub(crate) fn is_dying(&self, node: usize, life: u64) -> bool {
        matches!(self.hit, Some(((own, lived, _), Perturbation::CrashBefore)) if (own, lived) == (node, life))
    }

    pub(crate) fn loses_answer(&self, node: usize, life: u64, op: OpId) -> bool {
        self.is(node, life, op, Perturbation::LoseAnswer)
    }

    pub(crate) fn crashes_after(&self, node: usize, life: u64, op: OpId) -> bool {
        self.is(node, life, op, Perturbation::CrashAfter)
    }
}
