//! Why a worker or a scheduler does not start, or has ended.

use std::io;
use std::net::SocketAddr;

use windlass_core::config::ConfigError;
use windlass_core::worker::Exit;

use crate::executor::RegisterError;
use crate::node::misfortune;
use crate::store::embedded::EmbeddedError;
use crate::store::etcd::EtcdError;

/// Why a worker or a scheduler does not start, or has ended otherwise than it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The builder was not told where the store is.
    #[error(
        "no store is named: call etcd() or store(), or for a scheduler data_dir() or in_memory()"
    )]
    NoStore,
    /// The builder was told something that cannot be.
    #[error("{field}: {reason}")]
    Option {
        /// Which of its methods was told so.
        field: &'static str,
        /// Why it cannot be.
        reason: String,
    },
    /// A number is out of bounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Two handlers have the same type, or a type is no name.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// etcd cannot be reached, or is not fit.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// The embedded store cannot be opened.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// Somebody else listens there, or nobody may.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The process cannot be told of signals.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    /// It has ended by itself.
    #[error("{}", misfortune(*.0).unwrap_or("it has left"))]
    Ended(Exit),
    /// Its store is gone for good.
    #[error("{0}")]
    StoreGone(String),
    /// What ran it was dropped with its runtime, or died of a bug.
    #[error("it was dropped before it had ended")]
    Dropped,
}

impl NodeError {
    pub(super) fn option(field: &'static str, reason: impl ToString) -> Self {
        Self::Option {
            field,
            reason: reason.to_string(),
        }
    }

    /// What a node's end means to whoever waits for it.
    pub(super) fn of_exit(exit: Exit) -> Result<(), Self> {
        match misfortune(exit) {
            None => Ok(()),
            Some(_) => Err(Self::Ended(exit)),
        }
    }
}
