//! Faults at chosen calls: what it takes to try each fault, and each two of them, at every step of a small scenario.

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
    /// What the process knows grows old: from now on its news are seconds late.
    StaleView,
}

impl Perturbation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::LoseRequest,
        Self::LoseAnswer,
        Self::ArriveLate,
        Self::CrashBefore,
        Self::CrashBetween,
        Self::CrashAfter,
        Self::StaleView,
    ];
}

/// A fault, and how many calls go before the one that it happens to.
pub type Target = (u64, Perturbation);

/// A call of one process in one of its lives.
type Named = (usize, u64, OpId);

/// Counts calls that get an answer, and aims faults at some of them.
#[derive(Debug, Default)]
pub struct Aim {
    /// How many calls there were since the aim was taken.
    pub calls: u64,
    targets: Vec<Target>,
    hits: Vec<(Named, Perturbation)>,
}

impl Aim {
    /// These faults happen, each at its own call.
    pub fn at(targets: &[Target]) -> Self {
        Self {
            calls: 0,
            targets: targets.to_vec(),
            hits: Vec::new(),
        }
    }

    /// Whether every call came that a fault was meant for.
    pub fn was_hit(&self) -> bool {
        self.hits.len() == self.targets.len()
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
        let (_, how) = *self.targets.iter().find(|(at, _)| *at == nth)?;
        self.hits.push(((node, life, op), how));
        Some(how)
    }

    fn is(&self, node: usize, life: u64, op: OpId, how: Perturbation) -> bool {
        self.hits.contains(&((node, life, op), how))
    }

    /// The process is to end at once: what else it wanted to send does not leave.
    pub(crate) fn is_dying(&self, node: usize, life: u64) -> bool {
        self.hits.iter().any(|((own, lived, _), how)| {
            *how == Perturbation::CrashBefore && (*own, *lived) == (node, life)
        })
    }

    pub(crate) fn loses_answer(&self, node: usize, life: u64, op: OpId) -> bool {
        self.is(node, life, op, Perturbation::LoseAnswer)
    }

    pub(crate) fn crashes_after(&self, node: usize, life: u64, op: OpId) -> bool {
        self.is(node, life, op, Perturbation::CrashAfter)
    }
}
