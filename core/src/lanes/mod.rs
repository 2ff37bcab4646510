//! Lanes: how a process makes each of its transactions happen at most once, and learns the fate of each.
//!
//! A lane is a key that only its process writes. Every transaction guards its lane `Unchanged` and writes it, with a
//! number of its own, and a lane has at most one transaction in flight. So a late original dies once the lane has moved;
//! and when an answer is lost, sending the same transaction again finds either that it can still be applied, or the
//! number of what was.

mod lane;

use std::collections::BTreeMap;
use std::time::Duration;

use self::lane::Judgement;
use crate::ids::{NodeId, OpId, OpIds, Revision};
use crate::keyspace::{Key, LaneName};
use crate::planted::{planted, unless_planted};
use crate::record::{LaneRecord, Record, Totals};
use crate::retry::call_backoff;
use crate::rng::Rng;
use crate::store::{
    Batch, Call, Disproved, Failed, Guard, GuardIx, Item, OPS_MAX, Refusal, Step, StoreCall,
    TxnOutcome, Write,
};
use crate::time::Mono;
use crate::timers::Timers;

/// The first and the longest wait before a transaction of unknown fate is sent again.
const RESEND_MIN: Duration = Duration::from_millis(20);
const RESEND_MAX: Duration = Duration::from_secs(2);

/// How long a transaction that is not full waits at most for one that is under way: longer than a busy store takes to
/// answer, and too short for anybody to notice when the answer is lost.
const GATHER_MAX: Duration = Duration::from_millis(25);

/// How many steps fill a transaction, mostly: two writes each, and that of the lane.
pub(crate) const STEPS_MOSTLY: usize = (OPS_MAX - 1) / 2;

/// How far the numbers of one life lie from those of the next: farther than any life goes without moving its lane, so
/// that what one life wrote is never taken for what another sent.
const LIFE_STRIDE: u64 = 1 << 32;

/// A part's lanes: a letter and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneSpec {
    /// The letter in the lanes' names.
    pub part: char,
    /// How many transactions the part may have in flight.
    pub count: u8,
}

/// Names one of a process's lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneIx(usize);

/// What became of a batch, for certain.
#[derive(Debug)]
pub enum Settled<M> {
    /// Applied, at this revision.
    Committed {
        /// The revision of its writes.
        at: Revision,
        /// Its steps.
        metas: Vec<M>,
    },
    /// Not applied, for certain: no copy of it is under way any more.
    Conflict {
        /// Decide again only on a view that has reached this.
        at: Revision,
        /// The steps whose own guards failed.
        lost: Vec<Disproved<M>>,
        /// The others.
        spared: Vec<M>,
    },
    /// Not applied, for certain.
    Refused {
        /// Why.
        reason: Refusal,
        /// Its steps.
        metas: Vec<M>,
    },
}

impl<M> Settled<M> {
    /// The same fate, with other memories.
    pub fn map<N>(self, rename: impl Fn(M) -> N) -> Settled<N> {
        let all = |metas: Vec<M>| metas.into_iter().map(&rename).collect();
        match self {
            Self::Committed { at, metas } => Settled::Committed {
                at,
                metas: all(metas),
            },
            Self::Refused { reason, metas } => Settled::Refused {
                reason,
                metas: all(metas),
            },
            Self::Conflict { at, lost, spared } => {
                let lost = lost.into_iter().map(|it| Disproved {
                    meta: rename(it.meta),
                    found: it.found,
                });
                Settled::Conflict {
                    at,
                    lost: lost.collect(),
                    spared: all(spared),
                }
            }
        }
    }
}

/// What an answer taught.
#[derive(Debug)]
pub struct LaneNews<M> {
    /// Batches whose fate is known now.
    pub settled: Vec<Settled<M>>,
    /// The lane was written by another life of this node: this one must end.
    pub usurped: bool,
}

impl<M> Default for LaneNews<M> {
    fn default() -> Self {
        Self {
            settled: Vec::new(),
            usurped: false,
        }
    }
}

