//! Simulated handlers: how long they take, and how they end.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::ids::OpId;
use windlass_core::record::{Json, StopReason};
use windlass_core::retry::Verdict;
use windlass_core::worker::{self, HandlerError, RunEvent, Start};

use super::{Happening, NodeIx, World};
use crate::node::AnyInput;

/// A handler that runs.
#[derive(Debug)]
pub(super) struct Handler {
    pub(super) start: Box<Start>,
    pub(super) stopped: Option<StopReason>,
}

impl World {
    pub(super) fn start(&mut self, node: NodeIx, life: u64, start: Box<Start>) {
        self.ledger.start(self.now, start.task, start.fence, node);
        let millis = match start.kind.as_str() {
            "sleep" => start
                .payload
                .to::<BTreeMap<String, u64>>()
                .ok()
                .and_then(|map| map.get("ms").copied())
                .unwrap_or(10),
            _ => 0,
        };
        let ends = self.now.after(Duration::from_micros(millis * 1_000 + 10));
        let run = start.run;
        self.handlers.insert(
            (node, life, run),
            Handler {
                start,
                stopped: None,
            },
        );
        self.schedule(ends, Happening::HandlerEnds { node, life, run });
    }

    pub(super) fn end_handler(&mut self, node: NodeIx, life: u64, run: OpId) {
        let Some(handler) = self.handlers.remove(&(node, life, run)) else {
            return;
        };
        let start = handler.start;
        let failure = |message: &str| {
            RunEvent::Failed(HandlerError {
                message: message.into(),
                verdict: Verdict::Retry,
            })
        };
        let event = match (start.kind.as_str(), handler.stopped) {
            (_, Some(_)) => RunEvent::Stopped,
            ("echo", None) => RunEvent::Completed(start.payload.clone()),
            ("fail", None) => {
                let times = start
                    .payload
                    .to::<BTreeMap<String, u64>>()
                    .ok()
                    .and_then(|map| map.get("times").copied())
                    .unwrap_or(1);
                if u64::from(start.attempt.0) <= times {
                    failure("as ordered")
                } else {
                    RunEvent::Completed(Json::null())
                }
            }
            (_, None) => RunEvent::Completed(Json::null()),
        };
        self.give(node, AnyInput::Worker(worker::Input::Run { run, event }));
    }
}
