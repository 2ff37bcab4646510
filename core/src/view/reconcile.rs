//! Does the view hold what the store holds? A watch is trusted to tell everything, and stores have lost events without a
//! word: a put, which makes a task wait for nobody, or a delete, which leaves a ghost. Every now and then the store is
//! asked for the digest of the range, and it is compared with the view's own at the very same revision. What differs is
//! read anew, as after a loss that was told.
//!
//! An audit that fails, or whose revision the view can tell nothing about, is made again the next time.

use std::time::Duration;

use super::feed::{Fed, Feed};
use super::known::Known;
use crate::ids::{OpId, OpIds, Revision};
use crate::keyspace::Range;
use crate::planted::planted;
use crate::rng::Rng;
use crate::store::{AuditAnswer, Call, Digest, StoreCall, ViewEvent};
use crate::time::Mono;

/// How long a view is trusted at most: a lost event is noticed within this and the time of one audit. Up to a quarter is
/// taken off by chance, so that processes which began together do not ask together.
pub const RECONCILE_EVERY: Duration = Duration::from_secs(30);

/// How many keys a second a store is made to look at, on average: a larger view is compared less often.
const KEYS_A_SECOND: u64 = 20_000;

/// How long an audit may take, the wait for the view to reach its revision included.
pub const AUDIT_MAX: Duration = Duration::from_secs(60);

/// Compares a view with its store, again and again while the view has no gap.
#[derive(Debug)]
pub struct Reconcile {
    rng: Rng,
    /// When to ask next, or to give up waiting; `None` while the view has a gap.
    wake: Option<Mono>,
    asked: Option<Asked>,
    repaired: u64,
}

#[derive(Debug)]
struct Asked {
    op: OpId,
    /// What the store said.
    told: Option<(Revision, Digest)>,
}

impl Reconcile {
    /// Nothing is compared before the view has been read.
    pub fn new(rng: Rng) -> Self {
        Self {
            rng,
            wake: None,
            asked: None,
            repaired: 0,
        }
    }

    /// How often the view was found to differ from the store, and was read anew.
    pub fn repaired(&self) -> u64 {
        self.repaired
    }

    /// When [`Reconcile::on_time`] must be called.
    pub fn deadline(&self) -> Option<Mono> {
        self.wake
    }

    /// Asks the store when that is due, or gives up an audit that takes too long.
    pub fn on_time<E: From<StoreCall>>(
        &mut self,
        now: Mono,
        feed: &Feed,
        known: &mut Known,
        ops: &mut OpIds,
        out: &mut Vec<E>,
    ) {
        if self.wake.is_none_or(|at| at > now) {
            return;
        }
        let Some(at) = feed.at().filter(|_| self.asked.is_none()) else {
            return self.rest(now, known);
        };
        if planted!("P-reconcile-never") {
            return self.rest(now, known);
        }
        let op = ops.fresh();
        self.asked = Some(Asked { op, told: None });
        self.wake = Some(now.after(AUDIT_MAX));
        known.begin_trail(at);
        let call = Call::Audit(feed.range().clone());
        out.push(StoreCall { op, call }.into());
    }

