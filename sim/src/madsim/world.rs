//! What all parts of a run share: its trace, its ledger, its store, and who lives.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::madsim::time::TimeHandle;
use tokio::sync::Notify;
use windlass::gateway::Gateway;
use windlass_core::ids::{Fence, OpId, TaskId};
use windlass_core::store::{Answer, Call};
use windlass_core::time::Mono;
use windlass_core::worker::Exit;

use super::fault::Kind;
use super::report::Violation;
use super::scenario::{NodeIx, Scenario};
use super::store::Store;
use super::trace::Trace;
use crate::ledger::Ledger;

/// One life of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who {
    /// Which process.
    pub(super) node: NodeIx,
    /// Counts its lives, from 1 on.
    pub(super) life: u64,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.life)
    }
}

/// A process, in all its lives.
#[derive(Debug, Default)]
struct Process {
    life: u64,
    gateway: Option<Gateway>,
    drain: Arc<Notify>,
    /// It has neither ended nor been killed.
    is_alive: bool,
    exit: Option<Exit>,
    /// Calls of this life that are to be answered, and when each was made.
    owed: BTreeMap<OpId, Duration>,
    /// Watches of this life.
    watches: BTreeSet<OpId>,
}

/// A run.
#[derive(Debug)]
pub(super) struct World {
    /// What was decided before.
    pub(super) scenario: Scenario,
    /// The store.
    pub(super) store: Store,
    trace: Mutex<Trace>,
    ledger: Mutex<Ledger>,
    faults: Mutex<BTreeMap<Kind, u64>>,
    violations: Mutex<Vec<Violation>>,
    /// There is nothing to do, nothing is wrong, and nothing has been for long.
    quiet: AtomicBool,
    processes: Mutex<Vec<Process>>,
}

/// The simulated time since the start.
pub(super) fn elapsed() -> Duration {
    TimeHandle::current().elapsed()
}

