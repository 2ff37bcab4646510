//! Between etcd's messages and the model's terms.

use etcd_client::proto::{
    PbCompare, PbCompareTarget, PbEvent, PbKeyValue, PbRangeRequest, PbTargetUnion,
};
use tonic::Status;
use windlass::core::ids::{LeaseId, Revision};
use windlass::core::keyspace::{Key, Range};
use windlass::core::kv::{Edit, Entry};
use windlass::core::store::{Guard, Value, Write};

/// How etcd spells its comparisons.
const EQUAL: i32 = 0;
const LESS: i32 = 2;
const NOT_EQUAL: i32 = 3;

pub(super) fn raw(at: Revision) -> i64 {
    i64::try_from(at.0).expect("a run is short")
}

pub(super) fn revision(raw: i64) -> Revision {
    Revision(u64::try_from(raw).unwrap_or(0))
}

pub(super) fn key(raw: &[u8]) -> Result<Key, Status> {
    if raw.is_empty() {
        return Err(Status::invalid_argument("etcdserver: key is not provided"));
    }
    let text = std::str::from_utf8(raw).map_err(|_| odd("a key that is no text"))?;
    Ok(Key::from_store(text))
}

/// A request that the port never makes: the test's own mistake, or a new one of the port's.
pub(super) fn odd(what: &str) -> Status {
    Status::unimplemented(format!("the model has no such thing: {what}"))
}

/// A single key is a range, too.
pub(super) fn range(from: &[u8], to: &[u8]) -> Result<Range, Status> {
    let first = key(from)?;
    if to.is_empty() {
        let next = [from, &[0]].concat();
        return Ok(Range::new(first, key(&next)?));
    }
    Ok(Range::new(first, key(to)?))
}

pub(super) fn stored(key: &Key, entry: &Entry) -> PbKeyValue {
    PbKeyValue {
        key: key.as_str().as_bytes().to_vec(),
        create_revision: raw(entry.found.created),
        mod_revision: raw(entry.found.modified),
        version: i64::try_from(entry.version).expect("a run is short"),
        value: entry.found.value.as_bytes().to_vec(),
        lease: entry.lease.map_or(0, |lease| lease.0),
    }
}

pub(super) fn event(at: Revision, edit: &Edit) -> PbEvent {
    match edit {
        Edit::Put { key, entry } => PbEvent {
            r#type: 0,
            kv: Some(stored(key, entry)),
            prev_kv: None,
        },
        Edit::Delete { key } => PbEvent {
            r#type: 1,
            kv: Some(PbKeyValue {
                key: key.as_str().as_bytes().to_vec(),
                mod_revision: raw(at),
                ..PbKeyValue::default()
            }),
            prev_kv: None,
        },
    }
}

/// A comparison as a guard. `None` when it asks for a revision before all others, which nothing has.
pub(super) fn guard(compare: PbCompare) -> Result<Guard, Status> {
    let created = compare.target == PbCompareTarget::Create as i32;
    let modified = compare.target == PbCompareTarget::Mod as i32;
    let at = match compare.target_union {
        Some(PbTargetUnion::CreateRevision(at)) if created => at,
        Some(PbTargetUnion::ModRevision(at)) if modified => at,
        Some(_) | None => return Err(odd("a comparison with something else")),
    };
    if !compare.range_end.is_empty() && (created || compare.result != LESS) {
        return Err(odd("a comparison over a range"));
    }
    let name = key(&compare.key)?;
    let since = revision(at);
    match (created, compare.result) {
        (true, EQUAL) if at == 0 => Ok(Guard::Absent(name)),
        (true, EQUAL) => Ok(Guard::Alive { key: name, since }),
        (true, NOT_EQUAL) if at != 0 => Ok(Guard::Gone { key: name, since }),
        (false, EQUAL) if at != 0 => Ok(Guard::Unchanged { key: name, since }),
        (false, LESS) if at > 0 => Ok(Guard::Quiet {
            range: range(&compare.key, &compare.range_end)?,
            since: revision(at - 1),
        }),
        _ => Err(odd("such a comparison")),
    }
}

pub(super) fn put(key: Key, value: Vec<u8>, lease: i64) -> Write {
    Write::Put {
        key,
        value: Value::from(value),
        lease: (lease != 0).then_some(LeaseId(lease)),
    }
}

/// Whether it asks only for what the port asks for.
pub(super) fn check_range(asked: &PbRangeRequest) -> Result<(), Status> {
    let bounds = [
        asked.min_mod_revision,
        asked.max_mod_revision,
        asked.min_create_revision,
        asked.max_create_revision,
    ];
    if asked.serializable || bounds != [0; 4] {
        return Err(odd("a read that is not linearizable, or of some revisions"));
    }
    Ok(())
}
