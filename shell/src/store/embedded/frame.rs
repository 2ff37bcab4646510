//! How a piece of the log lies in its file: sealed, so that what a crash left half written is told from what is whole.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Frames begin at multiples of this: no write touches a block of the disk in which something lies that was acknowledged.
pub(super) const BLOCK: usize = 4 << 10;

/// The seal, the chunk's number, the piece's, its length, and whether it is the last one.
pub(super) const HEADER: usize = 8 + 8 + 4 + 4 + 1;

/// Where a piece of a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// The chunk's number.
    pub(super) chunk: u64,
    /// Which piece of it, from 0 on.
    pub(super) piece: u32,
    /// Whether the chunk ends with it.
    pub(super) is_last: bool,
    /// Where in the file the frame begins.
    pub(super) at: u64,
    /// How long the piece is.
    pub(super) bytes: u32,
}

impl Frame {
    /// How many bytes of the file it takes.
    pub(super) fn room(&self) -> u64 {
        (HEADER as u64 + u64::from(self.bytes)).next_multiple_of(BLOCK as u64)
    }

    /// Where in the file its piece begins.
    pub(super) fn piece_at(&self) -> u64 {
        self.at + HEADER as u64
    }
}

/// Makes `out` the frame of a piece. `seed` is this store's own: nobody can make a payload that looks like a frame.
pub(super) fn seal(seed: u64, frame: &Frame, piece: &[u8], out: &mut Vec<u8>) {
    assert_eq!(frame.bytes as usize, piece.len(), "its own piece");
    out.clear();
    out.extend([0; 8]);
    out.extend(frame.chunk.to_le_bytes());
    out.extend(frame.piece.to_le_bytes());
    out.extend(frame.bytes.to_le_bytes());
    out.push(u8::from(frame.is_last));
    out.extend(piece);
    let seal = xxh3_64_with_seed(&out[8..], seed);
    out[..8].copy_from_slice(&seal.to_le_bytes());
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

/// All frames that are whole in a part of the file that begins at `base`.
pub(super) fn all(seed: u64, base: u64, part: &[u8]) -> Vec<Frame> {
    let (mut frames, mut at) = (Vec::new(), 0);
    while at < part.len() {
        at += match whole(seed, base + at as u64, &part[at..]) {
            Some(frame) => {
                frames.push(frame);
                usize::try_from(frame.room()).expect("a part of a file is in memory")
            }
            None => BLOCK,
        };
    }
    frames
}

/// The frame with which `rest` begins, if its seal holds.
fn whole(seed: u64, at: u64, rest: &[u8]) -> Option<Frame> {
    let (seal, sealed) = rest.split_first_chunk()?;
    let (chunk, more) = sealed.split_first_chunk()?;
    let (piece, more) = more.split_first_chunk()?;
    let (bytes, more) = more.split_first_chunk()?;
    let bytes = u32::from_le_bytes(*bytes);
    let frame = Frame {
        chunk: u64::from_le_bytes(*chunk),
        piece: u32::from_le_bytes(*piece),
        is_last: *more.first()? != 0,
        at,
        bytes,
    };
    let sealed = sealed.get(..HEADER - 8 + bytes as usize)?;
    (xxh3_64_with_seed(sealed, seed) == u64::from_le_bytes(*seal)).then_some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(chunk: u64, at: u64, bytes: u32) -> Frame {
        Frame {
            chunk,
            piece: 3,
            is_last: chunk.is_multiple_of(2),
            at,
            bytes,
        }
    }

    /// Frames of pieces of these lengths, one behind the other from 8 blocks on.
    fn lay(seed: u64, lengths: &[u32]) -> (Vec<Frame>, Vec<u8>) {
        let (mut frames, mut file, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
        for (chunk, bytes) in (7..).zip(lengths) {
            let at = (8 * BLOCK + file.len()) as u64;
            let frame = frame(chunk, at, *bytes);
            seal(seed, &frame, &vec![b'x'; *bytes as usize], &mut sealed);
            assert_eq!(sealed.len() as u64, frame.room());
            file.extend(&sealed);
            frames.push(frame);
        }
        (frames, file)
    }

    #[test]
    fn frames_are_found_where_they_were_laid() {
        let block = BLOCK as u32;
        let edge = block - HEADER as u32;
        let (frames, file) = lay(1, &[0, 1, edge, edge + 1, 3 * block]);
        assert_eq!(all(1, 8 * BLOCK as u64, &file), frames);
        assert_eq!(frames[2].room(), u64::from(block));
        assert_eq!(frames[3].room(), 2 * u64::from(block));
    }

    #[test]
    fn a_frame_with_one_other_byte_or_without_its_end_is_none() {
        let (_, file) = lay(1, &[100]);
        for at in 0..HEADER + 100 {
            let mut other = file.clone();
            other[at] ^= 1;
            assert_eq!(all(1, 0, &other), [], "byte {at}");
            assert_eq!(all(1, 0, &file[..at]), [], "{at} bytes");
        }
    }

    #[test]
    fn what_is_sealed_for_another_store_is_no_frame() {
        let (_, file) = lay(1, &[100]);
        assert_eq!(all(2, 0, &file), []);
    }

    #[test]
    fn frames_behind_damage_are_found() {
        let (frames, mut file) = lay(1, &[10_000, 10, 10]);
        file[5] ^= 1;
        assert_eq!(all(1, 8 * BLOCK as u64, &file), frames[1..]);
    }
}
