//! How a store comes back: from a snapshot, from its log, or from both.
//!
//! The snapshot may be *fuzzy*. Its [`Head`] and leases belong to one moment; each key may be taken then or later, one at
//! a time, while the store goes on. The log from that moment on repairs the difference, because a key's last record
//! alone decides what it holds.

use std::time::Duration;

use super::log::{Edit, Head, Log, Stored};
use super::{Kv, Limits};
use crate::ids::{LeaseId, Revision};
use crate::keyspace::Key;
use crate::time::Now;

/// Why what was kept is not a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// Revisions are missing from the log.
    #[error("revision {found} follows revision {last}: the log has a gap")]
    Gap {
        /// The last revision before the gap.
        last: Revision,
        /// The first one behind it.
        found: Revision,
    },
    /// A lease was granted twice.
    #[error("lease {} was granted twice", .0.0)]
    GrantedTwice(LeaseId),
    /// A key names a lease that is not there.
    #[error("{key} belongs to lease {}, which is not there", .lease.0)]
    LeaseMissing {
        /// Which key.
        key: Key,
        /// Which lease.
        lease: LeaseId,
    },
}

impl Kv {
    /// The head of a snapshot, as of now.
    pub fn head(&self) -> Head {
        Head {
            revision: self.revision,
            last_lease: self.leases.last(),
        }
    }

    /// The leases of a snapshot, as of now.
    pub fn stored_leases(&self) -> impl Iterator<Item = Stored> {
        self.leases
            .live()
            .map(|(lease, ttl)| Stored::Lease { lease, ttl })
    }

    /// The keys of a snapshot in their order, from the first one behind `after` on.
    pub fn stored_keys(&self, after: Option<&Key>) -> impl Iterator<Item = Stored> {
        self.table.behind(after).map(|(key, entry)| Stored::Key {
            key: key.clone(),
            entry: entry.clone(),
        })
    }

    /// Rebuilds a store from a snapshot, if there is one, and everything that it logged since the snapshot's head was
    /// taken. Leases get their full time to live from `now` on.
    pub fn recover(
        limits: Limits,
        now: Now,
        head: Option<Head>,
        stored: impl IntoIterator<Item = Stored>,
        log: impl IntoIterator<Item = Log>,
    ) -> Result<Self, RecoverError> {
        let mut kv = Self::new(limits);
        kv.now = now.mono;
        if let Some(head) = head {
            kv.revision = head.revision;
            kv.leases.skip_to(head.last_lease);
            kv.history.compact(head.revision.next());
        }
        for part in stored {
            match part {
                Stored::Lease { lease, ttl } => kv.restore_lease(lease, ttl)?,
                Stored::Key { key, entry } => kv.table.restore(Edit::Put { key, entry }),
            }
        }
        for step in log {
            kv.restore_step(step)?;
        }
        kv.attach_keys()?;
        Ok(kv)
    }

    fn restore_step(&mut self, step: Log) -> Result<(), RecoverError> {
        match step {
            Log::Changed { at: found, edits } => {
                let last = self.revision;
                if found != last.next() {
                    return Err(RecoverError::Gap { last, found });
                }
                self.revision = found;
                for edit in edits {
                    self.history.push(found, &edit);
                    self.table.restore(edit);
                }
            }
            Log::Granted { lease, ttl } => self.restore_lease(lease, ttl)?,
            Log::Ended { lease } => {
                self.leases.end(lease);
            }
            Log::Compacted { at } => {
                self.history.compact(at);
            }
        }
        Ok(())
    }

    fn restore_lease(&mut self, lease: LeaseId, ttl: Duration) -> Result<(), RecoverError> {
        if self.leases.get(lease).is_some() {
            return Err(RecoverError::GrantedTwice(lease));
        }
        self.leases.restore(self.now, lease, ttl);
        Ok(())
    }

    /// Only now: a key of a fuzzy snapshot may name a lease that only the log grants.
    fn attach_keys(&mut self) -> Result<(), RecoverError> {
        for (key, entry) in self.table.behind(None) {
            let Some(lease) = entry.lease else { continue };
            if self.leases.get(lease).is_none() {
                let key = key.clone();
                return Err(RecoverError::LeaseMissing { key, lease });
            }
            self.leases.move_key(key, None, Some(lease));
        }
        Ok(())
    }
}
