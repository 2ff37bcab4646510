//! Simulated handlers: how long they take, how they end, and how they misbehave.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::ids::OpId;
use windlass_core::record::{Json, StopReason};
use windlass_core::retry::Verdict;
use windlass_core::time::Millis;
use windlass_core::worker::{self, HandlerError, RunEvent, Start};

use super::lockers::{LOCKER, Locker};
use super::{Happening, NodeIx, World};
use crate::book::given;
use crate::fact::Fact;
use crate::nemesis::FaultKind;
use crate::node::AnyInput;
use crate::scenario::ADVICE;

/// The types that simulated workers run: the stock ones, and those that no worker should have to suffer.
pub(super) const KINDS: [&str; 10] = [
    "noop", "echo", "sleep", "fail", "hang", "deaf", "exit", "lie", "chatty", "locker",
];

/// How long a handler takes at least.
pub(super) const MOMENT: Duration = Duration::from_micros(10);
/// How long a well-behaved handler takes to stop.
const STOP: Duration = Duration::from_micros(100);

/// A handler that runs.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) start: Box<Start>,
    pub(super) stopped: Option<StopReason>,
    /// Signs of life that it still wants to give.
    chatter: u32,
    /// How far it is, if it is about a lock.
    pub(super) locker: Option<Locker>,
}

pub(super) fn argument(start: &Start, name: &str, default: u64) -> u64 {
    let arguments = start.payload.to::<BTreeMap<String, u64>>().ok();
    arguments
        .and_then(|map| map.get(name).copied())
        .unwrap_or(default)
}

impl World {
    pub(super) fn start(&mut self, node: NodeIx, life: u64, start: Box<Start>) {
        let (run, task, fence, attempt) = (start.run, start.task, start.fence, start.attempt);
        let view = self.nodes[node].view_before;
        self.ledger.start(self.now, task, fence, node);
        self.trace
            .note(self.now, Some(node), "start", &[run.0, fence.0.0], || {
                format!("{task} {} attempt {attempt} fence {fence}", start.kind)
            });
        self.tell(|| Fact::Started {
            node,
            run,
            task,
            fence,
            attempt,
            view,
            given: Some(given::got(&start)),
        });
        let wait = match start.kind.as_str() {
            "sleep" | "deaf" | "exit" | "lie" => Some(argument(&start, "ms", 10)),
            "chatty" => Some(argument(&start, "ms", 10) / 4),
            "hang" => None,
            _ => Some(0),
        };
        let chatter = if start.kind.as_str() == "chatty" {
            3
        } else {
            0
        };
        let locker = (start.kind.as_str() == LOCKER).then_some(Locker::Begins);
        self.handlers.insert(
            (node, life, run),
            Handler {
                locker,
                start,
                stopped: None,
                chatter,
            },
        );
        match wait {
            Some(millis) => {
                let at = self.now.after(MOMENT + Duration::from_millis(millis));
                self.schedule(at, Happening::HandlerActs { node, life, run });
            }
            None => self.hit(FaultKind::HandlerHangs, Some(node), self.now),
        }
    }

    pub(super) fn stop(&mut self, node: NodeIx, life: u64, run: OpId, reason: StopReason) {
        self.tell(|| Fact::StopOrdered { node, run, reason });
        let Some(handler) = self.handlers.get_mut(&(node, life, run)) else {
            return;
        };
        handler.stopped = Some(reason);
        let deaf_ms = match handler.start.kind.as_str() {
            "deaf" => Some(argument(&handler.start, "deaf_ms", 1_000)),
            LOCKER => Some(argument(&handler.start, "deaf_ms", 0)).filter(|ms| *ms > 0),
            _ => None,
        };
        let wait = if let Some(millis) = deaf_ms {
            let wait = Duration::from_millis(millis);
            self.hit(
                FaultKind::HandlerIgnoresStop,
                Some(node),
                self.now.after(wait),
            );
            wait
        } else {
            STOP
        };
        self.schedule(
            self.now.after(wait),
            Happening::HandlerActs { node, life, run },
        );
    }

