//! Machines under whatever their surroundings may do: answers in any order, lost, late and repeated, news that break,
//! records of other versions, handlers and clients that do anything, and clocks that leap.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use windlass_core::config::{ServerConfig, WorkerConfig};
use windlass_core::ids::{LeaseId, LockAsk, OpId, Revision};
use windlass_core::keyspace::Key;
use windlass_core::kv::Limits;
use windlass_core::record::{Json, Record, StopReason};
use windlass_core::retry::Verdict;
use windlass_core::server::{self, Server};
use windlass_core::store::{
    Answer, AuditAnswer, Change, LeaseAnswer, OPS_MAX, ReadAnswer, Refusal, Step, TxnOutcome,
    Usage, ViewEvent, Write,
};
use windlass_core::time::Millis;
use windlass_core::worker::{self, HandlerError, RunEvent, Worker};

use crate::clients::{server_others, server_own};
use crate::rig::{Rig, Subject};
use crate::worker_news::{claim, config, me, place, starts};

/// No input makes a machine want more than this at once: a few calls of each part, a transaction for each lane, and a
/// start, stop or reply for each of the few tasks and requests here.
const EFFECTS_MAX: usize = 200;

/// What the surroundings do, with choices that are made when it is known what there is to choose from.
#[derive(Debug, Clone)]
enum Event {
    /// A call arrives.
    Arrive(Index),
    /// An answer arrives.
    Deliver(Index),
    /// Everything that is on its way arrives.
    DeliverAll,
    /// A call's fate becomes unknown, whether or not it arrives later.
    Unknown(Index),
    /// A call never arrives, and its fate is unknown.
    LoseRequest(Index),
    /// An answer is lost.
    LoseAnswer(Index),
    /// An answer that was given is given again, or one to a question that nobody asked.
    Stray(u64, u8),
    /// A watch says something that does not follow, or breaks.
    Gap(Index, u8),
    /// Time passes.
    Pass(u32),
    /// The machine does what it wanted to do at once.
    Flush,
    /// Somebody writes to the store.
    Others(u8, u8),
    /// Something that only this kind of machine is told.
    Own(u8, u8, Index),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => any::<Index>().prop_map(Event::Arrive),
        6 => any::<Index>().prop_map(Event::Deliver),
        4 => Just(Event::DeliverAll),
        1 => any::<Index>().prop_map(Event::Unknown),
        1 => any::<Index>().prop_map(Event::LoseRequest),
        1 => any::<Index>().prop_map(Event::LoseAnswer),
        2 => (0..200_u64, any::<u8>()).prop_map(|(op, kind)| Event::Stray(op, kind)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(watch, kind)| Event::Gap(watch, kind)),
        3 => (0..4_000_u32).prop_map(Event::Pass),
        1 => (0..400_000_u32).prop_map(Event::Pass),
        6 => Just(Event::Flush),
        5 => (any::<u8>(), any::<u8>()).prop_map(|(kind, n)| Event::Others(kind, n)),
        6 => (any::<u8>(), any::<u8>(), any::<Index>()).prop_map(|(kind, n, pick)| Event::Own(kind, n, pick)),
    ]
}

/// A store that hardly takes anything any more.
const NEARLY_FULL: Usage = Usage {
    used: 99,
    size: 100,
    quota: Some(100),
    full: false,
};

