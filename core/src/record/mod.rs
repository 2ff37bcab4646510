//! The only place that encodes values. Records are JSON objects with a version; what a later version wrote is
//! [`DecodeError::Newer`]: skipped and counted by its reader, never fatal.

mod cluster;
mod json;
mod stats;
mod task;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::cluster::{
    DeadRecord, LockRecord, NodeConfig, NodeRecord, OfferRecord, QueueConfig, RemoteRecord,
    UniqueRecord,
};
pub use self::json::Json;
pub use self::stats::{LaneRecord, Totals};
pub use self::task::{
    AttemptEnd, AttemptNote, CARRIED_MAX, CarriedTask, Carry, ClaimRecord, DelayedRecord,
    EntryRecord, Outcome, OutcomeRecord, RunRecord, StopReason, TaskRecord,
};
use crate::store::Value;

/// The version that this build writes.
pub const RECORD_VERSION: u32 = 1;

/// The attempts that a record remembers, newest last.
pub const NOTES_MAX: usize = 5;

/// Why a value is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a later version of Windlass.
    #[error("written by a later version ({version}; this build reads {RECORD_VERSION})")]
    Newer {
        /// The version found.
        version: u32,
    },
    /// Not what this version writes.
    #[error("not a record: {reason}")]
    Corrupt {
        /// What the decoder said.
        reason: String,
    },
}

/// Takes the place of a version in every record: writes [`RECORD_VERSION`] and reads nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(RECORD_VERSION)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            RECORD_VERSION => Ok(Self),
            other => Err(serde::de::Error::custom(format_args!("version {other}"))),
        }
    }
}

/// How long most records are at most, in bytes.
const ENCODED_MOSTLY: usize = 1_024;

/// A record: something that is stored under a key.
pub trait Record: Serialize + DeserializeOwned {
    /// The record as a value of the store.
    fn encode(&self) -> Value {
        // Values live long and records are small: room for nearly all of them, then exactly what is needed.
        let mut text = Vec::with_capacity(ENCODED_MOSTLY);
        serde_json::to_writer(&mut text, self)
            .expect("records have string keys and no failing parts");
        Value::from(&*text)
    }

    /// The record in `value`.
    fn decode(value: &Value) -> Result<Self, DecodeError> {
        // Text that is known to be text is read without looking at each of its strings again.
        let bytes = value.as_bytes();
        let read = match std::str::from_utf8(bytes) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(bytes),
        };
        read.map_err(|error| classify(value, &error))
    }
}

fn classify(value: &Value, error: &serde_json::Error) -> DecodeError {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    match serde_json::from_slice::<Versioned>(value.as_bytes()) {
        Ok(found) if found.v > RECORD_VERSION => DecodeError::Newer { version: found.v },
        Ok(_) | Err(_) => DecodeError::Corrupt {
            reason: error.to_string(),
        },
    }
}

/// For `skip_serializing_if`: what is as by default is not written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_later_version_is_told_from_garbage() {
        let newer = Value::from(br#"{"v":2,"drain":"whatever"}"#.to_vec());
        assert_eq!(
            NodeConfig::decode(&newer),
            Err(DecodeError::Newer { version: 2 })
        );
        for garbage in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"v":1,"drain":3}"#,
            r#"{"v":0,"drain":true}"#,
            "\u{feff}{\"v\":1}",
            "{\"v\":1e400}",
        ] {
            let value = Value::from(garbage.as_bytes().to_vec());
            assert!(
                matches!(NodeConfig::decode(&value), Err(DecodeError::Corrupt { .. })),
                "{garbage}"
            );
        }
    }

    #[test]
    fn a_deep_document_is_refused_without_exhausting_the_stack() {
        let deep = format!("{{\"v\":1,\"x\":{}}}", "[".repeat(100_000));
        assert!(NodeConfig::decode(&Value::from(deep.into_bytes())).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_crash_a_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let value = Value::from(bytes);
            let _ = (TaskRecord::decode(&value), ClaimRecord::decode(&value), OutcomeRecord::decode(&value));
            let _ = (EntryRecord::decode(&value), DelayedRecord::decode(&value), LaneRecord::decode(&value));
        }
    }
}
