//! A view under any news: what follows without a gap is taken, what does not freezes it, and whenever it claims to know
//! everything up to a revision, it equals what somebody would read from the store at that revision.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use windlass_sim::core::ids::{OpId, OpIds, Revision};
use windlass_sim::core::keyspace::{Key, Meaning, Range};
use windlass_sim::core::kv::{ClientId, Effect, Input, Kv, Limits};
use windlass_sim::core::machine::Machine;
use windlass_sim::core::rng::Rng;
use windlass_sim::core::store::{Answer, Call, Item, Step, StoreCall, Txn, ViewEvent, Write};
use windlass_sim::core::time::{Mono, Now};
use windlass_sim::core::view::{ClusterView, Fed, Feed};

use crate::choices::Choices;
use crate::samples;

/// More tells nothing new, and takes long.
const STEPS_MAX: usize = 200;

/// Lets things happen until the bytes run out.
pub fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut rig = Rig::new();
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            break;
        }
        rig.step(&mut choices);
    }
    rig.check_catches_up();
}

struct Rig {
    kv: Kv,
    now: Mono,
    feed: Feed,
    ops: OpIds,
    view: ClusterView,
    /// What was read in full, by revision.
    states: BTreeMap<Revision, Vec<Item>>,
    /// Where each task is, but for those that are nowhere.
    spots: BTreeMap<usize, Key>,
    /// News on their way, in order.
    news: Vec<(OpId, ViewEvent)>,
    /// News that were told, or left out.
    told: Vec<(OpId, ViewEvent)>,
    /// The watch that the feed asked for last.
    watch: Option<OpId>,
}

impl Rig {
    fn new() -> Self {
        let limits = Limits {
            part_items_max: 3,
            ..Limits::default()
        };
        let mut rig = Self {
            kv: Kv::new(limits),
            now: Mono::from_nanos(1),
            feed: Feed::new(Range::cluster(), Rng::new(1)),
            ops: OpIds::default(),
            view: ClusterView::default(),
            states: BTreeMap::new(),
            spots: BTreeMap::new(),
            news: Vec::new(),
            told: Vec::new(),
            watch: None,
        };
        rig.remember();
        rig
    }

    fn step(&mut self, c: &mut Choices<'_>) {
        match c.below(16) {
            0..=2 => self.deliver(0),
            3 => self.deliver_all(),
            4 | 5 => self.move_task(c),
            6 | 7 => self.write_any(c),
            8 => {
                let span = [1, 60, 3_000, 100_000][c.below(4)];
                self.pass(Duration::from_millis(span));
            }
            9 => self.feed.want(
                self.now,
                Revision(self.kv.revision().0 + u64::from(c.byte() % 3)),
            ),
            10 => self.leave_out(c),
            11 => self.swap(c),
            12 => self.repeat(c),
            13 => self.tell_at_once(c),
            14 => self.read_again(c),
            _ => self.break_watch(c),
        }
    }

    // The store.

    /// A task goes from where it is to another place, or nowhere, in one revision.
    fn move_task(&mut self, c: &mut Choices<'_>) {
        let n = c.below(samples::TASKS);
        let to = match c.below(5) {
            0 => Some(Key::entry(
                &samples::queue(c.below(2)),
                samples::place(n, c),
            )),
            1 => Some(Key::claim(&samples::node(c.below(3)), samples::place(n, c))),
            2 => Some(Key::delayed(
                samples::place(n, c).timestamp,
                samples::task(n),
            )),
            3 => Some(Key::dead(&samples::queue(c.below(2)), samples::task(n))),
            _ => None,
        };
        let mut writes = Vec::new();
        if let Some(key) = self.spots.remove(&n)
            && to.as_ref() != Some(&key)
        {
            writes.push(Write::Delete { key });
        }
        if let Some(key) = to {
            self.spots.insert(n, key.clone());
            let value = samples::value(&Meaning::of(&key), c);
            writes.push(Write::Put {
                key,
                value,
                lease: None,
            });
        }
        if c.one_in(2) {
            writes.reverse();
        }
        self.commit(writes);
    }

    /// Anything that is not a task's place is written or removed.
    fn write_any(&mut self, c: &mut Choices<'_>) {
        let mut writes = Vec::new();
        for _ in 0..=c.below(2) {
            let key = samples::key(c);
            let meaning = Meaning::of(&key);
            match &meaning {
                Meaning::Entry(..)
                | Meaning::Claim(..)
                | Meaning::Delayed(..)
                | Meaning::Dead(..) => {}
                Meaning::QueueConfig(_)
                | Meaning::NodeConfig(_)
                | Meaning::LockWaiter(..)
                | Meaning::JanitorWaiter(_)
                | Meaning::Node(..)
                | Meaning::Offer(_)
                | Meaning::Lane(_)
                | Meaning::FoldedTotals
                | Meaning::Task(_)
                | Meaning::Outcome(_)
                | Meaning::Run(_)
                | Meaning::Unique
                | Meaning::Foreign => {
                    let value = samples::value(&meaning, c);
                    let put = Write::Put {
                        key: key.clone(),
                        value,
                        lease: None,
                    };
                    writes.push(if c.one_in(3) {
                        Write::Delete { key }
                    } else {
                        put
                    });
                }
            }
        }
        self.commit(writes);
    }

