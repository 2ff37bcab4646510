//! The log's file: chunks of records, one after the other, each made durable by one write and one sync.
//!
//! The file is cut into slots. A slot whose chunks are all part of a snapshot is used again, so that the file is as large as
//! the log ever was. The number of a chunk is never used twice, so what lies in a slot from earlier is told by it.

use std::collections::{BTreeSet, VecDeque};

use redb::StorageBackend;
use serde::{Deserialize, Serialize};

use super::EmbeddedError;
use super::frame::{self, BLOCK, Frame, HEADER};

/// This many slots more than are used are kept for what comes; the others at the end are given back.
const SPARE_SLOTS: usize = 4;

/// What never changes about a log.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Layout {
    /// What this log's frames are sealed with.
    pub(super) seed: u64,
    /// A slot's length. A chunk that is longer, or finds less room, is cut.
    pub(super) slot_bytes: u64,
}

/// The log's file.
#[derive(Debug)]
pub(super) struct LogFile {
    medium: Box<dyn StorageBackend>,
    layout: Layout,
    /// Where chunks lie that are needed, the oldest first. The last one is written to.
    used: VecDeque<Slot>,
    free: BTreeSet<u64>,
    slots: u64,
    /// How much of the last used slot is taken.
    taken: u64,
    frame: Vec<u8>,
}

#[derive(Debug)]
struct Slot {
    index: u64,
    /// The last chunk of which it has a piece.
    newest: u64,
}

impl LogFile {
    fn over(medium: Box<dyn StorageBackend>, layout: Layout, slots: u64) -> Self {
        let block = BLOCK as u64;
        assert!(
            layout.slot_bytes >= 2 * block && layout.slot_bytes.is_multiple_of(block),
            "a slot is made of blocks"
        );
        Self {
            medium,
            layout,
            used: VecDeque::new(),
            free: (0..slots).collect(),
            slots,
            taken: layout.slot_bytes,
            frame: Vec::new(),
        }
    }

    /// The log in a file, and where its chunks lie, from the number `from` on. What a crash left of one last chunk is
    /// dropped: it was never acknowledged.
    pub(super) fn open(
        medium: Box<dyn StorageBackend>,
        layout: Layout,
        from: u64,
    ) -> Result<(Self, Vec<Frame>), EmbeddedError> {
        let slots = medium.len()? / layout.slot_bytes;
        let mut log = Self::over(medium, layout, slots);
        let mut frames = log.frames()?;
        frames.retain(|frame| frame.chunk >= from);
        frames.sort_unstable_by_key(|frame| (frame.chunk, frame.piece));
        let torn = frames.split_off(whole(&frames, from));
        let next = frames.last().map_or(from, |frame| frame.chunk + 1);
        if let Some(behind) = torn.iter().find(|frame| frame.chunk > next) {
            return Err(EmbeddedError::LogBroken {
                missing: next,
                found: behind.chunk,
            });
        }
        log.wipe(&torn)?;
        for frame in &frames {
            log.occupy(frame);
        }
        Ok((log, frames))
    }

    /// The file, for another look at it.
    pub(super) fn into_medium(self) -> Box<dyn StorageBackend> {
        self.medium
    }

    /// All frames in the file, of whatever age.
    fn frames(&self) -> Result<Vec<Frame>, EmbeddedError> {
        let mut frames = Vec::new();
        let Layout { seed, slot_bytes } = self.layout;
        let mut part = vec![0; in_memory(slot_bytes)];
        for slot in 0..self.slots {
            let base = slot * slot_bytes;
            self.medium.read(base, &mut part)?;
            frames.extend(frame::all(seed, base, &part));
        }
        Ok(frames)
    }

    /// Makes sure that these frames are never taken for pieces of the chunk that will have their number.
    fn wipe(&self, torn: &[Frame]) -> Result<(), EmbeddedError> {
        for frame in torn {
            self.medium.write(frame.at, &[0; BLOCK])?;
        }
        if !torn.is_empty() {
            self.medium.sync_data()?;
        }
        Ok(())
    }

