//! Do two sides hold the same keys, each last written at the same revision? Sums that are equal exactly then, but for a
//! chance of one in 2¹²⁸: so that one side need not send the other what it holds.
//!
//! The sums know no order, and what was added is taken away again: who follows a store keeps one at the cost of a hash for
//! each change, and who looks at the store adds up keys as they come. Values need not be looked at: no key is written
//! twice in one revision.

use serde::{Deserialize, Serialize};

use crate::ids::Revision;
use crate::keyspace::Key;

/// Odd numbers without a pattern: the first digits of the fractions of √2, √3, √5 and √7.
const SCATTER: [u64; 4] = [
    0x6a09_e667_f3bc_c909,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
];

/// What a set of keys, each with the revision that wrote it last, adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Digest {
    low: u64,
    high: u64,
    keys: u64,
}

/// The part of a key's share that does not depend on its revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyHash(u64);

impl KeyHash {
    /// The hash of a key.
    pub fn of(key: &Key) -> Self {
        let bytes = key.as_str().as_bytes();
        let mut state = SCATTER[0] ^ bytes.len() as u64;
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let word = word.try_into().expect("eight bytes");
            state = scatter(state ^ u64::from_le_bytes(word), SCATTER[1]);
        }
        let mut last = [0; 8];
        let rest = words.remainder();
        last[..rest.len()].copy_from_slice(rest);
        Self(scatter(state ^ u64::from_le_bytes(last), SCATTER[1]))
    }

    fn share(self, modified: Revision) -> (u64, u64) {
        let low = scatter(self.0 ^ modified.0.wrapping_mul(SCATTER[0]), SCATTER[2]);
        let high = self.0.rotate_left(32).wrapping_add(modified.0);
        (low, scatter(high, SCATTER[3]))
    }
}

/// Spreads every bit over all.
fn scatter(word: u64, by: u64) -> u64 {
    let wide = u128::from(word) * u128::from(by);
    let (low, high) = (wide & u128::from(u64::MAX), wide >> 64);
    u64::try_from(low ^ high).expect("both halves have 64 bits")
}

impl Digest {
    /// The digest of what is listed, no key twice.
    pub fn of<'a>(keys: impl IntoIterator<Item = (&'a Key, Revision)>) -> Self {
        let mut digest = Self::default();
        for (key, modified) in keys {
            digest.add(KeyHash::of(key), modified);
        }
        digest
    }

    /// How many keys it covers.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// A key that was not there is there.
    pub fn add(&mut self, key: KeyHash, modified: Revision) {
        let (low, high) = key.share(modified);
        self.low = self.low.wrapping_add(low);
        self.high = self.high.wrapping_add(high);
        self.keys = self.keys.wrapping_add(1);
    }

    /// A key that was there is not any more.
    pub fn remove(&mut self, key: KeyHash, modified: Revision) {
        let (low, high) = key.share(modified);
        self.low = self.low.wrapping_sub(low);
        self.high = self.high.wrapping_sub(high);
        self.keys = self.keys.wrapping_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> Key {
        Key::from_store(format!("/queues/q/{n:0width$}", width = usize::from(n)))
    }

    proptest! {
        #[test]
        fn puts_and_deletes_in_any_order_give_the_digest_of_what_is_left(
            steps in prop::collection::vec((0_u8..20, any::<bool>()), 0..200),
        ) {
            let (mut digest, mut held) = (Digest::default(), BTreeMap::new());
            for (at, (n, is_put)) in (1..).zip(steps) {
                let hash = KeyHash::of(&key(n));
                if let Some(before) = held.remove(&key(n)) {
                    digest.remove(hash, before);
                }
                if is_put {
                    digest.add(hash, Revision(at));
                    held.insert(key(n), Revision(at));
                }
                let whole = Digest::of(held.iter().rev().map(|(key, at)| (key, *at)));
                prop_assert_eq!(digest, whole);
                prop_assert_eq!(digest.keys(), held.len() as u64);
            }
        }

        #[test]
        fn what_differs_in_one_key_or_revision_differs(
            (a, b) in (any::<u8>(), any::<u8>()), (r, s) in (any::<u64>(), any::<u64>()),
        ) {
            let one = |n, at| Digest::of([(&key(n), Revision(at))]);
            prop_assert_eq!(one(a, r) == one(b, s), (a, r) == (b, s));
        }
    }

    #[test]
    fn neighbours_have_nothing_in_common() {
        let mut shares = Vec::new();
        for n in 0..100 {
            for at in 0..100 {
                let (low, high) = KeyHash::of(&key(n)).share(Revision(at));
                shares.extend([low, high]);
            }
        }
        let mut bits = [0_u32; 64];
        for share in &shares {
            for (bit, count) in bits.iter_mut().enumerate() {
                *count += u32::from(share >> bit & 1 == 1);
            }
        }
        let fair = 9_500..10_500;
        assert!(bits.iter().all(|count| fair.contains(count)), "{bits:?}");
        shares.sort_unstable();
        shares.dedup();
        assert_eq!(shares.len(), 20_000);
    }
}