    /// Takes an answer, if it is to its question. [`Reconcile::judge`] must follow.
    pub fn on_answer(&mut self, now: Mono, op: OpId, answer: &AuditAnswer, known: &mut Known) {
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.op == op) else {
            return;
        };
        match answer {
            AuditAnswer::Held { at, digest } => asked.told = Some((*at, *digest)),
            AuditAnswer::Failed => self.rest(now, known),
        }
    }

    /// Compares as soon as that is possible; to be called after every answer, and after every piece of news that the view
    /// has taken. A view that differs has a gap from then on.
    pub fn judge(&mut self, now: Mono, feed: &mut Feed, known: &mut Known) {
        let Some(reached) = feed.at() else {
            (self.wake, self.asked) = (None, None);
            return known.end_trail();
        };
        if self.wake.is_none() {
            self.rest(now, known);
        }
        let Some((at, told)) = self.asked.as_ref().and_then(|asked| asked.told) else {
            return;
        };
        if reached < at && known.digest() != told {
            return feed.want(now, at);
        }
        // A view that is not there yet and holds the same misses nothing that was written so far.
        let held = if reached < at || planted!("P-audit-any-revision") {
            Some(known.digest())
        } else {
            known.digest_at(at)
        };
        self.rest(now, known);
        if held.is_some_and(|held| held != told) {
            self.repaired += 1;
            self.wake = None;
            feed.doubt(now);
        }
    }

    /// Nothing is asked for a while.
    fn rest(&mut self, now: Mono, known: &mut Known) {
        self.asked = None;
        known.end_trail();
        let share =
            Duration::from_millis(known.digest().keys().saturating_mul(1_000) / KEYS_A_SECOND);
        let whole = RECONCILE_EVERY.max(share);
        let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
        let early = Duration::from_nanos(self.rng.below(nanos / 4 + 1));
        self.wake = Some(now.after(whole.saturating_sub(early)));
    }
}

/// A feed of a small range, with what is needed to compare it with the store.
#[derive(Debug)]
pub struct CheckedFeed {
    feed: Feed,
    known: Known,
    reconcile: Reconcile,
}

impl CheckedFeed {
    /// Nothing is known of `range` yet; it is asked for as soon as time passes.
    pub fn new(range: Range, mut rng: Rng) -> Self {
        let reconcile = Reconcile::new(rng.fork("reconcile"));
        Self {
            feed: Feed::new(range, rng),
            known: Known::default(),
            reconcile,
        }
    }

    /// The revision up to which everything is known; `None` while there is a gap.
    pub fn at(&self) -> Option<Revision> {
        self.feed.at()
    }

    /// Whether everything up to `revision` is known.
    pub fn has_reached(&self, revision: Revision) -> bool {
        self.feed.has_reached(revision)
    }

    /// Somebody waits until everything up to `revision` is known.
    pub fn want(&mut self, now: Mono, revision: Revision) {
        self.feed.want(now, revision);
    }

    /// What is known, in sum.
    pub fn digest(&self) -> Digest {
        self.known.digest()
    }

    /// How often the range was found to differ from what was known of it.
    pub fn repaired(&self) -> u64 {
        self.reconcile.repaired()
    }

    /// When [`CheckedFeed::on_time`] must be called.
    pub fn deadline(&self) -> Option<Mono> {
        let reconcile = self.reconcile.deadline();
        self.feed.deadline().into_iter().chain(reconcile).min()
    }

    /// Asks for what is due: the range, its progress, or an audit.
    pub fn on_time<E: From<StoreCall>>(&mut self, now: Mono, ops: &mut OpIds, out: &mut Vec<E>) {
        self.feed.on_time(now, ops, out);
        let (feed, known) = (&self.feed, &mut self.known);
        self.reconcile.on_time(now, feed, known, ops, out);
    }

    /// Whether `op` is the current watch.
    pub fn is_watch(&self, op: OpId) -> bool {
        self.feed.is_watch(op)
    }

    /// Reads the range anew, whatever is known of it.
    pub fn reread(&mut self, now: Mono) {
        self.feed.doubt(now);
    }

    /// Nobody wants to know any more: gives the watch up.
    pub fn end<E: From<StoreCall>>(self, ops: &mut OpIds, out: &mut Vec<E>) {
        self.feed.end(ops, out);
    }

    /// Takes a piece of news of watch `op`.
    pub fn on_event(&mut self, now: Mono, op: OpId, event: ViewEvent) -> Fed {
        let fed = self.feed.on_event(now, op, event);
        self.known.take(&fed);
        self.reconcile.judge(now, &mut self.feed, &mut self.known);
        fed
    }

