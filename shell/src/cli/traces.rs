//! Where daemons export traces to, on the command line.

use clap::Args;
use windlass_core::ids::NodeId;
use windlass_core::keyspace::Role;

use super::exit::{CliError, Exit};
use crate::trace::{Collector, Traces};

/// Where traces go.
#[derive(Debug, Clone, Args)]
pub struct TraceArgs {
    /// Export traces to this OpenTelemetry collector, by OTLP over gRPC, such as http://127.0.0.1:4317; nowhere unless given
    #[arg(long, env = "WINDLASS_OTLP", value_name = "URL")]
    pub otlp: Option<Collector>,
}

impl TraceArgs {
    /// Where the spans of `node`, which is a `role`, go.
    pub(super) fn open(&self, role: Role, node: &NodeId) -> Result<Option<Traces>, CliError> {
        let Some(collector) = &self.otlp else {
            return Ok(None);
        };
        Traces::export(collector, role, node)
            .map(Some)
            .map_err(|error| CliError::new(Exit::Usage, format!("--otlp: {error}")))
    }
}

/// Waits, within bounds, until the collector has the last spans.
pub(super) async fn close(all: impl IntoIterator<Item = Traces>) {
    let closing: Vec<_> = all.into_iter().collect();
    futures_util::future::join_all(closing.iter().map(Traces::close)).await;
}
