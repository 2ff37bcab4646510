//! The happenings to come, in order of time: a heap of small keys over a table of happenings, which are large and are
//! moved only twice this way.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use windlass_core::time::Mono;

use super::Happening;

/// Where a happening stands in the order, and where it lies in the table: from the highest bits on its time, the lot that
/// was drawn among those of the same time, and its slot, in one number, so that the heap compares and moves little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket(u128);

impl Ticket {
    fn new(at: Mono, tie: u32, slot: u32) -> Self {
        Self(u128::from(at.as_nanos()) << 64 | u128::from(tie) << 32 | u128::from(slot))
    }

    fn at(self) -> Mono {
        Mono::from_nanos(u64::try_from(self.0 >> 64).expect("the upper half"))
    }

    fn slot(self) -> usize {
        usize::try_from(self.0 & u128::from(u32::MAX)).expect("the lowest 32 bits")
    }
}

/// Happenings, the earliest first.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    heap: BinaryHeap<Reverse<Ticket>>,
    slots: Vec<Option<Happening>>,
    free: Vec<u32>,
}

impl EventQueue {
    /// Queues a happening.
    pub(super) fn push(&mut self, at: Mono, tie: u32, happening: Happening) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("memory ends before 2^32 happenings")
        });
        self.slots[slot as usize] = Some(happening);
        self.heap.push(Reverse(Ticket::new(at, tie, slot)));
    }

    /// Takes the earliest.
    pub(super) fn pop(&mut self) -> Option<(Mono, Happening)> {
        let Reverse(ticket) = self.heap.pop()?;
        Some((ticket.at(), self.take(ticket)))
    }

    fn take(&mut self, ticket: Ticket) -> Happening {
        let slot = ticket.slot();
        self.free
            .push(u32::try_from(slot).expect("as it was pushed"));
        let happening = self.slots[slot].take();
        happening.expect("a queued happening has a slot")
    }

    /// When the earliest happens.
    pub(super) fn next_at(&self) -> Option<Mono> {
        self.heap.peek().map(|Reverse(ticket)| ticket.at())
    }

    /// Every happening and its time, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Mono, &Happening)> {
        self.heap.iter().map(|Reverse(ticket)| {
            let happening = self.slots[ticket.slot()].as_ref();
            (
                ticket.at(),
                happening.expect("a queued happening has a slot"),
            )
        })
    }

    /// Shows every happening and its time, the earliest first, to be changed.
    pub(super) fn each_in_order(&mut self, mut change: impl FnMut(Mono, &mut Happening)) {
        let mut tickets: Vec<Ticket> = self.heap.iter().map(|Reverse(ticket)| *ticket).collect();
        tickets.sort_unstable();
        for ticket in tickets {
            let happening = self.slots[ticket.slot()].as_mut();
            change(
                ticket.at(),
                happening.expect("a queued happening has a slot"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(all: &[(u64, u32)]) -> EventQueue {
        let mut queue = EventQueue::default();
        for (node, (at, tie)) in all.iter().enumerate() {
            queue.push(Mono::from_nanos(*at), *tie, Happening::Wake { node });
        }
        queue
    }

    fn node(happening: &Happening) -> usize {
        let Happening::Wake { node } = happening else {
            panic!("only wake-ups were queued");
        };
        *node
    }

    #[test]
    fn happenings_come_by_time_then_by_lot() {
        let mut queue = queued(&[(7, 1), (5, 9), (7, 0), (5, 12), (9, 0)]);
        assert_eq!(queue.next_at(), Some(Mono::from_nanos(5)));
        let mut seen = Vec::new();
        queue.each_in_order(|_, happening| seen.push(node(happening)));
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|(_, happening)| node(&happening))
            .collect();
        assert_eq!(popped, [1, 3, 2, 0, 4]);
        assert_eq!(seen, popped);
    }

    #[test]
    fn a_slot_is_used_again_once_its_happening_was_taken() {
        let mut queue = queued(&[(1, 0), (2, 0)]);
        queue.pop();
        queue.push(Mono::from_nanos(3), 0, Happening::Wake { node: 7 });
        assert_eq!((queue.slots.len(), queue.iter().count()), (2, 2));
        queue.pop();
        let (at, last) = queue.pop().expect("two were left");
        assert_eq!((at, node(&last)), (Mono::from_nanos(3), 7));
    }
}
