//! What the world tells of itself: facts for checkers, and how often faults had an effect.

use windlass_core::time::Mono;

use super::{NodeIx, World};
use crate::fact::{Fact, Phase};
use crate::nemesis::FaultKind;

impl World {
    /// From now on facts are kept until they are taken.
    pub fn record(&mut self) {
        self.facts.get_or_insert_default();
    }

    /// The run enters another phase.
    pub fn enter(&mut self, phase: Phase) {
        self.trace
            .note(self.now, None, "phase", &[phase as u64], || {
                phase.to_string()
            });
        self.tell(|| Fact::Phase(phase));
    }

    /// Notes a fact, if anybody wants to know.
    pub(crate) fn tell(&mut self, fact: impl FnOnce() -> Fact) {
        if let Some(facts) = &mut self.facts {
            facts.push((self.now, fact()));
        }
    }

    /// The facts since the last time, moved to `into`.
    pub fn take_facts(&mut self, into: &mut Vec<(Mono, Fact)>) {
        if let Some(facts) = &mut self.facts {
            into.append(facts);
        }
    }

    /// Whether facts are kept.
    pub(crate) fn is_recorded(&self) -> bool {
        self.facts.is_some()
    }

    /// Notes that a fault has an effect, until then.
    pub fn hit(&mut self, kind: FaultKind, node: Option<NodeIx>, until: Mono) {
        *self.hits.entry(kind).or_default() += 1;
        self.trace
            .note(self.now, node, "fault", &[until.as_nanos()], || {
                kind.as_str().to_owned()
            });
        self.tell(|| Fact::Fault { kind, node, until });
    }
}
