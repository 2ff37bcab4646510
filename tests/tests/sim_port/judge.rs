//! Whether what the port answered is true, by the ledger of what really happened.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windlass::core::ids::{LeaseId, OpId, Revision};
use windlass::core::keyspace::Range;
use windlass::core::store::{
    Answer, AuditAnswer, Call, Digest, LeaseAnswer, Query, ReadAnswer, Refusal, Txn, TxnOutcome,
};
use windlass::core::time::Mono;

use super::ledger::{Ledger, Step};
use super::txns;
use super::view::View;

/// How much longer than its patience the port may take.
pub(crate) const SLACK: Duration = Duration::from_millis(250);

/// Who asked, and what the asker called it.
pub(crate) type Who = (usize, OpId);

#[derive(Debug)]
struct Asked {
    call: Call,
    at: Mono,
    step: Step,
    revision: Revision,
}

/// What is counted for people.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// Answers by what they said.
    pub(crate) answers: BTreeMap<&'static str, u64>,
    /// The longest time from the healing until all worked and every watch knew everything.
    pub(crate) recovered: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// The answers still owed.
    open: BTreeMap<Who, Asked>,
    views: BTreeMap<Who, View>,
    /// The transactions whose fate was told, to be looked for in the history.
    told: Vec<(Who, Txn, TxnOutcome)>,
    /// The leases that somebody wanted to end.
    ended: BTreeSet<LeaseId>,
    /// Only one member breaks: nobody may lose a lease by that.
    spared: bool,
    pub(crate) tally: Tally,
    pub(crate) violations: Vec<String>,
}

impl Judge {
    pub(crate) fn new(spared: bool) -> Self {
        Self {
            spared,
            ..Self::default()
        }
    }

    pub(crate) fn violated(&mut self, who: Who, what: impl std::fmt::Display) {
        let (client, op) = who;
        self.violations
            .push(format!("client {client}, operation {}: {what}", op.0));
    }

    pub(crate) fn on_asked(
        &mut self,
        who: Who,
        call: &Call,
        at: Mono,
        step: Step,
        ledger: &Ledger,
    ) {
        match call {
            Call::Watch(range) => drop(self.views.insert(who, View::new(range.clone()))),
            Call::Unwatch { watch } => drop(self.views.remove(&(who.0, *watch))),
            Call::Progress { .. } => {}
            Call::Commit(_)
            | Call::Read(_)
            | Call::Audit(_)
            | Call::Grant { .. }
            | Call::Renew { .. }
            | Call::Revoke { .. }
            | Call::Compact { .. }
            | Call::Usage => {
                if let Call::Revoke { lease } = call {
                    self.ended.insert(*lease);
                }
                let asked = Asked {
                    call: call.clone(),
                    at,
                    step,
                    revision: ledger.revision(),
                };
                self.open.insert(who, asked);
            }
        }
    }

    /// A lease that a fault ends.
    pub(crate) fn on_ended(&mut self, lease: LeaseId) {
        self.ended.insert(lease);
    }

    pub(crate) fn on_answer(
        &mut self,
        who: Who,
        answer: &Answer,
        now: Mono,
        patience: Duration,
        ledger: &Ledger,
    ) {
        *self.tally.answers.entry(name(answer)).or_default() += 1;
        if let Answer::View(event) = answer {
            // What was on its way when a watch was ended is nobody's business.
            if let Some(view) = self.views.get_mut(&who)
                && let Err(what) = view.on_event(event, ledger)
            {
                self.violated(who, what);
            }
            return;
        }
        let Some(asked) = self.open.remove(&who) else {
            return self.violated(who, format!("an answer that nobody is owed: {answer:?}"));
        };
        let took = now.since(asked.at);
        if took > patience + SLACK {
            self.violated(who, format!("answered after {took:?}"));
        }
        if let Err(what) = self.judge(who, &asked, answer, ledger) {
            self.violated(who, format!("{what} ({:?} -> {answer:?})", asked.call));
        }
    }

