//! How parts of a store become values of the database, and parts again. Parts that are written together make a chunk; a
//! chunk is cut into pieces that fill the database's pages.

use std::cell::RefCell;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::EmbeddedError;

/// The database gives a value a run of pages whose number is a power of two, and writes all of it. So pieces are as long
/// as such runs, or a chunk would cost up to twice its length. Runs from 32 to 256 KiB were the fastest by measurement.
const PIECE_MAX: usize = 256 << 10;

/// Below one page, pieces share it.
const PIECE_MIN: usize = 4 << 10;

/// What a run holds beside its value, with room to spare.
const PIECE_FRAME: usize = 64;

/// Parts in their encoding.
#[derive(Debug, Default)]
pub(super) struct Chunk(Vec<u8>);

impl Chunk {
    pub(super) fn push(&mut self, part: &impl Serialize) {
        self.0 = postcard::to_extend(part, std::mem::take(&mut self.0))
            .expect("a store's parts are encoded in memory, and all lengths are known");
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The chunk, cut, the longest pieces first.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let (mut rest, mut run) = (&self.0[..], PIECE_MAX);
        std::iter::from_fn(move || {
            while run > PIECE_MIN && rest.len() < run - PIECE_FRAME {
                run /= 2;
            }
            let (piece, behind) = rest.split_at(rest.len().min(run - PIECE_FRAME));
            rest = behind;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// Joins pieces in their order, each with its chunk's number, to chunks.
pub(super) struct Join<I> {
    pieces: I,
    next: Option<(u64, Vec<u8>)>,
}

impl<I> Join<I> {
    pub(super) fn new(pieces: I) -> Self {
        Self { pieces, next: None }
    }
}

impl<I: Iterator<Item = Result<(u64, Vec<u8>), EmbeddedError>>> Iterator for Join<I> {
    type Item = Result<(u64, Vec<u8>), EmbeddedError>;

    fn next(&mut self) -> Option<Self::Item> {
        for piece in self.pieces.by_ref() {
            match (piece, &mut self.next) {
                (Ok((number, more)), Some((last, chunk))) if number == *last => {
                    chunk.extend_from_slice(&more);
                }
                (Ok(first), next) => {
                    if let Some(whole) = next.replace(first) {
                        return Some(Ok(whole));
                    }
                }
                (Err(error), _) => return Some(Err(error)),
            }
        }
        self.next.take().map(Ok)
    }
}

/// The parts of a chunk, up to the first that cannot be read: then `failed` says why.
pub(super) fn parts<T: DeserializeOwned>(
    chunk: &[u8],
    failed: &RefCell<Option<EmbeddedError>>,
) -> Vec<T> {
    let (mut parts, mut rest) = (Vec::new(), chunk);
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn chunks_come_back_whole_and_waste_less_than_a_page_each(
            lengths in prop::collection::vec(1_usize..1_500_000, 1..4),
        ) {
            let mut pieces = Vec::new();
            let mut chunks = Vec::new();
            for (number, length) in (7_u64..).zip(&lengths) {
                let chunk = Chunk((0..*length).map(|n| n as u8).collect());
                let runs: usize = chunk
                    .pieces()
                    .map(|piece| (piece.len() + PIECE_FRAME).next_power_of_two().max(PIECE_MIN))
                    .sum();
                let frames = chunk.pieces().count() * PIECE_FRAME;
                prop_assert!(runs <= length + frames + PIECE_MIN);
                pieces.extend(chunk.pieces().map(|piece| (number, piece.to_vec())));
                chunks.push((number, chunk.0));
            }
            let joined: Vec<_> = Join::new(pieces.into_iter().map(Ok))
                .map(Result::unwrap)
                .collect();
            prop_assert!(joined == chunks);
        }
    }

    #[test]
    fn a_chunk_that_is_cut_off_is_noticed() {
        let mut chunk = Chunk::default();
        chunk.push(&"whole");
        chunk.push(&"cut off");
        let failed = RefCell::new(None);
        let read: Vec<String> = parts(&chunk.0[..chunk.len() - 1], &failed);
        assert_eq!(read, ["whole"]);
        assert!(matches!(*failed.borrow(), Some(EmbeddedError::Damaged(_))));
    }
}