    /// Handlers die with their process.
    pub(super) fn kill_handlers(&mut self, node: NodeIx) {
        self.handlers.retain(|(owner, ..), _| *owner != node);
    }

    pub(super) fn handler_acts(&mut self, node: NodeIx, life: u64, run: OpId) {
        let key = (node, life, run);
        let Some(handler) = self.handlers.get_mut(&key) else {
            return;
        };
        if handler.chatter > 0 && handler.stopped.is_none() {
            handler.chatter -= 1;
            let wait = Duration::from_millis(1 + argument(&handler.start, "ms", 10) / 4);
            let progress = Json::parse(handler.chatter.to_string()).expect("a number is JSON");
            self.schedule(
                self.now.after(wait),
                Happening::HandlerActs { node, life, run },
            );
            return self.say(node, run, RunEvent::Progress(progress));
        }
        if handler.locker.is_some() && self.locker_goes_on(node, life, run) {
            return;
        }
        let Some(handler) = self.handlers.remove(&key) else {
            return;
        };
        let (task, fence) = (handler.start.task, handler.start.fence);
        self.trace.note(self.now, Some(node), "end", &[run.0], || {
            format!("{task} fence {fence}")
        });
        self.tell(|| Fact::HandlerEnded {
            node,
            run,
            task,
            fence,
        });
        let attempt = u64::from(handler.start.attempt.0);
        let exits = attempt <= argument(&handler.start, "times", 1);
        if handler.start.kind.as_str() == "exit" && handler.stopped.is_none() && exits {
            self.hit(FaultKind::HandlerExits, Some(node), self.now);
            self.torn_down.insert(node);
            self.schedule(self.now, Happening::Crash { node, life });
            return;
        }
        let event = end_of(&handler);
        let lies = handler.start.kind.as_str() == "lie";
        self.say(node, run, event);
        if lies {
            self.hit(FaultKind::HandlerLies, Some(node), self.now);
            self.say(node, run, RunEvent::Progress(Json::null()));
            self.say(node, run, failure("I have failed after all"));
            self.say(node, run, RunEvent::Completed(Json::null()));
        }
    }

    pub(super) fn say(&mut self, node: NodeIx, run: OpId, event: RunEvent) {
        self.give(node, AnyInput::Worker(worker::Input::Run { run, event }));
    }

    /// Handlers that run, on any node.
    pub fn handlers_running(&self) -> usize {
        self.handlers.len()
    }
}

/// The handler of a task that is to fail; it may say when to try again, or that trying again is useless.
fn fail_as_told(start: &Start) -> RunEvent {
    let again = argument(start, ADVICE, 0);
    let verdict = if again > 0 {
        Verdict::RetryAfter(Millis::new(again))
    } else if argument(start, "for_good", 0) > 0 {
        Verdict::FailNow
    } else {
        Verdict::Retry
    };
    RunEvent::Failed(HandlerError {
        message: "as ordered".into(),
        verdict,
    })
}

fn failure(message: &str) -> RunEvent {
    RunEvent::Failed(HandlerError {
        message: message.into(),
        verdict: Verdict::Retry,
    })
}

fn end_of(handler: &Handler) -> RunEvent {
    let start = &handler.start;
    match (start.kind.as_str(), handler.stopped) {
        // Too late, and it says so as if nothing had happened.
        ("deaf", Some(_)) if argument(start, "fails", 0) > 0 => failure("too late"),
        ("deaf" | "lie", Some(_)) => RunEvent::Completed(Json::null()),
        (_, Some(_)) => RunEvent::Stopped,
        (LOCKER, None) if handler.locker == Some(Locker::Refused) => failure("it got no lock"),
        ("echo", None) => RunEvent::Completed(start.payload.clone()),
        ("fail", None) if u64::from(start.attempt.0) <= argument(start, "times", 1) => {
            fail_as_told(start)
        }
        (_, None) => RunEvent::Completed(Json::null()),
    }
}
