//! Where a builder was told that the store is.

use std::path::PathBuf;
use std::sync::Arc;

use windlass_core::keyspace::Range;

use super::NodeError;
use crate::clock::SystemClock;
use crate::host::Store;
use crate::store::embedded::{EmbeddedStore, MemoryStore};
use crate::store::etcd::{EtcdConfig, EtcdStore};

/// Where the store is.
#[derive(Debug, Default)]
pub(super) enum Place {
    /// Nobody has said.
    #[default]
    Nowhere,
    /// It is open already.
    Open(Store),
    /// In an etcd.
    Etcd(EtcdConfig),
    /// In a directory of this machine.
    Directory(PathBuf),
    /// In this process, and forgotten with it.
    Memory,
}

impl Place {
    /// The store there. Of etcd's keys the user must be able to read `probe`.
    pub(super) async fn open(
        self,
        prefix: Option<String>,
        probe: Range,
        clock: &SystemClock,
    ) -> Result<Store, NodeError> {
        match self {
            Self::Nowhere => Err(NodeError::NoStore),
            Self::Open(store) => Ok(store),
            Self::Etcd(mut config) => {
                config.probe = probe;
                if let Some(prefix) = prefix {
                    config.prefix = prefix;
                }
                Ok(Store::Etcd(Arc::new(EtcdStore::connect(config).await?)))
            }
            Self::Directory(path) => {
                std::fs::create_dir_all(&path).map_err(|error| {
                    NodeError::option("data_dir", format!("{}: {error}", path.display()))
                })?;
                let embedded = EmbeddedStore::open(&path, clock.clone())?;
                Ok(Store::Embedded(Arc::new(embedded)))
            }
            Self::Memory => Ok(Store::Memory(Arc::new(MemoryStore::start(clock.clone())))),
        }
    }
}
