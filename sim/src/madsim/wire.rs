//! What nodes and their store say to each other. One connection carries either all calls of a process, or one watch.

use std::time::Duration;

use windlass_core::ids::{OpId, Revision};
use windlass_core::keyspace::Range;
use windlass_core::store::{Answer, Call, ViewEvent};

use super::scenario::NodeIx;

/// The port that the store listens on.
pub(super) const STORE_PORT: u16 = 2379;
/// A node that waits for something on a connection gives the connection up after this much silence.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(6);
/// A watch that was silent this long is asked how far it is.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(3);

/// From a node to the store.
#[derive(Debug, Clone)]
pub(super) enum Up {
    /// A call that gets one answer.
    Call {
        /// Names it on this connection.
        id: OpId,
        /// What is asked.
        call: Call,
    },
    /// Follow a range: from a full read on, or from a revision on, that one included.
    Watch {
        /// The range.
        range: Range,
        /// What has been told before.
        told: Option<Revision>,
    },
    /// Tell how far the watch of this connection is.
    Progress,
}

/// From the store to a node.
#[derive(Debug, Clone)]
pub(super) enum Down {
    /// The answer to a call.
    Answer {
        /// Which.
        id: OpId,
        /// What.
        answer: Answer,
    },
    /// News of the connection's watch.
    News(ViewEvent),
    /// What follows is not known any more.
    Compacted,
}

/// The address of the store.
pub(super) fn store_address() -> std::net::SocketAddr {
    ([10, 0, 0, 1], STORE_PORT).into()
}

/// The address of a node.
pub(super) fn node_ip(node: NodeIx) -> std::net::IpAddr {
    let last = u8::try_from(node + 1).expect("few nodes");
    [10, 0, 1, last].into()
}

/// The node that has this address.
pub(super) fn node_of(ip: std::net::IpAddr) -> NodeIx {
    match ip {
        std::net::IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
        std::net::IpAddr::V6(_) => unreachable!("every node has an IPv4 address"),
    }
}
