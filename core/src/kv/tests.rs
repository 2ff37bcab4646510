use super::*;
use crate::store::{Failed, Found, Guard, GuardIx, Item, Step, Value, ViewEvent};

const CLIENT: ClientId = ClientId(1);

/// A store with a clock and one client that numbers its questions.
struct Store {
    kv: Kv,
    now: Now,
    op: u64,
}

impl Store {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self {
            kv: Kv::new(limits),
            now: Now::default(),
            op: 0,
        }
    }

    fn input(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.kv.handle(self.now, input, &mut out);
        out
    }

    /// Everything that a call causes.
    fn effects(&mut self, call: Call) -> (OpId, Vec<Effect>) {
        self.op += 1;
        let op = OpId(self.op);
        let client = CLIENT;
        (op, self.input(Input::Call { client, op, call }))
    }

    /// The one answer to a call.
    fn ask(&mut self, call: Call) -> Answer {
        let (asked, effects) = self.effects(call);
        let mut answers = effects.into_iter().filter_map(|effect| match effect {
            Effect::Answer { op, answer, .. } if op == asked => Some(answer),
            Effect::Answer { .. } | Effect::Applied(_) => None,
        });
        let answer = answers.next().expect("every question gets an answer");
        assert_eq!(answers.next(), None, "and one only");
        answer
    }

    fn txn(&mut self, guards: Vec<Guard>, writes: Vec<Write>) -> TxnOutcome {
        let Answer::Txn(outcome) = self.ask(commit(guards, writes)) else {
            panic!("a transaction is answered by its outcome");
        };
        outcome
    }

    /// Writes without guards and says at which revision.
    fn write(&mut self, writes: Vec<Write>) -> Revision {
        let TxnOutcome::Committed { at } = self.txn(vec![], writes) else {
            panic!("without guards it is committed");
        };
        at
    }

    fn lease(&mut self, call: Call) -> LeaseAnswer {
        let Answer::Lease(answer) = self.ask(call) else {
            panic!("a lease's question is answered about a lease");
        };
        answer
    }

    fn granted(&mut self, seconds: u64) -> LeaseId {
        let LeaseAnswer::Live { lease, .. } = self.lease(grant(seconds)) else {
            panic!("a lease is granted");
        };
        lease
    }

    fn pass(&mut self, seconds: u64) -> Vec<Effect> {
        self.now.mono = self.now.mono.after(Duration::from_secs(seconds));
        self.input(Input::Elapsed)
    }

    fn keys(&self) -> Vec<&str> {
        self.kv
            .entries(&all())
            .map(|(key, _)| key.as_str())
            .collect()
    }

    fn found(&self, name: &str) -> Option<Found> {
        self.kv.entry(&key(name)).map(|it| it.found.clone())
    }
}

fn key(name: &str) -> Key {
    Key::from_store(name)
}

fn all() -> Range {
    Range::new(key(""), key("~"))
}

fn put(name: &str) -> Write {
    put_leased(name, None)
}

fn put_leased(name: &str, lease: Option<LeaseId>) -> Write {
    Write::Put {
        key: key(name),
        value: Value::from(name.as_bytes().to_vec()),
        lease,
    }
}

fn delete(name: &str) -> Write {
    Write::Delete { key: key(name) }
}

fn commit(guards: Vec<Guard>, writes: Vec<Write>) -> Call {
    let mut txn = Txn::default();
    txn.push(Step::new(guards, writes)).unwrap();
    Call::Commit(txn)
}

fn grant(seconds: u64) -> Call {
    Call::Grant {
        ttl: Duration::from_secs(seconds),
    }
}

/// The news of watches among effects.
fn news(effects: &[Effect]) -> Vec<(OpId, ViewEvent)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Answer {
                op,
                answer: Answer::View(event),
                ..
            } => Some((*op, event.clone())),
            Effect::Answer { .. } | Effect::Applied(_) => None,
        })
        .collect()
}

fn item(name: &str, created: Revision, modified: Revision) -> Item {
    let value = Value::from(name.as_bytes().to_vec());
    Item::new(key(name), created, modified, value)
}

#[test]
fn a_transaction_that_changes_something_makes_one_revision() {
    let mut store = Store::new();
    let before = store.kv.revision();
    let at = store.write(vec![put("a"), put("b"), delete("c")]);
    assert_eq!(at, before.next());
    assert_eq!(store.found("a").map(|it| it.modified), Some(at));
    assert_eq!(store.found("b").map(|it| it.created), Some(at));
}

