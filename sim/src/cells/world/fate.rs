//! What becomes of a call: how long it takes, whether it arrives, once or twice, and whether its asker lives to hear of it.

use std::time::Duration;

use windlass_core::ids::OpId;
use windlass_core::store::Call;

use super::{Event, World};
use crate::cells::actor::Store;
use crate::cells::cast::Part;
use crate::cells::plan::{Ambush, AmbushKind};

/// When a question that was not answered counts as lost.
const DEADLINE: Duration = Duration::from_millis(60);
/// How much later than that a call may land.
const LATE_MS_MAX: u64 = 900;

impl World {
    pub(super) fn happens(&mut self, percent: u64, what: &'static str) -> bool {
        let does = !self.is_healed && self.rng.below(100) < percent;
        if does {
            self.count(what);
        }
        does
    }

    pub(super) fn span(&mut self) -> Duration {
        let max = if self.is_healed {
            1_000
        } else {
            self.plan.network.latency_us_max
        };
        Duration::from_micros(50 + self.rng.below(max))
    }

    /// Decides what becomes of a call.
    pub(super) fn on_call(&mut self, seat: usize, store: Store, op: OpId, call: Call) {
        let life = self.seats[seat].life;
        self.seats[seat].open.insert(op, call.clone());
        self.push(self.now.after(DEADLINE), Event::GiveUp { seat, life, op });
        let network = self.plan.network.clone();
        let is_cut = self.is_cut(seat, store);
        let is_lost = self.happens(network.lost, "lost");
        let is_late = self.happens(network.late, "late");
        let is_doubled = self.happens(network.doubled, "doubled");
        let is_heard = !self.happens(network.unheard, "unheard");
        let mut there = self.now.after(self.span());
        let ambush = self.ambush(seat);
        if is_late || ambush == Some(AmbushKind::Late) {
            let late = Duration::from_millis(self.rng.below(LATE_MS_MAX));
            there = there.after(DEADLINE).after(late);
        }
        let is_sent = !is_cut && !is_lost && ambush != Some(AmbushKind::Before);
        let land = |call: Call| Event::Land {
            seat,
            life,
            store,
            op,
            call,
            is_heard,
        };
        if is_sent && is_doubled {
            let late = Duration::from_millis(self.rng.below(LATE_MS_MAX));
            self.push(there.after(late), land(call.clone()));
        }
        if is_sent {
            self.push(there, land(call));
        }
        if ambush.is_some() {
            self.count("mover crash");
            let down = Duration::from_millis(self.rng.below(120));
            self.crash(seat, down);
        }
    }

    /// Whether a mover crashes at this call.
    fn ambush(&mut self, seat: usize) -> Option<AmbushKind> {
        if self.is_healed || self.seats[seat].part != Part::Mover {
            return None;
        }
        let call = self.mover_calls;
        self.mover_calls += 1;
        if let Some(Ambush { call: chosen, kind }) = self.plan.ambush {
            return (chosen == call).then_some(kind);
        }
        if self.rng.below(100) >= self.plan.mover_crashes {
            return None;
        }
        Some(match self.rng.below(3) {
            0 => AmbushKind::Before,
            1 => AmbushKind::After,
            _ => AmbushKind::Late,
        })
    }

    /// How many calls movers made.
    pub(in crate::cells) fn mover_calls(&self) -> u64 {
        self.mover_calls
    }

    pub(super) fn is_cut(&mut self, seat: usize, store: Store) -> bool {
        let now_ms = self.now.as_nanos() / 1_000_000;
        let seats = self.seats.len() as u64;
        let is_cut = !self.is_healed
            && self.plan.cuts.iter().any(|cut| {
                let end = cut.cell.map_or(Store::Directory, Store::Cell);
                let who = cut.who.is_none_or(|who| who % seats == seat as u64);
                end == store && who && (cut.from_ms..cut.until_ms).contains(&now_ms)
            });
        if is_cut {
            self.count("cut");
        }
        is_cut
    }
}