    /// Takes the answer to an audit, if it asked for it.
    pub fn on_audit(&mut self, now: Mono, op: OpId, answer: &AuditAnswer) {
        self.reconcile.on_answer(now, op, answer, &mut self.known);
        self.reconcile.judge(now, &mut self.feed, &mut self.known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Key;
    use crate::store::{Change, Item, Value};

    fn key(n: u64) -> Key {
        Key::from_store(format!("/k/{n}"))
    }

    fn item(n: u64, at: u64) -> Item {
        Item::new(key(n), Revision(at), Revision(at), Value::from(vec![]))
    }

    fn held(at: u64, keys: &[(u64, u64)]) -> AuditAnswer {
        let keys: Vec<Item> = keys.iter().map(|(n, at)| item(*n, *at)).collect();
        AuditAnswer::Held {
            at: Revision(at),
            digest: Digest::of(keys.iter().map(|it| (&it.key, it.found.modified))),
        }
    }

    struct Rig {
        feed: CheckedFeed,
        ops: OpIds,
        out: Vec<StoreCall>,
        now: Mono,
    }

    impl Rig {
        /// A feed that has read `keys` at revision 10.
        fn new(keys: &[u64]) -> Self {
            let range = Range::new(Key::from_store("/k/"), Key::from_store("/k0"));
            let mut rig = Self {
                feed: CheckedFeed::new(range, Rng::new(1)),
                ops: OpIds::default(),
                out: Vec::new(),
                now: Mono::from_nanos(1),
            };
            rig.reset(10, keys);
            rig
        }

        fn reset(&mut self, at: u64, keys: &[u64]) {
            self.wake();
            let items = keys.iter().map(|n| item(*n, *n)).collect();
            let (at, more) = (Revision(at), false);
            self.event(ViewEvent::Reset { at, items, more });
        }

        fn event(&mut self, event: ViewEvent) {
            let watch = self.feed.feed.range().clone();
            let is_begun = |it: &&StoreCall| it.call == Call::Watch(watch.clone());
            let op = self.out.iter().rev().find(is_begun).unwrap().op;
            self.feed.on_event(self.now, op, event);
        }

        fn delta(&mut self, after: u64, at: u64, changes: Vec<Change>) {
            let (after, at) = (Revision(after), Revision(at));
            self.event(ViewEvent::Delta { after, at, changes });
        }

        fn wake(&mut self) {
            self.now = self.now.max(self.feed.deadline().unwrap());
            self.feed.on_time(self.now, &mut self.ops, &mut self.out);
        }

        /// Waits until an audit is asked for; says which, and how long that took.
        fn audit(&mut self) -> (OpId, Duration) {
            let (before, began) = (self.out.len(), self.now);
            self.wake();
            match &self.out[before..] {
                [
                    StoreCall {
                        op,
                        call: Call::Audit(_),
                    },
                ] => (*op, self.now.since(began)),
                other => panic!("no audit: {other:?}"),
            }
        }

        fn answer(&mut self, op: OpId, answer: AuditAnswer) {
            self.feed.on_audit(self.now, op, &answer);
        }
    }

    #[test]
    fn a_view_is_compared_every_half_minute_and_left_alone_while_it_is_right() {
        let mut rig = Rig::new(&[3, 5]);
        for _ in 0..20 {
            let (op, waited) = rig.audit();
            assert!(RECONCILE_EVERY * 3 / 4 <= waited && waited <= RECONCILE_EVERY);
            rig.answer(op, held(12, &[(3, 3), (5, 5)]));
            assert_eq!(rig.feed.at(), Some(Revision(10)), "nobody waits for 12");
        }
        assert_eq!(rig.feed.repaired(), 0);
    }

    #[test]
    fn a_put_or_a_delete_that_was_never_told_is_noticed_and_read_anew() {
        for truth in [&[(3, 3), (5, 5), (7, 7)][..], &[(3, 3)], &[(3, 3), (5, 9)]] {
            let mut rig = Rig::new(&[3, 5]);
            let (op, _) = rig.audit();
            rig.answer(op, held(10, truth));
            assert_eq!((rig.feed.at(), rig.feed.repaired()), (None, 1));
            rig.reset(10, &[3, 5, 7]);
            assert_eq!(rig.feed.at(), Some(Revision(10)));
            let (op, _) = rig.audit();
            rig.answer(op, held(10, &[(3, 3), (5, 5), (7, 7)]));
            assert_eq!(
                (rig.feed.at(), rig.feed.repaired()),
                (Some(Revision(10)), 1)
            );
        }
    }

    #[test]
    fn an_answer_is_compared_with_the_view_at_its_own_revision() {
        let put = |n, at| Change::Put(item(n, at));
        let gone = |n, at| Change::Delete {
            key: key(n),
            at: Revision(at),
        };
        // The view has moved on, in one step from before to behind.
        for (truth, drifts) in [(&[(3, 3), (12, 12)][..], 0), (&[(3, 3)][..], 1)] {
            let mut rig = Rig::new(&[3]);
            let (op, _) = rig.audit();
            rig.delta(10, 20, vec![put(12, 12), gone(3, 15), put(16, 16)]);
            rig.answer(op, held(14, truth));
            assert_eq!(rig.feed.repaired(), drifts);
        }
        // It is not there yet, and is asked to come.
        for (truth, drifts) in [(&[(3, 3), (12, 12)][..], 0), (&[(5, 5)][..], 1)] {
            let mut rig = Rig::new(&[3]);
            let (op, _) = rig.audit();
            rig.answer(op, held(14, truth));
            assert_eq!(
                (rig.feed.at(), rig.feed.repaired()),
                (Some(Revision(10)), 0)
            );
            rig.wake();
            let last = &rig.out.last().unwrap().call;
            assert!(matches!(last, Call::Progress { .. }), "{last:?}");
            rig.delta(10, 11, vec![]);
            assert_eq!(rig.feed.repaired(), 0);
            rig.delta(11, 20, vec![put(12, 12), gone(3, 15)]);
            assert_eq!(rig.feed.repaired(), drifts);
        }
    }

    #[test]
    fn an_audit_that_tells_nothing_is_made_again_the_next_time() {
        let mut rig = Rig::new(&[3]);
        let (op, _) = rig.audit();
        rig.answer(op, AuditAnswer::Failed);
        let (silent, _) = rig.audit();
        rig.wake();
        let (op, waited) = rig.audit();
        assert!(waited <= RECONCILE_EVERY, "{silent:?} is given up");
        rig.answer(silent, held(10, &[]));
        assert_eq!(
            rig.feed.repaired(),
            0,
            "nobody waits for that answer any more"
        );
        rig.answer(op, held(9, &[]));
        assert_eq!(rig.feed.repaired(), 0, "from before the audit began");
        let (op, _) = rig.audit();
        rig.answer(op, held(10, &[]));
        assert_eq!(rig.feed.repaired(), 1);
    }

    #[test]
    fn a_view_with_a_gap_is_not_compared() {
        let mut rig = Rig::new(&[3]);
        let (op, _) = rig.audit();
        rig.event(ViewEvent::Lost);
        rig.answer(op, held(10, &[]));
        rig.reset(11, &[3]);
        rig.answer(op, held(11, &[]));
        assert_eq!(
            (rig.feed.at(), rig.feed.repaired()),
            (Some(Revision(11)), 0)
        );
        let (op, waited) = rig.audit();
        assert!(RECONCILE_EVERY * 3 / 4 <= waited);
        rig.answer(op, held(11, &[]));
        assert_eq!(rig.feed.repaired(), 1);
    }

    #[test]
    fn a_large_view_is_compared_less_often() {
        let keys: Vec<u64> = (1..=1_000_000).collect();
        let mut rig = Rig::new(&[]);
        rig.event(ViewEvent::Lost);
        rig.reset(1_000_000, &keys);
        let (_, waited) = rig.audit();
        assert!(waited > Duration::from_secs(37) && waited <= Duration::from_secs(50));
    }
}