#[test]
fn what_changes_nothing_makes_no_revision_and_no_record() {
    let mut store = Store::new();
    let at = store.write(vec![put("a")]);
    let lease = store.granted(5);
    let calls = [
        commit(vec![], vec![]),
        commit(vec![], vec![delete("absent")]),
        commit(
            vec![],
            vec![Write::DeleteRange {
                range: Range::new(key("b"), key("c")),
            }],
        ),
        commit(vec![Guard::Absent(key("a"))], vec![put("b")]),
        commit(vec![], vec![put_leased("b", Some(LeaseId(99)))]),
        Call::Read(Query::Keys(vec![key("a")])),
        Call::Renew { lease },
        Call::Revoke { lease: LeaseId(99) },
        Call::Watch(all()),
    ];
    for call in calls {
        let (_, effects) = store.effects(call.clone());
        let applied = effects.iter().any(|it| matches!(it, Effect::Applied(_)));
        assert!(!applied, "{call:?} gave {effects:?}");
        assert_eq!(store.kv.revision(), at, "{call:?}");
    }
    assert_eq!(
        store.txn(vec![], vec![delete("absent")]),
        TxnOutcome::Committed { at }
    );
}

#[test]
fn a_key_keeps_its_create_revision_until_its_life_ends() {
    let mut store = Store::new();
    let first = store.write(vec![put("a")]);
    let second = store.write(vec![put("a")]);
    let found = store.found("a").unwrap();
    assert_eq!((found.created, found.modified), (first, second));
    assert_eq!(store.kv.entry(&key("a")).unwrap().version, 2);
    store.write(vec![delete("a")]);
    let third = store.write(vec![put("a")]);
    let found = store.found("a").unwrap();
    assert_eq!((found.created, found.modified), (third, third));
    assert_eq!(store.kv.entry(&key("a")).unwrap().version, 1);
}

#[test]
fn each_guard_holds_for_what_it_names_and_nothing_else() {
    let mut store = Store::new();
    let created = store.write(vec![put("a")]);
    let modified = store.write(vec![put("a")]);
    let unchanged = |since| Guard::Unchanged {
        key: key("a"),
        since,
    };
    let alive = |since| Guard::Alive {
        key: key("a"),
        since,
    };
    let gone = |name, since| Guard::Gone {
        key: key(name),
        since,
    };
    let quiet = |from, to, since| Guard::Quiet {
        range: Range::new(key(from), key(to)),
        since,
    };
    let cases = [
        (Guard::Absent(key("b")), true),
        (Guard::Absent(key("a")), false),
        (unchanged(modified), true),
        (unchanged(created), false),
        (alive(created), true),
        (alive(modified), false),
        (gone("a", modified), true),
        (gone("b", created), true),
        (gone("a", created), false),
        (quiet("a", "b", modified), true),
        (quiet("a", "b", created), false),
        (quiet("b", "c", created), true),
        (quiet("b", "a", created), true),
    ];
    for (guard, holds) in cases {
        let outcome = store.txn(vec![guard.clone()], vec![]);
        assert_eq!(
            matches!(outcome, TxnOutcome::Committed { .. }),
            holds,
            "{guard:?}"
        );
    }
}

#[test]
fn a_conflict_lists_exactly_the_failed_guards_with_what_was_found() {
    let mut store = Store::new();
    let at = store.write(vec![put("a"), put("b")]);
    let outcome = store.txn(
        vec![
            Guard::Absent(key("a")),
            Guard::Alive {
                key: key("b"),
                since: at,
            },
            Guard::Unchanged {
                key: key("c"),
                since: at,
            },
            Guard::Quiet {
                range: all(),
                since: Revision(0),
            },
        ],
        vec![put("d")],
    );
    let failed = |guard, found| Failed {
        guard: GuardIx(guard),
        found,
    };
    assert_eq!(
        outcome,
        TxnOutcome::Conflict {
            at,
            failed: vec![
                failed(0, Some(item("a", at, at).found)),
                failed(2, None),
                failed(3, None)
            ],
        }
    );
    assert_eq!(store.found("d"), None);
}

#[test]
fn a_put_under_a_lease_that_is_gone_is_refused_but_only_if_the_guards_hold() {
    let mut store = Store::new();
    store.write(vec![put("a")]);
    let writes = vec![put("b"), put_leased("c", Some(LeaseId(7)))];
    assert_eq!(
        store.txn(vec![], writes.clone()),
        TxnOutcome::Refused(Refusal::LeaseGone)
    );
    assert!(matches!(
        store.txn(vec![Guard::Absent(key("a"))], writes),
        TxnOutcome::Conflict { .. }
    ));
    assert_eq!(store.keys(), ["a"]);
}

