//! Values from any bytes: no decoder panics, what was read is written and read again as the same, and what a later
//! version wrote is told from garbage.

use std::fmt::Debug;

use windlass_sim::core::record::{
    ClaimRecord, DeadRecord, DecodeError, DelayedRecord, EntryRecord, LaneRecord, LockRecord,
    NodeConfig, NodeRecord, OfferRecord, OutcomeRecord, QueueConfig, RECORD_VERSION, Record,
    RunRecord, TaskRecord, UniqueRecord,
};
use windlass_sim::core::retry::{Decision, Failure, Verdict};
use windlass_sim::core::rng::Rng;
use windlass_sim::core::store::Value;
use windlass_sim::core::time::Millis;

/// Reads the input as every type of record.
pub fn check(data: &[u8]) {
    let value = Value::from(data.to_vec());
    check_as::<ClaimRecord>(&value);
    check_as::<DeadRecord>(&value);
    check_as::<DelayedRecord>(&value);
    check_as::<EntryRecord>(&value);
    check_as::<LaneRecord>(&value);
    check_as::<LockRecord>(&value);
    check_as::<NodeConfig>(&value);
    check_as::<NodeRecord>(&value);
    check_as::<OfferRecord>(&value);
    check_as::<OutcomeRecord>(&value);
    check_as::<QueueConfig>(&value);
    check_as::<RunRecord>(&value);
    check_as::<UniqueRecord>(&value);
    if let Some(task) = check_as::<TaskRecord>(&value) {
        check_retries(&task);
    }
}

fn check_as<R: Record + Debug + PartialEq>(value: &Value) -> Option<R> {
    let record = match R::decode(value) {
        Ok(record) => record,
        Err(DecodeError::Newer { version }) => {
            assert!(version > RECORD_VERSION, "this build reads {version}");
            return None;
        }
        Err(DecodeError::Corrupt { .. }) => return None,
    };
    let written = record.encode();
    let again = R::decode(&written).expect("what was written can be read");
    assert_eq!(again, record, "what was written is read as it was");
    assert_eq!(again.encode(), written, "a record has one spelling");
    assert_eq!(
        R::decode(&newer(&written)),
        Err(DecodeError::Newer {
            version: RECORD_VERSION + 1
        })
    );
    Some(record)
}

/// The same record, as if the next version had written it.
fn newer(written: &Value) -> Value {
    let this = format!("{{\"v\":{RECORD_VERSION}");
    let rest = written.as_bytes().strip_prefix(this.as_bytes());
    let rest = rest.expect("a record begins with its version");
    let mut next = format!("{{\"v\":{}", RECORD_VERSION + 1).into_bytes();
    next.extend_from_slice(rest);
    Value::from(next)
}

/// Whatever a record says, what follows from a failure is within its bounds.
fn check_retries(task: &TaskRecord) {
    let mut rng = Rng::new(1);
    assert_eq!(task.first_carry().attempt().0, 1);
    let mut last = Millis::ZERO;
    for retries in [0, 1, 2, 30, 63, 64, u32::MAX] {
        let delay = task.retry.delay_after(retries);
        assert!(delay >= last, "waits do not shrink");
        last = delay;
        let failure = Failure {
            retries,
            retries_max: task.retries_max,
            age: task.timeout,
            verdict: Verdict::Retry,
        };
        match task.retry.decide(&failure, &mut rng) {
            Decision::RetryAfter(wait) => {
                assert!(
                    Millis::ZERO < wait && wait <= delay,
                    "{wait:?} of {delay:?}"
                );
                assert!(retries < task.retries_max, "one too many");
            }
            Decision::GiveUp(_) => {}
        }
    }
}
