//! The store without a disk and without a thread: for tests, and for trying out. It reads its runtime's clock, so that
//! whoever holds that still, holds the store's leases as well.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use windlass_core::ids::OpId;
use windlass_core::kv::{ClientId, Kv};
use windlass_core::store::Call;

use super::Options;
use super::engine::{Engine, Message};
use crate::clock::Clock;
use crate::store::{Answers, Owed, StorePort};

/// A store in this process that is forgotten when it is dropped.
#[derive(Debug)]
pub struct MemoryStore {
    calls: mpsc::UnboundedSender<Message>,
    clients: AtomicU64,
    life: JoinHandle<()>,
}

impl MemoryStore {
    /// An empty store. To be called within a tokio runtime, which then runs it.
    pub fn start(clock: impl Clock) -> Self {
        let (calls, inbox) = mpsc::unbounded_channel();
        let engine = Engine::new(Kv::new(Options::default().limits), false, clock);
        Self {
            calls,
            clients: AtomicU64::new(0),
            life: tokio::spawn(engine.serve(inbox)),
        }
    }

    /// A new client, whose answers go to `answers`.
    pub fn client(&self, answers: Answers) -> Box<dyn StorePort> {
        let client = ClientId(self.clients.fetch_add(1, Ordering::Relaxed));
        let calls = self.calls.clone();
        // A store that has stopped answers every call by its loss.
        let _ = calls.send(Message::Join(client, answers.clone()));
        Box::new(MemoryPort {
            client,
            calls,
            answers,
        })
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.life.abort();
    }
}

/// One client's way in.
#[derive(Debug)]
struct MemoryPort {
    client: ClientId,
    calls: mpsc::UnboundedSender<Message>,
    answers: Answers,
}

impl StorePort for MemoryPort {
    fn call(&mut self, op: OpId, call: Call) {
        let message = Message::Call {
            client: self.client,
            op,
            owed: Owed::new(op, &call, self.answers.clone()),
            call,
        };
        // A message that cannot be sent is dropped, and what it owes is answered by its loss.
        let _ = self.calls.send(message);
    }
}

impl Drop for MemoryPort {
    fn drop(&mut self) {
        let _ = self.calls.send(Message::Leave(self.client));
    }
}
