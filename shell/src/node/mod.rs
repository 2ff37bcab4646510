//! Nodes: a machine, its driver and its ports, put together into a running scheduler or worker. They know neither a
//! store nor the computer that they run on: `host` brings both, and so does the simulator.

mod scheduler;
mod worker;

use tokio::sync::{mpsc, oneshot};
use windlass_core::worker::Exit;

pub use self::scheduler::SchedulerNode;
pub use self::worker::{RunEvents, Runner, StartHook, WorkerNode, WorkerStatus};

/// The build, as nodes report it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How busy the machine is, and how large the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// The busy share of all processors, in thousandths.
    pub cpu_permille: u16,
    /// The process's memory, in bytes.
    pub memory_bytes: u64,
}

/// Why a node that ended so did not end well; nothing, if it did.
pub fn misfortune(exit: Exit) -> Option<&'static str> {
    match exit {
        Exit::Drained => None,
        Exit::Deposed => Some("the cluster believes this node dead: its lease has ended"),
        Exit::Usurped => Some("another process uses this node's id"),
        Exit::HandlerWedged => Some("a handler did not stop when the session was over"),
        Exit::Unheard => {
            Some("the store did not answer: what this node held is taken over when its lease ends")
        }
    }
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
