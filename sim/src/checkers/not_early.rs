//! S13: nothing is released before it is due, and nothing is tried again at once or later than its policy allows: the
//! wait after a failure is longer than nothing and at most what the policy says after so many, or what a handler may advise;
//! and exactly that where the policy has no jitter.
//!
//! Suspended for who writes with a wall clock that was meddled with (`JumpWall`, `Drift`), for good: such a clock may
//! stay wrong. A handler starts only under a claim (S7), and a claim comes only from an entry (S2), so what is not
//! released early is not started early.

use std::collections::BTreeMap;

use windlass_core::ids::TaskId;
use windlass_core::retry::{Backoff, RetryPolicy};
use windlass_core::time::{Millis, Mono, Wall};

use super::roster::Roster;
use super::rows::{claim_of, is_foreign, writer_of};
use super::{Checker, Findings, Rule, Terms};
use crate::book::{Spot, TaskStep};
use crate::fact::Fact;

/// Remembers when each task was last claimed.
#[derive(Debug)]
pub(super) struct NotEarly {
    terms: Terms,
    roster: Roster,
    claimed: BTreeMap<TaskId, Mono>,
}

impl NotEarly {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            terms: *terms,
            roster: Roster::default(),
            claimed: BTreeMap::new(),
        }
    }

    fn judge(&self, at: Mono, step: &TaskStep) -> Option<String> {
        let now = self.terms.wall(at);
        match (&step.before.spots[..], &step.after.spots[..]) {
            ([Spot::Delayed { due, .. }], [Spot::Entry { .. }]) => (*due > now)
                .then(|| format!("released {} ms before it is due", due.since(now).get())),
            ([Spot::Claim(claim)], [Spot::Delayed { due, .. }]) => {
                let claimed = self.terms.wall(*self.claimed.get(&step.task)?);
                let policy = step.after.promised.as_ref()?.retry;
                let whole = whole_wait(&policy, claim.count.retries);
                let advised = self.terms.advice_max_ms > 0;
                let least = if policy.jitter || advised {
                    Millis::new(1)
                } else {
                    whole
                };
                let most = Millis::new(whole.get().max(self.terms.advice_max_ms));
                judge_wait(*due, claimed.after(least), now.after(most))
            }
            _ => None,
        }
    }
}

/// What a policy promises after so many retries, computed anew: who shares the machines' arithmetic shares their mistakes.
fn whole_wait(policy: &RetryPolicy, retries: u32) -> Millis {
    let (first, times) = (u128::from(policy.delay.get().max(1)), u128::from(retries));
    let grown = match policy.kind {
        Backoff::Fixed => first,
        Backoff::Linear => first * (times + 1),
        Backoff::Exponential => first << retries.min(63),
    };
    let capped = grown.min(u128::from(policy.cap.get().max(1)));
    Millis::new(u64::try_from(capped).expect("a cap fits"))
}

/// The wait began after the claim, and not later than now.
fn judge_wait(due: Wall, earliest: Wall, latest: Wall) -> Option<String> {
    if due < earliest {
        let early = earliest.since(due).get();
        return Some(format!(
            "to be tried again {early} ms earlier than it may be"
        ));
    }
    let late = due.since(latest).get();
    (late > 0).then(|| format!("to be tried again {late} ms later than its policy allows"))
}

impl Checker for NotEarly {
    fn rule(&self) -> Rule {
        Rule::S13
    }

    fn name(&self) -> &'static str {
        "not_early"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Booted { .. } | Fact::Fault { .. } = fact {
            self.roster.observe(at, fact);
        }
        let Fact::Stored(revised) = fact else {
            return;
        };
        for step in revised.steps.iter().filter(|step| !is_foreign(step)) {
            let skewed = || writer_of(revised).is_some_and(|(node, _)| self.roster.is_skewed(node));
            if let Some(why) = self.judge(at, step).filter(|_| !skewed()) {
                let what = format!("{} is {why}", step.task);
                found.add(self, at, None, Some(step.task), what);
            }
            if claim_of(&step.before).is_none() && claim_of(&step.after).is_some() {
                self.claimed.insert(step.task, at);
            } else if step.after.record.is_none() {
                self.claimed.remove(&step.task);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::keyspace::Role;

    use super::super::testing::{History, TERMS};
    use super::*;
    use crate::nemesis::FaultKind;

    fn history() -> History {
        let mut h = History::of(NotEarly::new(&TERMS));
        h.boot(0, Role::Scheduler, "s1", 0);
        h
    }

    #[test]
    fn what_is_due_is_released_and_what_failed_waits() {
        let mut h = history();
        let task = h.submit(Some(h.wall().after(Millis::new(500))));
        h.pass(500);
        h.release(task);
        h.dispatch(task, "w1");
        h.pass(1);
        h.retry(task, 5_000);
        h.assert_clean();
    }

    #[test]
    fn what_is_released_early_is_found_unless_the_clock_was_wrong() {
        for (fault, clean) in [(None, false), (Some(FaultKind::JumpWall), true)] {
            let mut h = history();
            let task = h.submit(Some(h.wall().after(Millis::new(500))));
            h.pass(499);
            if let Some(kind) = fault {
                h.fault(kind, Some(0), 0);
            }
            h.release(task);
            if clean {
                h.assert_clean();
            } else {
                h.assert_tripped("released 1 ms before");
            }
        }
    }

    #[test]
    fn waits_grow_as_the_policy_says_up_to_its_cap() {
        let policy = |kind| RetryPolicy {
            kind,
            delay: Millis::new(500),
            cap: Millis::new(1_200),
            ..RetryPolicy::default()
        };
        let waits = |kind| [0, 1, 2, 200].map(|nth| whole_wait(&policy(kind), nth).get());
        assert_eq!(waits(Backoff::Exponential), [500, 1_000, 1_200, 1_200]);
        assert_eq!(waits(Backoff::Linear), [500, 1_000, 1_200, 1_200]);
        assert_eq!(waits(Backoff::Fixed), [500; 4]);
    }

    #[test]
    fn a_retry_without_a_wait_and_one_beyond_the_cap_are_found() {
        let mut h = history();
        let task = h.submit(None);
        h.dispatch(task, "w1");
        h.retry(task, 0);
        h.assert_tripped("1 ms earlier");
        let task = h.submit(None);
        h.dispatch(task, "w1");
        h.retry(task, 5_001);
        h.assert_tripped("1 ms later");
    }
}
