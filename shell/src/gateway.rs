//! The way to the gateway machine for everything that asks it: a request goes out, its reply comes back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use windlass_core::gateway::{Reply, Request, RequestId};

use crate::instruments::Instruments;

/// How many requests may wait for their replies. More are answered [`Reply::NotReady`] unasked: it is far beyond what
/// the server's connections can ask at the same time, and bounds what a machine that stands still can pile up.
pub const WAITING_MAX: usize = 20_000;

/// A handle on a gateway machine. Cheap to clone; all clones share one set of waiting requests.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

impl Gateway {
    /// A handle whose requests go out through `send`, which must not wait. Whoever handles them gives the replies to
    /// [`Gateway::reply`].
    pub fn new(send: impl Fn(RequestId, Request) + Send + Sync + 'static) -> Self {
        Self::with_forget(send, |_| {})
    }

    /// The same, where `forget` is told of each request whose asker went away, or lost patience, before its reply.
    pub fn with_forget(
        send: impl Fn(RequestId, Request) + Send + Sync + 'static,
        forget: impl Fn(RequestId) + Send + Sync + 'static,
    ) -> Self {
        Self::measured(send, forget, Arc::default())
    }

    /// The same, of a process that is measured by `instruments`.
    pub fn measured(
        send: impl Fn(RequestId, Request) + Send + Sync + 'static,
        forget: impl Fn(RequestId) + Send + Sync + 'static,
        instruments: Arc<Instruments>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                send: Box::new(send),
                forget: Box::new(forget),
                instruments,
                last_id: AtomicU64::new(0),
                waiting: Mutex::default(),
            }),
        }
    }

    /// Asks, and waits for the reply; [`Reply::TimedOut`] when none comes in time. A request whose asker is dropped
    /// is forgotten here, though it may still take effect.
    pub async fn ask(&self, request: Request, time_out: Duration) -> Reply {
        let id = RequestId(self.shared.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        let (sender, receiver) = oneshot::channel();
        if !self.shared.remember(id, sender) {
            return Reply::NotReady;
        }
        let _forget = Forget {
            shared: &self.shared,
            id,
        };
        (self.shared.send)(id, request);
        match tokio::time::timeout(time_out, receiver).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) | Err(_) => Reply::TimedOut,
        }
    }

    /// Hands over the reply to request `id`. A reply that nobody waits for any more is dropped.
    pub fn reply(&self, id: RequestId, reply: Reply) {
        if let Some(sender) = self.shared.take(id) {
            // The asker may have gone in this very moment; then nobody wants the reply.
            let _ = sender.send(reply);
        }
    }

    /// The machine has ended, and answered what it had taken: whatever else was asked, or will be, is
    /// [`Reply::NotReady`].
    pub fn close(&self) {
        let left = {
            let mut waiting = self.shared.lock();
            waiting.closed = true;
            std::mem::take(&mut waiting.requests)
        };
        for sender in left.into_values() {
            // The asker may have gone in this very moment; then nobody wants the reply.
            let _ = sender.send(Reply::NotReady);
        }
    }

    /// What the machine's process measures of itself.
    pub fn instruments(&self) -> &Instruments {
        &self.shared.instruments
    }

    /// How many requests wait for their replies.
    pub fn waiting(&self) -> usize {
        self.shared.lock().requests.len()
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Waiting {
    requests: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    closed: bool,
}

struct Shared {
    send: Box<dyn Fn(RequestId, Request) + Send + Sync>,
    forget: Box<dyn Fn(RequestId) + Send + Sync>,
    instruments: Arc<Instruments>,
    last_id: AtomicU64,
    waiting: Mutex<Waiting>,
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // Nothing panics while the lock is held, and every operation on the map is whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, id: RequestId, sender: oneshot::Sender<Reply>) -> bool {
        let mut waiting = self.lock();
        let room = !waiting.closed && waiting.requests.len() < WAITING_MAX;
        if room {
            let earlier = waiting.requests.insert(id, sender);
            assert!(earlier.is_none(), "request ids are never given out twice");
        }
        room
    }

    fn take(&self, id: RequestId) -> Option<oneshot::Sender<Reply>> {
        self.lock().requests.remove(&id)
    }
}