#[test]
fn a_put_moves_a_key_to_its_lease_or_away_from_any() {
    let mut store = Store::new();
    let (short, long) = (store.granted(3), store.granted(6));
    store.write(vec![
        put_leased("stays", Some(short)),
        put_leased("moves", Some(short)),
        put_leased("leaves", Some(short)),
    ]);
    store.write(vec![put_leased("moves", Some(long)), put("leaves")]);
    store.write(vec![put_leased("stays", Some(short))]);
    store.pass(3);
    assert_eq!(store.keys(), ["leaves", "moves"]);
    store.pass(3);
    assert_eq!(store.keys(), ["leaves"]);
}

#[test]
fn a_deleted_key_that_comes_back_does_not_belong_to_its_old_lease() {
    let mut store = Store::new();
    let lease = store.granted(3);
    store.write(vec![put_leased("a", Some(lease))]);
    store.write(vec![delete("a")]);
    store.write(vec![put("a")]);
    store.pass(3);
    assert_eq!(store.keys(), ["a"]);
}

#[test]
fn a_lease_gets_at_least_the_minimum_and_at_most_the_maximum() {
    let mut store = Store::new();
    for (asked, given) in [(0, 2), (1, 2), (2, 2), (3, 3)] {
        let LeaseAnswer::Live { ttl, .. } = store.lease(grant(asked)) else {
            panic!("{asked} s is granted");
        };
        assert_eq!(ttl, Duration::from_secs(given), "asked for {asked} s");
    }
    assert_eq!(
        store.lease(grant(9_000_000_001)),
        LeaseAnswer::Refused(Refusal::Invalid)
    );
}

#[test]
fn all_keys_of_an_expired_lease_go_in_one_revision() {
    let mut store = Store::new();
    let lease = store.granted(3);
    let at = store.write(vec![
        put_leased("a", Some(lease)),
        put("b"),
        put_leased("c", Some(lease)),
    ]);
    assert_eq!(store.pass(2), []);
    let ended = at.next();
    assert_eq!(
        store.pass(1),
        [
            Effect::Applied(Log::Changed {
                at: ended,
                edits: vec![
                    Edit::Delete { key: key("a") },
                    Edit::Delete { key: key("c") }
                ],
            }),
            Effect::Applied(Log::Ended { lease }),
        ]
    );
    assert_eq!(store.kv.revision(), ended);
    assert_eq!(store.lease(Call::Renew { lease }), LeaseAnswer::Gone);
}

#[test]
fn a_renewed_lease_lives_its_full_time_again() {
    let mut store = Store::new();
    let lease = store.granted(3);
    store.write(vec![put_leased("a", Some(lease))]);
    store.pass(2);
    let ttl = Duration::from_secs(3);
    assert_eq!(
        store.lease(Call::Renew { lease }),
        LeaseAnswer::Live { lease, ttl }
    );
    store.pass(2);
    assert_eq!(store.keys(), ["a"]);
    store.pass(1);
    assert_eq!(store.keys(), [""; 0]);
}

#[test]
fn time_goes_first_so_that_a_late_renewal_finds_the_lease_gone() {
    let mut store = Store::new();
    let lease = store.granted(3);
    store.now.mono = store.now.mono.after(Duration::from_secs(3));
    assert_eq!(store.lease(Call::Renew { lease }), LeaseAnswer::Gone);
}

#[test]
fn a_revoked_lease_takes_its_keys_along_at_once() {
    let mut store = Store::new();
    let lease = store.granted(3);
    let at = store.write(vec![put_leased("a", Some(lease)), put("b")]);
    assert_eq!(store.lease(Call::Revoke { lease }), LeaseAnswer::Gone);
    assert_eq!(store.keys(), ["b"]);
    assert_eq!(store.kv.revision(), at.next());
    assert_eq!(store.kv.deadline(), None);
}

#[test]
fn a_change_of_leader_gives_every_lease_its_time_and_an_election_more() {
    let mut store = Store::new();
    let lease = store.granted(3);
    store.pass(2);
    store.input(Input::LeaderChanged);
    let left = |store: &Store| store.kv.lease(lease).map(|(_, left)| left.as_secs());
    assert_eq!(left(&store), Some(4));
    store.pass(3);
    assert_eq!(left(&store), Some(1));
}

