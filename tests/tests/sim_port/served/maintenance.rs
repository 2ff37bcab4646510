//! What a member says of itself.

use std::pin::Pin;

use etcd_client::proto::{
    PbAlarmRequest, PbAlarmResponse, PbDefragmentRequest, PbDefragmentResponse, PbDowngradeRequest,
    PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest, PbHashResponse,
    PbMaintenanceService, PbMoveLeaderRequest, PbMoveLeaderResponse, PbSnapshotRequest,
    PbSnapshotResponse, PbStatusRequest, PbStatusResponse,
};
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::member::Served;
use super::wire::odd;

/// A release without known faults.
const VERSION: &str = "3.5.33";

#[tonic::async_trait]
impl PbMaintenanceService for Served {
    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<PbSnapshotResponse, Status>> + Send>>;

    /// etcd answers this without a login, a leader or a quorum.
    async fn status(
        &self,
        _: Request<PbStatusRequest>,
    ) -> Result<Response<PbStatusResponse>, Status> {
        let status = self.shared.with(|world| {
            let leaderless = world.now() < world.members[self.id].leaderless;
            let at = world.visible(self.id);
            let errors: &[&str] = if leaderless {
                &["etcdserver: no leader"]
            } else {
                &[]
            };
            PbStatusResponse {
                header: self.header(world, at),
                version: VERSION.to_owned(),
                leader: if leaderless { 0 } else { 100 },
                raft_term: world.term,
                raft_index: at.0,
                raft_applied_index: at.0,
                db_size: i64::try_from(world.kv.bytes()).unwrap_or(i64::MAX),
                db_size_in_use: i64::try_from(world.kv.bytes()).unwrap_or(i64::MAX),
                errors: errors.iter().map(|it| (*it).to_owned()).collect(),
                ..PbStatusResponse::default()
            }
        });
        Ok(Response::new(status))
    }

    async fn alarm(&self, _: Request<PbAlarmRequest>) -> Result<Response<PbAlarmResponse>, Status> {
        let header = self
            .shared
            .with(|world| self.header(world, world.kv.revision()));
        Ok(Response::new(PbAlarmResponse {
            header,
            alarms: vec![],
        }))
    }

    async fn defragment(
        &self,
        _: Request<PbDefragmentRequest>,
    ) -> Result<Response<PbDefragmentResponse>, Status> {
        Err(odd("a defragmentation"))
    }

    async fn hash(&self, _: Request<PbHashRequest>) -> Result<Response<PbHashResponse>, Status> {
        Err(odd("a hash"))
    }

    async fn hash_kv(
        &self,
        _: Request<PbHashKvRequest>,
    ) -> Result<Response<PbHashKvResponse>, Status> {
        Err(odd("a hash"))
    }

    async fn snapshot(
        &self,
        _: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(odd("a snapshot"))
    }

    async fn move_leader(
        &self,
        _: Request<PbMoveLeaderRequest>,
    ) -> Result<Response<PbMoveLeaderResponse>, Status> {
        Err(odd("a chosen leader"))
    }

    async fn downgrade(
        &self,
        _: Request<PbDowngradeRequest>,
    ) -> Result<Response<PbDowngradeResponse>, Status> {
        Err(odd("a downgrade"))
    }
}