    /// Takes note of a frame behind all others.
    fn occupy(&mut self, frame: &Frame) {
        let index = frame.at / self.layout.slot_bytes;
        if self.used.back().is_none_or(|slot| slot.index != index) {
            assert!(self.free.remove(&index), "chunks follow one another");
            let newest = frame.chunk;
            self.used.push_back(Slot { index, newest });
        }
        let slot = self.used.back_mut().expect("there is one now");
        assert!(slot.newest <= frame.chunk, "numbers grow");
        slot.newest = frame.chunk;
        self.taken = frame.at + frame.room() - index * self.layout.slot_bytes;
    }

    /// A piece of a chunk.
    pub(super) fn read(&self, frame: &Frame) -> Result<Vec<u8>, EmbeddedError> {
        let mut piece = vec![0; frame.bytes as usize];
        self.medium.read(frame.piece_at(), &mut piece)?;
        Ok(piece)
    }

    /// Makes a chunk durable, behind all others.
    pub(super) fn append(&mut self, chunk: u64, bytes: &[u8]) -> Result<(), EmbeddedError> {
        let (mut rest, mut piece) = (bytes, 0);
        loop {
            let at = self.place()?;
            let (frame, part) = self.cut(chunk, piece, at, rest);
            frame::seal(self.layout.seed, &frame, part, &mut self.frame);
            self.medium.write(at, &self.frame)?;
            self.occupy(&frame);
            if frame.is_last {
                return Ok(self.medium.sync_data()?);
            }
            (rest, piece) = (&rest[part.len()..], piece + 1);
        }
    }

    /// As much of a chunk's rest as there is room for in the slot, and its frame.
    fn cut<'a>(&self, chunk: u64, piece: u32, at: u64, rest: &'a [u8]) -> (Frame, &'a [u8]) {
        let slot_bytes = self.layout.slot_bytes;
        let room = in_memory(slot_bytes - at % slot_bytes) - HEADER;
        let part = &rest[..rest.len().min(room)];
        let frame = Frame {
            chunk,
            piece,
            is_last: part.len() == rest.len(),
            at,
            bytes: u32::try_from(part.len()).expect("a slot has less than four gigabytes"),
        };
        (frame, part)
    }

    /// Where the next frame goes: behind the last one, or into the first free slot.
    fn place(&mut self) -> Result<u64, EmbeddedError> {
        if let Some(slot) = self
            .used
            .back()
            .filter(|_| self.taken < self.layout.slot_bytes)
        {
            return Ok(slot.index * self.layout.slot_bytes + self.taken);
        }
        if self.free.is_empty() {
            self.free.insert(self.slots);
            self.slots += 1;
            self.medium.set_len(self.slots * self.layout.slot_bytes)?;
        }
        let first = self.free.first().expect("one was made if there was none");
        Ok(first * self.layout.slot_bytes)
    }

    /// Takes note that no chunk before `from` is needed any more.
    pub(super) fn forget(&mut self, from: u64) -> Result<(), EmbeddedError> {
        while self.used.len() > 1 && self.used.front().is_some_and(|slot| slot.newest < from) {
            let slot = self.used.pop_front().expect("there is one");
            self.free.insert(slot.index);
        }
        let before = self.slots;
        while self.free.len() > self.used.len() + SPARE_SLOTS && self.free.remove(&(self.slots - 1))
        {
            self.slots -= 1;
        }
        if self.slots < before {
            self.medium.set_len(self.slots * self.layout.slot_bytes)?;
        }
        Ok(())
    }
}

fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a slot fits into memory")
}