    fn judge(
        &mut self,
        who: Who,
        asked: &Asked,
        answer: &Answer,
        ledger: &Ledger,
    ) -> Result<(), String> {
        match (&asked.call, answer) {
            (Call::Commit(txn), Answer::Txn(outcome)) => {
                self.told.push((who, txn.clone(), outcome.clone()));
                txns::judge(txn, outcome, asked.revision, ledger)
            }
            (Call::Read(query), Answer::Read(answer)) => read(query, answer, asked, ledger),
            (Call::Audit(range), Answer::Audited(answer)) => audited(range, answer, asked, ledger),
            (Call::Grant { ttl }, Answer::Lease(answer)) => granted(*ttl, answer, asked, ledger),
            (Call::Renew { lease }, Answer::Lease(answer)) => {
                self.renewed(*lease, answer, asked, ledger)
            }
            (Call::Revoke { lease }, Answer::Lease(answer)) => match answer {
                LeaseAnswer::Gone if lives(*lease, ledger) => Err("the lease lives on".to_owned()),
                LeaseAnswer::Gone | LeaseAnswer::Refused(_) | LeaseAnswer::Unknown => Ok(()),
                LeaseAnswer::Live { .. } => Err("revoked into life".to_owned()),
            },
            (Call::Compact { .. }, Answer::Compacted(_)) => Ok(()),
            _ => Err("an answer to another question".to_owned()),
        }
    }

    fn renewed(
        &self,
        lease: LeaseId,
        answer: &LeaseAnswer,
        asked: &Asked,
        ledger: &Ledger,
    ) -> Result<(), String> {
        let life = ledger.leases.get(&lease);
        match answer {
            LeaseAnswer::Live { lease: other, .. } if *other != lease => {
                Err("another lease lives".to_owned())
            }
            // The holder counts its time from the question on: an earlier renewal does not cover it.
            LeaseAnswer::Live { .. } => match life {
                Some(life) if life.renewed.iter().any(|step| *step > asked.step) => Ok(()),
                Some(_) | None => Err("was not renewed since it was asked for".to_owned()),
            },
            LeaseAnswer::Gone if lives(lease, ledger) => Err("the lease lives".to_owned()),
            LeaseAnswer::Gone if self.spared && !self.ended.contains(&lease) => {
                Err("a lease was lost though only one member broke".to_owned())
            }
            LeaseAnswer::Gone | LeaseAnswer::Refused(_) | LeaseAnswer::Unknown => Ok(()),
        }
    }

    /// Says which answers are overdue by now, once.
    pub(crate) fn on_time(&mut self, client: usize, now: Mono, patience: Duration) {
        let overdue: Vec<Who> = self
            .open
            .iter()
            .filter(|(who, asked)| who.0 == client && now.since(asked.at) > patience + SLACK)
            .map(|(who, _)| *who)
            .collect();
        for who in overdue {
            let asked = self.open.remove(&who).expect("it was just seen");
            self.violated(who, format!("no answer in time to {:?}", asked.call));
        }
    }

    /// How far a client's watches are, the slowest of them; `None` when one has not read its range yet.
    pub(crate) fn reached(&self, client: usize) -> Option<Revision> {
        let of_client = self.views.iter().filter(|(who, _)| who.0 == client);
        of_client.map(|(_, view)| view.at()).min().flatten()
    }

    /// How many answers a client is owed.
    pub(crate) fn owed(&self, client: usize) -> usize {
        self.open.keys().filter(|who| who.0 == client).count()
    }

    /// What can only be said when nothing more can happen.
    pub(crate) fn close(&mut self, ledger: &Ledger) {
        let landed = txns::landed(ledger);
        for (who, txn, outcome) in std::mem::take(&mut self.told) {
            if let Err(what) = txns::close(&txn, &outcome, &landed) {
                self.violated(who, format!("{what} ({txn:?} -> {outcome:?})"));
            }
        }
        let open: Vec<Who> = self.open.keys().copied().collect();
        for who in open {
            self.violated(who, "never answered");
        }
    }
}

fn lives(lease: LeaseId, ledger: &Ledger) -> bool {
    ledger
        .leases
        .get(&lease)
        .is_some_and(|life| life.ended.is_none())
}

