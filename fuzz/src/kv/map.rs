//! The store as a map that is changed naively: everything is looked for by going through all of it.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_sim::core::ids::{LeaseId, Revision};
use windlass_sim::core::keyspace::Key;
use windlass_sim::core::kv::{Entry, Input};
use windlass_sim::core::store::{
    Answer, AuditAnswer, Call, Digest, Failed, Found, Guard, GuardIx, LeaseAnswer, Query,
    ReadAnswer, Refusal, Txn, TxnOutcome, Usage, Write,
};
use windlass_sim::core::time::Mono;

use super::limits;

/// What a store must hold.
pub(super) struct Map {
    pub(super) now: Mono,
    pub(super) state: BTreeMap<Key, Entry>,
    pub(super) revision: Revision,
    /// Each with its time to live and its end.
    pub(super) leases: BTreeMap<LeaseId, (Duration, Mono)>,
}

impl Map {
    pub(super) fn new() -> Self {
        Self {
            now: Mono::ZERO,
            state: BTreeMap::new(),
            revision: Revision(1),
            leases: BTreeMap::new(),
        }
    }

    /// Ends what is due, in the order of time.
    pub(super) fn expire(&mut self) {
        let due = |(_, (_, ends)): &(&LeaseId, &(Duration, Mono))| *ends <= self.now;
        let mut over: Vec<(Mono, LeaseId)> = self
            .leases
            .iter()
            .filter(due)
            .map(|(lease, (_, ends))| (*ends, *lease))
            .collect();
        over.sort();
        for (_, lease) in over {
            self.end(lease);
        }
    }

