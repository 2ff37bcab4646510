//! Nodes on a real computer: its stores, its kernel's randomness, its load.

mod health;
mod load;
mod process;
mod stop;

use std::sync::Arc;

use windlass_core::config::{ServerConfig, WorkerConfig};
use windlass_core::ids::NodeId;

pub use self::health::{Health, Unwell, keep_written};
pub(crate) use self::load::measure;
pub(crate) use self::load::memory_bytes;
pub use self::load::peak_memory_bytes;
pub use self::process::{Footprint, footprint};
pub(crate) use self::stop::Stop;
use crate::clock::SystemClock;
use crate::executor::{Executor, ExecutorOptions, Handlers};
use crate::node::{SchedulerNode, StartHook, WorkerNode};
use crate::store::embedded::{EmbeddedStore, MemoryStore};
use crate::store::etcd::EtcdStore;
use crate::store::{Answers, StorePort};

/// The store that a process's nodes share. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Store {
    /// In this process.
    Embedded(Arc<EmbeddedStore>),
    /// In this process, and forgotten with it.
    Memory(Arc<MemoryStore>),
    /// An etcd cluster.
    Etcd(Arc<EtcdStore>),
}

impl Store {
    /// A way in for one machine.
    pub fn client(&self, answers: Answers) -> Box<dyn StorePort> {
        match self {
            Self::Embedded(store) => store.client(answers),
            Self::Memory(store) => store.client(answers),
            Self::Etcd(store) => store.client(answers),
        }
    }

    /// Done when the store is gone for good, and says why: nothing can be recorded in it any more, so whoever lives on it
    /// must end at once, as in a crash.
    pub(crate) async fn gone(&self) -> String {
        match self {
            Self::Embedded(store) => {
                store.stopped().await;
                "the embedded store has stopped: it cannot write".to_owned()
            }
            Self::Memory(_) => std::future::pending().await,
            Self::Etcd(store) => store.replaced().await.to_string(),
        }
    }
}

/// Sixty-four bits that no other process has.
pub(crate) fn entropy() -> u64 {
    u64::from_ne_bytes(random())
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    let mut filled = 0;
    while filled < bytes.len() {
        // The kernel's pool is ready long before any process of ours; a signal may interrupt the call.
        let got =
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty());
        filled += got.unwrap_or(0);
    }
    bytes
}

/// An id that no other process has: the machine's name and a random part.
pub fn fresh_id() -> NodeId {
    let uname = rustix::system::uname();
    let host: String = uname
        .nodename()
        .to_string_lossy()
        .chars()
        .filter(|it| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | '_'))
        .take(80)
        .collect();
    let host = if host.is_empty() {
        "node"
    } else {
        host.as_str()
    };
    NodeId::new(&format!("{host}-{:08x}", entropy() >> 32))
        .expect("legal characters, and fewer than the limit")
}

impl SchedulerNode {
    /// Starts a scheduler on `store`.
    pub fn start(store: &Store, config: ServerConfig, clock: SystemClock) -> Self {
        let node = Self::launch(|answers| store.client(answers), config, clock, entropy());
        let report = node.load_reporter();
        node.with_measuring(tokio::spawn(measure(report)))
    }
}

impl WorkerNode {
    /// Starts a worker on `store` with these handlers; `config.types` is set from them.
    pub fn start(
        store: &Store,
        config: WorkerConfig,
        handlers: Handlers,
        options: ExecutorOptions,
        clock: SystemClock,
    ) -> Self {
        Self::start_with_hook(store, config, handlers, options, clock, None)
    }

    /// The same, and tells `hook` of every attempt that starts.
    pub fn start_with_hook(
        store: &Store,
        mut config: WorkerConfig,
        handlers: Handlers,
        options: ExecutorOptions,
        clock: SystemClock,
        hook: Option<StartHook>,
    ) -> Self {
        config.types = handlers.types().cloned().collect();
        let node = Self::launch(
            |answers| store.client(answers),
            |events| Executor::new(handlers, move |run, event| events.tell(run, event), options),
            config,
            clock,
            entropy(),
            hook,
        );
        let report = node.load_reporter();
        node.with_measuring(tokio::spawn(measure(report)))
    }
}