#[test]
fn a_range_is_read_up_to_a_limit_and_says_whether_there_is_more() {
    let mut store = Store::new();
    let at = store.write(vec![put("a"), put("b"), put("c")]);
    let mut read = |from: &str, limit| {
        let range = Range::new(key(from), key("c"));
        store.ask(Call::Read(Query::Range { range, limit }))
    };
    let answer = |names: &[&str], more| {
        let items = names.iter().map(|name| item(name, at, at)).collect();
        Answer::Read(ReadAnswer::Items { at, items, more })
    };
    assert_eq!(read("a", 1), answer(&["a"], true));
    assert_eq!(read("a", 2), answer(&["a", "b"], false));
    assert_eq!(read("b", 9), answer(&["b"], false));
    assert_eq!(read("d", 9), answer(&[], false));
}

#[test]
fn keys_are_read_in_their_order_each_once() {
    let mut store = Store::new();
    let at = store.write(vec![put("a"), put("b")]);
    let keys = ["b", "x", "a", "b"].map(key).to_vec();
    let items = vec![item("a", at, at), item("b", at, at)];
    let more = false;
    assert_eq!(
        store.ask(Call::Read(Query::Keys(keys))),
        Answer::Read(ReadAnswer::Items { at, items, more })
    );
}

#[test]
fn a_watch_tells_everything_in_parts_and_then_what_changes() {
    let mut store = Store::with(Limits {
        part_items_max: 2,
        ..Limits::default()
    });
    let at = store.write(vec![put("a"), put("b"), put("c"), put("outside")]);
    let (watch, effects) = store.effects(Call::Watch(Range::new(key("a"), key("d"))));
    let part = |names: &[&str], more| {
        let items = names.iter().map(|name| item(name, at, at)).collect();
        (watch, ViewEvent::Reset { at, items, more })
    };
    assert_eq!(
        news(&effects),
        [part(&["a", "b"], true), part(&["c"], false)]
    );

    let (_, effects) = store.effects(commit(vec![], vec![put("outside")]));
    assert_eq!(news(&effects), []);
    let (_, effects) = store.effects(commit(vec![], vec![put("a"), delete("b"), put("outside")]));
    let now = at.next().next();
    let changes = vec![
        Change::Put(item("a", at, now)),
        Change::Delete {
            key: key("b"),
            at: now,
        },
    ];
    let delta = ViewEvent::Delta {
        after: at,
        at: now,
        changes,
    };
    assert_eq!(news(&effects), [(watch, delta)]);
}

#[test]
fn a_large_value_has_a_part_of_its_own() {
    let mut store = Store::with(Limits {
        part_bytes_max: 3,
        ..Limits::default()
    });
    store.write(vec![put("aaa"), put("b")]);
    let (_, effects) = store.effects(Call::Watch(all()));
    let sizes: Vec<usize> = news(&effects)
        .iter()
        .map(|(_, event)| match event {
            ViewEvent::Reset { items, .. } => items.len(),
            ViewEvent::Delta { .. } | ViewEvent::Lost => panic!("a full read comes first"),
        })
        .collect();
    assert_eq!(sizes, [1, 1]);
}

#[test]
fn progress_reaches_the_current_revision_even_when_nothing_happened() {
    let mut store = Store::new();
    let (watch, _) = store.effects(Call::Watch(Range::new(key("a"), key("b"))));
    let start = store.kv.revision();
    let at = store.write(vec![put("outside")]);
    let (_, effects) = store.effects(Call::Progress { watch });
    let delta = |after, at, changes| ViewEvent::Delta { after, at, changes };
    assert_eq!(news(&effects), [(watch, delta(start, at, vec![]))]);
    assert_eq!(effects.len(), 1, "progress has no answer of its own");
    let (_, effects) = store.effects(commit(vec![], vec![put("a")]));
    let next = at.next();
    let changes = vec![Change::Put(item("a", next, next))];
    assert_eq!(news(&effects), [(watch, delta(at, next, changes))]);
}

#[test]
fn watches_of_one_client_are_independent_until_it_leaves() {
    let mut store = Store::new();
    let (first, _) = store.effects(Call::Watch(all()));
    let (second, _) = store.effects(Call::Watch(Range::new(key("a"), key("b"))));
    let other = ClientId(2);
    let call = Call::Watch(all());
    store.input(Input::Call {
        client: other,
        op: first,
        call,
    });
    let told = |store: &mut Store| {
        let (_, effects) = store.effects(commit(vec![], vec![put("a")]));
        news(&effects)
            .into_iter()
            .map(|(op, _)| op)
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&mut store), [first, second, first]);
    store.effects(Call::Unwatch { watch: first });
    assert_eq!(told(&mut store), [second, first]);
    store.input(Input::Leave { client: CLIENT });
    assert_eq!(told(&mut store), [first]);
    store.input(Input::Leave { client: other });
    assert_eq!(told(&mut store), []);
}