/// Locks what only one thread ever touches.
pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // After a panic the report still wants to be written.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) fn new(scenario: Scenario) -> Self {
        let processes = (0..scenario.nodes()).map(|_| Process::default()).collect();
        Self {
            scenario,
            store: Store::default(),
            trace: Mutex::default(),
            ledger: Mutex::default(),
            faults: Mutex::new(Kind::ALL.into_iter().map(|kind| (kind, 0)).collect()),
            violations: Mutex::default(),
            quiet: AtomicBool::new(false),
            processes: Mutex::new(processes),
        }
    }

    /// Adds a line to the trace.
    pub(super) fn note(&self, what: fmt::Arguments<'_>) {
        lock(&self.trace).note(elapsed(), what);
    }

    /// A fault has happened.
    pub(super) fn count(&self, kind: Kind) {
        self.note(format_args!("fault {}", kind.as_str()));
        *lock(&self.faults).entry(kind).or_default() += 1;
    }

    /// Something that must not be so was seen.
    pub(super) fn blame(&self, violation: Violation) {
        self.note(format_args!("violation {violation:?}"));
        lock(&self.violations).push(violation);
    }

    /// A process starts.
    pub(super) fn born(&self, node: NodeIx) -> Who {
        let process = &mut lock(&self.processes)[node];
        *process = Process {
            life: process.life + 1,
            is_alive: true,
            ..Process::default()
        };
        let life = process.life;
        let who = Who { node, life };
        self.note(format_args!("{who} starts"));
        who
    }

    /// A process has ended by itself.
    pub(super) fn ended(&self, who: Who, exit: Exit) {
        self.note(format_args!("{who} ends: {exit:?}"));
        let process = &mut lock(&self.processes)[who.node];
        process.exit = Some(exit);
        process.is_alive = false;
        self.disturb(format_args!("process {who} ends: {exit:?}"));
    }

    /// From now on nothing may happen but renewals.
    pub(super) fn be_quiet(&self) {
        self.note(format_args!("is quiet"));
        self.quiet.store(true, Ordering::Relaxed);
    }

    /// Something happens that may not while all is quiet.
    pub(super) fn disturb(&self, what: fmt::Arguments<'_>) {
        if self.quiet.load(Ordering::Relaxed) {
            lock(&self.violations).push(Violation::Restless(what.to_string()));
        }
    }

    /// Finds requests that their gateways still wait to reply to.
    pub(super) fn look_for_askers(&self) {
        for (node, process) in lock(&self.processes).iter().enumerate() {
            let waiting = process.gateway.as_ref().map_or(0, Gateway::waiting);
            if process.is_alive && waiting > 0 {
                self.disturb(format_args!("node {node} still owes {waiting} replies"));
            }
        }
    }

    /// A process was killed.
    pub(super) fn killed(&self, node: NodeIx) {
        lock(&self.processes)[node].is_alive = false;
    }

    /// Whether a process has ended by itself, and was not killed or started since.
    pub(super) fn has_ended(&self, node: NodeIx) -> bool {
        lock(&self.processes)[node].exit.is_some()
    }

    /// Whether a process runs, if perhaps not now.
    pub(super) fn is_alive(&self, node: NodeIx) -> bool {
        lock(&self.processes)[node].is_alive
    }

    pub(super) fn open_gateway(&self, node: NodeIx, gateway: Gateway) {
        lock(&self.processes)[node].gateway = Some(gateway);
    }

    /// The way in of a scheduler; of its last life, if it is down.
    pub(super) fn gateway(&self, node: NodeIx) -> Option<Gateway> {
        lock(&self.processes)[node].gateway.clone()
    }

    /// What tells this life of a process to leave.
    pub(super) fn drain(&self, node: NodeIx) -> Arc<Notify> {
        Arc::clone(&lock(&self.processes)[node].drain)
    }

    /// A machine has asked its store.
    pub(super) fn asked(&self, who: Who, op: OpId, call: &Call) {
        self.note(format_args!("{who} asks {} {call:?}", op.0));
        let process = &mut lock(&self.processes)[who.node];
        if let Call::Watch(_) = call {
            process.watches.insert(op);
        } else if call.lost().is_some() {
            let earlier = process.owed.insert(op, elapsed());
            assert!(earlier.is_none(), "a machine names each call anew");
        }
    }

    /// A machine is given an answer: one for each call, and any number for a watch.
    pub(super) fn answered(&self, who: Who, op: OpId, answer: &Answer) {
        self.note(format_args!("{who} hears {} {answer:?}", op.0));
        let process = &mut lock(&self.processes)[who.node];
        if process.life != who.life || !process.is_alive {
            // What a dead process still held is dropped, and its debts are paid to nobody.
            return;
        }
        let expected = match answer {
            Answer::View(_) => process.watches.contains(&op),
            Answer::Txn(_)
            | Answer::Read(_)
            | Answer::Lease(_)
            | Answer::Audited(_)
            | Answer::Compacted(_)
            | Answer::Usage(_) => process.owed.remove(&op).is_some(),
        };
        if !expected {
            lock(&self.violations).push(Violation::AnsweredTwice {
                node: who.node,
                op: op.0,
            });
        }
    }

    /// Finds calls that were never answered, though they should have been by now.
    pub(super) fn look_for_debts(&self) {
        let overdue = self.scenario.answer_max + Duration::from_secs(1);
        let now = elapsed();
        let mut found = Vec::new();
        for (node, process) in lock(&self.processes).iter().enumerate() {
            let late = process.owed.iter().filter(|(_, at)| now > **at + overdue);
            if process.is_alive {
                found.extend(late.map(|(op, _)| Violation::NeverAnswered { node, op: op.0 }));
            }
        }
        lock(&self.violations).extend(found);
    }

    /// A handler starts.
    pub(super) fn handler_starts(&self, who: Who, task: TaskId, fence: Fence) {
        self.note(format_args!("{who} starts {task} under {fence}"));
        let at = Mono::ZERO.after(elapsed());
        lock(&self.ledger).start(at, task, fence, who.node);
    }

    /// Every violation so far, those of the ledger included.
    pub(super) fn violations(&self) -> Vec<Violation> {
        let ledger = lock(&self.ledger);
        let judged = ledger.violations().iter();
        let judged = judged.map(|text| Violation::Ledger(text.clone()));
        lock(&self.violations)
            .iter()
            .cloned()
            .chain(judged)
            .collect()
    }

    /// How often each kind of fault happened.
    pub(super) fn faults(&self) -> BTreeMap<Kind, u64> {
        lock(&self.faults).clone()
    }

    /// The trace so far.
    pub(super) fn trace(&self) -> MutexGuard<'_, Trace> {
        lock(&self.trace)
    }
}