fn granted(
    ttl: Duration,
    answer: &LeaseAnswer,
    asked: &Asked,
    ledger: &Ledger,
) -> Result<(), String> {
    match answer {
        LeaseAnswer::Live { lease, ttl: given } => {
            let life = ledger.leases.get(lease);
            if life.is_none_or(|life| life.granted <= asked.step) {
                return Err("was not granted since it was asked for".to_owned());
            }
            if *given < ttl {
                return Err("granted for less than it was asked for".to_owned());
            }
            Ok(())
        }
        LeaseAnswer::Gone => Err("a lease that ended before it began".to_owned()),
        LeaseAnswer::Refused(_) | LeaseAnswer::Unknown => Ok(()),
    }
}

fn read(query: &Query, answer: &ReadAnswer, asked: &Asked, ledger: &Ledger) -> Result<(), String> {
    let ReadAnswer::Items { at, items, more } = answer else {
        return Ok(());
    };
    if *at < asked.revision || *at > ledger.revision() {
        return Err(format!(
            "a read of {at}, asked at {} and answered at {}",
            asked.revision,
            ledger.revision()
        ));
    }
    let state = ledger.state(*at);
    let mut expected: Vec<_> = match query {
        Query::Keys(keys) => {
            let keys: BTreeSet<_> = keys.iter().collect();
            let found = keys.iter().filter_map(|key| state.get_key_value(*key));
            found.map(|(key, entry)| entry.item(key)).collect()
        }
        Query::Range { range, .. } => {
            let found = state.iter().filter(|(key, _)| range.contains(key));
            found.map(|(key, entry)| entry.item(key)).collect()
        }
    };
    let mut rest = false;
    if let Query::Range { limit, .. } = query {
        let limit = *limit as usize;
        rest = expected.len() > limit;
        expected.truncate(limit);
    }
    if *items != expected {
        return Err("what was read was not stored".to_owned());
    }
    if *more != rest {
        return Err("wrong about whether there is more".to_owned());
    }
    Ok(())
}

fn audited(
    range: &Range,
    answer: &AuditAnswer,
    asked: &Asked,
    ledger: &Ledger,
) -> Result<(), String> {
    let AuditAnswer::Held { at, digest } = answer else {
        return Ok(());
    };
    if *at < asked.revision || *at > ledger.revision() {
        return Err(format!("an audit of {at}, asked at {}", asked.revision));
    }
    let state = ledger.state(*at);
    let held = state.iter().filter(|(key, _)| range.contains(key));
    if *digest != Digest::of(held.map(|(key, entry)| (key, entry.found.modified))) {
        return Err("not the sum of what was stored".to_owned());
    }
    Ok(())
}

fn name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Txn(TxnOutcome::Committed { .. }) => "committed",
        Answer::Txn(TxnOutcome::Conflict { .. }) => "conflict",
        Answer::Txn(TxnOutcome::Refused(refusal)) => match refusal {
            Refusal::Busy => "refused as busy",
            Refusal::LeaseGone => "refused for its lease",
            Refusal::TooLarge | Refusal::NoRoom | Refusal::Denied | Refusal::Invalid => {
                "refused otherwise"
            }
        },
        Answer::Txn(TxnOutcome::Unknown) => "unknown",
        Answer::View(_) => "news",
        Answer::Read(ReadAnswer::Items { .. }) => "read",
        Answer::Read(ReadAnswer::Failed) => "unread",
        Answer::Audited(AuditAnswer::Held { .. }) => "audited",
        Answer::Audited(AuditAnswer::Failed) => "not audited",
        Answer::Lease(LeaseAnswer::Live { .. }) => "lease lives",
        Answer::Lease(LeaseAnswer::Gone) => "lease gone",
        Answer::Lease(LeaseAnswer::Refused(_)) => "lease refused",
        Answer::Lease(LeaseAnswer::Unknown) => "lease unknown",
        Answer::Compacted(true) => "compacted",
        Answer::Compacted(false) => "not compacted",
        Answer::Usage(Some(_)) => "usage",
        Answer::Usage(None) => "usage unknown",
    }
}