/// An answer that belongs to nothing that is waited for.
fn stray(kind: u8) -> Answer {
    let at = Revision(u64::from(kind));
    match kind % 10 {
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

/// Values that this build does not write.
fn odd_value(n: u8) -> Vec<u8> {
    match n % 4 {
        0 => Vec::new(),
        1 => br#"{"v":2,"x":1}"#.to_vec(),
        2 => b"\xff\xfe".to_vec(),
        _ => br#"{"v":1}"#.to_vec(),
    }
}

impl<M: Subject> Rig<M>
where
    M::Input: Clone + serde::Serialize + serde::de::DeserializeOwned,
    M::Effect: serde::Serialize,
{
    /// Lets happen what can happen to any machine.
    fn meet(&mut self, event: &Event) {
        match event {
            Event::Arrive(pick) if !self.requests.is_empty() => {
                self.arrive(pick.index(self.requests.len()));
            }
            Event::Deliver(pick) if !self.answers.is_empty() => {
                self.deliver(pick.index(self.answers.len()));
            }
            Event::DeliverAll => {
                self.arrive_all();
                self.deliver_all(true);
            }
            Event::Unknown(pick) if !self.requests.is_empty() => {
                let call = &self.requests[pick.index(self.requests.len())];
                if let Some(lost) = call.call.lost() {
                    let op = call.op;
                    self.give(M::store(op, lost));
                }
            }
            Event::LoseRequest(pick) if !self.requests.is_empty() => {
                let call = self.requests.remove(pick.index(self.requests.len()));
                if let Some(lost) = call.call.lost() {
                    self.give(M::store(call.op, lost));
                }
            }
            Event::LoseAnswer(pick) if !self.answers.is_empty() => self.lose(pick),
            Event::Stray(op, kind) => {
                // Operations that wait for an answer get only one that the store gave.
                let op = OpId(op + 1_000_000);
                self.give(M::store(op, stray(*kind)));
            }
            Event::Gap(pick, kind) => self.gap(pick, *kind),
            Event::Pass(millis) => self.pass(Duration::from_millis(u64::from(*millis))),
            Event::Flush => self.flush(),
            Event::Arrive(_)
            | Event::Deliver(_)
            | Event::Unknown(_)
            | Event::LoseRequest(_)
            | Event::LoseAnswer(_)
            | Event::Others(..)
            | Event::Own(..) => {}
        }
    }

    /// An answer, and with it its watch, is lost.
    fn lose(&mut self, pick: &Index) {
        let (op, answer) = self.answers.remove(pick.index(self.answers.len()));
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

    fn gap(&mut self, pick: &Index, kind: u8) {
        let watches = self.watches();
        if watches.is_empty() {
            return;
        }
        let op = watches[pick.index(watches.len())];
        let far = Revision(self.kv.revision().0 + 50);
        let event = match kind % 4 {
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
                    key: Key::from_store("/queues/x"),
                    at: Revision(1),
                }],
            },
            // A member that lags.
            _ => ViewEvent::Reset {
                at: Revision(1),
                items: Vec::new(),
                more: kind > 127,
            },
        };
        self.give(M::store(op, Answer::View(event)));
    }

    pub(crate) fn odd(&mut self, n: u8, keys: &[Key]) {
        let key = keys[usize::from(n) % keys.len()].clone();
        if n > 200 {
            self.others(Step::new(vec![], vec![Write::Delete { key }]));
        } else {
            self.put(key, odd_value(n));
        }
    }
}

fn worker_others(rig: &mut Rig<Worker>, kind: u8, n: u8) {
    let task = n % 12;
    match kind % 5 {
        0 | 1 if rig.machine.registration().is_some() => claim(rig, task),
        2 => {
            let key = Key::claim(&me(), place(task));
            if let Some(found) = rig.found(&key)
                && let Ok(mut record) = windlass_core::record::ClaimRecord::decode(&found.value)
            {
                let reasons = [
                    StopReason::Cancel,
                    StopReason::TimeOut,
                    StopReason::Shutdown,
                ];
                record.stop = Some(reasons[usize::from(n) % 3]);
                rig.put(key, record.encode().as_bytes().to_vec());
            }
        }
        3 => {
            let key = Key::claim(&me(), place(task));
            rig.others(Step::new(vec![], vec![Write::Delete { key }]));
        }
        _ => rig.odd(
            n,
            &[
                Key::claim(&me(), place(task)),
                Key::node_config(&me()),
                Key::from_store("/queues/@w1/x"),
                Key::task(place(task).task),
            ],
        ),
    }
}

