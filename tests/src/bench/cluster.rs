//! A cluster whose nodes are killed or told to leave.

use serde_json::{Value, json};

use super::claims::Claims;
use crate::client::Client;
use crate::etcd::Etcd;
use crate::process::Process;

/// The TTL of every node.
pub(super) const TTL: [&str; 2] = ["--ttl", "3s"];

/// Schedulers on an etcd that is watched.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) claims: Claims,
    pub(super) schedulers: Vec<Process>,
    pub(super) client: Client,
    // Ends last.
    pub(super) etcd: Etcd,
}

impl Cluster {
    /// So many schedulers, ready.
    pub(super) fn start(schedulers: usize) -> anyhow::Result<Self> {
        let etcd = Etcd::durable(&[]);
        let claims = Claims::watch(&etcd)?;
        let mut schedulers: Vec<Process> = (1..=schedulers)
            .map(|n| Process::scheduler(&etcd, &format!("s{n}"), &TTL))
            .collect();
        let client = Client::of(&mut schedulers);
        Ok(Self {
            claims,
            schedulers,
            client,
            etcd,
        })
    }

    /// A worker that takes tasks.
    pub(super) fn worker(&self, id: &str, slots: usize, more: &[&str]) -> Process {
        let slots = slots.to_string();
        let mut worker = Process::worker(
            &self.etcd,
            id,
            &[&TTL[..], &["--slots", &slots], more].concat(),
        );
        worker.takes_tasks();
        worker
    }
}

/// A task that runs until it is stopped.
pub(super) fn endless() -> Value {
    json!({"type": "sleep", "payload": {"ms": 3_600_000}, "timeout": "2h"})
}
