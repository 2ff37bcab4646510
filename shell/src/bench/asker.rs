//! One question to a store after another, each waited for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use tokio::sync::oneshot;
use windlass_core::ids::{OpId, Revision};
use windlass_core::keyspace::Key;
use windlass_core::store::{Answer, Call, Query, ReadAnswer};

use crate::host::Store;
use crate::store::{Answers, StorePort};

type Waiters = Arc<Mutex<HashMap<OpId, oneshot::Sender<Answer>>>>;

/// A client of a store.
pub(super) struct Asker {
    port: Box<dyn StorePort>,
    waiters: Waiters,
    last_op: u64,
}

impl Asker {
    pub(super) fn new(store: &Store) -> Self {
        let waiters = Waiters::default();
        let waiting = Arc::clone(&waiters);
        let port = store.client(Answers::new(move |op, answer| {
            let waiter = waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&op);
            if let Some(waiter) = waiter {
                // Whoever asked may be gone.
                let _ = waiter.send(answer);
            }
        }));
        Self {
            port,
            waiters,
            last_op: 0,
        }
    }

    pub(super) async fn ask(&mut self, call: Call) -> anyhow::Result<Answer> {
        self.last_op += 1;
        let op = OpId(self.last_op);
        let (sender, receiver) = oneshot::channel();
        self.waiters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(op, sender);
        self.port.call(op, call);
        receiver.await.context("the store went away")
    }
}

/// The store's revision now: each transaction that writes makes it one more.
pub(super) async fn revision(store: &Store) -> anyhow::Result<Revision> {
    let some_key = Key::folded_totals();
    let query = Query::Keys(vec![some_key]);
    let answer = Asker::new(store).ask(Call::Read(query)).await?;
    if let Answer::Read(ReadAnswer::Items { at, .. }) = answer {
        return Ok(at);
    }
    bail!("the store does not tell its revision: {answer:?}")
}
