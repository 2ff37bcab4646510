//! Whether a transaction's fate was told truly. Every transaction writes its client's lane with a number that no other
//! has: the lane is how it is found in the history.

use std::collections::BTreeMap;

use windlass::core::ids::Revision;
use windlass::core::keyspace::Key;
use windlass::core::kv::Edit;
use windlass::core::store::{Found, Guard, Txn, TxnOutcome, Value, Write};

use super::ledger::Ledger;

/// Every revision that wrote a lane, by lane and number.
pub(crate) type Landed = BTreeMap<(Key, Vec<u8>), Vec<Revision>>;

pub(crate) fn lane(client: usize) -> Key {
    Key::from_store(format!("/stats/client-{client}/0"))
}

fn is_lane(key: &Key) -> bool {
    key.as_str().starts_with("/stats/")
}

fn number(txn: &Txn) -> Option<(&Key, &Value)> {
    txn.writes().iter().find_map(|write| match write {
        Write::Put { key, value, .. } if is_lane(key) => Some((key, value)),
        Write::Put { .. } | Write::Delete { .. } | Write::DeleteRange { .. } => None,
    })
}

/// What can be said at once. `asked` is the revision at which the question was put.
pub(crate) fn judge(
    txn: &Txn,
    outcome: &TxnOutcome,
    asked: Revision,
    ledger: &Ledger,
) -> Result<(), String> {
    match outcome {
        TxnOutcome::Committed { at } => {
            if *at <= asked || *at > ledger.revision() {
                return Err(format!("committed at {at}, asked at {asked}"));
            }
            committed(txn, ledger.edits(*at))
        }
        TxnOutcome::Conflict { at, failed } => {
            if *at < asked || *at > ledger.revision() {
                return Err(format!("a conflict at {at}, asked at {asked}"));
            }
            let between = (asked.0..=at.0).any(|at| {
                let mut guards = txn.guards().iter();
                guards.any(|guard| fails(guard, Revision(at), ledger).is_some())
            });
            if !between {
                return Err("a conflict though every guard held all the time".to_owned());
            }
            for told in failed {
                let guard = &txn.guards()[usize::from(told.guard.0)];
                match fails(guard, *at, ledger) {
                    None => return Err(format!("{guard:?} held at {at}")),
                    Some(found) if found != told.found => {
                        return Err(format!("{guard:?} did not find that at {at}"));
                    }
                    Some(_) => {}
                }
            }
            Ok(())
        }
        TxnOutcome::Refused(_) | TxnOutcome::Unknown => Ok(()),
    }
}

fn committed(txn: &Txn, edits: &[Edit]) -> Result<(), String> {
    for write in txn.writes() {
        let Write::Put { key, value, lease } = write else {
            continue;
        };
        let written = edits.iter().any(|edit| match edit {
            Edit::Put { key: at, entry } => {
                at == key && entry.found.value == *value && entry.lease == *lease
            }
            Edit::Delete { .. } => false,
        });
        if !written {
            return Err(format!("{} was not written then", key.as_str()));
        }
    }
    Ok(())
}

/// What a guard finds that does not hold at a revision; `None` when it holds.
fn fails(guard: &Guard, at: Revision, ledger: &Ledger) -> Option<Option<Found>> {
    let state = ledger.state(at);
    if let Guard::Quiet { range, since } = guard {
        let mut inside = state.iter().filter(|(key, _)| range.contains(key));
        return inside
            .any(|(_, entry)| entry.found.modified > *since)
            .then_some(None);
    }
    let found = state.get(guard.key()).map(|entry| entry.found.clone());
    (guard.holds(found.as_ref()) == Some(false)).then_some(found)
}

pub(crate) fn landed(ledger: &Ledger) -> Landed {
    let mut landed = Landed::new();
    for at in 2..=ledger.revision().0 {
        for edit in ledger.edits(Revision(at)) {
            let Edit::Put { key, entry } = edit else {
                continue;
            };
            if is_lane(key) {
                let number = entry.found.value.as_bytes().to_vec();
                let times = landed.entry((key.clone(), number)).or_default();
                times.push(Revision(at));
            }
        }
    }
    landed
}

/// What the whole history says about a fate that was told.
pub(crate) fn close(txn: &Txn, outcome: &TxnOutcome, landed: &Landed) -> Result<(), String> {
    let (lane, number) = number(txn).ok_or("a transaction without a lane")?;
    let name = (lane.clone(), number.as_bytes().to_vec());
    let times = landed.get(&name).map_or(&[][..], Vec::as_slice);
    if times.len() > 1 {
        return Err(format!("applied more than once, at {times:?}"));
    }
    match (outcome, times) {
        (TxnOutcome::Committed { at }, [landed]) if at == landed => Ok(()),
        (TxnOutcome::Committed { .. }, _) => Err(format!("applied at {times:?}")),
        (TxnOutcome::Conflict { .. } | TxnOutcome::Refused(_), []) => Ok(()),
        (TxnOutcome::Conflict { .. } | TxnOutcome::Refused(_), _) => {
            Err(format!("applied all the same, at {times:?}"))
        }
        (TxnOutcome::Unknown, _) => Ok(()),
    }
}
