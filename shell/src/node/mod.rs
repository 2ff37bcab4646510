//! Nodes: a machine, its driver and its ports, put together into a running scheduler or worker.

mod load;
mod scheduler;
mod worker;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use windlass_core::ids::NodeId;
use windlass_core::worker::Exit;

pub use self::load::peak_memory_bytes;
pub use self::scheduler::SchedulerNode;
pub use self::worker::{StartHook, WorkerNode, WorkerStatus};
use crate::store::embedded::EmbeddedStore;
use crate::store::etcd::EtcdStore;
use crate::store::{Answers, StorePort};

/// The store that a process's nodes share. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Store {
    /// In this process.
    Embedded(Arc<EmbeddedStore>),
    /// An etcd cluster.
    Etcd(Arc<EtcdStore>),
}

impl Store {
    /// A way in for one machine.
    pub fn client(&self, answers: Answers) -> Box<dyn StorePort> {
        match self {
            Self::Embedded(store) => store.client(answers),
            Self::Etcd(store) => store.client(answers),
        }
    }
}

/// The build, as nodes report it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Sixty-four bits that no other process has.
fn entropy() -> u64 {
    let mut bytes = [0_u8; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        // The kernel's pool is ready long before any process of ours; a signal may interrupt the call.
        let got =
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty());
        filled += got.unwrap_or(0);
    }
    u64::from_ne_bytes(bytes)
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

/// A machine's inbox, and word of its end.
#[derive(Debug)]
struct Reins<I> {
    inbox: mpsc::UnboundedSender<I>,
    exit: oneshot::Receiver<Exit>,
    driver: tokio::task::JoinHandle<()>,
}

impl<I> Reins<I> {
    fn send(&self, input: I) {
        // A machine that has ended needs no inputs.
        let _ = self.inbox.send(input);
    }

    /// Waits until the machine says why it ends. Its driver ends with it.
    async fn wait(&mut self) -> Exit {
        let exit = (&mut self.exit).await;
        self.driver.abort();
        // The sender lives as long as the driver: without a word, the driver has died.
        exit.unwrap_or(Exit::HandlerWedged)
    }
}

impl<I> Drop for Reins<I> {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
