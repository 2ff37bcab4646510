//! Who follows which range, and how far each has been told.

use std::collections::BTreeMap;

use super::log::{Edit, Entry};
use super::segments::Segments;
use super::{ClientId, Effect, Limits};
use crate::ids::{OpId, Revision};
use crate::keyspace::{Key, Range};
use crate::store::{Answer, Change, ViewEvent};

#[derive(Debug, Clone)]
struct Watch {
    client: ClientId,
    op: OpId,
    range: Range,
    reached: Revision,
    /// What happened since, not told yet.
    changes: Vec<Change>,
}

/// The live watches. Each has a number, to be found by it at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Watches {
    slots: Vec<Option<Watch>>,
    free: Vec<u32>,
    numbers: BTreeMap<(ClientId, OpId), u32>,
    segments: Segments,
    /// The watches that have something to be told, in the order in which it happened.
    touched: Vec<u32>,
}

impl Watches {
    /// Begins a watch that knows everything up to `reached`. It replaces one of the same name.
    pub(super) fn add(&mut self, client: ClientId, op: OpId, range: Range, reached: Revision) {
        self.remove(client, op);
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("memory ends before 2^32 watches")
        });
        self.segments.add(&range, number);
        self.numbers.insert((client, op), number);
        self.slots[number as usize] = Some(Watch {
            client,
            op,
            range,
            reached,
            changes: Vec::new(),
        });
    }

    /// Ends a watch, if it lives.
    pub(super) fn remove(&mut self, client: ClientId, op: OpId) {
        assert!(self.touched.is_empty(), "all is told between two inputs");
        let Some(number) = self.numbers.remove(&(client, op)) else {
            return;
        };
        let watch = self.slots[number as usize]
            .take()
            .expect("a named watch has a slot");
        self.segments.remove(&watch.range, number);
        self.free.push(number);
    }

    /// Ends all watches of a client.
    pub(super) fn leave(&mut self, client: ClientId) {
        let ops: Vec<OpId> = self
            .numbers
            .range((client, OpId(0))..=(client, OpId(u64::MAX)))
            .map(|((_, op), _)| *op)
            .collect();
        for op in ops {
            self.remove(client, op);
        }
    }

    /// Notes what the revision `at` did to one key, for those who follow it.
    pub(super) fn note(&mut self, at: Revision, edit: &Edit) {
        for number in self.segments.covering(edit.key()) {
            let watch = self.slots[*number as usize]
                .as_mut()
                .expect("a range is covered by live watches only");
            if watch.changes.is_empty() {
                self.touched.push(*number);
            }
            watch.changes.push(edit.change(at));
        }
    }

    /// Tells what was noted, up to the revision `at`.
    pub(super) fn tell(&mut self, at: Revision, out: &mut Vec<Effect>) {
        for number in self.touched.drain(..) {
            let watch = self.slots[number as usize]
                .as_mut()
                .expect("a watch does not end before it was told");
            out.push(watch.delta(at));
        }
    }

    /// Tells a watch that it knows everything up to the revision `at`.
    pub(super) fn progress(
        &mut self,
        client: ClientId,
        op: OpId,
        at: Revision,
        out: &mut Vec<Effect>,
    ) {
        let number = self.numbers.get(&(client, op));
        let watch = number.and_then(|number| self.slots[*number as usize].as_mut());
        out.extend(watch.map(|watch| watch.delta(at)));
    }
}

impl Watch {
    fn delta(&mut self, at: Revision) -> Effect {
        assert!(at >= self.reached, "a watch never goes back");
        let after = std::mem::replace(&mut self.reached, at);
        let event = ViewEvent::Delta {
            after,
            at,
            changes: std::mem::take(&mut self.changes),
        };
        view(self.client, self.op, event)
    }
}

/// Tells everything that a range holds, in parts.
pub(super) fn tell_all<'a>(
    client: ClientId,
    op: OpId,
    at: Revision,
    entries: impl Iterator<Item = (&'a Key, &'a Entry)>,
    limits: &Limits,
    out: &mut Vec<Effect>,
) {
    let mut entries = entries.peekable();
    loop {
        let (mut items, mut bytes) = (Vec::new(), 0);
        while items.len() < limits.part_items_max
            && bytes < limits.part_bytes_max
            && let Some((key, entry)) = entries.next()
        {
            bytes += key.as_str().len() + entry.found.value.as_bytes().len();
            items.push(entry.item(key));
        }
        let more = entries.peek().is_some();
        out.push(view(client, op, ViewEvent::Reset { at, items, more }));
        if !more {
            return;
        }
    }
}

fn view(client: ClientId, op: OpId, event: ViewEvent) -> Effect {
    let answer = Answer::View(event);
    Effect::Answer { client, op, answer }
}
