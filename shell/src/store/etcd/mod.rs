//! The store as a real etcd keeps it.
//!
//! One [`EtcdStore`] is one connection that any number of clients share. What the etcd client leaves to its users is
//! done here: every call has a deadline, members that fail are left for others, reads are repeated, watches resume, leases
//! are refreshed over streams that are rebuilt, logins are renewed. A transaction is sent again only when its request
//! provably never left this process.

mod commit;
mod config;
mod connect;
mod epoch;
mod fate;
mod lease;
mod link;
mod members;
mod metrics;
mod probe;
mod read;
mod route;
mod usage;
mod watch;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use tokio::runtime::Handle;
use tonic::transport::Endpoint;
use windlass_core::ids::{LeaseId, OpId};
use windlass_core::store::{Answer, Call};

use self::lease::Keeper;
use self::link::Link;
use self::watch::Watching;
use super::{Answers, Owed, StorePort};

pub use self::config::{EtcdConfig, EtcdError, Login, Tls};
pub(crate) use self::connect::{Fitness, fitness};
pub use self::epoch::Replaced;
pub use self::members::Dial;

/// A connection to an etcd, shared by all clients of this process.
#[derive(Debug, Clone)]
pub struct EtcdStore {
    link: Arc<Link>,
}

impl EtcdStore {
    /// Connects, and makes sure that the etcd is fit, lets us in and serves reads. Must be called on a tokio runtime,
    /// which from then on performs the calls.
    pub async fn connect(config: EtcdConfig) -> Result<Self, EtcdError> {
        let entropy = RandomState::new().build_hasher().finish();
        Self::connect_by(config, Arc::new(Endpoint::connect_lazy), entropy).await
    }

    /// As [`EtcdStore::connect`], over a network that is not the machine's own: `dial` makes the connection to a member,
    /// `entropy` decides everything that chance decides.
    pub async fn connect_by(
        config: EtcdConfig,
        dial: Dial,
        entropy: u64,
    ) -> Result<Self, EtcdError> {
        let (client, members) = connect::connect(&config, dial).await?;
        let link = Link::new(client, members, &config, Handle::current(), entropy);
        Ok(Self {
            link: Arc::new(link),
        })
    }

    /// Waits until this etcd proves to be another than the one that was connected to: it was restored or replaced. What
    /// this process knows is void then, and so are the fences it was given: it must end. Calls go on as if nothing was.
    pub fn replaced(&self) -> impl Future<Output = Replaced> + Send + use<> {
        let link = Arc::clone(&self.link);
        async move { link.epoch().over().await }
    }

    /// A client of its own watches, whose answers go to `answers`.
    pub fn client(&self, answers: Answers) -> Box<dyn StorePort> {
        Box::new(Port {
            link: Arc::clone(&self.link),
            answers,
            watches: BTreeMap::new(),
            keepers: BTreeMap::new(),
        })
    }
}

struct Port {
    link: Arc<Link>,
    answers: Answers,
    watches: BTreeMap<OpId, Watching>,
    keepers: BTreeMap<LeaseId, Keeper>,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdPort")
            .field("watches", &self.watches.len())
            .finish_non_exhaustive()
    }
}

impl StorePort for Port {
    fn call(&mut self, op: OpId, call: Call) {
        match call {
            Call::Watch(range) => {
                let watching =
                    watch::begin(Arc::clone(&self.link), op, range, self.answers.clone());
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
            Call::Renew { lease } => {
                let owed = Owed::new(op, &call, self.answers.clone());
                self.renew(lease, owed);
            }
            Call::Commit(_)
            | Call::Read(_)
            | Call::Audit(_)
            | Call::Grant { .. }
            | Call::Revoke { .. }
            | Call::Compact { .. }
            | Call::Usage => {
                let owed = Owed::new(op, &call, self.answers.clone());
                let link = Arc::clone(&self.link);
                self.link.runtime().spawn(async move {
                    if let Some(answer) = perform(&link, call).await {
                        owed.give(answer);
                    }
                });
            }
        }
    }
}

impl Port {
    fn renew(&mut self, lease: LeaseId, owed: Owed) {
        let until = self.link.until();
        self.keepers.retain(|_, keeper| !keeper.is_over());
        let keeper = self
            .keepers
            .entry(lease)
            .or_insert_with(|| Keeper::start(Arc::clone(&self.link), lease));
        if let Err(owed) = keeper.renew(owed, until) {
            let fresh = Keeper::start(Arc::clone(&self.link), lease);
            // What a keeper that has just started does not take any more ends as unknown, when it is dropped.
            drop(fresh.renew(owed, until));
            self.keepers.insert(lease, fresh);
        }
    }
}

/// The answer of a call that is one request; `None` for those that are not.
async fn perform(link: &Link, call: Call) -> Option<Answer> {
    match call {
        Call::Commit(txn) => Some(Answer::Txn(commit::commit(link, &txn).await)),
        Call::Read(query) => Some(Answer::Read(read::read(link, &query).await)),
        Call::Audit(range) => Some(Answer::Audited(read::audit(link, &range).await)),
        Call::Grant { ttl } => Some(Answer::Lease(lease::grant(link, ttl).await)),
        Call::Revoke { lease } => Some(Answer::Lease(lease::revoke(link, lease).await)),
        Call::Compact { at } => Some(Answer::Compacted(commit::compact(link, at).await)),
        Call::Usage => Some(Answer::Usage(usage::usage(link).await)),
        Call::Watch(_) | Call::Unwatch { .. } | Call::Progress { .. } | Call::Renew { .. } => None,
    }
}
