//! S23: a gateway that knows the store to be full accepts no new task, so that what it has accepted can end; and it refuses
//! none for want of room while it knows of some.
//!
//! No fault suspends it: what counts is what the gateway knew when it was asked.

use std::collections::BTreeMap;

use windlass_core::gateway::{Reply, Request, RequestId, Submitted};
use windlass_core::room::Level;
use windlass_core::store::Refusal;
use windlass_core::time::Mono;

use super::{Checker, Findings, Rule};
use crate::fact::{Fact, NodeIx};

/// Remembers what each gateway knows, and when it was asked.
#[derive(Debug, Default)]
pub(super) struct RoomKept {
    /// Since when the store is full, and when it last was.
    full: BTreeMap<NodeIx, (Option<Mono>, Option<Mono>)>,
    asked: BTreeMap<RequestId, Mono>,
}

impl RoomKept {
    fn learn(&mut self, at: Mono, node: NodeIx, level: Level) {
        let (since, last) = self.full.entry(node).or_default();
        if level == Level::Full {
            since.get_or_insert(at);
        } else if since.take().is_some() {
            *last = Some(at);
        }
    }

    fn judge(&self, at: Mono, node: NodeIx, asked: Mono, reply: &Reply, found: &mut Findings) {
        let (since, last) = self.full.get(&node).copied().unwrap_or_default();
        let fates: &[Submitted] = match reply {
            Reply::Submitted(fates) => fates,
            Reply::Task(_)
            | Reply::Tasks { .. }
            | Reply::Found { .. }
            | Reply::Count { .. }
            | Reply::Why(_)
            | Reply::Stats(_)
            | Reply::Queues(_)
            | Reply::Nodes(_)
            | Reply::Changes(_)
            | Reply::Missed { .. }
            | Reply::Timings(_)
            | Reply::Lock { .. }
            | Reply::Remote(_)
            | Reply::Done
            | Reply::NotFound
            | Reply::Forbidden { .. }
            | Reply::Refused(_)
            | Reply::NotReady
            | Reply::TimedOut => &[],
        };
        let accepted = fates
            .iter()
            .any(|fate| matches!(fate, Submitted::Accepted { .. }));
        if accepted && since.is_some_and(|since| since < asked) {
            let what = "a task was accepted though the store was known to be full".to_owned();
            found.add(self, at, Some(node), None, what);
        }
        let no_room = matches!(reply, Reply::Refused(Refusal::NoRoom))
            || fates.contains(&Submitted::Refused(Refusal::NoRoom));
        let was_full = since.is_some() || last.is_some_and(|last| last >= asked);
        if no_room && !was_full {
            let what = "a task was refused for want of room though there was some".to_owned();
            found.add(self, at, Some(node), None, what);
        }
    }
}

impl Checker for RoomKept {
    fn rule(&self) -> Rule {
        Rule::S23
    }

    fn name(&self) -> &'static str {
        "room_kept"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Room { node, level } = fact {
            self.learn(at, *node, *level);
        }
        // A new process knows nothing.
        if let Fact::Booted { node, .. } = fact {
            self.full.remove(node);
        }
        if let Fact::Asked { id, request, .. } = fact
            && matches!(**request, Request::Submit(_) | Request::Rerun(_))
        {
            self.asked.insert(*id, at);
        }
        if let Fact::Answered { id, node, reply } = fact
            && let Some(asked) = self.asked.remove(id)
        {
            self.judge(at, *node, asked, reply, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{History, accepted, spec};
    use super::*;

    fn room(h: &mut History, level: Level) {
        h.pass(1);
        h.fact(Fact::Room { node: 0, level });
    }

    fn ask(h: &mut History, id: u64) {
        h.pass(1);
        h.fact(Fact::Asked {
            id: RequestId(id),
            node: 0,
            request: Box::new(Request::Submit(vec![spec(None)])),
        });
    }

    fn answer(h: &mut History, id: u64, reply: Reply) {
        h.pass(1);
        h.fact(Fact::Answered {
            id: RequestId(id),
            node: 0,
            reply: Box::new(reply),
        });
    }

    #[test]
    fn what_was_asked_before_the_store_was_full_may_still_be_accepted_or_refused() {
        let mut h = History::of(RoomKept::default());
        let task = h.submit(None);
        ask(&mut h, 1);
        ask(&mut h, 2);
        room(&mut h, Level::Full);
        answer(&mut h, 1, accepted(task));
        ask(&mut h, 3);
        room(&mut h, Level::Tight);
        for id in [2, 3] {
            answer(&mut h, id, Reply::Refused(Refusal::NoRoom));
        }
        ask(&mut h, 4);
        answer(&mut h, 4, accepted(task));
        h.assert_clean();
    }

    #[test]
    fn a_task_that_a_full_store_gets_is_found() {
        let mut h = History::of(RoomKept::default());
        let task = h.submit(None);
        room(&mut h, Level::Full);
        ask(&mut h, 1);
        answer(&mut h, 1, accepted(task));
        h.assert_tripped("known to be full");
    }

    #[test]
    fn a_refusal_while_there_is_room_is_found() {
        let mut h = History::of(RoomKept::default());
        room(&mut h, Level::Full);
        room(&mut h, Level::Tight);
        ask(&mut h, 1);
        answer(&mut h, 1, Reply::Refused(Refusal::NoRoom));
        h.assert_tripped("though there was some");
    }
}
