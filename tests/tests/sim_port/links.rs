//! What passes between clients and members. Several faults may lie on one link: the worst of them decides.

use turmoil::Sim;

use super::net;
use super::run::host;
use super::scenario::{Fault, MEMBERS};

/// What passes, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Open,
    Held,
    NoAnswers,
    NoRequests,
    Cut,
}

/// What lies on each link, by client, then member.
#[derive(Debug)]
pub(crate) struct Links(Vec<Vec<Vec<Fault>>>);

impl Links {
    pub(crate) fn new(clients: usize) -> Self {
        Self(vec![vec![vec![]; MEMBERS]; clients])
    }

    /// Says on which links, by client and member, something was lost for good. The network knows no repetitions, so
    /// that a connection that has lost something is dead for ever.
    pub(crate) fn begin(&mut self, sim: &Sim<'_>, fault: &Fault) -> Vec<(usize, usize)> {
        self.change(sim, fault, |on| on.push(fault.clone()))
    }

    /// As [`Self::begin`].
    pub(crate) fn end(&mut self, sim: &Sim<'_>, fault: &Fault) -> Vec<(usize, usize)> {
        self.change(sim, fault, |on| {
            if let Some(at) = on.iter().position(|it| it == fault) {
                on.remove(at);
            }
        })
    }

    fn change(
        &mut self,
        sim: &Sim<'_>,
        fault: &Fault,
        change: impl Fn(&mut Vec<Fault>),
    ) -> Vec<(usize, usize)> {
        let mut lossy = Vec::new();
        for (client, members) in self.0.iter_mut().enumerate() {
            for (member, on) in members.iter_mut().enumerate() {
                if !concerns(fault, client, member) {
                    continue;
                }
                let before = worst(on);
                change(on);
                // What went into a black hole does not come out of it.
                let swallows = matches!(fault, Fault::BlackHole { .. });
                if set(sim, (client, member), before, worst(on), swallows) {
                    lossy.push((client, member));
                }
            }
        }
        lossy
    }
}

/// What a fault does to which link; `None` when it does nothing to any.
fn effect(fault: &Fault) -> Option<(Option<usize>, usize, State)> {
    let on = |client: &usize, member: &usize, state| Some((Some(*client), *member, state));
    if let Fault::Cut { client, member, .. } = fault {
        on(client, member, State::Cut)
    } else if let Fault::OneWay {
        client,
        member,
        answers,
        ..
    } = fault
    {
        let state = if *answers {
            State::NoAnswers
        } else {
            State::NoRequests
        };
        on(client, member, state)
    } else if let Fault::Hold { client, member, .. } = fault {
        on(client, member, State::Held)
    } else if let Fault::BlackHole { member, .. } = fault {
        // A connection into a black hole is not refused: nothing comes back at all.
        Some((None, *member, State::Held))
    } else {
        None
    }
}

fn concerns(fault: &Fault, client: usize, member: usize) -> bool {
    effect(fault).is_some_and(|(of, to, _)| to == member && of.is_none_or(|of| of == client))
}

fn worst(on: &[Fault]) -> State {
    let states = on.iter().filter_map(effect).map(|(_, _, state)| state);
    states.max().unwrap_or(State::Open)
}

/// Whether a span in which something was lost is over with this.
fn set(
    sim: &Sim<'_>,
    (client, member): (usize, usize),
    before: State,
    after: State,
    swallows: bool,
) -> bool {
    if before == after {
        return false;
    }
    let (client, member) = (host(client), net::name(member));
    let (client, member) = (client.as_str(), member.as_str());
    let lossy = match before {
        State::Open => false,
        State::Held if after == State::Open && !swallows => {
            sim.release(client, member);
            false
        }
        State::Held | State::NoAnswers | State::NoRequests | State::Cut => {
            sim.partition(client, member);
            sim.repair(client, member);
            true
        }
    };
    match after {
        State::Open => {}
        State::Held => sim.hold(client, member),
        State::NoAnswers => sim.partition_oneway(member, client),
        State::NoRequests => sim.partition_oneway(client, member),
        State::Cut => sim.partition(client, member),
    }
    lossy
}
