//! What breaks.

use windlass_core::time::Millis;

use super::super::{Broken, Timed};
use super::Draw;
use crate::nemesis::{Fault, Way};

/// How many different planned faults there are to choose from.
const FAULTS: u64 = 19;

impl Draw<'_, '_> {
    pub(super) fn faults(&mut self) -> Vec<Timed<Fault>> {
        if self.calm {
            return Vec::new();
        }
        let rare = self.from.below(4);
        let kinds: Vec<u64> = (0..FAULTS)
            .filter(|_| self.from.chance(25 + 10 * rare))
            .collect();
        if kinds.is_empty() {
            return Vec::new();
        }
        let count = self.from.below(30);
        let mut faults: Vec<_> = (0..count)
            .map(|_| {
                let kind = self.from.one_of(&kinds);
                Timed {
                    at: self.moment(),
                    what: self.fault(kind),
                }
            })
            .collect();
        faults.sort_by_key(|fault| fault.at);
        faults
    }

    fn fault(&mut self, kind: u64) -> Fault {
        let node = self.node();
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
            _ => Fault::Upgrade { lasts },
        }
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
