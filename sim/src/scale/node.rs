//! A process of the deployment: one machine, and when it must be called again.

use windlass_core::ids::OpId;
use windlass_core::machine::Machine;
use windlass_core::server::{self, Server};
use windlass_core::store::Answer;
use windlass_core::time::{Mono, Now};
use windlass_core::worker::{self, RunEvent, Worker};

use super::Part;

/// The machine of a process.
#[derive(Debug)]
pub(super) enum Node {
    Server(Box<Server>),
    Worker(Box<Worker>),
    /// Its process is gone, without a word.
    Gone,
}

/// What can happen to a node.
#[derive(Debug)]
pub(super) enum Given {
    Time,
    Store(OpId, Answer),
    Request(server::Input),
    Ended(OpId, RunEvent),
}

/// What a node wants.
#[derive(Debug)]
pub(super) enum Wanted {
    Server(server::Effect),
    Worker(worker::Effect),
}

impl Node {
    pub(super) fn part(&self) -> Part {
        match self {
            Self::Server(_) => Part::Scheduler,
            Self::Worker(_) | Self::Gone => Part::Worker,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Server(server) => server.is_ready(),
            Self::Worker(worker) => worker.is_ready(),
            Self::Gone => true,
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        match self {
            Self::Server(server) => server.deadline().map(|(at, _)| at),
            Self::Worker(worker) => worker.deadline().map(|(at, _)| at),
            Self::Gone => None,
        }
    }

    pub(super) fn give(&mut self, now: Now, given: Given, out: &mut Effects) {
        match self {
            Self::Server(machine) => {
                let input = match given {
                    Given::Time => server::Input::Elapsed,
                    Given::Store(op, answer) => server::Input::Store { op, answer },
                    Given::Request(input) => input,
                    Given::Ended(..) => unreachable!("a scheduler process runs no handlers"),
                };
                machine.handle(now, input, &mut out.server);
            }
            Self::Worker(machine) => {
                let input = match given {
                    Given::Time => worker::Input::Elapsed,
                    Given::Store(op, answer) => worker::Input::Store { op, answer },
                    Given::Ended(run, event) => worker::Input::Run { run, event },
                    Given::Request(_) => unreachable!("a worker serves no clients"),
                };
                machine.handle(now, input, &mut out.worker);
            }
            Self::Gone => {}
        }
    }
}

/// What machines want, kept from call to call so that nothing is allocated for it.
#[derive(Debug, Default)]
pub(super) struct Effects {
    server: Vec<server::Effect>,
    worker: Vec<worker::Effect>,
}

impl Effects {
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Wanted> {
        let server = self.server.drain(..).map(Wanted::Server);
        server.chain(self.worker.drain(..).map(Wanted::Worker))
    }
}
