//! New tasks that wait for nobody: their submissions make their claims.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::gateway::{
    Due, RemoteAsk, RemoteSpec, RemoteToken, RemoteTold, Reply, Request, RequestId, Submitted,
    TaskSpec, TaskState,
};
use windlass_core::ids::{NodeId, OpId, Priority, Revision, TaskId};
use windlass_core::keyspace::{Key, Meaning, Range, Role};
use windlass_core::record::{
    CARRIED_MAX, ClaimRecord, Json, NodeRecord, OfferRecord, QueueConfig, Record, TaskRecord,
    Version,
};
use windlass_core::retry::RetryPolicy;
use windlass_core::server::{self, Server};
use windlass_core::steps;
use windlass_core::store::{Answer, Call, Item, Refusal, Step, StoreCall, TxnOutcome, Write};
use windlass_core::time::Millis;

use crate::random::{limits, server_config};
use crate::rig::Rig;

const SLOTS: u32 = 2;

fn node(id: &str) -> NodeId {
    id.parse().unwrap()
}

/// A worker that reports and offers to take `noop`.
fn worker_comes(rig: &mut Rig<Server>, id: &str) {
    let key = Key::node(Role::Worker, &node(id));
    let record = NodeRecord {
        v: Version,
        life: 1,
        version: "test".into(),
        view: Revision(0),
        load: 0,
        cpu_permille: 0,
        memory_bytes: 0,
        ttl: Millis::from_secs(600),
        started_at: rig.now.wall,
        remote: None,
    };
    rig.put(key, record.encode().as_bytes().to_vec());
    let offer = OfferRecord {
        v: Version,
        slots: SLOTS,
        queues: Vec::new(),
        types: vec!["noop".parse().unwrap()],
        weight: 1,
        labels: BTreeMap::new(),
    };
    rig.put(Key::offer(&node(id)), offer.encode().as_bytes().to_vec());
}

pub(crate) fn ready() -> Rig<Server> {
    let mut rig = Rig::new(limits(), |now| Server::new(server_config(), 7, now));
    rig.run_until(|rig| rig.machine.is_ready());
    worker_comes(&mut rig, "w1");
    rig.settle();
    rig
}

pub(crate) fn spec() -> TaskSpec {
    TaskSpec {
        kind: "noop".parse().unwrap(),
        queue: "q".parse().unwrap(),
        priority: Priority::NORMAL,
        name: None,
        payload: Json::null(),
        metadata: BTreeMap::new(),
        retries_max: 3,
        retry: RetryPolicy::default(),
        timeout: Millis::from_secs(60),
        due: Due::Now,
        key: None,
    }
}

pub(crate) fn submit(rig: &mut Rig<Server>, id: u64, specs: Vec<TaskSpec>) {
    let id = RequestId(id);
    let request = Request::Submit(specs);
    rig.give(server::Input::Request { id, request });
    rig.flush();
}

fn reply(rig: &Rig<Server>, id: u64) -> Option<&Reply> {
    rig.wanted.iter().find_map(|effect| match effect {
        server::Effect::Reply { id: to, reply } if to.0 == id => Some(reply),
        server::Effect::Reply { .. } | server::Effect::Store(_) | server::Effect::Exit(_) => None,
    })
}

fn accepted(rig: &Rig<Server>, id: u64) -> Vec<TaskId> {
    let reply = reply(rig, id);
    let Some(Reply::Submitted(fates)) = reply else {
        panic!("{reply:?}")
    };
    let ids = fates.iter().map(|fate| {
        let state = TaskState::Pending;
        let (Submitted::Accepted { id, .. } | Submitted::Unknown { id }) = fate else {
            panic!("{fate:?}")
        };
        assert_eq!(*fate, Submitted::Accepted { id: *id, state });
        *id
    });
    ids.collect()
}

