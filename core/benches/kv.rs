//! The store's model with the tasks of a busy hour in it, while somebody watches all of it.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use windlass_core::ids::{OpId, Revision};
use windlass_core::keyspace::{Key, Range};
use windlass_core::kv::{ClientId, Effect, Input, Kv, Limits};
use windlass_core::machine::Machine;
use windlass_core::record::Record;
use windlass_core::store::{
    Answer, AuditAnswer, Call, Guard, OPS_MAX, Query, ReadAnswer, Step, Txn, TxnOutcome, Value,
    ViewEvent, Write,
};
use windlass_core::time::Now;

use crate::samples::{Round, Samples};

const TASKS: usize = 100_000;
const TXNS: usize = 512;
const OP: OpId = OpId(1);
const WRITER: ClientId = ClientId(1);
const WATCHER: ClientId = ClientId(2);

/// A store, and what it did last.
struct Store {
    kv: Kv,
    keys: Vec<(Key, Revision)>,
    samples: Samples,
    out: Vec<Effect>,
}

impl Store {
    fn full() -> Self {
        let mut store = Self {
            kv: Kv::new(Limits::default()),
            keys: Vec::new(),
            samples: Samples::new(7),
            out: Vec::new(),
        };
        let places = store.samples.places(TASKS);
        for some in places.chunks(OPS_MAX) {
            let mut txn = Txn::default();
            for place in some {
                let write = put(Key::task(place.task), store.samples.task().encode());
                let step = Step::new(vec![Guard::Absent(Key::task(place.task))], vec![write]);
                txn.push(step).expect("no task is drawn twice");
            }
            let at = store.commit(txn);
            let keys = some.iter().map(|place| (Key::task(place.task), at));
            store.keys.extend(keys);
        }
        store
    }

    fn watched() -> Self {
        let mut store = Self::full();
        store.call(WATCHER, Call::Watch(Range::tasks()));
        assert!(told(&store.out) > 0, "the watcher is told what there is");
        store
    }

    /// Asks, and leaves in `out` what was done.
    fn call(&mut self, client: ClientId, call: Call) {
        self.out.clear();
        let input = Input::Call {
            client,
            op: OP,
            call,
        };
        self.kv.handle(Now::default(), input, &mut self.out);
    }

    fn commit(&mut self, txn: Txn) -> Revision {
        self.call(WRITER, Call::Commit(txn));
        let outcomes = self.out.iter().find_map(|effect| match effect {
            Effect::Answer {
                answer: Answer::Txn(TxnOutcome::Committed { at }),
                ..
            } => Some(*at),
            Effect::Answer { .. } | Effect::Applied(_) => None,
        });
        outcomes.expect("every guard holds")
    }

    /// Questions for as many keys as one may have, from all over the range.
    fn picks(&self) -> Round<Query> {
        let keys = self.keys.iter().map(|(key, _)| key.clone());
        let mut keys = keys.cycle().step_by(89);
        Round::of(TXNS, || Query::Keys(keys.by_ref().take(OPS_MAX).collect()))
    }

    /// Transactions that write `count` tasks anew, each guarded. They can be applied again and again.
    fn rewrites(&mut self, count: usize) -> Round<Txn> {
        let (keys, samples) = (&self.keys, &mut self.samples);
        let mut next = keys.iter().cycle().step_by(97);
        Round::of(TXNS, || {
            let mut txn = Txn::default();
            for (key, created) in next.by_ref().take(count) {
                let guard = Guard::Alive {
                    key: key.clone(),
                    since: *created,
                };
                let write = put(key.clone(), samples.task().encode());
                txn.push(Step::new(vec![guard], vec![write]))
                    .expect("the steps are far apart");
            }
            txn
        })
    }
}

fn put(key: Key, value: Value) -> Write {
    Write::Put {
        key,
        value,
        lease: None,
    }
}

fn told(out: &[Effect]) -> usize {
    let is_news = |effect: &&Effect| {
        matches!(
            effect,
            Effect::Answer {
                client: WATCHER,
                answer: Answer::View(ViewEvent::Delta { .. } | ViewEvent::Reset { .. }),
                ..
            }
        )
    };
    out.iter().filter(is_news).count()
}

pub(crate) fn measure(criterion: &mut Criterion) {
    commits(criterion, "unwatched", Store::full);
    commits(criterion, "watched", Store::watched);
    reads(criterion);
    audit(criterion);
}

fn commits(criterion: &mut Criterion, how: &str, make: fn() -> Store) {
    // Made when it is first wanted.
    let mut store: Option<Store> = None;
    let mut group = criterion.benchmark_group("kv/commit");
    for writes in [1, OPS_MAX] {
        group.throughput(Throughput::Elements(writes as u64));
        group.bench_function(format!("{how}/{writes}"), |b| {
            let store = store.get_or_insert_with(make);
            let mut txns = store.rewrites(writes);
            b.iter(|| store.commit(black_box(txns.next()).clone()));
            let news = usize::from(how == "watched");
            assert_eq!(told(&store.out), news, "who watches is told");
        });
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let mut store: Option<Store> = None;
    let mut group = criterion.benchmark_group("kv/read");
    group.throughput(Throughput::Elements(OPS_MAX as u64));
    group.bench_function(format!("keys/{OPS_MAX}"), |b| {
        let store = store.get_or_insert_with(Store::full);
        let mut picks = store.picks();
        b.iter(|| store.call(WRITER, Call::Read(black_box(picks.next()).clone())));
        assert_eq!(items(&store.out), OPS_MAX);
    });
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("page/1000", |b| {
        let store = store.get_or_insert_with(Store::full);
        let page = Query::Range {
            range: Range::tasks(),
            limit: 1_000,
        };
        b.iter(|| store.call(WRITER, Call::Read(black_box(&page).clone())));
        assert_eq!(items(&store.out), 1_000);
    });
    group.finish();
}

fn audit(criterion: &mut Criterion) {
    let mut store: Option<Store> = None;
    let mut group = criterion.benchmark_group("kv");
    group.sample_size(10);
    group.throughput(Throughput::Elements(TASKS as u64));
    group.bench_function(format!("audit/{TASKS}"), |b| {
        let store = store.get_or_insert_with(Store::full);
        b.iter(|| store.call(WRITER, Call::Audit(black_box(Range::tasks()))));
        let audited = |effect: &Effect| {
            matches!(effect, Effect::Answer { answer: Answer::Audited(AuditAnswer::Held { digest, .. }), .. }
                if digest.keys() == TASKS as u64)
        };
        assert!(store.out.iter().any(audited), "all are counted");
    });
    group.finish();
}

fn items(out: &[Effect]) -> usize {
    let counts = out.iter().map(|effect| match effect {
        Effect::Answer {
            answer: Answer::Read(ReadAnswer::Items { items, .. }),
            ..
        } => items.len(),
        Effect::Answer { .. } | Effect::Applied(_) => 0,
    });
    counts.sum()
}
