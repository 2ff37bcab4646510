//! A node's way into the store over the simulated network, with what a real port has to do: deadlines on every call,
//! connections that are made again, watches that resume where they were, repeat nothing and own up to every gap.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::madsim::net::{Endpoint, Receiver, Sender};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use windlass::store::{Answers, Owed, StorePort};
use windlass_core::ids::OpId;
use windlass_core::store::{Answer, Call};

use super::watch::{self, Watching};
use super::wire::{Down, SILENCE_MAX, Up, store_address};
use super::world::{Who, World};

const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// One machine's way in.
pub(super) struct Port {
    world: Arc<World>,
    who: Who,
    requests: mpsc::UnboundedSender<Asked>,
    answers: Answers,
    watches: BTreeMap<OpId, Watching>,
}

/// A call on its way to the connection.
struct Asked {
    call: Call,
    answer: oneshot::Sender<Answer>,
}

/// Ever longer pauses.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Port {
    /// A way in whose answers go to `answers`. To be called within the node's own process.
    pub(super) fn open(world: &Arc<World>, who: Who, answers: Answers) -> Box<dyn StorePort> {
        let (requests, inbox) = mpsc::unbounded_channel();
        tokio::spawn(link(inbox));
        let seen = Arc::clone(world);
        let answers = Answers::new(move |op, answer| {
            seen.answered(who, op, &answer);
            answers.give(op, answer);
        });
        Box::new(Self {
            world: Arc::clone(world),
            who,
            requests,
            answers,
            watches: BTreeMap::new(),
        })
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").finish_non_exhaustive()
    }
}

impl StorePort for Port {
    fn call(&mut self, op: OpId, call: Call) {
        self.world.asked(self.who, op, &call);
        match call {
            Call::Watch(range) => {
                let gaps = self.world.scenario.tells_gaps;
                let watching = watch::begin(op, range, self.answers.clone(), gaps);
                self.watches.insert(op, watching);
            }
            Call::Unwatch { watch } => {
                self.watches.remove(&watch);
            }
            Call::Progress { watch } => {
                if let Some(watching) = self.watches.get(&watch) {
                    watching.ask_progress();
                }
            }
            Call::Commit(_)
            | Call::Read(_)
            | Call::Audit(_)
            | Call::Grant { .. }
            | Call::Renew { .. }
            | Call::Revoke { .. }
            | Call::Compact { .. }
            | Call::Usage => {
                let owed = Owed::new(op, &call, self.answers.clone());
                let (answer, receiver) = oneshot::channel();
                // Without a connection task the answer's sender is dropped, and the call's fate unknown.
                let _ = self.requests.send(Asked { call, answer });
                let answer_max = self.world.scenario.answer_max;
                tokio::spawn(async move {
                    if let Ok(Ok(answer)) = timeout(answer_max, receiver).await {
                        owed.give(answer);
                    }
                });
            }
        }
    }
}

/// Keeps a connection for calls, until the port is gone.
async fn link(mut requests: mpsc::UnboundedReceiver<Asked>) {
    let mut backoff = Backoff::default();
    while !requests.is_closed() {
        if let Some((sender, receiver)) = connect().await {
            backoff.reset();
            if serve(&mut requests, sender, receiver).await.is_none() {
                return;
            }
        }
        backoff.pause().await;
    }
}

/// Makes a connection to the store, if that is possible now.
pub(super) async fn connect() -> Option<(Sender, Receiver)> {
    let connecting = async {
        let endpoint = Endpoint::bind("0.0.0.0:0").await?;
        endpoint.connect1(store_address()).await
    };
    timeout(CONNECT_MAX, connecting).await.ok()?.ok()
}

/// Carries calls until the connection breaks; `None` when the port is gone.
async fn serve(
    requests: &mut mpsc::UnboundedReceiver<Asked>,
    sender: Sender,
    mut receiver: Receiver,
) -> Option<()> {
    let mut waiting: BTreeMap<OpId, oneshot::Sender<Answer>> = BTreeMap::new();
    let mut last = OpId(0);
    loop {
        tokio::select! { biased;
            down = receiver.recv() => {
                let Ok(down) = down else { return Some(()) };
                match *down.downcast::<Down>().expect("the store sends nothing else") {
                    Down::Answer { id, answer } => {
                        if let Some(asker) = waiting.remove(&id) {
                            // Whoever asked may have given up.
                            let _ = asker.send(answer);
                        }
                    }
                    Down::News(_) | Down::Compacted => {
                        unreachable!("nothing is watched on this connection")
                    }
                }
            }
            asked = requests.recv() => {
                let Asked { call, answer } = asked?;
                // A call that was given up before it left never leaves.
                if answer.is_closed() {
                    continue;
                }
                last = OpId(last.0 + 1);
                waiting.insert(last, answer);
                if sender.send(Box::new(Up::Call { id: last, call })).await.is_err() {
                    return Some(());
                }
            }
            () = sleep(SILENCE_MAX), if !waiting.is_empty() => return Some(()),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self(BACKOFF_FIRST)
    }
}

impl Backoff {
    /// Waits; the next time longer.
    pub(super) async fn pause(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(BACKOFF_MAX);
    }

    /// All is well again.
    pub(super) fn reset(&mut self) {
        self.0 = BACKOFF_FIRST;
    }
}