struct Forget<'a> {
    shared: &'a Shared,
    id: RequestId,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if self.shared.take(self.id).is_some() {
            (self.shared.forget)(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn gateway() -> (Gateway, mpsc::UnboundedReceiver<RequestId>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let gateway = Gateway::new(move |id, _| sender.send(id).unwrap());
        (gateway, receiver)
    }

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn after_the_machines_end_nobody_waits() {
        let (gateway, mut asked) = gateway();
        let early = tokio::spawn({
            let gateway = gateway.clone();
            async move { gateway.ask(Request::Stats, LONG).await }
        });
        asked.recv().await.unwrap();
        gateway.close();
        assert_eq!(early.await.unwrap(), Reply::NotReady);
        assert_eq!(gateway.ask(Request::Stats, LONG).await, Reply::NotReady);
        assert_eq!(gateway.waiting(), 0);
    }

    #[tokio::test]
    async fn each_asker_gets_its_own_reply() {
        let (gateway, mut asked) = gateway();
        let one = tokio::spawn({
            let gateway = gateway.clone();
            async move { gateway.ask(Request::Stats, LONG).await }
        });
        let first = asked.recv().await.unwrap();
        let two = tokio::spawn({
            let gateway = gateway.clone();
            async move { gateway.ask(Request::Nodes, LONG).await }
        });
        let second = asked.recv().await.unwrap();
        gateway.reply(second, Reply::Nodes(vec![]));
        gateway.reply(first, Reply::Done);
        assert_eq!(one.await.unwrap(), Reply::Done);
        assert_eq!(two.await.unwrap(), Reply::Nodes(vec![]));
        assert_eq!(gateway.waiting(), 0);
    }

    #[tokio::test]
    async fn silence_is_a_time_out_and_a_late_reply_is_dropped() {
        let (gateway, mut asked) = gateway();
        let reply = gateway.ask(Request::Stats, Duration::from_millis(1)).await;
        assert_eq!(reply, Reply::TimedOut);
        assert_eq!(gateway.waiting(), 0);
        let id = asked.recv().await.unwrap();
        gateway.reply(id, Reply::Done);
        gateway.reply(id, Reply::Done);
    }

    #[tokio::test]
    async fn the_machine_hears_of_askers_that_went_away_and_of_no_others() {
        let (forgotten, mut told) = mpsc::unbounded_channel();
        let (sender, mut asked) = mpsc::unbounded_channel();
        let gateway = Gateway::with_forget(
            move |id, _| sender.send(id).unwrap(),
            move |id| forgotten.send(id).unwrap(),
        );
        let answered = tokio::spawn({
            let gateway = gateway.clone();
            async move { gateway.ask(Request::Stats, LONG).await }
        });
        gateway.reply(asked.recv().await.unwrap(), Reply::Done);
        assert_eq!(answered.await.unwrap(), Reply::Done);
        let impatient = gateway.ask(Request::Stats, Duration::ZERO).await;
        assert_eq!(impatient, Reply::TimedOut);
        assert_eq!(told.recv().await, asked.recv().await);
        assert!(told.is_empty());
    }

    #[tokio::test]
    async fn a_dropped_asker_is_forgotten() {
        let (gateway, mut asked) = gateway();
        let task = tokio::spawn({
            let gateway = gateway.clone();
            async move { gateway.ask(Request::Stats, LONG).await }
        });
        asked.recv().await.unwrap();
        assert_eq!(gateway.waiting(), 1);
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(gateway.waiting(), 0);
    }

    #[tokio::test]
    async fn a_machine_that_stands_still_piles_up_only_so_much() {
        let (gateway, _asked) = gateway();
        let mut waiting = Vec::new();
        for _ in 0..WAITING_MAX {
            let gateway = gateway.clone();
            waiting.push(tokio::spawn(async move {
                gateway.ask(Request::Stats, LONG).await
            }));
        }
        while gateway.waiting() < WAITING_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(gateway.ask(Request::Stats, LONG).await, Reply::NotReady);
        for task in waiting {
            task.abort();
        }
    }
}
