//! How nodes reach etcd, and what every node is told.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use windlass_core::ids::NodeId;

use super::values;

/// How to reach etcd.
#[derive(Debug, Clone, Args)]
pub struct EtcdArgs {
    /// etcd's client endpoints
    #[arg(
        long,
        env = "WINDLASS_ETCD",
        value_name = "URL,…",
        value_delimiter = ',',
        required = true
    )]
    pub etcd: Vec<String>,
    /// The start of every key, for an etcd that is shared with others
    #[arg(long, env = "WINDLASS_PREFIX", value_name = "P", default_value = "")]
    pub prefix: String,
    /// The certificates that sign etcd's
    #[arg(long, env = "WINDLASS_ETCD_CA", value_name = "FILE")]
    pub etcd_ca: Option<PathBuf>,
    /// The certificate that this process shows
    #[arg(
        long,
        env = "WINDLASS_ETCD_CERT",
        value_name = "FILE",
        requires = "etcd_key"
    )]
    pub etcd_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(
        long,
        env = "WINDLASS_ETCD_KEY",
        value_name = "FILE",
        requires = "etcd_cert"
    )]
    pub etcd_key: Option<PathBuf>,
    /// The user that this process logs in as
    #[arg(
        long,
        env = "WINDLASS_ETCD_USER",
        value_name = "NAME",
        requires = "etcd_password_file"
    )]
    pub etcd_user: Option<String>,
    /// How large etcd's file may become, as its --quota-backend-bytes says; etcd 3.6 and later tell it themselves
    #[arg(
        long,
        env = "WINDLASS_ETCD_QUOTA",
        value_name = "BYTES",
        default_value = "2GiB",
        value_parser = values::quota
    )]
    pub etcd_quota: u64,
    /// A file that holds the user's password
    #[arg(
        long,
        env = "WINDLASS_ETCD_PASSWORD_FILE",
        value_name = "FILE",
        requires = "etcd_user"
    )]
    pub etcd_password_file: Option<PathBuf>,
}

/// What every node of a cluster is told.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// The node's id; unique to the process unless given
    #[arg(long, env = "WINDLASS_NODE_ID")]
    pub id: Option<NodeId>,
    /// How long the node is believed alive without news of it
    #[arg(long, env = "WINDLASS_TTL", value_name = "DURATION", default_value = "10s", value_parser = values::positive_duration)]
    pub ttl: Duration,
}