    fn end(&mut self, lease: LeaseId) {
        if self.leases.remove(&lease).is_some() {
            let before = self.state.len();
            self.state.retain(|_, entry| entry.lease != Some(lease));
            self.revision.0 += u64::from(self.state.len() < before);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.state
            .iter()
            .map(|(key, entry)| key.as_str().len() + entry.found.value.as_bytes().len())
            .sum()
    }

    /// Takes an input. Says what a store must answer, but for what a watch is told.
    pub(super) fn expect(&mut self, input: &Input, last_lease: LeaseId) -> Option<Answer> {
        match input {
            Input::Elapsed | Input::Leave { .. } => None,
            Input::LeaderChanged => {
                for (ttl, ends) in self.leases.values_mut() {
                    *ends = self.now.after(*ttl + limits().election);
                }
                None
            }
            Input::Call { call, .. } => self.expect_call(call, last_lease),
        }
    }

    fn expect_call(&mut self, call: &Call, last_lease: LeaseId) -> Option<Answer> {
        let at = self.revision;
        Some(match call {
            Call::Commit(txn) => Answer::Txn(self.commit(txn)),
            // Checked by what their watch knows.
            Call::Watch(_) | Call::Unwatch { .. } | Call::Progress { .. } => return None,
            Call::Read(Query::Keys(keys)) => {
                let items = self.state.iter().filter(|(key, _)| keys.contains(key));
                let items = items.map(|(key, entry)| entry.item(key)).collect();
                Answer::Read(ReadAnswer::Items {
                    at,
                    items,
                    more: false,
                })
            }
            Call::Read(Query::Range { range, limit }) => {
                let all = self.state.iter().filter(|(key, _)| range.contains(key));
                let mut items: Vec<_> = all.map(|(key, entry)| entry.item(key)).collect();
                let more = items.len() > *limit as usize;
                items.truncate(*limit as usize);
                Answer::Read(ReadAnswer::Items { at, items, more })
            }
            Call::Audit(range) => {
                let all = self.state.iter().filter(|(key, _)| range.contains(key));
                let digest = Digest::of(all.map(|(key, entry)| (key, entry.found.modified)));
                Answer::Audited(AuditAnswer::Held { at, digest })
            }
            Call::Grant { ttl } => Answer::Lease(self.grant(*ttl, last_lease)),
            Call::Renew { lease } => Answer::Lease(match self.leases.get_mut(lease) {
                Some((ttl, ends)) => {
                    *ends = self.now.after(*ttl);
                    LeaseAnswer::Live {
                        lease: *lease,
                        ttl: *ttl,
                    }
                }
                None => LeaseAnswer::Gone,
            }),
            Call::Revoke { lease } => {
                self.end(*lease);
                Answer::Lease(LeaseAnswer::Gone)
            }
            Call::Compact { at: to } => Answer::Compacted(*to <= at),
            Call::Usage => Answer::Usage(Some(Usage {
                used: self.bytes() as u64,
                size: self.bytes() as u64,
                quota: Some(limits().quota_bytes),
                full: false,
            })),
        })
    }

    fn grant(&mut self, asked: Duration, last: LeaseId) -> LeaseAnswer {
        if asked > limits().ttl_max {
            return LeaseAnswer::Refused(Refusal::Invalid);
        }
        if self.bytes() as u64 > limits().quota_bytes {
            return LeaseAnswer::Unknown;
        }
        let ttl = asked.max(limits().ttl_min);
        assert!(!self.leases.contains_key(&last), "a lease is granted once");
        self.leases.insert(last, (ttl, self.now.after(ttl)));
        LeaseAnswer::Live { lease: last, ttl }
    }

    fn commit(&mut self, txn: &Txn) -> TxnOutcome {
        let size: usize = txn.writes().iter().map(Write::size).sum();
        let puts = txn
            .writes()
            .iter()
            .any(|it| matches!(it, Write::Put { .. }));
        if size > limits().request_bytes_max {
            return TxnOutcome::Refused(Refusal::TooLarge);
        }
        if puts && (self.bytes() + size) as u64 > limits().quota_bytes {
            return TxnOutcome::Unknown;
        }
        let failed = self.failed(txn.guards());
        if !failed.is_empty() {
            return TxnOutcome::Conflict {
                at: self.revision,
                failed,
            };
        }
        let is_known = |write: &Write| match write {
            Write::Put {
                lease: Some(lease), ..
            } => self.leases.contains_key(lease),
            Write::Put { lease: None, .. } | Write::Delete { .. } | Write::DeleteRange { .. } => {
                true
            }
        };
        if !txn.writes().iter().all(is_known) {
            return TxnOutcome::Refused(Refusal::LeaseGone);
        }
        let changes = txn
            .writes()
            .iter()
            .filter(|write| self.apply(write))
            .count();
        self.revision.0 += u64::from(changes > 0);
        TxnOutcome::Committed { at: self.revision }
    }

    fn failed(&self, guards: &[Guard]) -> Vec<Failed> {
        let numbered = guards.iter().enumerate();
        let failed = numbered.filter_map(|(ix, guard)| {
            let found = self.state.get(guard.key()).map(|entry| &entry.found);
            let (holds, found) = match guard {
                Guard::Absent(_) => (found.is_none(), found),
                Guard::Unchanged { since, .. } => {
                    (found.map(|it| it.modified) == Some(*since), found)
                }
                Guard::Alive { since, .. } => (found.map(|it| it.created) == Some(*since), found),
                Guard::Gone { since, .. } => (found.map(|it| it.created) != Some(*since), found),
                Guard::Quiet { range, since } => {
                    let mut inside = self.state.iter().filter(|(key, _)| range.contains(key));
                    (
                        inside.all(|(_, entry)| entry.found.modified <= *since),
                        None,
                    )
                }
            };
            let guard = GuardIx(u16::try_from(ix).expect("few guards"));
            (!holds).then(|| Failed {
                guard,
                found: found.cloned(),
            })
        });
        failed.collect()
    }

    /// Applies a write. Says whether it changed anything.
    fn apply(&mut self, write: &Write) -> bool {
        let before = self.state.len();
        match write {
            Write::Put { key, value, lease } => {
                let modified = self.revision.next();
                let known = self.state.get(key);
                let created = known.map_or(modified, |it| it.found.created);
                let entry = Entry {
                    found: Found {
                        created,
                        modified,
                        value: value.clone(),
                    },
                    version: known.map_or(1, |it| it.version + 1),
                    lease: *lease,
                };
                self.state.insert(key.clone(), entry);
                return true;
            }
            Write::Delete { key } => {
                self.state.remove(key);
            }
            Write::DeleteRange { range } => self.state.retain(|key, _| !range.contains(key)),
        }
        self.state.len() < before
    }
}