    fn commit(&mut self, writes: Vec<Write>) {
        let mut txn = Txn::default();
        for write in writes {
            // A key that was written already is handed back.
            drop(txn.push(Step::new(Vec::new(), vec![write])));
        }
        self.ask(ClientId(2), OpId(0), Call::Commit(txn));
    }

    fn ask(&mut self, client: ClientId, op: OpId, call: Call) {
        let now = Now {
            mono: self.now,
            ..Now::default()
        };
        let mut out = Vec::new();
        self.kv
            .handle(now, Input::Call { client, op, call }, &mut out);
        for effect in out {
            if let Effect::Answer {
                op,
                answer: Answer::View(event),
                ..
            } = effect
            {
                self.news.push((op, event));
            }
        }
        self.remember();
    }

    fn remember(&mut self) {
        let range = Range::cluster();
        let items = self.kv.entries(&range);
        let items = items.map(|(key, entry)| entry.item(key)).collect();
        self.states.insert(self.kv.revision(), items);
    }

    // Time.

    fn pass(&mut self, span: Duration) {
        let end = self.now.after(span);
        // Who waits for a revision asks every few milliseconds: some of it is enough.
        for _ in 0..20 {
            let Some(at) = self.feed.deadline().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            let mut out: Vec<StoreCall> = Vec::new();
            self.feed.on_time(self.now, &mut self.ops, &mut out);
            let again = self.feed.deadline();
            assert!(
                again.is_none_or(|at| at > self.now),
                "the driver would spin"
            );
            for StoreCall { op, call } in out {
                if let Call::Watch(_) = call {
                    self.watch = Some(op);
                }
                self.ask(ClientId(1), op, call);
            }
        }
        self.now = end;
    }

    // The way from the store to the view.

    /// Changes that are left out are a gap. Parts of a full read are not left out: a port reads them one after the other.
    fn leave_out(&mut self, c: &mut Choices<'_>) {
        if let Some(ix) = self.some_delta(c) {
            let lost = self.news.remove(ix);
            self.told.push(lost);
        }
    }

    fn some_delta(&self, c: &mut Choices<'_>) -> Option<usize> {
        let is_delta = |(_, it): &(OpId, ViewEvent)| matches!(it, ViewEvent::Delta { .. });
        let all: Vec<usize> = (0..self.news.len())
            .filter(|ix| is_delta(&self.news[*ix]))
            .collect();
        c.pick(&all).copied()
    }

    fn swap(&mut self, c: &mut Choices<'_>) {
        if let (Some(one), Some(other)) = (self.some_delta(c), self.some_delta(c)) {
            self.news.swap(one, other);
        }
    }

    /// Something that was told, perhaps long ago and by another watch, is told again.
    fn repeat(&mut self, c: &mut Choices<'_>) {
        if let Some((op, event @ ViewEvent::Delta { .. })) = c.pick(&self.told) {
            self.tell(*op, event.clone());
        }
    }

    /// A watch that resumes tells what happened since any revision, all at once.
    fn tell_at_once(&mut self, c: &mut Choices<'_>) {
        let Some(watch) = self.watch else { return };
        let at = self.kv.revision();
        let after = Revision(at.0 - (u64::from(c.byte()) % at.0));
        let changes = self.kv.changes_since(&Range::cluster(), after);
        let changes = changes.expect("nothing is compacted");
        self.tell(watch, ViewEvent::Delta { after, at, changes });
    }

    /// A full read comes unasked, perhaps from a member that lags.
    fn read_again(&mut self, c: &mut Choices<'_>) {
        let Some(watch) = self.watch else { return };
        let all: Vec<Revision> = self.states.keys().rev().copied().collect();
        let at = *c.pick(&all).expect("the first state is there");
        let items = self.states[&at].clone();
        // It takes the place of one that was under way.
        self.news
            .retain(|(op, it)| *op != watch || !matches!(it, ViewEvent::Reset { .. }));
        let half = items.len() / 2;
        if c.one_in(2) {
            let (first, rest) = (items[..half].to_vec(), items[half..].to_vec());
            self.tell(
                watch,
                ViewEvent::Reset {
                    at,
                    items: first,
                    more: true,
                },
            );
            self.tell(
                watch,
                ViewEvent::Reset {
                    at,
                    items: rest,
                    more: false,
                },
            );
        } else {
            self.tell(
                watch,
                ViewEvent::Reset {
                    at,
                    items,
                    more: false,
                },
            );
        }
    }

