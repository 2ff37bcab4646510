//! Leases. Each lease that is renewed has a task that holds one keep-alive stream and rebuilds it when it breaks.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{LeaseKeepAliveStream, LeaseKeeper};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use windlass_core::ids::LeaseId;
use windlass_core::store::{Answer, LeaseAnswer, Refusal};

use super::super::Owed;
use super::fate::Fate;
use super::link::{Link, Repeat};
use super::route::SLOW;

/// How long a keeper that nobody asks stays: longer than any sensible interval between renewals.
const IDLE_MAX: Duration = Duration::from_mins(5);

/// Grants a lease. etcd knows whole seconds only, so a fraction is rounded up. It refuses more than 9,000,000,000.
pub(super) async fn grant(link: &Link, ttl: Duration) -> LeaseAnswer {
    let seconds = i64::try_from(ttl.as_millis().div_ceil(1_000))
        .unwrap_or(i64::MAX)
        .max(1);
    let sent = link.attempt(link.until(), Repeat::OnlyUnsent, || {
        let mut lease = link.lease();
        async move { lease.grant(seconds, None).await }
    });
    match sent.await {
        Ok(answer) => live(answer.id(), answer.ttl()),
        Err(Fate::Refused(refusal)) => LeaseAnswer::Refused(refusal),
        Err(
            Fate::Compacted | Fate::LoginStale | Fate::Unsent | Fate::Oversized | Fate::Unknown,
        ) => LeaseAnswer::Unknown,
    }
}

/// Ends a lease. Repeating it does no harm, for etcd never gives an id twice.
pub(super) async fn revoke(link: &Link, id: LeaseId) -> LeaseAnswer {
    let sent = link.attempt(link.until(), Repeat::Always, || {
        let mut lease = link.lease();
        async move { lease.revoke(id.0).await }
    });
    match sent.await {
        Ok(_) => LeaseAnswer::Gone,
        Err(fate) => failed(fate),
    }
}

fn live(id: i64, ttl: i64) -> LeaseAnswer {
    match u64::try_from(ttl) {
        Ok(seconds @ 1..) => LeaseAnswer::Live {
            lease: LeaseId(id),
            ttl: Duration::from_secs(seconds),
        },
        Ok(0) | Err(_) => LeaseAnswer::Gone,
    }
}

fn failed(fate: Fate) -> LeaseAnswer {
    match fate {
        Fate::Refused(Refusal::LeaseGone) => LeaseAnswer::Gone,
        Fate::Refused(
            refusal @ (Refusal::Busy
            | Refusal::TooLarge
            | Refusal::Denied
            | Refusal::NoRoom
            | Refusal::Invalid),
        ) => LeaseAnswer::Refused(refusal),
        Fate::Compacted | Fate::LoginStale | Fate::Unsent | Fate::Oversized | Fate::Unknown => {
            LeaseAnswer::Unknown
        }
    }
}

/// The way to the task that renews one lease.
#[derive(Debug)]
pub(super) struct Keeper(mpsc::UnboundedSender<Renewal>);

#[derive(Debug)]
struct Renewal {
    owed: Owed,
    until: Instant,
}

impl Keeper {
    pub(super) fn start(link: Arc<Link>, lease: LeaseId) -> Self {
        let (sender, inbox) = mpsc::unbounded_channel();
        let runtime = link.runtime().clone();
        let task = KeeperTask {
            link,
            lease,
            stream: None,
        };
        runtime.spawn(task.run(inbox));
        Self(sender)
    }

    /// Asks for one renewal; hands the debt back when the task is over.
    pub(super) fn renew(&self, owed: Owed, until: Instant) -> Result<(), Owed> {
        self.0
            .send(Renewal { owed, until })
            .map_err(|unsent| unsent.0.owed)
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_closed()
    }
}

struct KeeperTask {
    link: Arc<Link>,
    lease: LeaseId,
    stream: Option<(LeaseKeeper, LeaseKeepAliveStream)>,
}

impl KeeperTask {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Renewal>) {
        loop {
            let next = match timeout(IDLE_MAX, inbox.recv()).await {
                Ok(next) => next,
                // What was asked meanwhile is still answered: a closed inbox gives out what it holds.
                Err(_) => {
                    inbox.close();
                    inbox.recv().await
                }
            };
            let Some(Renewal { owed, until }) = next else {
                return;
            };
            let answer = self.renew(until).await;
            if answer == LeaseAnswer::Gone {
                // Before the answer is given, or the next question may come too late to be read.
                inbox.close();
            }
            owed.give(Answer::Lease(answer));
        }
    }

    async fn renew(&mut self, until: Instant) -> LeaseAnswer {
        let mut backoff = self
            .link
            .backoff(Duration::from_millis(20), Duration::from_millis(500));
        loop {
            let fate = match timeout_at(until, self.ask(until)).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(fate)) => fate,
                Err(_) => Fate::Unknown,
            };
            // A reply that comes late must not be taken for the answer to the next question.
            self.stream = None;
            self.link.suspect();
            let again = matches!(
                fate,
                Fate::Unknown | Fate::Unsent | Fate::LoginStale | Fate::Refused(Refusal::Busy)
            );
            if !again || Instant::now() >= until {
                return failed(fate);
            }
            if timeout_at(until, backoff.pause()).await.is_err() {
                return LeaseAnswer::Unknown;
            }
        }
    }

    /// One question and its reply. A new stream is asked twice, for the crate keeps its first reply to itself.
    async fn ask(&mut self, until: Instant) -> Result<LeaseAnswer, Fate> {
        let (keeper, stream) = match &mut self.stream {
            Some(open) => open,
            closed @ None => {
                let opened = self.link.attempt(until, Repeat::Always, || {
                    let (mut lease, id) = (self.link.lease(), self.lease.0);
                    async move { lease.keep_alive(id).await }
                });
                closed.insert(opened.await?)
            }
        };
        keeper
            .keep_alive()
            .await
            .map_err(|error| Fate::of(&error))?;
        let reply = stream.message();
        tokio::pin!(reply);
        let reply = match timeout(SLOW, &mut reply).await {
            Ok(reply) => reply,
            Err(_) => {
                self.link.suspect();
                reply.await
            }
        };
        match reply {
            Ok(Some(reply)) => Ok(live(reply.id(), reply.ttl())),
            Ok(None) => Err(Fate::Unknown),
            Err(error) => Err(Fate::of(&error)),
        }
    }
}