/// How many tasks wait, and how many each worker has.
fn spread(rig: &Rig<Server>) -> (usize, BTreeMap<NodeId, usize>) {
    let (mut waiting, mut claims) = (0, BTreeMap::new());
    for item in rig.items(&Range::cluster()) {
        match Meaning::of(&item.key) {
            Meaning::Entry(..) => waiting += 1,
            Meaning::Claim(worker, _) => *claims.entry(worker).or_default() += 1,
            Meaning::Task(_)
            | Meaning::Outcome(_)
            | Meaning::Run(_)
            | Meaning::Delayed(..)
            | Meaning::Dead(..)
            | Meaning::Unique
            | Meaning::QueueConfig(_)
            | Meaning::NodeConfig(_)
            | Meaning::LockWaiter(..)
            | Meaning::JanitorWaiter(_)
            | Meaning::Node(..)
            | Meaning::Offer(_)
            | Meaning::Lane(_)
            | Meaning::FoldedTotals
            | Meaning::Foreign => {}
        }
    }
    (waiting, claims)
}

fn claims<const N: usize>(of: [(&str, usize); N]) -> BTreeMap<NodeId, usize> {
    of.map(|(id, count)| (node(id), count)).into()
}

fn worker_leaves(rig: &mut Rig<Server>, id: &str) {
    let offer = rig.found(&Key::offer(&node(id))).unwrap().created;
    rig.others(steps::withdraw(&node(id), offer));
}

#[test]
fn a_new_task_for_which_there_is_a_slot_is_claimed_by_its_submission() {
    let mut rig = ready();
    submit(&mut rig, 1, vec![spec()]);
    rig.settle();
    let task = accepted(&rig, 1)[0];
    assert_eq!(spread(&rig), (0, claims([("w1", 1)])));
    assert!(
        rig.found(&Key::task(task)).is_none(),
        "its claim is the only copy"
    );
    let totals = rig.machine.totals();
    assert_eq!((totals.accepted, totals.dispatched), (1, 1));
    assert_eq!(
        rig.machine.reserved(),
        0,
        "the claim has taken the slot over"
    );
}

#[test]
fn what_finds_no_slot_waits_and_whoever_comes_later_waits_behind_it() {
    let mut rig = ready();
    submit(&mut rig, 1, vec![spec(), spec(), spec()]);
    rig.settle();
    assert_eq!(spread(&rig), (1, claims([("w1", 2)])));
    let is_entry = |key: &Key| matches!(Meaning::of(key), Meaning::Entry(..));
    let mut keys = rig.items(&Range::cluster()).into_iter().map(|it| it.key);
    let first = keys.find(is_entry).unwrap();
    // A slot becomes free while another task comes: it is the waiting one's.
    let claim = rig.items(&Range::claims_of(&node("w1"))).pop().unwrap();
    let write = Write::Delete { key: claim.key };
    rig.others(Step::new(vec![], vec![write]));
    rig.deliver_all(true);
    submit(&mut rig, 2, vec![spec()]);
    rig.settle();
    assert_eq!(spread(&rig), (1, claims([("w1", 2)])));
    assert!(rig.found(&first).is_none(), "who waited longest was first");
}

/// Everything arrives, and only the news of it come back: the fates of transactions stay open.
fn hear_news_only(rig: &mut Rig<Server>) {
    rig.arrive_all();
    while let Some(ix) = rig
        .answers
        .iter()
        .position(|(_, answer)| matches!(answer, Answer::View(_)))
    {
        rig.deliver(ix);
    }
    rig.flush();
}

#[test]
fn a_free_slot_is_kept_for_who_waits_while_every_lane_is_busy() {
    let mut rig = Rig::new(limits(), |now| Server::new(server_config(), 7, now));
    rig.run_until(|rig| rig.machine.is_ready());
    submit(&mut rig, 1, (0..6).map(|_| spec()).collect());
    rig.settle();
    // Two lanes give out two tasks each, and nothing is heard of their fates.
    for worker in ["w1", "w2", "w3"] {
        worker_comes(&mut rig, worker);
        hear_news_only(&mut rig);
    }
    hear_news_only(&mut rig);
    assert_eq!(spread(&rig), (2, claims([("w1", 2), ("w2", 2)])));
    submit(&mut rig, 2, vec![spec()]);
    hear_news_only(&mut rig);
    assert_eq!(spread(&rig), (3, claims([("w1", 2), ("w2", 2)])));
    rig.settle();
    assert_eq!(spread(&rig), (1, claims([("w1", 2), ("w2", 2), ("w3", 2)])));
}

