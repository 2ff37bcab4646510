//! The connection, and how a request is tried on it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{
    Client, Error, GetOptions, GetResponse, KvClient, LeaseClient, MaintenanceClient,
    ResponseHeader, WatchClient,
};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};
use windlass_core::ids::Revision;
use windlass_core::rng::Rng;
use windlass_core::store::Refusal;

use super::config::EtcdConfig;
use super::epoch::Epoch;
use super::fate::Fate;
use super::members::{Line, Members};
use super::probe;
use super::wire::{Prefix, header_revision};

/// The largest answer that is taken: a full transaction's worth of keys with the largest values.
const DECODE_MAX: usize = 256 * 1_024 * 1_024;

/// How long a revision that has gone back is given to be an error of the moment.
const DOUBT: Duration = Duration::from_secs(1);

/// How many tries the time of a repeatable request is made to suffice for, if etcd is silent.
const TRIES: u32 = 3;

/// Which failures a request survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Doing it twice does no harm.
    Always,
    /// It must not be sent twice.
    OnlyUnsent,
}

/// The shared connection.
pub(super) struct Link {
    client: Client,
    kv: KvClient,
    watch: WatchClient,
    runtime: Handle,
    prefix: Prefix,
    /// A key that may be read.
    probe_key: Vec<u8>,
    patience: Duration,
    quota: u64,
    logs_in: bool,
    logging_in: Mutex<()>,
    logins: AtomicU64,
    members: Arc<Members>,
    looks_after: Option<AbortHandle>,
    /// What chance decides from, a new one at each use.
    entropy: AtomicU64,
    epoch: Epoch,
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(task) = &self.looks_after {
            task.abort();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(
        client: Client,
        members: Arc<Members>,
        config: &EtcdConfig,
        runtime: Handle,
        entropy: u64,
    ) -> Self {
        let prefix = Prefix::new(&config.prefix);
        // One alone cannot be compared with others.
        let looks_after = (members.count() > 1).then(|| {
            let looking = probe::look_after(
                Arc::clone(&members),
                client.kv_client(),
                prefix.raw(&config.probe.from),
            );
            runtime.spawn(looking).abort_handle()
        });
        Self {
            members,
            looks_after,
            entropy: AtomicU64::new(entropy),
            epoch: Epoch::default(),
            kv: client.kv_client().max_decoding_message_size(DECODE_MAX),
            watch: client.watch_client().max_decoding_message_size(DECODE_MAX),
            client,
            runtime,
            probe_key: prefix.raw(&config.probe.from),
            prefix,
            patience: config.patience,
            quota: config.quota,
            logs_in: config.login.is_some(),
            logging_in: Mutex::new(()),
            logins: AtomicU64::new(0),
        }
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// How many members there are.
    pub(super) fn count(&self) -> usize {
        self.members.count()
    }

    /// A use of the connection to the member at `index`.
    pub(super) fn line(&self, index: usize) -> Line {
        self.members.line(Some(index))
    }

    /// The quota of members that do not tell it.
    pub(super) fn quota(&self) -> u64 {
        self.quota
    }

    pub(super) fn maintenance(&self) -> MaintenanceClient {
        self.client.maintenance_client()
    }

    pub(super) fn kv(&self) -> KvClient {
        self.kv.clone()
    }

    pub(super) fn lease(&self) -> LeaseClient {
        self.client.lease_client()
    }

    pub(super) fn watch(&self) -> WatchClient {
        self.watch.clone()
    }

    /// Asks for the members to be looked at: one of them may not serve.
    pub(super) fn suspect(&self) {
        self.members.suspect();
    }

    /// Pauses from `first` on, never longer than `max`.
    pub(super) fn backoff(&self, first: Duration, max: Duration) -> Backoff {
        Backoff::new(first, max, self.entropy.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The revision in the head of an answer to a question that was asked when the highest was `known`. One that has gone
    /// back is no answer, and neither is anything that another etcd says.
    pub(super) async fn told(
        &self,
        known: Revision,
        header: Option<&ResponseHeader>,
    ) -> Result<Revision, Fate> {
        if self.epoch.take(known, header) {
            sleep(DOUBT).await;
            let second = self.look(self.until()).await.ok();
            let second = second.map(|answer| header_revision(answer.header()));
            self.epoch.confirm(known, second);
            return Err(Fate::Unknown);
        }
        if self.epoch.is_over() {
            return Err(Fate::Unknown);
        }
        Ok(header_revision(header))
    }

    /// The least that can be asked of a quorum.
    pub(super) async fn look(&self, until: Instant) -> Result<GetResponse, Fate> {
        self.attempt(until, Repeat::Always, || {
            let mut kv = self.kv();
            let key = self.probe_key.as_slice();
            let options = GetOptions::new().with_count_only();
            async move { kv.get(key, Some(options)).await }
        })
        .await
    }

    /// When a call that begins now must have been answered.
    pub(super) fn until(&self) -> Instant {
        Instant::now() + self.patience
    }

    /// Sends a request, and again as far as `repeat` allows, until it is answered or `until` is over.
    pub(super) async fn attempt<T, F>(
        &self,
        until: Instant,
        repeat: Repeat,
        mut request: impl FnMut() -> F,
    ) -> Result<T, Fate>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut backoff = self.backoff(Duration::from_millis(10), Duration::from_millis(500));
        let mut logged_in_again = false;
        loop {
            let logins = self.logins.load(Ordering::Acquire);
            let patience = match repeat {
                Repeat::Always => until.min(Instant::now() + self.patience / TRIES),
                Repeat::OnlyUnsent => until,
            };
            let fate = match timeout_at(patience, request()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => {
                    let fate = Fate::of(&error);
                    tracing::debug!(%error, ?fate, "etcd request failed");
                    fate
                }
                Err(_) => Fate::Unknown,
            };
            let again = match fate {
                Fate::Unsent => true,
                Fate::Unknown | Fate::Refused(Refusal::Busy) => repeat == Repeat::Always,
                Fate::LoginStale => {
                    if logged_in_again || !self.log_in_again(logins, until).await {
                        return Err(Fate::Refused(Refusal::Denied));
                    }
                    logged_in_again = true;
                    continue;
                }
                Fate::Refused(_) | Fate::Compacted | Fate::Oversized => false,
            };
            if !again || Instant::now() + backoff.next >= until {
                return Err(fate);
            }
            backoff.pause().await;
        }
    }

    /// Renews the login unless somebody has done it since `seen`. Whether there is reason to try again.
    async fn log_in_again(&self, seen: u64, until: Instant) -> bool {
        if !self.logs_in {
            return false;
        }
        let renewal = async {
            let _one_at_a_time = self.logging_in.lock().await;
            if self.logins.load(Ordering::Acquire) != seen {
                return true;
            }
            match self.client.refresh_token().await {
                Ok(()) => {
                    self.logins.fetch_add(1, Ordering::AcqRel);
                    true
                }
                Err(error) => {
                    tracing::warn!(%error, "etcd refuses to renew the login");
                    false
                }
            }
        };
        timeout_at(until, renewal).await.unwrap_or(false)
    }

    /// Renews the login after a stream was refused for it.
    pub(super) async fn log_in_for_stream(&self) {
        let seen = self.logins.load(Ordering::Acquire);
        self.log_in_again(seen, self.until()).await;
    }
}

/// Waits longer and longer, never twice the same.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    next: Duration,
    max: Duration,
    rng: Rng,
}

impl Backoff {
    fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self {
            first,
            next: first,
            max,
            rng: Rng::new(seed),
        }
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }

    /// Waits between half of the present span and all of it, and doubles the span.
    pub(super) async fn pause(&mut self) {
        let half = self.next / 2;
        let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        let jitter = Duration::from_micros(self.rng.below(micros.saturating_add(1)));
        self.next = (self.next * 2).min(self.max);
        sleep(half + jitter).await;
    }
}