fn worker_own(rig: &mut Rig<Worker>, kind: u8, n: u8, pick: &Index) {
    let runs: Vec<OpId> = starts(rig).into_iter().map(|(.., run)| run).collect();
    let run = if runs.is_empty() || n == 0 {
        OpId(u64::from(n) + 1_000_000)
    } else {
        runs[pick.index(runs.len())]
    };
    let failed = |verdict| {
        RunEvent::Failed(HandlerError {
            message: "no".into(),
            verdict,
        })
    };
    let ask = LockAsk(u32::from(n) % 12);
    let event = match kind % 11 {
        8 | 9 => RunEvent::Lock {
            ask,
            lock: format!("l{}", ask.0 % 5).parse().unwrap(),
        },
        10 => RunEvent::Unlock { ask },
        0 | 1 => RunEvent::Completed(Json::string("done")),
        2 => failed(Verdict::Retry),
        3 => failed(Verdict::FailNow),
        4 => failed(Verdict::RetryAfter(Millis::new(u64::MAX))),
        5 => RunEvent::Stopped,
        6 => RunEvent::Progress(Json::string("half")),
        _ => {
            let input = if kind > 240 {
                worker::Input::Drain
            } else {
                worker::Input::Load {
                    cpu_permille: u16::from(n),
                    memory_bytes: u64::MAX,
                }
            };
            return rig.give(input);
        }
    };
    rig.give(worker::Input::Run { run, event });
}

pub(crate) fn worker_config() -> WorkerConfig {
    WorkerConfig {
        slots: 3,
        ..config()
    }
}

pub(crate) fn server_config() -> ServerConfig {
    let mut config = ServerConfig::new(me(), "test".into());
    config.ttl = Duration::from_secs(6);
    config.gateway_lanes = 2;
    config.scheduler_lanes = 2;
    config.retention = Millis::from_secs(5);
    config
}

pub(crate) fn limits() -> Limits {
    Limits {
        part_items_max: 3,
        ..Limits::default()
    }
}

proptest! {
    #[test]
    fn a_worker_takes_whatever_comes(events in prop::collection::vec(event(), 1..150), begun in any::<bool>()) {
        let mut rig = Rig::new(limits(), |now| Worker::new(worker_config(), 7, now));
        let born = rig.now;
        if begun {
            rig.run_until(|rig| rig.machine.is_ready());
        }
        for event in &events {
            match event {
                Event::Others(kind, n) => worker_others(&mut rig, *kind, *n),
                Event::Own(kind, n, pick) => worker_own(&mut rig, *kind, *n, pick),
                Event::Arrive(_)
                | Event::Deliver(_)
                | Event::DeliverAll
                | Event::Unknown(_)
                | Event::LoseRequest(_)
                | Event::LoseAnswer(_)
                | Event::Stray(..)
                | Event::Gap(..)
                | Event::Pass(_)
                | Event::Flush => rig.meet(event),
            }
        }
        prop_assert!(rig.effects_max <= EFFECTS_MAX, "{} effects at once", rig.effects_max);
        prop_assert!(rig.machine.running() <= 3, "{} handlers", rig.machine.running());
        let mut fences: Vec<_> = starts(&rig).into_iter().map(|(task, fence, _)| (task, fence)).collect();
        fences.sort();
        prop_assert!(fences.windows(2).all(|pair| pair[0] != pair[1]), "a fence was started twice");
        rig.replay(Worker::new(worker_config(), 7, born));
    }

    #[test]
    fn a_scheduler_process_takes_whatever_comes(events in prop::collection::vec(event(), 1..150), begun in any::<bool>()) {
        let mut rig = Rig::new(limits(), |now| Server::new(server_config(), 7, now));
        let born = rig.now;
        if begun {
            rig.run_until(|rig| rig.machine.is_ready());
        }
        for event in &events {
            match event {
                Event::Others(kind, n) => server_others(&mut rig, *kind, *n),
                Event::Own(kind, n, pick) => server_own(&mut rig, *kind, *n, pick),
                Event::Arrive(_)
                | Event::Deliver(_)
                | Event::DeliverAll
                | Event::Unknown(_)
                | Event::LoseRequest(_)
                | Event::LoseAnswer(_)
                | Event::Stray(..)
                | Event::Gap(..)
                | Event::Pass(_)
                | Event::Flush => rig.meet(event),
            }
        }
        prop_assert!(rig.effects_max <= EFFECTS_MAX, "{} effects at once", rig.effects_max);
        for effect in &rig.wanted {
            if let server::Effect::Reply { reply: windlass_core::gateway::Reply::Tasks { tasks, .. }, .. } = effect {
                prop_assert!(tasks.len() <= 100);
            }
        }
        rig.replay(Server::new(server_config(), 7, born));
    }
}

const _: () = assert!(OPS_MAX <= EFFECTS_MAX);
