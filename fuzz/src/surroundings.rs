//! What may happen to any machine: answers in any order, lost, late and doubled, news that break, leases that end,
//! records that nobody of its kind wrote, and clocks that leap.

use std::fmt::Debug;
use std::time::Duration;

use windlass_sim::core::ids::{LeaseId, OpId, Revision};
use windlass_sim::core::keyspace::{Key, Meaning, Range};
use windlass_sim::core::store::{
    Answer, AuditAnswer, Call, Change, LeaseAnswer, ReadAnswer, Refusal, TxnOutcome, Usage,
    ViewEvent, Write,
};
use windlass_sim::core::time::Wall;

use crate::choices::Choices;
use crate::rig::{Rig, Subject};
use crate::samples;

/// Operations that a machine never begins in so short a life.
const STRANGE: u64 = 1_000_000;

/// More tells nothing new, and takes long.
const STEPS_MAX: usize = 200;

impl<M: Subject> Rig<M>
where
    M::Input: Clone + Debug,
    M::Effect: Clone + Debug + PartialEq,
{
    /// Lets things happen until the bytes run out: half of it what only this kind of machine meets, by `own`.
    pub(crate) fn meet_all(
        &mut self,
        c: &mut Choices<'_>,
        mut own: impl FnMut(&mut Self, &mut Choices<'_>),
    ) {
        for _ in 0..STEPS_MAX {
            if c.is_empty() {
                return;
            }
            match c.byte() {
                kind @ 0..=127 => self.meet(kind % 32, c),
                128..=255 => own(self, c),
            }
        }
    }

    fn meet(&mut self, kind: u8, c: &mut Choices<'_>) {
        match kind {
            0..=5 => self.wake(Duration::from_millis(1), 20),
            6..=10 => {
                self.arrive_all();
                self.deliver_all();
            }
            11 | 12 => {
                if let Some(ix) = c.index(self.requests.len()) {
                    self.arrive(ix);
                }
            }
            13 | 14 => {
                if let Some(ix) = c.index(self.answers.len()) {
                    self.deliver(ix);
                }
            }
            15 => self.give_up(c, false),
            16 => self.give_up(c, true),
            17 => self.lose_answer(c),
            18 => {
                let op = OpId(STRANGE + u64::from(c.byte()));
                let answer = stray(c);
                self.give(M::store(op, answer));
            }
            19 => self.break_news(c),
            20..=22 => self.pass(Duration::from_millis(u64::from(c.wide()) / 16)),
            23 => self.pass(Duration::from_millis(u64::from(c.wide()) * 6)),
            24 => self.jump(c),
            25 => self.change_leader(),
            26 => {
                let lease = LeaseId(1 + i64::from(c.byte() % 4));
                self.others(Call::Revoke { lease });
            }
            27 => {
                if let Some(ix) = c.index(self.requests.len()) {
                    self.arrive_copy(ix);
                }
            }
            28 | 29 => {
                let key = samples::key(c);
                let value = samples::value(&Meaning::of(&key), c);
                self.put(key, value);
            }
            30 => self.spoil(c),
            _ => {
                let at = self.kv.revision();
                self.others(Call::Compact { at });
            }
        }
    }

    /// A call's fate becomes unknown; it never arrives, or perhaps it does.
    fn give_up(&mut self, c: &mut Choices<'_>, is_lost: bool) {
        let Some(ix) = c.index(self.requests.len()) else {
            return;
        };
        let call = self.requests[ix].clone();
        if is_lost {
            self.requests.remove(ix);
        }
        if let Some(lost) = call.call.lost() {
            self.give(M::store(call.op, lost));
        }
    }

    /// An answer, and with it its watch, is lost.
    fn lose_answer(&mut self, c: &mut Choices<'_>) {
        let Some(ix) = c.index(self.answers.len()) else {
            return;
        };
        let (op, answer) = self.answers.remove(ix);
        let lost = match answer {
            Answer::Txn(_) => Answer::Txn(TxnOutcome::Unknown),
            Answer::Read(_) => Answer::Read(ReadAnswer::Failed),
            Answer::Audited(_) => Answer::Audited(AuditAnswer::Failed),
            Answer::Lease(_) => Answer::Lease(LeaseAnswer::Unknown),
            Answer::Compacted(_) => Answer::Compacted(false),
            Answer::Usage(_) => Answer::Usage(None),
            Answer::View(_) => {
                self.answers.retain(|(other, _)| *other != op);
                Answer::View(ViewEvent::Lost)
            }
        };
        self.give(M::store(op, lost));
    }

    /// A watch says something that does not follow, or breaks.
    fn break_news(&mut self, c: &mut Choices<'_>) {
        let Some(op) = c.pick(&self.watches).copied() else {
            return;
        };
        let far = Revision(self.kv.revision().0 + 50);
        let event = match c.below(4) {
            0 => ViewEvent::Lost,
            // Something was left out.
            1 => ViewEvent::Delta {
                after: far,
                at: far,
                changes: Vec::new(),
            },
            // Something comes again.
            2 => ViewEvent::Delta {
                after: Revision(0),
                at: Revision(1),
                changes: vec![Change::Delete {
                    key: samples::key(c),
                    at: Revision(1),
                }],
            },
            // A member that lags.
            _ => ViewEvent::Reset {
                at: Revision(1),
                items: Vec::new(),
                more: c.one_in(2),
            },
        };
        self.give(M::store(op, Answer::View(event)));
    }

    /// The wall clock jumps either way.
    fn jump(&mut self, c: &mut Choices<'_>) {
        let millis = self.now.wall.as_millis();
        let by = u64::from(c.wide()) * 1_000;
        self.now.wall = match c.below(3) {
            0 => Wall::from_millis(millis.saturating_sub(by)),
            1 => Wall::from_millis(millis.saturating_add(by)),
            _ => samples::EPOCH,
        };
        self.give(M::elapsed());
    }

    /// Something that is there is taken away or written anew.
    fn spoil(&mut self, c: &mut Choices<'_>) {
        let everything = Range::new(Key::from_store("/"), Key::from_store("0"));
        let keys: Vec<Key> = self
            .items(&everything)
            .into_iter()
            .map(|it| it.key)
            .collect();
        let Some(key) = c.pick(&keys).cloned() else {
            return;
        };
        if c.one_in(2) {
            self.write(vec![Write::Delete { key }]);
        } else {
            let value = samples::value(&Meaning::of(&key), c);
            self.put(key, value);
        }
    }
}

/// A store that hardly takes anything any more.
const NEARLY_FULL: Usage = Usage {
    used: 99,
    size: 100,
    quota: Some(100),
    full: false,
};

/// An answer that belongs to nothing that is waited for.
fn stray(c: &mut Choices<'_>) -> Answer {
    let at = Revision(u64::from(c.byte()));
    match c.below(10) {
        0 => Answer::Txn(TxnOutcome::Committed { at }),
        1 => Answer::Txn(TxnOutcome::Conflict {
            at,
            failed: Vec::new(),
        }),
        2 => Answer::Txn(TxnOutcome::Refused(Refusal::TooLarge)),
        3 => Answer::Txn(TxnOutcome::Unknown),
        4 => Answer::Read(ReadAnswer::Failed),
        5 => Answer::Lease(LeaseAnswer::Gone),
        6 => Answer::Lease(LeaseAnswer::Live {
            lease: LeaseId(1),
            ttl: Duration::from_secs(9),
        }),
        7 => Answer::Compacted(true),
        8 => Answer::Usage(Some(NEARLY_FULL)),
        _ => Answer::View(ViewEvent::Lost),
    }
}
