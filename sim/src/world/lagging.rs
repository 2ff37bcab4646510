//! A member of the store that lags behind the others: who asks it for a watch gets what it held a while ago, and then
//! nothing, until its port finds another.

use std::time::Duration;

use windlass_core::ids::OpId;
use windlass_core::keyspace::Range;
use windlass_core::store::{Answer, ViewEvent};

use super::{Happening, NodeIx, World};
use crate::nemesis::FaultKind;

/// How long a port listens to a member that lags, at least and on top of that.
const LISTENS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

impl World {
    /// Keeps what a full read told, for a member that lags to tell it once more.
    pub(super) fn keep_read(&mut self, node: NodeIx, life: u64, op: OpId, event: &ViewEvent) {
        if self.network.rudeness.stale_reads == 0 || !matches!(event, ViewEvent::Reset { .. }) {
            return;
        }
        let state = &mut self.nodes[node];
        let Some(range) = state.asked.get(&op).filter(|_| state.life == life) else {
            return;
        };
        let parts = state.reads.entry(range.clone()).or_default();
        let goes_on = parts.last().is_some_and(|last| goes_on(last, event));
        if !goes_on {
            parts.clear();
        }
        parts.push(event.clone());
    }

    /// Sometimes whoever asks for a watch is answered by a member that lags: with what the process was told when it asked
    /// the last time. Says whether that was so.
    pub(super) fn is_told_of_old(
        &mut self,
        node: NodeIx,
        life: u64,
        op: OpId,
        range: &Range,
    ) -> bool {
        let known = self.nodes[node].reads.get(range);
        let Some(parts) = known
            .filter(|parts| parts.last().is_some_and(is_last))
            .cloned()
        else {
            return false;
        };
        if !self.network.hits(self.network.rudeness.stale_reads) {
            return false;
        }
        let listens = LISTENS.0 + self.network.while_up_to(LISTENS.1);
        let until = self.now.after(listens);
        self.hit(FaultKind::StaleRead, Some(node), until);
        for part in parts {
            self.deliver_news(node, life, op, part);
        }
        let answer = Answer::View(ViewEvent::Lost);
        let lost = Happening::Answer {
            node,
            life,
            op,
            answer,
        };
        self.schedule(until, lost);
        true
    }
}

fn is_last(event: &ViewEvent) -> bool {
    matches!(event, ViewEvent::Reset { more: false, .. })
}

/// Whether a part of a full read follows on another one of the same read.
fn goes_on(before: &ViewEvent, event: &ViewEvent) -> bool {
    match (before, event) {
        (
            ViewEvent::Reset {
                at: of, more: true, ..
            },
            ViewEvent::Reset { at, .. },
        ) => of == at,
        (ViewEvent::Reset { .. } | ViewEvent::Delta { .. } | ViewEvent::Lost, _) => false,
    }
}
