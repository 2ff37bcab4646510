//! A fuzzer's bytes, one choice after the other. Choice zero is the tamest one, so that bytes that run out lead to less
//! and less.

/// Bytes that were not used yet.
#[derive(Debug, Clone)]
pub(crate) struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether there is nothing left to decide by.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte; zero after the last.
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// Two bytes as a number.
    pub(crate) fn wide(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number below `end`, which is at most 256.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        assert!((1..=256).contains(&end), "one byte chooses");
        usize::from(self.byte()) % end
    }

    /// Whether something happens, in one of so many cases.
    pub(crate) fn one_in(&mut self, cases: u8) -> bool {
        self.byte() % cases == cases - 1
    }

    /// One of these, if there is one.
    pub(crate) fn pick<'b, T>(&mut self, all: &'b [T]) -> Option<&'b T> {
        self.index(all.len()).map(|ix| &all[ix])
    }

    /// A place in something of this length, if there is one.
    pub(crate) fn index(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| usize::from(self.byte()) % len.min(256))
    }

    /// The next bytes as they are: as many as the first of them says.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (now, rest) = self.0.split_at(len);
        self.0 = rest;
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_used_once_and_zeros_follow() {
        let mut choices = Choices::new(&[7, 1, 2, 2, 9, 8, 5]);
        assert_eq!(choices.below(5), 2);
        assert_eq!(choices.wide(), 0x102);
        assert_eq!(choices.bytes(), [9, 8]);
        assert_eq!(choices.pick(&["a", "b"]), Some(&"b"));
        assert!(choices.is_empty() && choices.byte() == 0 && !choices.one_in(3));
        assert_eq!(choices.pick::<u8>(&[]), None);
    }
}