#[test]
fn a_small_task_travels_in_its_claim_and_a_larger_one_has_a_record_of_its_own() {
    for (more, carried) in [(0, true), (1, false)] {
        let mut rig = ready();
        let payload = Json::string(&"x".repeat(CARRIED_MAX - 2 + more));
        submit(
            &mut rig,
            1,
            vec![TaskSpec {
                payload: payload.clone(),
                ..spec()
            }],
        );
        rig.settle();
        let task = accepted(&rig, 1)[0];
        let own = rig.found(&Key::task(task));
        let own = own.map(|it| TaskRecord::decode(&it.value).unwrap().payload);
        let claim = rig.items(&Range::claims_of(&node("w1"))).pop().unwrap();
        let claim = ClaimRecord::decode(&claim.found.value).unwrap();
        let in_claim = claim.only_copy(Priority::NORMAL).map(|it| it.payload);
        assert_eq!((own.is_none(), in_claim.is_some()), (carried, carried));
        assert_eq!(own.or(in_claim), Some(payload));
    }
}

#[test]
fn while_what_waits_is_placed_what_has_to_wait_as_well_has_one_lane() {
    let many = || (0..150).map(|_| spec()).collect::<Vec<_>>();
    let mut rig = ready();
    submit(&mut rig, 1, vec![spec(), spec(), spec()]);
    rig.settle();
    submit(&mut rig, 2, many());
    assert_eq!(commits(&rig), 2, "both lanes, as nothing is being placed");
    rig.settle();
    // A slot becomes free, and is given to who waits; the store has not heard of it.
    let claim = rig.items(&Range::claims_of(&node("w1"))).pop().unwrap();
    let write = Write::Delete { key: claim.key };
    rig.others(Step::new(vec![], vec![write]));
    rig.deliver_all(true);
    rig.flush();
    assert_eq!(commits(&rig), 1, "the dispatch");
    submit(&mut rig, 3, many());
    assert_eq!(commits(&rig), 2, "the dispatch, and one lane");
    rig.settle();
    assert_eq!(accepted(&rig, 3).len(), 150);
}

fn commits(rig: &Rig<Server>) -> usize {
    let commit = |call: &&StoreCall| matches!(call.call, Call::Commit(_));
    rig.requests.iter().filter(commit).count()
}

#[test]
fn a_task_of_a_paused_queue_or_of_a_later_time_waits() {
    let mut rig = ready();
    let config = QueueConfig {
        paused: true,
        ..QueueConfig::default()
    };
    let key = Key::queue_config(&"q".parse().unwrap());
    rig.put(key, config.encode().as_bytes().to_vec());
    rig.settle();
    submit(&mut rig, 1, vec![spec()]);
    let due = Due::In(Millis::from_secs(60));
    let queue = "r".parse().unwrap();
    submit(
        &mut rig,
        2,
        vec![TaskSpec {
            due,
            queue,
            ..spec()
        }],
    );
    rig.settle();
    assert_eq!(spread(&rig), (1, claims([])));
}

#[test]
fn a_submission_whose_worker_left_meanwhile_goes_to_another_and_frees_the_slot() {
    let mut rig = ready();
    submit(&mut rig, 1, vec![spec()]);
    worker_leaves(&mut rig, "w1");
    worker_comes(&mut rig, "w2");
    // The submission reaches the store before the news of either reach the process.
    rig.arrive_all();
    rig.settle();
    assert_eq!(accepted(&rig, 1).len(), 1);
    let (waiting, held) = spread(&rig);
    assert_eq!(
        waiting + held.values().sum::<usize>(),
        1,
        "it is there once"
    );
    assert_eq!(held.get(&node("w1")), None);
    assert_eq!(held, claims([("w2", 1)]));
    assert_eq!(rig.machine.reserved(), 0);
    // The slots that the first try had kept are free again.
    worker_comes(&mut rig, "w1");
    rig.settle();
    submit(&mut rig, 2, vec![spec(), spec(), spec()]);
    rig.settle();
    assert_eq!(spread(&rig), (0, claims([("w1", 2), ("w2", 2)])));
}