/// How many frames, which are in order, make whole chunks in a row from the number `from` on.
fn whole(frames: &[Frame], from: u64) -> usize {
    let (mut count, mut expected) = (0, (from, 0));
    for (frame, so_far) in frames.iter().zip(1..) {
        if (frame.chunk, frame.piece) != expected {
            break;
        }
        expected = if frame.is_last {
            count = so_far;
            (frame.chunk + 1, 0)
        } else {
            (frame.chunk, frame.piece + 1)
        };
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::embedded::plug::Medium;

    const LAYOUT: Layout = Layout {
        seed: 9,
        slot_bytes: 4 * BLOCK as u64,
    };

    fn open(medium: &Medium, from: u64) -> (LogFile, Vec<Frame>) {
        LogFile::open(Box::new(medium.clone()), LAYOUT, from).unwrap()
    }

    /// The chunks with their numbers.
    fn chunks(log: &LogFile, frames: &[Frame]) -> Vec<(u64, Vec<u8>)> {
        let mut chunks: Vec<(u64, Vec<u8>)> = Vec::new();
        for frame in frames {
            let piece = log.read(frame).unwrap();
            match chunks.last_mut().filter(|(chunk, _)| *chunk == frame.chunk) {
                Some((_, chunk)) => chunk.extend(piece),
                None => chunks.push((frame.chunk, piece)),
            }
        }
        chunks
    }

    fn filled(chunk: u64, bytes: usize) -> Vec<u8> {
        vec![chunk as u8; bytes]
    }

    proptest! {
        #[test]
        fn what_was_appended_and_not_forgotten_is_found_again(
            steps in prop::collection::vec((0_usize..40_000, 0_u64..12, any::<bool>()), 1..60),
        ) {
            let medium = Medium::default();
            let (mut log, _) = open(&medium, 0);
            let (mut from, mut model, mut largest) = (0, Vec::new(), 0);
            for (chunk, (bytes, kept, reopens)) in (0..).zip(steps) {
                log.append(chunk, &filled(chunk, bytes)).unwrap();
                model.push((chunk, filled(chunk, bytes)));
                from = from.max((chunk + 1).saturating_sub(kept));
                log.forget(from).unwrap();
                model.retain(|(chunk, _)| *chunk >= from);
                let bytes: usize = model.iter().map(|(_, chunk)| chunk.len() + 2 * BLOCK).sum();
                largest = largest.max(bytes as u64);
                if reopens {
                    let (again, frames) = open(&medium, from);
                    prop_assert_eq!(chunks(&again, &frames), model.clone());
                    log = again;
                }
            }
            let slots = largest / LAYOUT.slot_bytes + 4 + SPARE_SLOTS as u64;
            prop_assert!(log.slots <= 2 * slots, "{} slots for {largest} bytes", log.slots);
        }
    }

    #[test]
    fn what_a_crash_leaves_of_a_chunk_is_never_taken_for_a_piece_of_its_successor() {
        let medium = Medium::default();
        let (mut log, _) = open(&medium, 0);
        log.append(0, &filled(0, 10)).unwrap();
        log.append(1, &filled(1, 40_000)).unwrap();
        let mut image = medium.content().synced.clone();
        // The second slot's frame came to the disk, the first one's did not.
        image[BLOCK..4 * BLOCK].fill(0);
        let torn = Medium::holding(image);
        let (mut log, frames) = open(&torn, 0);
        assert_eq!(chunks(&log, &frames), [(0, filled(0, 10))]);
        for chunk in 1..4 {
            log.append(chunk, &filled(chunk, 20)).unwrap();
        }
        let (log, frames) = open(&torn, 0);
        let expected: Vec<_> = [(0, 10), (1, 20), (2, 20), (3, 20)]
            .map(|(chunk, bytes)| (chunk, filled(chunk, bytes)))
            .into();
        assert_eq!(chunks(&log, &frames), expected);
    }

    #[test]
    fn slots_that_are_not_needed_are_given_back() {
        let medium = Medium::default();
        let (mut log, _) = open(&medium, 0);
        for chunk in 0..100 {
            log.append(chunk, &filled(chunk, 15_000)).unwrap();
        }
        assert_eq!(log.slots, 100);
        log.forget(100).unwrap();
        for chunk in 100..104 {
            log.append(chunk, &filled(chunk, 15_000)).unwrap();
        }
        log.forget(103).unwrap();
        // What is written to last lies at the beginning by now, but one slot at the end was needed before.
        log.append(104, &filled(104, 15_000)).unwrap();
        log.forget(104).unwrap();
        assert!(
            medium.len().unwrap() <= 10 * LAYOUT.slot_bytes,
            "{}",
            log.slots
        );
        let (log, frames) = open(&medium, 104);
        assert_eq!(chunks(&log, &frames), [(104, filled(104, 15_000))]);
    }
}
