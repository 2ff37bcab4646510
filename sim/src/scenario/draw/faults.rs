//! What breaks.

use windlass_core::time::Millis;

use super::super::{Broken, Timed};
use super::Draw;
use crate::nemesis::{Fault, Way};

/// How many different planned faults there are to choose from.
const FAULTS: u64 = 21;
/// The one that is rare: what it does to a node excuses much of it for most of a run.
const LOSE_EVENT: u64 = 19;

impl Draw<'_, '_> {
    pub(super) fn faults(&mut self) -> Vec<Timed<Fault>> {
        if self.calm {
            return Vec::new();
        }
        let rare = self.from.below(4);
        let kinds: Vec<u64> = (0..FAULTS)
            .filter(|kind| {
                let usual = 25 + 10 * rare;
                let chance = if *kind == LOSE_EVENT { 8 } else { usual };
                self.from.chance(chance)
            })
            .collect();
        if kinds.is_empty() {
            return Vec::new();
        }
        let count = self.from.below(30);
        let mut faults: Vec<Timed<Fault>> = Vec::new();
        for _ in 0..count {
            let kind = self.from.one_of(&kinds);
            let (at, node) = match faults.last().filter(|_| self.clustered) {
                Some(last) if self.from.chance(70) => self.soon_after(last),
                _ => (self.moment(), self.node()),
            };
            let what = self.fault(kind, node);
            let worse = self.worse(at, &what);
            faults.push(Timed { at, what });
            faults.extend(worse);
        }
        faults.sort_by_key(|fault| fault.at);
        faults
    }

    /// What breaks next breaks soon, and mostly at the same node: troubles seldom come alone.
    fn soon_after(&mut self, last: &Timed<Fault>) -> (Millis, usize) {
        let later = self.from.one_of(&[100, 1_000, 4_000]);
        let at = last.at.get() + self.from.below(later);
        let same = last.what.node().filter(|_| self.from.chance(75));
        let node = same.unwrap_or_else(|| self.node());
        (Millis::new(at.min(self.safety.get() - 1)), node)
    }

    /// A node that lags in one way or another may be cut off on top of that: what it believes is then at its worst.
    fn worse(&mut self, at: Millis, fault: &Fault) -> Option<Timed<Fault>> {
        let (Fault::Slow { node, lasts, .. }
        | Fault::Drift { node, lasts, .. }
        | Fault::DelayWatch { node, lasts, .. }) = *fault
        else {
            return None;
        };
        if !self.from.chance(40) {
            return None;
        }
        let later = at.get() + self.from.below(lasts.get() / 2 + 1);
        let ttl = self.ttl.get();
        let long = Millis::new(ttl + ttl / 10 + self.from.below(ttl));
        let what = match self.from.below(3) {
            0 => Fault::Pause { node, lasts: long },
            1 => Fault::Crash {
                node,
                down_for: self.span(),
            },
            _ => Fault::Cut {
                node,
                way: self.from.one_of(&[Way::ToStore, Way::Both]),
                lasts: long,
            },
        };
        let at = Millis::new(later.min(self.safety.get() - 1));
        Some(Timed { at, what })
    }

    fn fault(&mut self, kind: u64, node: usize) -> Fault {
        let lasts = self.span();
        match kind {
            0 => Fault::Crash {
                node,
                down_for: lasts,
            },
            1 => Fault::Pause { node, lasts },
            2 => Fault::Double { node },
            3 => Fault::Cut {
                node,
                way: self.way(),
                lasts,
            },
            4 => Fault::LoseAnswers {
                node,
                count: 1 + self.from.below(6) as u8,
            },
            5 => Fault::ArriveLate {
                node,
                by: Millis::new(self.from.below(5_000)),
                lasts,
            },
            6 => Fault::DelayWatch {
                node,
                by: self.span(),
                lasts,
            },
            7 => Fault::MuteWatch { node, lasts },
            8 => Fault::BreakWatches {
                node: self.from.chance(60).then_some(node),
            },
            9 => Fault::Compact,
            10 => Fault::MoveLeader,
            11 => Fault::StoreDown { lasts },
            12 => Fault::NoSpace { lasts },
            13 => Fault::Busy { lasts },
            14 => Fault::ExpireLease { node },
            15 => Fault::ExpireAll,
            16 => Fault::JumpWall {
                node,
                by_ms: self.from.one_of(&[120_000, -3_600_000, 700, -700, 9_000]),
            },
            17 => Fault::Drift {
                node,
                ppm: self
                    .from
                    .one_of(&[1_000, -1_000, 100_000, -100_000, 800_000, -450_000]),
                lasts: Millis::new(lasts.get() * 3),
            },
            18 => Fault::Slow {
                node,
                way: self.way(),
                by: self.slowness(),
                lasts: Millis::new(lasts.get() * 3),
            },
            LOSE_EVENT => Fault::LoseEvent {
                node,
                delete: self.from.chance(50),
                of_lock: self.from.chance(50),
            },
            _ => Fault::Upgrade {
                node: self.from.chance(70).then_some(node),
                lasts,
            },
        }
    }

    /// Less than it takes to give a call up; more than the margin of a session, now and then.
    fn slowness(&mut self) -> Millis {
        let ttl = self.ttl.get();
        Millis::new(match self.from.below(4) {
            0 => 5 + self.from.below(50),
            1 => 50 + self.from.below(400),
            _ => ttl / 5 + self.from.below(ttl / 4),
        })
    }

    fn way(&mut self) -> Way {
        self.from.one_of(&[Way::Both, Way::ToStore, Way::FromStore])
    }

    /// One scheduler and the first worker, which serves every queue, are always healed.
    pub(super) fn broken(&mut self) -> Vec<Broken> {
        if self.calm || self.from.chance(50) {
            return Vec::new();
        }
        let core = [self.server(), self.servers];
        let mut broken = Vec::new();
        for node in (0..self.nodes).filter(|node| !core.contains(node)) {
            if self.from.chance(40) {
                broken.push(match self.from.below(4) {
                    0 => Broken::Down(node),
                    1 => Broken::Frozen(node),
                    _ => Broken::Cut(node, self.way()),
                });
            }
        }
        broken
    }
}