/// All lanes of a process.
#[derive(Debug)]
pub struct Lanes<M> {
    lanes: Vec<Lane<M>>,
    by_op: BTreeMap<OpId, LaneIx>,
    timers: Timers<LaneIx>,
    answer_max: Duration,
    rng: Rng,
}

#[derive(Debug)]
struct Lane<M> {
    part: char,
    key: Key,
    /// The revision of the lane's last known write; `None` before the lane was adopted.
    since: Option<Revision>,
    /// The last known record.
    record: LaneRecord,
    /// The last number used.
    number: u64,
    state: State<M>,
}

#[derive(Debug)]
enum State<M> {
    Idle,
    /// Waits for the answer to `op`.
    InFlight {
        op: OpId,
        since: Mono,
        sent: Sent<M>,
    },
    /// Its fate is unknown; it is sent again when the timer fires.
    Doubt(Sent<M>),
}

#[derive(Debug)]
struct Sent<M> {
    batch: Batch<M>,
    lane_guard: GuardIx,
    /// What the lane holds once this is applied.
    record: LaneRecord,
    /// How many answers were lost.
    lost_answers: u32,
    /// The batch that this empty one is to make impossible.
    burns: Option<Box<Burnt<M>>>,
}

/// A batch that the store did not apply when asked last, though an earlier copy may still be under way.
#[derive(Debug)]
struct Burnt<M> {
    batch: Batch<M>,
    record: LaneRecord,
    verdict: Verdict,
}

#[derive(Debug)]
enum Verdict {
    Conflict { at: Revision, failed: Vec<Failed> },
    Refused(Refusal),
}

impl<M> Lanes<M> {
    /// The lanes of `node`. An answer that takes longer than `answer_max` counts as lost.
    pub fn new(node: &NodeId, specs: &[LaneSpec], answer_max: Duration, rng: Rng) -> Self {
        let lanes = specs.iter().flat_map(|spec| {
            (0..spec.count).map(|index| Lane {
                part: spec.part,
                key: Key::lane(
                    node,
                    LaneName {
                        part: spec.part,
                        index,
                    },
                ),
                since: None,
                record: LaneRecord::default(),
                number: 0,
                state: State::Idle,
            })
        });
        Self {
            lanes: lanes.collect(),
            by_op: BTreeMap::new(),
            timers: Timers::default(),
            answer_max,
            rng,
        }
    }

    /// The lanes' keys.
    pub fn keys(&self) -> Vec<Key> {
        self.lanes.iter().map(|lane| lane.key.clone()).collect()
    }

    /// What a new life must commit before it uses its lanes, given what they hold: it kills the late transactions of the
    /// life before, and keeps their totals.
    pub fn adopt(&mut self, found: &[Item]) -> Step {
        let mut step = Step::default();
        for lane in &mut self.lanes {
            let old = found.iter().find(|item| item.key == lane.key);
            lane.record = old
                .and_then(|item| LaneRecord::decode(&item.found.value).ok())
                .unwrap_or_default();
            lane.record.number += if planted!("P-life-stride-missing") {
                1
            } else {
                LIFE_STRIDE
            };
            lane.number = lane.record.number;
            let key = lane.key.clone();
            let own = match old {
                Some(item) => Guard::Unchanged {
                    key: key.clone(),
                    since: item.found.modified,
                },
                None => Guard::Absent(key.clone()),
            };
            step.guards
                .push(unless_planted!("P-adopt-lanes-unguarded", own));
            step.writes.push(Write::Put {
                key,
                value: lane.record.encode(),
                lease: None,
            });
        }
        step
    }

    /// The adoption was committed at `at`, with these records in the lanes.
    pub fn adopted(&mut self, at: Revision) {
        for lane in &mut self.lanes {
            lane.since = Some(at);
        }
    }

    /// The adoption turned out to be committed: takes the lanes as they were found.
    pub fn recognise(&mut self, found: &[Item]) {
        for lane in &mut self.lanes {
            if let Some(item) = found.iter().find(|item| item.key == lane.key) {
                lane.record = LaneRecord::decode(&item.found.value).unwrap_or_default();
                lane.number = lane.number.max(lane.record.number);
                lane.since = Some(item.found.modified);
            }
        }
    }

