//! Configuration of the machines, checked where it enters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{NodeId, QueueName, TaskType};
use crate::session::SessionConfig;
use crate::time::Millis;

/// Workers that may vanish under a task before it fails.
pub const LOSSES_MAX: u32 = 10;

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Too short for a margin, or longer than an outage anybody would sit out.
    #[error("ttl: {0:?} is not between 2 s and 1 h")]
    Ttl(Duration),
    /// A worker without slots, or with more than a process can run.
    #[error("slots: {0} is not between 1 and 1,000,000")]
    Slots(u32),
    /// No share, or one that would drown all others.
    #[error("weight: {0} is not between 1 and 1,000,000")]
    Weight(u32),
    /// More than one byte of a lane's name can count.
    #[error("lanes: {0} is not between 1 and 32")]
    Lanes(u8),
}

fn check_ttl(ttl: Duration) -> Result<(), ConfigError> {
    let legal = SessionConfig::TTL_MIN..=Duration::from_secs(3_600);
    if legal.contains(&ttl) {
        Ok(())
    } else {
        Err(ConfigError::Ttl(ttl))
    }
}

/// How many transactions a worker has in flight: what ends meanwhile shares the next one, and fewer, fuller ones cost a
/// store less. With four an etcd did a twentieth less.
const LANES: u8 = 2;

/// How many a gateway has. Fewer than a scheduler, so that what is accepted is placed as fast: else tasks pile up between
/// the two under load, and each waits for seconds where it need not wait for a tenth of one.
const GATEWAY_LANES: u8 = 3;

/// How many a scheduler has.
const SCHEDULER_LANES: u8 = 8;

fn check_lanes(lanes: u8) -> Result<(), ConfigError> {
    if (1..=32).contains(&lanes) {
        Ok(())
    } else {
        Err(ConfigError::Lanes(lanes))
    }
}

/// What a worker is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Its id; unique to the process unless an operator chose it.
    pub id: NodeId,
    /// Handlers that run at the same time.
    pub slots: u32,
    /// The queues that it serves; all when empty.
    pub queues: Vec<QueueName>,
    /// The types that it runs.
    pub types: Vec<TaskType>,
    /// Its share under the weighted strategy.
    pub weight: u32,
    /// Labels for people.
    pub labels: BTreeMap<String, String>,
    /// The build.
    pub version: Arc<str>,
    /// The time to live of its lease.
    pub ttl: Duration,
    /// Transactions in flight at most.
    pub lanes: u8,
    /// How long a claim may wait for a slot before it is handed back.
    pub claim_wait_max: Duration,
    /// How long handlers may run on after a drain began; then they are stopped and handed back.
    pub drain_grace: Duration,
}

impl WorkerConfig {
    /// A worker with everything as by default.
    pub fn new(id: NodeId, types: Vec<TaskType>, version: Arc<str>) -> Self {
        Self {
            id,
            slots: 8,
            queues: Vec::new(),
            types,
            weight: 1,
            labels: BTreeMap::new(),
            version,
            ttl: Duration::from_secs(10),
            lanes: LANES,
            claim_wait_max: Duration::from_secs(10),
            drain_grace: Duration::from_secs(25),
        }
    }

    /// Checks every bound.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_ttl(self.ttl)?;
        check_lanes(self.lanes)?;
        if !(1..=1_000_000).contains(&self.slots) {
            return Err(ConfigError::Slots(self.slots));
        }
        if !(1..=1_000_000).contains(&self.weight) {
            return Err(ConfigError::Weight(self.weight));
        }
        Ok(())
    }
}

/// What a scheduler process is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Its id; unique to the process unless an operator chose it.
    pub id: NodeId,
    /// The build.
    pub version: Arc<str>,
    /// The time to live of its lease.
    pub ttl: Duration,
    /// Transactions that the gateway may have in flight.
    pub gateway_lanes: u8,
    /// Transactions that the scheduler may have in flight.
    pub scheduler_lanes: u8,
    /// Workers that may vanish under a task.
    pub losses_max: u32,
    /// How long another scheduler may leave a task that it should place, before this one does.
    pub step_in_after: Duration,
    /// How long a worker may take to stop an attempt after its time-out, before the scheduler flags it; and again, before
    /// the scheduler takes its claim.
    pub silence_grace: Duration,
    /// How long ended tasks are kept.
    pub retention: Millis,
    /// How often the totals of nodes that are gone are looked for.
    pub fold_every: Duration,
    /// How much history is kept for slow watchers; no compaction when absent.
    pub history_min: Option<Duration>,
    /// How long a request of a client may take when it does not wait for anything but the store.
    pub request_max: Duration,
}

impl ServerConfig {
    /// A scheduler with everything as by default.
    pub fn new(id: NodeId, version: Arc<str>) -> Self {
        Self {
            id,
            version,
            ttl: Duration::from_secs(10),
            gateway_lanes: GATEWAY_LANES,
            scheduler_lanes: SCHEDULER_LANES,
            losses_max: LOSSES_MAX,
            step_in_after: Duration::from_secs(1),
            silence_grace: Duration::from_secs(10),
            retention: Millis::from_secs(24 * 3_600),
            fold_every: Duration::from_secs(60),
            history_min: Some(Duration::from_secs(60)),
            request_max: Duration::from_secs(10),
        }
    }

    /// Checks every bound.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_ttl(self.ttl)?;
        check_lanes(self.gateway_lanes)?;
        check_lanes(self.scheduler_lanes)
    }
}
