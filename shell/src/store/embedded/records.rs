//! How parts of a store become records of the database, and parts again.

use std::cell::RefCell;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::EmbeddedError;

/// Where a record ends and the next begins. The database is fastest with records of this size, by measurement: larger
/// ones cost twice as much, single pages four times.
const RECORD_BYTES: usize = 250_000;

/// Parts in their encoding, several to a record.
#[derive(Debug, Default)]
pub(super) struct Records {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
    full_bytes: usize,
}

impl Records {
    pub(super) fn push(&mut self, part: &impl Serialize) {
        self.last = postcard::to_extend(part, std::mem::take(&mut self.last))
            .expect("a store's parts are encoded in memory, and all lengths are known");
        if self.last.len() >= RECORD_BYTES {
            self.full_bytes += self.last.len();
            self.full.push(std::mem::take(&mut self.last));
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.full_bytes + self.last.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let last = (!self.last.is_empty()).then_some(&self.last);
        self.full.iter().chain(last).map(Vec::as_slice)
    }

    pub(super) fn clear(&mut self) {
        self.full.clear();
        self.last.clear();
        self.full_bytes = 0;
    }
}

/// The parts of one record, up to the first that cannot be read: then `failed` says why.
pub(super) fn parts<T: DeserializeOwned>(
    record: &[u8],
    failed: &RefCell<Option<EmbeddedError>>,
) -> Vec<T> {
    let (mut parts, mut rest) = (Vec::new(), record);
    while !rest.is_empty() && failed.borrow().is_none() {
        match postcard::take_from_bytes(rest) {
            Ok((part, behind)) => {
                parts.push(part);
                rest = behind;
            }
            Err(error) => *failed.borrow_mut() = Some(error.into()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_whole_however_many_records_they_take() {
        let mut records = Records::default();
        let parts_in: Vec<Vec<u8>> = (0..40).map(|n| vec![n; 20_000]).collect();
        for part in &parts_in {
            records.push(part);
        }
        assert!(records.iter().count() > 1);
        let failed = RefCell::new(None);
        let parts_out: Vec<Vec<u8>> = records.iter().flat_map(|it| parts(it, &failed)).collect();
        assert_eq!(parts_in, parts_out);
        assert!(failed.borrow().is_none());
    }

    #[test]
    fn a_record_that_is_cut_off_is_noticed() {
        let mut records = Records::default();
        records.push(&"whole");
        records.push(&"cut off");
        let record = records.iter().next().unwrap();
        let failed = RefCell::new(None);
        let read: Vec<String> = parts(&record[..record.len() - 1], &failed);
        assert_eq!(read, ["whole"]);
        assert!(matches!(*failed.borrow(), Some(EmbeddedError::Damaged(_))));
    }
}
