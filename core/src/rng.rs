//! Seeded randomness, split by purpose: one more draw in one place shifts no other.

use rand_core::{Rng as _, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use sha2::{Digest, Sha256};

/// A deterministic generator. Machines take one seed and fork it by purpose.
#[derive(Debug, Clone)]
pub struct Rng(Xoshiro256PlusPlus);

impl Rng {
    /// The generator of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A generator of its own for `purpose`; it draws once from this one.
    pub fn fork(&mut self, purpose: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.draw().to_be_bytes());
        hash.update(purpose.as_bytes());
        Self(Xoshiro256PlusPlus::from_seed(hash.finalize().into()))
    }

    /// Sixty-four random bits.
    pub fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`, every one equally likely to within 2⁻⁶⁴ × `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "a number below zero does not exist");
        let wide = u128::from(self.draw()) * u128::from(end);
        u64::try_from(wide >> 64).expect("the upper half of a 128-bit product fits 64 bits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_purpose_give_the_same_numbers() {
        let mut a = Rng::new(7).fork("ids");
        let mut b = Rng::new(7).fork("ids");
        let mut other = Rng::new(7).fork("jitter");
        assert_eq!(a.draw(), b.draw());
        assert_ne!(a.draw(), other.draw());
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::new(1);
        assert!((0..1_000).all(|_| rng.below(3) < 3));
        assert_eq!(rng.below(1), 0);
    }
}
