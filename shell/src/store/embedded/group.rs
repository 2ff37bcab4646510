//! What one fsync covers: the records to be kept, and the answers and news that wait for it.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::ids::OpId;
use windlass_core::kv::{ClientId, Effect};
use windlass_core::store::{Answer, Call, ViewEvent};

use super::chunk::Chunk;
use crate::store::{Answers, Owed};

/// What tells one question from all others.
pub(super) type Name = (ClientId, OpId);

/// Who is there, and who follows what. When it goes, every watch is told that it is lost.
#[derive(Debug, Default)]
pub(super) struct Clients {
    answers: BTreeMap<ClientId, Answers>,
    watches: BTreeSet<Name>,
}

impl Clients {
    pub(super) fn join(&mut self, client: ClientId, answers: Answers) {
        self.answers.insert(client, answers);
    }

    /// Remembers which watches live.
    pub(super) fn on_call(&mut self, client: ClientId, op: OpId, call: &Call) {
        match call {
            Call::Watch(_) => {
                self.watches.insert((client, op));
            }
            Call::Unwatch { watch } => {
                self.watches.remove(&(client, *watch));
            }
            Call::Commit(_)
            | Call::Progress { .. }
            | Call::Read(_)
            | Call::Audit(_)
            | Call::Grant { .. }
            | Call::Renew { .. }
            | Call::Revoke { .. }
            | Call::Compact { .. }
            | Call::Usage => {}
        }
    }

    pub(super) fn leave(&mut self, client: ClientId) {
        self.answers.remove(&client);
        self.watches.retain(|(of, _)| *of != client);
    }

    /// Where a client's answers go, unless it is gone.
    fn of(&self, client: ClientId) -> Option<Answers> {
        self.answers.get(&client).cloned()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        for (client, op) in &self.watches {
            if let Some(answers) = self.answers.get(client) {
                answers.give(*op, Answer::View(ViewEvent::Lost));
            }
        }
    }
}

/// What waits for the next fsync.
#[derive(Debug, Default)]
pub(super) struct Group {
    calls: usize,
    log: Chunk,
    answers: Vec<(Owed, Answer)>,
    news: Vec<News>,
    /// The last news of each watch.
    last: BTreeMap<Name, usize>,
}

#[derive(Debug)]
struct News {
    op: OpId,
    to: Recipient,
    event: ViewEvent,
}

#[derive(Debug)]
enum Recipient {
    /// Of the first news of a watch, which a call waits for.
    Caller(Owed),
    /// Whose watch it is.
    Follower(Answers),
}

impl Group {
    /// How many inputs it covers.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// What must be durable before the rest may go.
    pub(super) fn log(&self) -> &Chunk {
        &self.log
    }

    /// Adds what one input caused.
    pub(super) fn add(
        &mut self,
        clients: &Clients,
        effects: &mut Vec<Effect>,
        mut owed: Option<(Name, Owed)>,
        durable: bool,
    ) {
        self.calls += 1;
        for effect in effects.drain(..) {
            match effect {
                Effect::Applied(log) => {
                    if durable {
                        self.log.push(&log);
                    }
                }
                Effect::Answer { client, op, answer } => {
                    let name = (client, op);
                    let own = owed.take_if(|(of, _)| *of == name).map(|(_, owed)| owed);
                    self.add_answer(clients, name, own, answer);
                }
            }
        }
    }

    fn add_answer(&mut self, clients: &Clients, name: Name, owed: Option<Owed>, answer: Answer) {
        match answer {
            Answer::View(event) => {
                let to = owed
                    .map(Recipient::Caller)
                    .or_else(|| clients.of(name.0).map(Recipient::Follower));
                // Who is gone hears nothing.
                if let Some(to) = to {
                    self.add_news(name, to, event);
                }
            }
            Answer::Txn(_)
            | Answer::Read(_)
            | Answer::Lease(_)
            | Answer::Audited(_)
            | Answer::Compacted(_)
            | Answer::Usage(_) => {
                let owed = owed.expect("only the call that is handled gets an answer");
                self.answers.push((owed, answer));
            }
        }
    }

    /// Adds news of a watch. Changes in a row become one piece of news: fewer, larger ones cost the reader less.
    fn add_news(&mut self, name: Name, to: Recipient, event: ViewEvent) {
        let last = self.last.get(&name).map(|at| &mut self.news[*at].event);
        match (last, event) {
            (
                Some(ViewEvent::Delta {
                    at: reached,
                    changes,
                    ..
                }),
                ViewEvent::Delta {
                    after,
                    at,
                    changes: more,
                },
            ) if *reached == after => {
                *reached = at;
                changes.extend(more);
            }
            (_, event) => {
                self.last.insert(name, self.news.len());
                let op = name.1;
                self.news.push(News { op, to, event });
            }
        }
    }

    /// Lets everything go: it is durable.
    pub(super) fn release(&mut self) {
        self.calls = 0;
        self.log.clear();
        self.last.clear();
        for (owed, answer) in self.answers.drain(..) {
            owed.give(answer);
        }
        for News { op, to, event } in self.news.drain(..) {
            let answer = Answer::View(event);
            match to {
                Recipient::Caller(owed) => owed.give(answer),
                Recipient::Follower(answers) => answers.give(op, answer),
            }
        }
    }
}
