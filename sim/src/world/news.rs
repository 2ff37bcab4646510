//! News of watches: in order, late, twice, or not at all; and what ports do when they notice.

use std::collections::BTreeSet;
use std::time::Duration;

use windlass_core::ids::OpId;
use windlass_core::keyspace::Range;
use windlass_core::kv;
use windlass_core::store::{Answer, Call, ViewEvent};

use super::{Happening, NodeIx, World};
use crate::fact::Fact;
use crate::nemesis::FaultKind;
use crate::network::MUTE_MAX;

impl World {
    pub(super) fn deliver_news(&mut self, node: NodeIx, life: u64, op: OpId, event: ViewEvent) {
        if self.nodes[node].life != life {
            return;
        }
        let link = &self.nodes[node].link;
        let (silent_until, delay) = (link.from_store_cut.max(link.mute_until), link.news_late_by);
        let delay = if link.news_late_until > self.now {
            delay
        } else {
            Duration::ZERO
        };
        if silent_until > self.now {
            if !self.nodes[node].link.gap {
                self.nodes[node].link.gap = true;
                let noticed = silent_until.min(self.now.after(MUTE_MAX));
                let at = noticed.after(self.network.latency());
                self.schedule(at, Happening::Reconnect { node, life });
            }
            return;
        }
        let mut event = match self.reread(node, life, op, event) {
            Some(event) => self.overlap(node, op, event),
            None => return,
        };
        self.swallow(node, &mut event);
        // A part of a full read never comes again: its stream has ended, and another begins with the first part.
        let may_come_again = matches!(event, ViewEvent::Delta { .. });
        if may_come_again && self.network.hits(self.network.rudeness.duplicate_news) {
            let later = self.network.while_up_to(Duration::from_secs(3));
            self.hit(FaultKind::DuplicateNews, Some(node), self.now.after(later));
            let answer = Answer::View(event.clone());
            let again = Happening::Answer {
                node,
                life,
                op,
                answer,
            };
            self.schedule(self.now.after(later), again);
        }
        let breaks = self.network.hits(self.network.rudeness.break_watches);
        let at = self.now.after(self.network.latency() + delay);
        let at = at.max(self.nodes[node].last_news.after(Duration::from_nanos(1)));
        self.nodes[node].last_news = at;
        if breaks {
            self.hit(FaultKind::BreakWatch, Some(node), self.now);
            let answer = Answer::View(ViewEvent::Lost);
            self.schedule(
                at,
                Happening::Answer {
                    node,
                    life,
                    op,
                    answer,
                },
            );
            self.outlive(node, life, op);
        }
        let at = if breaks {
            at.after(Duration::from_millis(1))
        } else {
            at
        };
        let answer = Answer::View(event);
        self.schedule(
            at,
            Happening::Answer {
                node,
                life,
                op,
                answer,
            },
        );
    }

    /// Tells how long a process waits before it asks anew for a watch that is lost.
    pub(super) fn note_watch(&mut self, node: NodeIx, op: OpId, call: &Call) {
        let Call::Watch(range) = call else {
            return;
        };
        let state = &mut self.nodes[node];
        let lost = state.lost.remove(range);
        state.asked.insert(op, range.clone());
        if let Some(since) = lost {
            let waited = self.now.since(since);
            self.tell(|| Fact::AskedAgain { node, waited });
        }
    }

    /// Remembers when a process is told that a watch is lost.
    pub(super) fn note_loss(&mut self, node: NodeIx, op: OpId, answer: &Answer) {
        let state = &mut self.nodes[node];
        if *answer == Answer::View(ViewEvent::Lost)
            && let Some(range) = state.asked.remove(&op)
        {
            state.lost.insert(range, self.now);
        }
    }

    /// Sometimes a port that reads page by page breaks off and begins anew, under the same watch: the rest of the first
    /// read never comes, and the second is of another revision.
    fn reread(&mut self, node: NodeIx, life: u64, op: OpId, event: ViewEvent) -> Option<ViewEvent> {
        if self.nodes[node].rereads.contains(&op) {
            return None;
        }
        let breaks = matches!(event, ViewEvent::Reset { more: true, .. })
            && self.network.hits(self.network.rudeness.break_reads);
        if breaks && self.nodes[node].watches.contains_key(&op) {
            self.hit(FaultKind::BreakRead, Some(node), self.now);
            self.nodes[node].rereads.insert(op);
            let later = self.network.while_up_to(Duration::from_millis(300));
            self.schedule(self.now.after(later), Happening::Reread { node, life, op });
        }
        Some(event)
    }

    /// The port reads anew, unless its watch was given up meanwhile.
    pub(super) fn read_again(&mut self, node: NodeIx, life: u64, op: OpId) {
        let state = &mut self.nodes[node];
        if state.life != life || !state.rereads.remove(&op) {
            return;
        }
        let Some(range) = state.watches.get(&op).cloned() else {
            return;
        };
        if state.link.to_store_cut > self.now || self.outage.is_down() {
            return self.lose_watches(node);
        }
        let client = self.client(node, life);
        let call = Call::Watch(range);
        self.store(kv::Input::Call { client, op, call });
    }

