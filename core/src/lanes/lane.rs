//! One lane: what its transaction's answer means.

use super::{Burnt, Lane, Sent, Settled, State, Verdict};
use crate::ids::Revision;
use crate::planted::{planted, unless_planted};
use crate::record::{LaneRecord, Record, Totals, Version};
use crate::store::{Batch, Found, Guard, Refusal, TxnOutcome, Write};

/// What follows from an answer.
pub(super) enum Judgement<M> {
    Settled(Box<Settled<M>>),
    /// Send it again.
    Doubt(Box<Sent<M>>),
    /// Make sure that it never lands.
    Burn(Box<Burnt<M>>),
    Usurped,
}

impl<M> Lane<M> {
    /// Numbers a batch, and makes it guard and write this lane.
    pub(super) fn seal(&mut self, mut batch: Batch<M>, delta: &Totals) -> Sent<M> {
        assert!(
            matches!(self.state, State::Idle),
            "a lane has one transaction in flight"
        );
        let since = self.since.expect("a lane is adopted before it is used");
        self.number += 1;
        let mut record = LaneRecord {
            v: Version,
            number: self.number,
            totals: self.record.totals,
        };
        record.totals.add(delta);
        let write = Write::Put {
            key: self.key.clone(),
            value: record.encode(),
            lease: None,
        };
        let own = Guard::Unchanged {
            key: self.key.clone(),
            since,
        };
        let lane_guard = batch.seal(unless_planted!("P-lane-unchecked", own), write);
        if planted!("P-totals-kept-after-failure") {
            self.record.totals = record.totals;
        }
        Sent {
            batch,
            lane_guard,
            record,
            lost_answers: 0,
            burns: None,
        }
    }

    /// The lane was written at `at`: whatever guarded an older write of it can never land.
    pub(super) fn moved(&mut self, at: Revision, record: LaneRecord) {
        assert!(
            self.since.is_none_or(|since| since < at),
            "a lane moves forward"
        );
        self.since = Some(at);
        self.record = record;
    }

    pub(super) fn judge(&mut self, sent: Sent<M>, outcome: TxnOutcome) -> Judgement<M> {
        match outcome {
            TxnOutcome::Committed { at } => self.landed(at, sent),
            TxnOutcome::Unknown if planted!("M-09") && sent.burns.is_none() => {
                let at = self.since.expect("a lane in use was adopted").next();
                let metas = sent.batch.into_metas();
                Judgement::Settled(Box::new(Settled::Committed { at, metas }))
            }
            TxnOutcome::Conflict { at, failed } => {
                match failed.iter().find(|it| it.guard == sent.lane_guard) {
                    Some(lane) => self.overtaken(lane.found.as_ref(), sent),
                    None => Self::not_applied(sent, Verdict::Conflict { at, failed }),
                }
            }
            TxnOutcome::Refused(Refusal::Busy) | TxnOutcome::Unknown => {
                Judgement::Doubt(Box::new(sent))
            }
            TxnOutcome::Refused(reason) => Self::not_applied(sent, Verdict::Refused(reason)),
        }
    }

    pub(super) fn landed(&mut self, at: Revision, sent: Sent<M>) -> Judgement<M> {
        self.moved(at, sent.record);
        Judgement::Settled(Box::new(match sent.burns {
            None => Settled::Committed {
                at,
                metas: sent.batch.into_metas(),
            },
            Some(burnt) => burnt.batch.settle(burnt.verdict),
        }))
    }

    /// The lane had moved already: by an earlier copy of this transaction, or by the one that it was to burn.
    pub(super) fn overtaken(&mut self, found: Option<&Found>, mut sent: Sent<M>) -> Judgement<M> {
        let Some((at, record)) = found.and_then(Self::read) else {
            return Judgement::Usurped;
        };
        if sent.record == record && sent.burns.is_none() && planted!("M-08") {
            self.moved(at, record);
            let (lost, spared) = (Vec::new(), sent.batch.into_metas());
            return Judgement::Settled(Box::new(Settled::Conflict { at, lost, spared }));
        }
        if sent.record == record {
            return self.landed(at, sent);
        }
        match sent.burns.take().filter(|burnt| burnt.record == record) {
            Some(burnt) => {
                self.moved(at, record);
                Judgement::Settled(Box::new(Settled::Committed {
                    at,
                    metas: burnt.batch.into_metas(),
                }))
            }
            None => Judgement::Usurped,
        }
    }

    /// The store did not apply it now. That is final when nothing could ever apply another copy of it, which something
    /// between here and the store may have made, and when none can be under way.
    pub(super) fn not_applied(sent: Sent<M>, verdict: Verdict) -> Judgement<M> {
        if sent.burns.is_some() {
            return Judgement::Doubt(Box::new(sent));
        }
        let may_land = sent.lost_answers > 0 || verdict.may_turn(&sent.batch);
        if !may_land || planted!("P-late-original-spared") {
            return Judgement::Settled(Box::new(sent.batch.settle(verdict)));
        }
        Judgement::Burn(Box::new(Burnt {
            batch: sent.batch,
            record: sent.record,
            verdict,
        }))
    }

    pub(super) fn read(found: &Found) -> Option<(Revision, LaneRecord)> {
        Some((found.modified, LaneRecord::decode(&found.value).ok()?))
    }
}

impl Verdict {
    /// Whether the store, asked once more and later, might answer otherwise.
    fn may_turn<M>(&self, batch: &Batch<M>) -> bool {
        match self {
            Self::Conflict { failed, .. } => {
                let guards = batch.txn().guards();
                failed.iter().all(|it| {
                    let guard = guards.get(usize::from(it.guard.0));
                    guard.is_some_and(Guard::may_hold_again)
                })
            }
            Self::Refused(_) => false,
        }
    }
}

impl<M> Batch<M> {
    pub(super) fn settle(self, verdict: Verdict) -> Settled<M> {
        match verdict {
            Verdict::Refused(reason) => Settled::Refused {
                reason,
                metas: self.into_metas(),
            },
            Verdict::Conflict { at, failed } => {
                let (lost, spared) = self.part(&failed);
                Settled::Conflict { at, lost, spared }
            }
        }
    }
}
