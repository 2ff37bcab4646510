//! The rows of an attempt's handler that takes a lock.

use crate::ids::{Fence, LeaseId, LockName, NodeId};
use crate::keyspace::{Key, Place};
use crate::planted::unless_planted;
use crate::record::{LockRecord, Record, Version};
use crate::store::{Guard, Step, Write};

/// An attempt's handler gets in line for a lock, for as long as its worker's lease lives. A stale attempt is refused, and
/// so is one whose end was recorded meanwhile: whoever records it removes the keys that there are, and no others come.
pub fn get_in_line(
    worker: &NodeId,
    lease: LeaseId,
    place: Place,
    fence: Fence,
    lock: &LockName,
    waiter: &NodeId,
) -> Step {
    let key = Key::lock_waiter(lock, waiter);
    let claim = Guard::Alive {
        key: Key::claim(worker, place),
        since: fence.0,
    };
    let record = LockRecord {
        v: Version,
        owner: Some(format!("task {} on {worker}", place.task).into()),
    };
    let write = Write::Put {
        key: key.clone(),
        value: record.encode(),
        lease: Some(lease),
    };
    Step::new(
        vec![
            Guard::Absent(key),
            unless_planted!("P-lock-claim-unguarded", claim),
        ],
        vec![write],
    )
}

/// Who was in line leaves it. Nobody else ever has that name, so there is nothing to guard.
pub fn leave_line(lock: &LockName, waiter: &NodeId) -> Write {
    Write::Delete {
        key: Key::lock_waiter(lock, waiter),
    }
}