#[test]
fn what_is_kept_comes_before_the_answer_and_the_news_that_depend_on_it() {
    let mut store = Store::new();
    store.effects(Call::Watch(all()));
    let (_, effects) = store.effects(commit(vec![], vec![put("a")]));
    assert!(matches!(
        &effects[..],
        [
            Effect::Applied(Log::Changed { .. }),
            Effect::Answer {
                answer: Answer::Txn(_),
                ..
            },
            Effect::Answer {
                answer: Answer::View(_),
                ..
            },
        ]
    ));
}

#[test]
fn compaction_forgets_what_lies_before_it_but_never_the_future() {
    let mut store = Store::new();
    for _ in 0..5 {
        store.write(vec![put("a")]);
    }
    let now = store.kv.revision();
    assert_eq!(
        store.ask(Call::Compact { at: now.next() }),
        Answer::Compacted(false)
    );
    assert_eq!(
        store.ask(Call::Compact { at: now }),
        Answer::Compacted(true)
    );
    let since = |after| store.kv.changes_since(&all(), Revision(after));
    assert_eq!(since(now.0 - 2), Err(Compacted { at: now }));
    assert_eq!(since(now.0 - 1).map(|it| it.len()), Ok(1));
    assert_eq!(since(now.0), Ok(vec![]));
}

#[test]
fn a_transaction_beyond_the_request_limit_is_refused() {
    let mut store = Store::with(Limits {
        request_bytes_max: 4,
        ..Limits::default()
    });
    assert_eq!(
        store.txn(vec![], vec![put("aaa")]),
        TxnOutcome::Refused(Refusal::TooLarge)
    );
    store.write(vec![put("aa")]);
}

#[test]
fn a_full_store_takes_only_reads_and_deletes_and_calls_the_rest_unknown() {
    let mut store = Store::with(Limits {
        quota_bytes: 4,
        ..Limits::default()
    });
    store.write(vec![put("aa")]);
    assert_eq!(store.txn(vec![], vec![put("b")]), TxnOutcome::Unknown);
    assert_eq!(store.keys(), ["aa"]);
    store.write(vec![delete("aa")]);
    store.write(vec![put("b")]);
}

#[test]
fn a_store_that_is_nearly_full_grants_no_lease() {
    let mut store = Store::with(Limits {
        quota_bytes: 65,
        ..Limits::default()
    });
    let lease = store.granted(5);
    store.write(vec![put("aa")]);
    assert_eq!(store.lease(grant(5)), LeaseAnswer::Unknown);
    let renewed = store.lease(Call::Renew { lease });
    assert!(matches!(renewed, LeaseAnswer::Live { .. }), "{renewed:?}");
    store.write(vec![delete("aa")]);
    store.granted(5);
}

#[test]
fn a_recovered_store_never_grants_an_old_lease_id_again() {
    let mut store = Store::new();
    let lease = store.granted(5);
    store.lease(Call::Revoke { lease });
    let head = Some(store.kv.head());
    store.kv = Kv::recover(Limits::default(), store.now, head, [], []).unwrap();
    assert!(store.granted(5) > lease);
}

#[test]
fn a_recovered_lease_keeps_its_keys_and_gets_its_full_time() {
    let mut store = Store::new();
    let mut log = Vec::new();
    for call in [
        grant(5),
        commit(vec![], vec![put_leased("a", Some(LeaseId(1)))]),
    ] {
        let (_, effects) = store.effects(call);
        log.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Applied(record) => Some(record),
            Effect::Answer { .. } => None,
        }));
    }
    store.pass(4);
    store.kv = Kv::recover(Limits::default(), store.now, None, [], log).unwrap();
    store.pass(4);
    assert_eq!(store.keys(), ["a"]);
    store.pass(1);
    assert_eq!(store.keys(), [""; 0]);
}

#[test]
fn a_log_with_a_gap_is_not_a_store() {
    let record = Log::Changed {
        at: Revision(3),
        edits: vec![Edit::Delete { key: key("a") }],
    };
    assert_eq!(
        Kv::recover(Limits::default(), Now::default(), None, [], [record]).unwrap_err(),
        RecoverError::Gap {
            last: Revision(1),
            found: Revision(3)
        }
    );
}