    /// A lane of `part` that is free to take a batch.
    pub fn idle(&self, part: char) -> Option<LaneIx> {
        let free = |lane: &Lane<M>| {
            lane.part == part && lane.since.is_some() && matches!(lane.state, State::Idle)
        };
        self.lanes.iter().position(free).map(LaneIx)
    }

    /// Whether nothing is in flight or in doubt.
    pub fn is_quiet(&self) -> bool {
        self.lanes
            .iter()
            .all(|lane| matches!(lane.state, State::Idle))
    }

    /// Whether nothing of `part` is in flight or in doubt.
    pub fn is_quiet_in(&self, part: char) -> bool {
        let mut own = self.lanes.iter().filter(|lane| lane.part == part);
        own.all(|lane| matches!(lane.state, State::Idle))
    }

    /// The totals that are known to be committed.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for lane in &self.lanes {
            sum.add(&lane.record.totals);
        }
        sum
    }

    /// Until when a transaction of `part` that is not full had better wait for more: one is under way, whose answer comes
    /// soon, and what gathers until then costs the store one transaction instead of several. `None`: it goes at once.
    pub fn gathers_until(&self, part: char, now: Mono) -> Option<Mono> {
        let own = self.lanes.iter().filter(|lane| lane.part == part);
        let since = own.filter_map(|lane| match lane.state {
            State::InFlight { since, .. } => Some(since),
            State::Idle | State::Doubt(_) => None,
        });
        let until = since.max()?.after(GATHER_MAX);
        (until > now).then_some(until)
    }

    /// Sends `batch` on an idle lane; it counts `delta`.
    pub fn send<E: From<StoreCall>>(
        &mut self,
        now: Mono,
        ix: LaneIx,
        batch: Batch<M>,
        delta: &Totals,
        ops: &mut OpIds,
        out: &mut Vec<E>,
    ) {
        let sent = self.lanes[ix.0].seal(batch, delta);
        self.transmit(now, ix, sent, ops, out);
    }

    fn transmit<E: From<StoreCall>>(
        &mut self,
        now: Mono,
        ix: LaneIx,
        sent: Sent<M>,
        ops: &mut OpIds,
        out: &mut Vec<E>,
    ) {
        let op = ops.fresh();
        out.push(
            StoreCall {
                op,
                call: Call::Commit(sent.batch.txn().clone()),
            }
            .into(),
        );
        self.by_op.insert(op, ix);
        self.timers.arm(now, ix, now.after(self.answer_max));
        self.lanes[ix.0].state = State::InFlight {
            op,
            since: now,
            sent,
        };
    }

    /// When [`Lanes::on_time`] must be called.
    pub fn deadline(&self) -> Option<Mono> {
        self.timers.earliest().map(|(at, _)| at)
    }

    /// Counts answers that are overdue as lost, and sends again what is in doubt.
    pub fn on_time<E: From<StoreCall>>(&mut self, now: Mono, ops: &mut OpIds, out: &mut Vec<E>) {
        while let Some(ix) = self.timers.pop_due(now) {
            match std::mem::replace(&mut self.lanes[ix.0].state, State::Idle) {
                State::Idle => {}
                State::InFlight { op, sent, .. } => {
                    self.by_op.remove(&op);
                    self.doubt(now, ix, sent);
                }
                State::Doubt(sent) => self.transmit(now, ix, sent, ops, out),
            }
        }
    }

    fn doubt(&mut self, now: Mono, ix: LaneIx, mut sent: Sent<M>) {
        let wait = call_backoff(RESEND_MIN, RESEND_MAX, sent.lost_answers, &mut self.rng);
        sent.lost_answers = sent.lost_answers.saturating_add(1);
        self.timers.arm(now, ix, now.after(wait));
        self.lanes[ix.0].state = State::Doubt(sent);
    }

    /// Takes the answer to `op`. Answers to operations that are not in flight (late, duplicate, not ours) teach nothing.
    pub fn on_answer<E: From<StoreCall>>(
        &mut self,
        now: Mono,
        op: OpId,
        outcome: TxnOutcome,
        ops: &mut OpIds,
        out: &mut Vec<E>,
    ) -> LaneNews<M> {
        let Some(ix) = self.by_op.remove(&op) else {
            return LaneNews::default();
        };
        let lane = &mut self.lanes[ix.0];
        let State::InFlight { sent, .. } = std::mem::replace(&mut lane.state, State::Idle) else {
            unreachable!("an operation in flight belongs to a lane in flight")
        };
        self.timers.disarm(ix);
        match lane.judge(sent, outcome) {
            Judgement::Settled(settled) => LaneNews {
                settled: vec![*settled],
                usurped: false,
            },
            Judgement::Usurped => LaneNews {
                settled: Vec::new(),
                usurped: true,
            },
            Judgement::Doubt(sent) => {
                self.doubt(now, ix, *sent);
                LaneNews::default()
            }
            Judgement::Burn(burnt) => {
                let mut barrier = lane.seal(Batch::default(), &Totals::default());
                barrier.burns = Some(burnt);
                self.transmit(now, ix, barrier, ops, out);
                LaneNews::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Found, Value};

    type Out = Vec<StoreCall>;

    struct Rig {
        lanes: Lanes<u32>,
        ops: OpIds,
        out: Out,
        now: Mono,
    }

    impl Rig {
        fn new() -> Self {
            let node: NodeId = "n".parse().unwrap();
            let spec = LaneSpec {
                part: 'w',
                count: 1,
            };
            let mut lanes = Lanes::new(&node, &[spec], Duration::from_secs(5), Rng::new(1));
            let step = lanes.adopt(&[]);
            assert_eq!(step.writes.len(), 1);
            lanes.adopted(Revision(10));
            Self {
                lanes,
                ops: OpIds::default(),
                out: Vec::new(),
                now: Mono::from_nanos(1),
            }
        }

        fn send(&mut self, meta: u32) {
            self.send_guarded(meta, Guard::Absent);
        }

        fn send_guarded(&mut self, meta: u32, guard: impl FnOnce(Key) -> Guard) {
            let key = Key::from_store(format!("/k/{meta}"));
            let mut batch = Batch::default();
            let write = Write::Put {
                key: key.clone(),
                value: Value::default(),
                lease: None,
            };
            batch
                .push(meta, Step::new(vec![guard(key)], vec![write]))
                .unwrap();
            let ix = self.lanes.idle('w').expect("the lane is idle");
            self.lanes.send(
                self.now,
                ix,
                batch,
                &Totals {
                    completed: 1,
                    ..Totals::default()
                },
                &mut self.ops,
                &mut self.out,
            );
        }

        fn sent(&mut self) -> (OpId, crate::store::Txn) {
            let StoreCall {
                op,
                call: Call::Commit(txn),
            } = self.out.pop().expect("something was sent")
            else {
                panic!("not a commit")
            };
            assert!(self.out.is_empty());
            (op, txn)
        }

        fn answer(&mut self, op: OpId, outcome: TxnOutcome) -> LaneNews<u32> {
            self.lanes
                .on_answer(self.now, op, outcome, &mut self.ops, &mut self.out)
        }

        fn wait(&mut self) {
            self.now = self.lanes.deadline().expect("something is in doubt");
            self.lanes.on_time(self.now, &mut self.ops, &mut self.out);
        }
    }

    /// What the lane's own write stores.
    fn lane_value(txn: &crate::store::Txn) -> Value {
        let Write::Put { value, .. } = txn.writes().last().unwrap() else {
            panic!("the lane is written last")
        };
        value.clone()
    }

    fn lane_conflict(txn: &crate::store::Txn, holds: Value, at: u64) -> TxnOutcome {
        let guard = GuardIx(txn.guards().len() as u16 - 1);
        let found = Some(Found {
            created: Revision(1),
            modified: Revision(at),
            value: holds,
        });
        TxnOutcome::Conflict {
            at: Revision(at + 5),
            failed: vec![Failed { guard, found }],
        }
    }

    fn own_conflict() -> TxnOutcome {
        TxnOutcome::Conflict {
            at: Revision(20),
            failed: vec![Failed {
                guard: GuardIx(0),
                found: None,
            }],
        }
    }

    #[test]
    fn a_commit_settles_the_batch_and_counts() {
        let mut rig = Rig::new();
        rig.send(7);
        assert!(rig.lanes.idle('w').is_none());
        let (op, _) = rig.sent();
        let news = rig.answer(op, TxnOutcome::Committed { at: Revision(11) });
        assert!(
            matches!(&news.settled[..], [Settled::Committed { at: Revision(11), metas }] if *metas == [7])
        );
        assert_eq!(rig.lanes.totals().completed, 1);
        assert!(
            rig.answer(op, TxnOutcome::Unknown).settled.is_empty(),
            "a duplicate answer teaches nothing"
        );
    }

    #[test]
    fn after_a_lost_answer_the_same_transaction_finds_that_it_had_landed() {
        let mut rig = Rig::new();
        rig.send(7);
        let (op, first) = rig.sent();
        assert!(rig.answer(op, TxnOutcome::Unknown).settled.is_empty());
        rig.wait();
        let (op, again) = rig.sent();
        assert_eq!(first, again);
        let news = rig.answer(op, lane_conflict(&again, lane_value(&first), 15));
        assert!(
            matches!(&news.settled[..], [Settled::Committed { at: Revision(15), metas }] if *metas == [7])
        );
        assert_eq!(rig.lanes.totals().completed, 1, "counted once");
    }

    #[test]
    fn an_overdue_answer_counts_as_lost_and_a_late_one_as_nothing() {
        let mut rig = Rig::new();
        rig.send(7);
        let (late, _) = rig.sent();
        rig.wait();
        rig.wait();
        let (op, _) = rig.sent();
        assert!(
            rig.answer(late, TxnOutcome::Committed { at: Revision(11) })
                .settled
                .is_empty()
        );
        let news = rig.answer(op, TxnOutcome::Committed { at: Revision(12) });
        assert!(matches!(
            news.settled[..],
            [Settled::Committed {
                at: Revision(12),
                ..
            }]
        ));
    }

    #[test]
    fn a_conflict_after_a_lost_answer_is_certain_only_once_the_lane_has_moved() {
        let mut rig = Rig::new();
        rig.send(7);
        let (op, _) = rig.sent();
        rig.answer(op, TxnOutcome::Unknown);
        rig.wait();
        let (op, _) = rig.sent();
        assert!(
            rig.answer(op, own_conflict()).settled.is_empty(),
            "the first copy may still land"
        );
        let (op, barrier) = rig.sent();
        assert_eq!(
            (barrier.guards().len(), barrier.writes().len()),
            (1, 1),
            "nothing but the lane"
        );
        let news = rig.answer(op, TxnOutcome::Committed { at: Revision(21) });
        assert!(
            matches!(&news.settled[..], [Settled::Conflict { at: Revision(20), lost, .. }] if lost[0].meta == 7)
        );
        assert_eq!(rig.lanes.totals().completed, 0);
    }

    /// A proxy that repeats requests answers once, and may still deliver the other copy.
    #[test]
    fn a_conflict_with_what_may_vanish_is_certain_only_once_the_lane_has_moved() {
        let mut rig = Rig::new();
        rig.send(7);
        let (op, _) = rig.sent();
        assert!(
            rig.answer(op, own_conflict()).settled.is_empty(),
            "another copy may land when the key is gone"
        );
        let (op, _) = rig.sent();
        let news = rig.answer(op, TxnOutcome::Committed { at: Revision(21) });
        assert!(matches!(&news.settled[..], [Settled::Conflict { .. }]));
    }

    #[test]
    fn a_conflict_with_a_revision_that_never_comes_back_is_certain_at_once() {
        let mut rig = Rig::new();
        let since = Revision(3);
        rig.send_guarded(7, |key| Guard::Unchanged { key, since });
        let (op, _) = rig.sent();
        let news = rig.answer(op, own_conflict());
        assert!(matches!(&news.settled[..], [Settled::Conflict { .. }]));
        assert!(rig.out.is_empty());
    }

    #[test]
    fn a_late_original_that_beats_the_barrier_is_found_by_its_number() {
        let mut rig = Rig::new();
        rig.send(7);
        let (op, original) = rig.sent();
        rig.answer(op, TxnOutcome::Unknown);
        rig.wait();
        let (op, _) = rig.sent();
        rig.answer(op, own_conflict());
        let (op, barrier) = rig.sent();
        let news = rig.answer(op, lane_conflict(&barrier, lane_value(&original), 22));
        assert!(
            matches!(&news.settled[..], [Settled::Committed { at: Revision(22), metas }] if *metas == [7])
        );
        rig.send(8);
        let (_, next) = rig.sent();
        assert!(next.guards().contains(&Guard::Unchanged {
            key: rig.lanes.keys()[0].clone(),
            since: Revision(22)
        }));
    }

    #[test]
    fn a_lane_that_somebody_else_wrote_ends_this_life() {
        let mut rig = Rig::new();
        rig.send(7);
        let (op, txn) = rig.sent();
        let other = LaneRecord {
            number: 99,
            ..LaneRecord::default()
        }
        .encode();
        assert!(rig.answer(op, lane_conflict(&txn, other, 15)).usurped);
    }

    #[test]
    fn a_refusal_is_final_only_if_no_answer_was_lost() {
        let mut rig = Rig::new();
        rig.send(7);
        let (op, _) = rig.sent();
        assert!(matches!(
            rig.answer(op, TxnOutcome::Refused(Refusal::TooLarge))
                .settled[..],
            [Settled::Refused { .. }]
        ));
        rig.send(8);
        let (op, _) = rig.sent();
        rig.answer(op, TxnOutcome::Unknown);
        rig.wait();
        let (op, _) = rig.sent();
        assert!(
            rig.answer(op, TxnOutcome::Refused(Refusal::TooLarge))
                .settled
                .is_empty()
        );
        let (op, _) = rig.sent();
        assert!(matches!(
            rig.answer(op, TxnOutcome::Committed { at: Revision(12) })
                .settled[..],
            [Settled::Refused { .. }]
        ));
    }

    #[test]
    fn a_new_lifes_adoption_is_not_taken_for_what_the_old_one_had_in_flight() {
        let mut old = Rig::new();
        let ix = old.lanes.idle('w').expect("the lane is idle");
        let mut batch = Batch::default();
        batch.push(7, Step::default()).unwrap();
        let nothing = Totals::default();
        old.lanes
            .send(old.now, ix, batch, &nothing, &mut old.ops, &mut old.out);
        let (op, txn) = old.sent();
        let before = old.lanes.lanes[0].record.clone();
        let key = old.lanes.keys()[0].clone();
        let item = Item::new(key, Revision(10), Revision(10), before.encode());
        let step = Rig::new().lanes.adopt(&[item]);
        let [Write::Put { value, .. }] = &step.writes[..] else {
            panic!("one lane is adopted")
        };
        assert!(
            old.answer(op, lane_conflict(&txn, value.clone(), 15))
                .usurped
        );
    }

    #[test]
    fn a_new_life_keeps_the_totals_and_kills_what_is_under_way() {
        let node: NodeId = "n".parse().unwrap();
        let mut lanes: Lanes<u32> = Lanes::new(
            &node,
            &[LaneSpec {
                part: 'w',
                count: 1,
            }],
            Duration::from_secs(5),
            Rng::new(1),
        );
        let old = LaneRecord {
            number: 4,
            totals: Totals {
                completed: 9,
                ..Totals::default()
            },
            ..LaneRecord::default()
        };
        let key = lanes.keys()[0].clone();
        let item = Item::new(key.clone(), Revision(2), Revision(6), old.encode());
        let step = lanes.adopt(std::slice::from_ref(&item));
        assert_eq!(
            step.guards,
            [Guard::Unchanged {
                key,
                since: Revision(6)
            }]
        );
        assert_eq!(lanes.totals().completed, 9);
        assert!(lanes.idle('w').is_none(), "not used before it is adopted");
    }
}
