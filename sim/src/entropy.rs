//! A source of choices: endless from a seed, finite from a fuzzer's bytes. Choice zero is always the tamest one, so that
//! bytes that run out lead to less and less.

use windlass_core::rng::Rng;

/// Where choices come from.
#[derive(Debug)]
pub enum Entropy<'a> {
    /// A generator.
    Seed(Rng),
    /// Bytes, each used once; zeros after the last.
    Bytes(&'a [u8]),
}

impl Entropy<'_> {
    /// Endless choices.
    pub fn from_seed(seed: u64) -> Self {
        Self::Seed(Rng::new(seed).fork("scenario"))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "there is something to choose from");
        match self {
            Self::Seed(rng) => rng.below(end),
            Self::Bytes(bytes) => {
                let width = usize::from(end > 1)
                    + usize::from(end > 1 << 8)
                    + 2 * usize::from(end > 1 << 16);
                let (now, rest) = bytes.split_at(width.min(bytes.len()));
                *bytes = rest;
                now.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)) % end
            }
        }
    }

    /// Whether something with this chance, in hundredths, happens.
    pub fn chance(&mut self, percent: u64) -> bool {
        // From the upper end: a zero must say no.
        self.below(100) >= 100 - percent.min(100)
    }

    /// One of these.
    pub fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        let at = self.below(all.len() as u64);
        all[usize::try_from(at).expect("an index fits")].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_used_once_and_zeros_follow() {
        let mut entropy = Entropy::Bytes(&[7, 1, 2, 99]);
        assert_eq!(entropy.below(10), 7);
        assert_eq!(entropy.below(1_000), 0x102);
        assert!(entropy.chance(1));
        assert!(!entropy.chance(99), "nothing is left: the tamest choice");
        assert_eq!(entropy.below(1_000), 0);
    }

    #[test]
    fn a_choice_among_one_costs_nothing() {
        let mut entropy = Entropy::Bytes(&[7]);
        assert_eq!((entropy.below(1), entropy.below(10)), (0, 7));
    }

    #[test]
    fn the_same_seed_chooses_the_same() {
        let draw = || {
            let mut entropy = Entropy::from_seed(3);
            (0..9).map(|_| entropy.below(100)).collect::<Vec<_>>()
        };
        assert_eq!(draw(), draw());
    }
}
