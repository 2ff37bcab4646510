//! How keys, values and revisions look to etcd.

use std::sync::Arc;

use etcd_client::proto::{PbKeyValue, PbRangeResponse, PbTxnOpResponse};
use etcd_client::{ResponseHeader, TxnResponse};
use windlass_core::ids::Revision;
use windlass_core::keyspace::Key;
use windlass_core::store::{Item, Value};

/// The deployment's part of every key in etcd.
#[derive(Debug, Clone)]
pub(super) struct Prefix(Arc<str>);

impl Prefix {
    /// Keys begin with a slash, so the prefix does not end with one.
    pub(super) fn new(text: &str) -> Self {
        Self(text.trim_end_matches('/').into())
    }

    pub(super) fn raw(&self, key: &Key) -> Vec<u8> {
        let mut raw = Vec::with_capacity(self.0.len() + key.as_str().len());
        raw.extend_from_slice(self.0.as_bytes());
        raw.extend_from_slice(key.as_str().as_bytes());
        raw
    }

    /// `None` for keys that are not text: nothing of ours.
    pub(super) fn key(&self, raw: &[u8]) -> Option<Key> {
        let own = raw.strip_prefix(self.0.as_bytes())?;
        std::str::from_utf8(own).ok().map(Key::from_store)
    }

    /// `None` for keys that are not text: nothing of ours.
    pub(super) fn item(&self, stored: PbKeyValue) -> Option<Item> {
        Some(Item::new(
            self.key(&stored.key)?,
            revision(stored.create_revision),
            revision(stored.mod_revision),
            Value::from(stored.value),
        ))
    }
}

pub(super) fn revision(raw: i64) -> Revision {
    Revision(u64::try_from(raw).unwrap_or(0))
}

pub(super) fn raw_revision(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

pub(super) fn header_revision(header: Option<&ResponseHeader>) -> Revision {
    header.map_or(Revision(0), |header| revision(header.revision()))
}

/// What the gets of a transaction found, in order.
pub(super) fn ranges(response: TxnResponse) -> impl Iterator<Item = PbRangeResponse> {
    response.0.responses.into_iter().filter_map(|op| {
        let Some(PbTxnOpResponse::ResponseRange(range)) = op.response else {
            return None;
        };
        Some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_goes_out_and_comes_back_off() {
        let prefix = Prefix::new("/teams/a/");
        let key = Key::from_store("/tasks/1");
        assert_eq!(prefix.raw(&key), b"/teams/a/tasks/1");
        assert_eq!(prefix.key(b"/teams/a/tasks/1"), Some(key));
        assert_eq!(prefix.key(b"/teams/b/tasks/1"), None);
        assert_eq!(prefix.key(b"/teams/a/\xff"), None);
    }
}