    /// Sometimes a port that comes back begins where it was sure, not where it was: what it told last comes once more,
    /// together with what is new.
    fn overlap(&mut self, node: NodeIx, op: OpId, event: ViewEvent) -> ViewEvent {
        if self.network.rudeness.duplicate_news == 0 {
            return event;
        }
        let ViewEvent::Delta { after, at, changes } = event else {
            return event;
        };
        let told = (op, after, at, changes.clone());
        let before = self.nodes[node].told.replace(told);
        let joined = before.filter(|(of, _, until, _)| *of == op && *until == after);
        match joined.filter(|_| self.network.hits(self.network.rudeness.duplicate_news * 4)) {
            Some((_, earlier, _, mut known)) => {
                self.hit(FaultKind::DuplicateNews, Some(node), self.now);
                known.extend(changes);
                ViewEvent::Delta {
                    after: earlier,
                    at,
                    changes: known,
                }
            }
            None => ViewEvent::Delta { after, at, changes },
        }
    }

    /// The node's port has noticed that its watches are dead. Some of them live on in the store, and are heard again.
    pub(super) fn reconnect(&mut self, node: NodeIx, life: u64) {
        if self.nodes[node].life != life {
            return;
        }
        self.nodes[node].link.gap = false;
        self.lose_watches(node);
    }

    /// Tells a node that its watches are lost.
    pub(crate) fn lose_watches(&mut self, node: NodeIx) {
        let life = self.nodes[node].life;
        let watches = std::mem::take(&mut self.nodes[node].watches);
        // Whatever comes next comes through another connection.
        self.nodes[node].last_news = self.now;
        self.nodes[node].rereads.clear();
        for op in watches.into_keys() {
            if self.network.below(2) == 0 {
                let client = self.client(node, life);
                self.store(kv::Input::Call {
                    client,
                    op,
                    call: Call::Unwatch { watch: op },
                });
            } else {
                self.outlive(node, life, op);
            }
            let at = self.now.after(self.network.latency());
            let answer = Answer::View(ViewEvent::Lost);
            self.schedule(
                at,
                Happening::Answer {
                    node,
                    life,
                    op,
                    answer,
                },
            );
        }
    }

    /// A watch that its node believes lost goes on for a while, and is heard.
    fn outlive(&mut self, node: NodeIx, life: u64, op: OpId) {
        let at = self
            .now
            .after(self.network.while_up_to(Duration::from_secs(10)));
        self.hit(FaultKind::LateNews, Some(node), at);
        let call = Call::Unwatch { watch: op };
        self.schedule(
            at,
            Happening::Request {
                node,
                life,
                op,
                call,
            },
        );
    }

    /// The watches whose news are under way for longer than news need are lost.
    pub(crate) fn lose_late_news(&mut self) {
        let late = self.late_news();
        let nodes: BTreeSet<NodeIx> = late.iter().map(|(node, _)| *node).collect();
        for (node, op) in late {
            // Of a watch that is lost, nobody asks what it was about.
            self.nodes[node]
                .watches
                .entry(op)
                .or_insert_with(Range::cluster);
        }
        for node in nodes {
            self.lose_watches(node);
        }
    }

    fn late_news(&self) -> BTreeSet<(NodeIx, OpId)> {
        let far = self.now.after(Duration::from_millis(5));
        self.queue
            .iter()
            .filter_map(|(at, happening)| match happening {
                Happening::Answer {
                    node,
                    life,
                    op,
                    answer: Answer::View(_),
                } if at > far && *life == self.nodes[*node].life => Some((*node, *op)),
                Happening::Answer { .. }
                | Happening::Request { .. }
                | Happening::Reconnect { .. }
                | Happening::Reread { .. }
                | Happening::Wake { .. }
                | Happening::WakeStore
                | Happening::HandlerActs { .. }
                | Happening::Call { .. }
                | Happening::Called { .. }
                | Happening::Thaw { .. }
                | Happening::Crash { .. }
                | Happening::Boot { .. }
                | Happening::EndOutage
                | Happening::EndDrift { .. }
                | Happening::EndUpgrade => None,
            })
            .collect()
    }
}

/// Whether a call goes by the connection of a watch.
pub(super) fn is_watch(call: &Call) -> bool {
    match call {
        Call::Watch(_) | Call::Unwatch { .. } | Call::Progress { .. } => true,
        Call::Commit(_)
        | Call::Read(_)
        | Call::Audit(_)
        | Call::Grant { .. }
        | Call::Renew { .. }
        | Call::Revoke { .. }
        | Call::Compact { .. }
        | Call::Usage => false,
    }
}
