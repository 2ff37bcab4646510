//! A worker under any inputs, in any order and at any time.

use std::collections::BTreeSet;
use std::time::Duration;

use windlass_sim::core::config::WorkerConfig;
use windlass_sim::core::ids::{Fence, LockAsk, LockName, OpId, TaskId};
use windlass_sim::core::keyspace::{Key, Meaning, Range};
use windlass_sim::core::record::{Json, Record};
use windlass_sim::core::retry::Verdict;
use windlass_sim::core::store::{Answer, StoreCall, Write};
use windlass_sim::core::time::{Millis, Now};
use windlass_sim::core::worker::{Effect, HandlerError, Input, RunEvent, Worker};

use crate::choices::Choices;
use crate::rig::{Rig, Subject};
use crate::samples;

const SLOTS: usize = 3;

impl Subject for Worker {
    fn elapsed() -> Input {
        Input::Elapsed
    }

    fn store(op: OpId, answer: Answer) -> Input {
        Input::Store { op, answer }
    }

    fn asks(_: &Input) -> bool {
        false
    }

    fn call(effect: &Effect) -> Option<&StoreCall> {
        if let Effect::Store(call) = effect {
            Some(call)
        } else {
            None
        }
    }
}

/// What the handlers of the worker do, as seen from outside.
#[derive(Default)]
struct Handlers {
    started: BTreeSet<(TaskId, Fence)>,
    running: BTreeSet<OpId>,
    has_exited: bool,
}

/// Lets things happen until the bytes run out.
pub fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut rig = Rig::new(worker);
    if !choices.one_in(4) {
        rig.run_until(Worker::is_ready);
    }
    let mut handlers = Handlers::default();
    rig.meet_all(&mut choices, |rig, c| {
        handlers.look(rig);
        happen(rig, c, &mut handlers);
    });
    handlers.look(&mut rig);
    rig.replay(worker);
}

fn worker(now: Now) -> Worker {
    let types = vec![samples::kind(0), samples::kind(1)];
    let mut config = WorkerConfig::new(samples::node(1), types, "test".into());
    config.ttl = Duration::from_secs(6);
    config.lanes = 2;
    config.slots = u32::try_from(SLOTS).expect("few");
    Worker::new(config, 7, now)
}

impl Handlers {
    /// Takes note of what the worker wanted.
    fn look(&mut self, rig: &mut Rig<Worker>) {
        for effect in rig.wanted.drain(..) {
            assert!(!self.has_exited, "{effect:?} comes after the end");
            match effect {
                Effect::Start(start) => {
                    let is_new = self.started.insert((start.task, start.fence));
                    assert!(is_new, "{:?} is started twice under one fence", start.task);
                    self.running.insert(start.run);
                    assert!(self.running.len() <= SLOTS, "more handlers than slots");
                }
                Effect::Exit(_) => self.has_exited = true,
                Effect::Store(_)
                | Effect::Stop { .. }
                | Effect::Locked { .. }
                | Effect::LockRefused { .. }
                | Effect::Fence { .. } => {}
            }
        }
    }
}

fn happen(rig: &mut Rig<Worker>, c: &mut Choices<'_>, handlers: &mut Handlers) {
    match c.below(16) {
        0..=4 => assign(rig, c),
        5 => stop(rig, c),
        6 => {
            let keys: Vec<Key> = claims(rig);
            if let Some(key) = c.pick(&keys).cloned() {
                rig.write(vec![Write::Delete { key }]);
            }
        }
        7 => {
            let key = Key::node_config(&samples::node(1));
            let value = samples::value(&Meaning::of(&key), c);
            rig.put(key, value);
        }
        8..=13 => {
            let event = event(c);
            let running: Vec<OpId> = handlers.running.iter().copied().collect();
            let run = c.pick(&running).copied().unwrap_or(OpId(1_000_000));
            let goes_on = matches!(
                event,
                RunEvent::Progress(_) | RunEvent::Lock { .. } | RunEvent::Unlock { .. }
            );
            if !goes_on {
                handlers.running.remove(&run);
            }
            rig.give(Input::Run { run, event });
        }
        14 => rig.give(Input::Load {
            cpu_permille: c.wide(),
            memory_bytes: u64::MAX,
        }),
        _ if c.one_in(4) => rig.give(Input::Drain),
        _ => {}
    }
}

fn claims(rig: &Rig<Worker>) -> Vec<Key> {
    let range = Range::claims_of(&samples::node(1));
    rig.items(&range).into_iter().map(|it| it.key).collect()
}

/// A scheduler gives the worker a task.
fn assign(rig: &mut Rig<Worker>, c: &mut Choices<'_>) {
    let Some(registration) = rig.machine.registration() else {
        return;
    };
    let n = c.below(samples::TASKS);
    let (claim, task) = (samples::claim(registration, c), samples::task_record(c));
    let key = Key::claim(&samples::node(1), samples::place(n, c));
    if !c.one_in(16) {
        rig.put(Key::task(samples::task(n)), task.encode());
    }
    rig.put(key, claim.encode());
}

/// A claim is flagged, or otherwise written again, as no worker did.
fn stop(rig: &mut Rig<Worker>, c: &mut Choices<'_>) {
    let keys = claims(rig);
    if let (Some(key), Some(registration)) = (c.pick(&keys).cloned(), rig.machine.registration()) {
        let claim = samples::claim(registration, c);
        rig.put(key, claim.encode());
    }
}

fn event(c: &mut Choices<'_>) -> RunEvent {
    let failed = |verdict| {
        RunEvent::Failed(HandlerError {
            message: "no".into(),
            verdict,
        })
    };
    let ask = LockAsk(c.below(12) as u32);
    match c.below(11) {
        8 | 9 => RunEvent::Lock {
            ask,
            lock: LockName::new(&format!("l{}", ask.0 % 5)).expect("a legal name"),
        },
        10 => RunEvent::Unlock { ask },
        0..=2 => RunEvent::Completed(Json::string("done")),
        3 => failed(Verdict::Retry),
        4 => failed(Verdict::FailNow),
        5 => failed(Verdict::RetryAfter(Millis::new(u64::MAX))),
        6 => RunEvent::Stopped,
        _ => RunEvent::Progress(Json::string("half")),
    }
}
