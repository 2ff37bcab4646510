//! Runs a plan on both sides, until they differ.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::model::Model;
use super::plan::{AHEAD_MAX, Act, Plan, WriteAct};
use super::step::{Seen, Side, Step};

/// Where two stores part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// The number of the act in its plan; one more than there are for what every plan ends with.
    pub(crate) act: usize,
    pub(crate) step: Step,
    pub(crate) model: Seen,
    pub(crate) other: Seen,
}

impl Difference {
    /// What a shorter plan must still show to show the same.
    pub(crate) fn kind(&self) -> String {
        let (mut model, mut other) = (self.model.clone(), self.other.clone());
        if let (Seen::Told(ours), Seen::Told(theirs)) = (&mut model, &mut other) {
            // What else there was to tell is beside the point.
            let same = |slot: &u8| ours.get(slot) == theirs.get(slot);
            let same: Vec<u8> = ours.keys().copied().filter(same).collect();
            for slot in same {
                ours.remove(&slot);
                theirs.remove(&slot);
            }
        }
        let (step, model, other) = (self.step.label(), model.label(), other.label());
        format!("{step}: {model} / {other}")
    }
}

/// What was compared.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) plans: usize,
    /// The acts of plans.
    pub(crate) steps: usize,
    /// Changes that watches told.
    pub(crate) changes: usize,
    /// How often each kind of answer was seen, on both sides alike.
    pub(crate) seen: BTreeMap<String, usize>,
}

impl Tally {
    fn note(&mut self, seen: &Seen) {
        *self.seen.entry(seen.label()).or_default() += 1;
        if let Seen::Told(told) = seen {
            self.changes += told.values().map(|it| it.changes.len()).sum::<usize>();
        }
    }

    /// Takes another's in.
    pub(crate) fn add(&mut self, other: Self) {
        self.plans += other.plans;
        self.steps += other.steps;
        self.changes += other.changes;
        for (label, count) in other.seen {
            *self.seen.entry(label).or_default() += count;
        }
    }

    /// What was never seen of what there is to see.
    pub(crate) fn missing<'a>(&self, labels: &[&'a str]) -> Vec<&'a str> {
        let seen = |label: &str| self.seen.contains_key(label);
        labels
            .iter()
            .copied()
            .filter(|label| !seen(label))
            .collect()
    }
}

/// What every plan ends with: watches that wait for the future get one, and all that is left is looked at.
fn ending() -> Vec<Act> {
    let touch = Act::Commit {
        guards: vec![],
        writes: vec![WriteAct::Put {
            key: 0,
            bytes: 1,
            lease: None,
        }],
        whole: false,
    };
    let mut acts = vec![touch; AHEAD_MAX as usize];
    acts.push(Act::Dump);
    acts
}

/// Runs the plan to its end or to the first difference.
pub(crate) async fn compare(
    plan: &Plan,
    model: &mut Model,
    other: &mut impl Side,
    tally: &mut Tally,
) -> Option<Difference> {
    tally.plans += 1;
    let ending = ending();
    for (number, act) in plan.acts.iter().chain(&ending).enumerate() {
        for step in model.resolve(act) {
            if let Some(found) = compare_step(number, step, model, other, tally).await {
                return Some(found);
            }
        }
        tally.steps += usize::from(number < plan.acts.len());
    }
    let last = model.settle_all();
    compare_step(plan.acts.len() + ending.len(), last, model, other, tally).await
}

/// Asks both sides; what they say if they differ.
pub(crate) async fn compare_step(
    act: usize,
    step: Step,
    model: &mut Model,
    other: &mut impl Side,
    tally: &mut Tally,
) -> Option<Difference> {
    let (ours, theirs) = (model.run(&step).await, other.run(&step).await);
    if ours == theirs {
        tally.note(&ours);
        return None;
    }
    Some(Difference {
        act,
        step,
        model: ours,
        other: theirs,
    })
}
