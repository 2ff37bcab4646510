//! Claims as the view shows them: what appears is held, what is flagged stops, what is gone is let go.

use std::collections::BTreeSet;

use super::held::{End, Held, Phase};
use super::{Effect, Worker};
use crate::ids::{Fence, Revision};
use crate::keyspace::{Meaning, Place};
use crate::planted::planted;
use crate::record::{ClaimRecord, Outcome, Record, StopReason};
use crate::steps::Ending;
use crate::store::{Change, Item};
use crate::time::Now;
use crate::view::Fed;

impl Worker {
    pub(super) fn on_claims(&mut self, now: Now, fed: Fed, out: &mut Vec<Effect>) {
        match fed {
            Fed::Nothing | Fed::Lost => {}
            Fed::Restart(items) => {
                self.rereading = Some(BTreeSet::new());
                self.on_claims_read(now, items, out);
            }
            Fed::More(items) => self.on_claims_read(now, items, out),
            Fed::Changes(changes) => {
                for change in changes {
                    match change {
                        Change::Put(item) => self.on_claim(now, item, out),
                        Change::Delete { key, .. } => {
                            if let Meaning::Claim(_, place) = Meaning::of(&key) {
                                self.on_claim_gone(place, out);
                            }
                        }
                    }
                }
            }
        }
        if let Some(at) = self.claims_feed.at() {
            self.claims.forget_buried(at);
            self.freshness.reached(now.mono, at);
        }
        self.unpark();
        self.flush_soon(now.mono);
    }

    /// Takes a part of a full read. What no part has shown is gone.
    fn on_claims_read(&mut self, now: Now, items: Vec<Item>, out: &mut Vec<Effect>) {
        for item in items {
            if let (Meaning::Claim(_, place), Some(there)) =
                (Meaning::of(&item.key), &mut self.rereading)
            {
                there.insert(place);
            }
            self.on_claim(now, item, out);
        }
        if self.claims_feed.at().is_none() {
            return;
        }
        let there = self.rereading.take().unwrap_or_default();
        let gone: Vec<Place> = self
            .claims
            .places()
            .filter(|place| !there.contains(place))
            .collect();
        for place in gone {
            if planted!("P-vanished-claims-kept") {
                break;
            }
            self.on_claim_gone(place, out);
        }
    }

    /// A claim appeared or changed.
    pub(super) fn on_claim(&mut self, now: Now, item: Item, out: &mut Vec<Effect>) {
        let Meaning::Claim(_, place) = Meaning::of(&item.key) else {
            return;
        };
        let Ok(record) = ClaimRecord::decode(&item.found.value) else {
            return;
        };
        // A former life's claim is not inherited: it has no owner, and the schedulers take it back.
        if self.registration() != Some(record.registration)
            && !planted!("P-claim-of-former-life-inherited")
        {
            return;
        }
        let fence = Fence(item.found.created);
        if self.claims.is_buried(place, fence) {
            return;
        }
        match self.claims.get_mut(place) {
            Some(held) if held.fence == fence || planted!("P-new-claim-taken-for-old") => {
                if held.learn(item.found.modified, record.stop) {
                    self.on_stop_flag(now, place, out);
                }
            }
            Some(_) => {
                self.let_go(place, out);
                self.hold(now, place, fence, item.found.modified, record, out);
            }
            None => self.hold(now, place, fence, item.found.modified, record, out),
        }
    }

    pub(super) fn hold(
        &mut self,
        now: Now,
        place: Place,
        fence: Fence,
        since: Revision,
        mut record: ClaimRecord,
        out: &mut Vec<Effect>,
    ) {
        let flagged = record.stop.is_some();
        let phase = match &record.task {
            Some(carried) => Phase::Ready(Box::new(carried.whole(&record, place.priority))),
            None => Phase::Fresh,
        };
        // The claim is written again without what stands elsewhere.
        record.task = record.task.filter(|it| it.is_only_copy());
        let held = Held {
            fence,
            since,
            record: Box::new(record),
            seen: now.mono,
            phase,
            progress: None,
        };
        self.claims.insert(place, held);
        if flagged {
            self.on_stop_flag(now, place, out);
        } else if !self.duty.takes_tasks() || self.session.lease().is_none() {
            self.claims.set(place, Phase::Ended(End::HandBack));
        }
    }

    /// Somebody ordered that the attempt stops.
    pub(super) fn on_stop_flag(&mut self, now: Now, place: Place, out: &mut Vec<Effect>) {
        let Some(held) = self.claims.get(place) else {
            return;
        };
        let reason = held.record.stop.expect("the caller saw the flag");
        match held.phase {
            Phase::Running(run) => self.stop(run, reason, out),
            Phase::Fresh | Phase::Fetching | Phase::Ready(_) | Phase::Unreadable => {
                let end = match reason {
                    StopReason::Cancel => End::Final(Ending {
                        outcome: Outcome::Cancelled,
                        started_at: None,
                        ended_at: now.wall,
                    }),
                    StopReason::TimeOut | StopReason::Fenced | StopReason::Shutdown => {
                        End::HandBack
                    }
                };
                self.claims.set(place, Phase::Ended(end));
            }
            Phase::Ended(_) | Phase::Recording => {}
        }
    }

    /// The view does not show the claim any more.
    pub(super) fn on_claim_gone(&mut self, place: Place, out: &mut Vec<Effect>) {
        // What is being recorded is settled by the lane, which knows whether it was this worker that removed it.
        let recording = |held: &Held| matches!(held.phase, Phase::Recording);
        if !self.claims.get(place).is_some_and(recording) {
            self.let_go(place, out);
        }
    }

    /// The claim is not ours any more: its handler is stopped, and its end is nobody's business.
    pub(super) fn let_go(&mut self, place: Place, out: &mut Vec<Effect>) {
        let Some(held) = self.claims.remove(place) else {
            return;
        };
        match held.phase {
            Phase::Running(run) => self.stop(run, StopReason::Fenced, out),
            Phase::Ended(End::Final(_) | End::Failure(_)) => self.owed.refused_stale += 1,
            Phase::Ended(End::HandBack)
            | Phase::Fresh
            | Phase::Fetching
            | Phase::Ready(_)
            | Phase::Unreadable
            | Phase::Recording => {}
        }
    }

    pub(super) fn unpark(&mut self) {
        let Some(at) = self.claims_feed.at() else {
            return;
        };
        let (ripe, unripe) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|(revision, _)| *revision <= at);
        self.parked = unripe;
        for (_, place) in ripe {
            if let Some(held) = self.claims.get(place)
                && let Phase::Ended(_) = held.phase
            {
                self.claims.ended.insert(place);
            }
        }
    }
}
