//! Looks after a cluster while it is broken: starts what ended by itself, and sees leases end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use windlass_sim::core::ids::LeaseId;
use windlass_sim::fact::Fact;

use super::cluster::Cluster;
use super::journal::Journal;
use super::store::Store;

/// How long a node that has ended by itself stays down.
const RESTART_AFTER: Duration = Duration::from_millis(300);

/// Starts what ends by itself again, and sees leases end.
#[derive(Debug)]
pub struct Watchman<'a> {
    cluster: &'a Cluster,
    journal: &'a Journal,
    store: Store,
    over: AtomicBool,
    exits: Mutex<BTreeMap<(String, i32), u64>>,
    size_max: Mutex<i64>,
}

impl<'a> Watchman<'a> {
    /// Of a cluster that is about to be broken.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(cluster: &'a Cluster, journal: &'a Journal) -> anyhow::Result<Self> {
        Ok(Self {
            cluster,
            journal,
            store: Store::new(cluster.endpoints())?,
            over: AtomicBool::new(false),
            exits: Mutex::default(),
            size_max: Mutex::default(),
        })
    }

    /// It is over.
    pub fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// How nodes ended by themselves, and the largest file of any member.
    pub fn seen(self) -> (BTreeMap<(String, i32), u64>, i64) {
        let exits = self.exits.into_inner();
        let size_max = self.size_max.into_inner();
        (
            exits.unwrap_or_else(PoisonError::into_inner),
            size_max.unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// What a service manager does.
    pub fn keep_up(&self) {
        let mut down: BTreeMap<usize, Instant> = BTreeMap::new();
        while !self.is_over() {
            for node in self.cluster.nodes.iter().filter(|it| !it.is_held()) {
                if let Some(code) = node.look() {
                    let mut exits = self.exits.lock().unwrap_or_else(PoisonError::into_inner);
                    *exits
                        .entry((node.id.as_str().to_owned(), code))
                        .or_default() += 1;
                    down.insert(node.ix, Instant::now());
                }
            }
            let due = |(_, since): &(&usize, &Instant)| since.elapsed() > RESTART_AFTER;
            let due: Vec<usize> = down.iter().filter(due).map(|(ix, _)| *ix).collect();
            for ix in due {
                down.remove(&ix);
                // Somebody may hold it down by now: then that one starts it.
                if !self.cluster.nodes[ix].is_held() {
                    let started = self.cluster.nodes[ix].start();
                    started.expect("what was started once starts again");
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A lease that was there, is missing twice, and is unknown to the leader has ended.
    pub fn leases(&self) {
        let mut known: BTreeMap<i64, u32> = BTreeMap::new();
        while !self.is_over() {
            std::thread::sleep(Duration::from_secs(1));
            let largest = self.store.sizes().into_iter().max().unwrap_or_default();
            let mut size_max = self.size_max.lock().unwrap_or_else(PoisonError::into_inner);
            *size_max = largest.max(*size_max);
            drop(size_max);
            let Ok(leases) = self.store.leases() else {
                continue;
            };
            let there: BTreeSet<i64> = leases.into_iter().collect();
            for (lease, missing) in &mut known {
                *missing = if there.contains(lease) {
                    0
                } else {
                    *missing + 1
                };
            }
            known.extend(there.iter().map(|lease| (*lease, 0)));
            let missing: Vec<i64> = known
                .iter()
                .filter(|it| *it.1 > 1)
                .map(|it| *it.0)
                .collect();
            for lease in missing {
                if self.store.is_over(lease).unwrap_or_default() {
                    known.remove(&lease);
                    let lease = LeaseId(lease);
                    self.journal.note(&Fact::LeaseEnded { lease });
                }
            }
        }
    }
}