    /// A watch breaks, perhaps one that was given up, and what it had on its way comes late or never.
    fn break_watch(&mut self, c: &mut Choices<'_>) {
        let Some(watch) = self.watch else { return };
        let watch = if c.one_in(4) {
            OpId(u64::from(c.byte() % 8))
        } else {
            watch
        };
        if c.one_in(2) {
            self.news.retain(|(op, _)| *op != watch);
        }
        self.tell(watch, ViewEvent::Lost);
    }

    fn deliver(&mut self, ix: usize) {
        if ix < self.news.len() {
            let (op, event) = self.news.remove(ix);
            self.tell(op, event);
        }
    }

    fn deliver_all(&mut self) {
        while !self.news.is_empty() {
            self.deliver(0);
        }
    }

    fn tell(&mut self, op: OpId, event: ViewEvent) {
        self.told.push((op, event.clone()));
        let (known, is_current) = (self.feed.at(), self.feed.is_watch(op));
        let mut news = Vec::new();
        let must_freeze = match &event {
            ViewEvent::Delta { after, .. } => is_current && known.is_some_and(|at| *after > at),
            ViewEvent::Reset { more, .. } => is_current && *more,
            ViewEvent::Lost => is_current,
        };
        match self.feed.on_event(self.now, op, event) {
            Fed::Nothing | Fed::Lost => {}
            Fed::Restart(items) => {
                self.view = ClusterView::default();
                self.view.fill(self.now, items, &mut news);
            }
            Fed::More(items) => self.view.fill(self.now, items, &mut news),
            Fed::Changes(changes) => self.view.apply(self.now, changes, &mut news),
        }
        assert!(
            !must_freeze || self.feed.at().is_none(),
            "a gap freezes the view"
        );
        assert!(
            is_current || self.feed.at() == known,
            "news of another watch change nothing"
        );
        self.compare();
    }

    /// Whoever claims to know everything up to a revision knows what was stored then.
    fn compare(&self) {
        let Some(at) = self.feed.at() else { return };
        let items = self
            .states
            .get(&at)
            .expect("the store has been there")
            .clone();
        let mut truth = ClusterView::default();
        truth.fill(Mono::ZERO, items, &mut Vec::new());
        assert_same(&self.view, &truth);
    }

    /// When nothing goes wrong any more, the view reaches the store's revision.
    fn check_catches_up(&mut self) {
        for _ in 0..100 {
            self.feed.want(self.now, self.kv.revision());
            self.deliver_all();
            if self.feed.has_reached(self.kv.revision()) {
                return;
            }
            self.pass(Duration::from_secs(2));
        }
        panic!(
            "at {:?} the view stays behind {}",
            self.feed.at(),
            self.kv.revision()
        );
    }
}

fn assert_same(view: &ClusterView, truth: &ClusterView) {
    equal("entries", &view.entries, &truth.entries);
    equal("delayed", &view.delayed, &truth.delayed);
    equal("dead", &view.dead, &truth.dead);
    equal("workers", &view.workers, &truth.workers);
    equal("schedulers", &view.schedulers, &truth.schedulers);
    equal("offers", &view.offers, &truth.offers);
    equal("queue settings", &view.queue_configs, &truth.queue_configs);
    equal("orders", &view.node_configs, &truth.node_configs);
    equal("locks", &view.locks, &truth.locks);
    equal("janitors", &view.janitors, &truth.janitors);
    equal("claims", &claims(view), &claims(truth));
    for n in 0..samples::TASKS {
        let task = samples::task(n);
        equal("places", &view.spot(task), &truth.spot(task));
    }
    for queue in [samples::queue(0), samples::queue(1)] {
        equal("counts", &view.running(&queue), &truth.running(&queue));
    }
}

/// All that does not depend on when it was seen.
fn claims(view: &ClusterView) -> Vec<impl Debug + PartialEq> {
    let all = view
        .claims
        .iter()
        .flat_map(|(worker, claims)| claims.iter().map(move |it| (worker, it)));
    all.map(|(worker, (place, it))| {
        (
            worker.clone(),
            *place,
            it.created,
            it.since,
            it.record.clone(),
            it.flagged.is_some(),
        )
    })
    .collect()
}

#[track_caller]
fn equal<T: PartialEq + Debug>(what: &str, known: &T, truth: &T) {
    assert!(known == truth, "{what}: believed {known:?}, true {truth:?}");
}