#[test]
fn a_submission_that_the_store_refuses_frees_the_slot() {
    let mut rig = ready();
    for id in 1..=3 {
        submit(&mut rig, id, vec![spec()]);
        let refused: Vec<OpId> = std::mem::take(&mut rig.requests)
            .into_iter()
            .filter(|it| matches!(it.call, Call::Commit(_)))
            .map(|it| it.op)
            .collect();
        for op in refused {
            let outcome = TxnOutcome::Refused(Refusal::NoRoom);
            rig.answers.push((op, Answer::Txn(outcome)));
        }
        rig.settle();
    }
    assert_eq!(rig.machine.reserved(), 0);
    submit(&mut rig, 4, vec![spec(), spec()]);
    rig.settle();
    assert_eq!(spread(&rig), (0, claims([("w1", 2)])));
}

#[test]
fn an_attempt_that_never_waited_comes_back_to_its_place_when_its_worker_is_lost() {
    let mut rig = ready();
    submit(&mut rig, 1, vec![spec()]);
    rig.settle();
    let claim = rig.items(&Range::claims_of(&node("w1"))).pop().unwrap();
    let Meaning::Claim(_, place) = Meaning::of(&claim.key) else {
        panic!("{}", claim.key)
    };
    for key in [
        Key::offer(&node("w1")),
        Key::node(Role::Worker, &node("w1")),
    ] {
        let write = Write::Delete { key };
        rig.others(Step::new(vec![], vec![write]));
    }
    rig.run_until(|rig| {
        rig.found(&Key::entry(&"q".parse().unwrap(), place))
            .is_some()
    });
}

/// A worker without a lane of its own, that talks to gateways only.
fn remote_worker_comes(rig: &mut Rig<Server>, id: u64) -> RemoteToken {
    let spec = RemoteSpec {
        id: None,
        version: "test".into(),
        ttl: Duration::from_secs(600),
        slots: SLOTS,
        queues: Vec::new(),
        types: vec!["noop".parse().unwrap()],
        weight: 1,
        labels: BTreeMap::new(),
        secret_hash: "hash".into(),
    };
    ask(rig, id, RemoteAsk::Join(Box::new(spec)));
    rig.settle();
    let Some(Reply::Remote(told)) = reply(rig, id) else {
        panic!("{:?}", reply(rig, id))
    };
    let RemoteTold::Joined {
        worker,
        registration,
        ..
    } = &**told
    else {
        panic!("{told:?}")
    };
    RemoteToken {
        worker: worker.clone(),
        registration: *registration,
        secret_hash: "hash".into(),
    }
}

fn ask(rig: &mut Rig<Server>, id: u64, ask: RemoteAsk) {
    let (id, request) = (RequestId(id), Request::Remote(Box::new(ask)));
    rig.give(server::Input::Request { id, request });
}

/// Whatever a submission meets of a leave that is under way: one of these shares its transaction.
#[test]
fn a_transaction_that_withdraws_an_offer_gives_its_worker_nothing() {
    for moves in 0..8 {
        let mut rig = Rig::new(limits(), |now| Server::new(server_config(), 7, now));
        rig.run_until(|rig| rig.machine.is_ready());
        let token = remote_worker_comes(&mut rig, 1);
        // It offers what it takes with its first question for tasks.
        let fetch = RemoteAsk::Fetch {
            token: token.clone(),
            held: Vec::new(),
            stopping: Vec::new(),
            draining: false,
            max: 1,
            wait: None,
        };
        ask(&mut rig, 9, fetch);
        rig.settle();
        let offer = Key::offer(&token.worker);
        let offered = rig.found(&offer).unwrap().created;
        ask(&mut rig, 2, RemoteAsk::Leave { token });
        for _ in 0..moves {
            if !rig.requests.is_empty() {
                rig.arrive_all();
            } else if !rig.answers.is_empty() {
                rig.deliver_all(true);
            } else {
                rig.flush();
            }
        }
        submit(&mut rig, 3, vec![spec()]);
        while !rig.requests.is_empty() {
            rig.arrive(0);
            let stands = rig.found(&offer).is_some_and(|it| it.created == offered);
            let claimed = |change: &Item| {
                let is_claim = matches!(Meaning::of(&change.key), Meaning::Claim(..));
                is_claim && change.found.created == rig.kv.revision()
            };
            let gives = rig.items(&Range::cluster()).iter().any(claimed);
            assert!(stands || !gives, "after {moves} moves");
        }
        rig.settle();
        assert_eq!(accepted(&rig, 3).len(), 1);
    }
}
