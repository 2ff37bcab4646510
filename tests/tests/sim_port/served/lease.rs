//! Leases.

use std::pin::Pin;
use std::time::Duration;

use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse,
    PbLeaseService, PbLeaseStatus, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse,
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};
use tonic::codegen::tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use windlass::core::ids::LeaseId;
use windlass::core::store::{Answer, Call, LeaseAnswer, Refusal};

use super::member::{Received, Served};
use crate::world::{Lie, Twist, World};

type Reply = Result<PbLeaseKeepAliveResponse, Status>;

fn gone() -> Status {
    Status::not_found("etcdserver: requested lease not found")
}

#[tonic::async_trait]
impl PbLeaseService for Served {
    type LeaseKeepAliveStream = Pin<Box<dyn Stream<Item = Reply> + Send>>;

    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        self.perform(&metadata, move |own, world| {
            let ttl = Duration::from_secs(u64::try_from(asked.ttl).unwrap_or(0));
            let Answer::Lease(answer) = world.ask(Call::Grant { ttl }) else {
                panic!("the store answers what it was asked");
            };
            match answer {
                LeaseAnswer::Live { lease, ttl } => Ok(PbLeaseGrantResponse {
                    header: own.header(world, world.kv.revision()),
                    id: lease.0,
                    ttl: seconds(ttl),
                    error: String::new(),
                }),
                LeaseAnswer::Refused(Refusal::Invalid) => {
                    Err(Status::out_of_range("etcdserver: too large lease TTL"))
                }
                LeaseAnswer::Gone | LeaseAnswer::Refused(_) | LeaseAnswer::Unknown => Err(
                    Status::resource_exhausted("etcdserver: mvcc: database space exceeded"),
                ),
            }
        })
        .await
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        self.perform(&metadata, move |own, world| {
            world.elapse();
            let lease = LeaseId(asked.id);
            if world.kv.lease(lease).is_none() {
                return Err(gone());
            }
            drop(world.ask(Call::Revoke { lease }));
            Ok(PbLeaseRevokeResponse {
                header: own.header(world, world.kv.revision()),
            })
        })
        .await
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (metadata, _, incoming) = request.into_parts();
        self.shared.with(|world| self.admit(world, &metadata))?;
        let (replies, received) = unbounded_channel();
        let (sender, delayed) = unbounded_channel();
        tokio::spawn(forward(delayed, replies));
        tokio::spawn(keep_alive(self.clone(), metadata, incoming, sender));
        Ok(Response::new(Box::pin(Received(received))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        let (metadata, _, asked) = request.into_parts();
        self.perform(&metadata, move |own, world| {
            world.elapse();
            let lease = world.kv.lease(LeaseId(asked.id));
            Ok(PbLeaseTimeToLiveResponse {
                header: own.header(world, world.kv.revision()),
                id: asked.id,
                ttl: lease.map_or(-1, |(_, left)| seconds(left)),
                granted_ttl: lease.map_or(0, |(granted, _)| seconds(granted)),
                keys: vec![],
            })
        })
        .await
    }

    async fn lease_leases(
        &self,
        request: Request<PbLeaseLeasesRequest>,
    ) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        let (metadata, _, _) = request.into_parts();
        self.perform(&metadata, move |own, world| {
            let live = world.ledger.leases.iter();
            let live = live.filter(|(_, life)| life.ended.is_none());
            Ok(PbLeaseLeasesResponse {
                leases: live.map(|(id, _)| PbLeaseStatus { id: id.0 }).collect(),
                header: own.header(world, world.kv.revision()),
            })
        })
        .await
    }
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).expect("nobody waits that long")
}

/// Hands on the replies in their order, each when its time has come.
async fn forward(
    mut delayed: tokio::sync::mpsc::UnboundedReceiver<(Instant, Reply)>,
    replies: UnboundedSender<Reply>,
) {
    while let Some((at, reply)) = delayed.recv().await {
        sleep_until(at).await;
        if replies.send(reply).is_err() {
            return;
        }
    }
}

async fn keep_alive(
    own: Served,
    metadata: MetadataMap,
    mut incoming: Streaming<PbLeaseKeepAliveRequest>,
    replies: UnboundedSender<(Instant, Reply)>,
) {
    while let Ok(Some(asked)) = incoming.message().await {
        let renewed =
            own.perform_streamed(&metadata, move |own, world| renew(own, world, asked.id));
        let (at, reply) = match renewed.await {
            Ok((_, Some(Twist::Lose))) => continue,
            Ok((_, Some(Twist::Fail))) => (
                Instant::now(),
                Err(Status::unavailable("etcdserver: request timed out")),
            ),
            Ok((reply, Some(Twist::AnswerLate(by)))) => (Instant::now() + by, Ok(reply)),
            Ok((reply, Some(Twist::ApplyLate(_)) | None)) => (Instant::now(), Ok(reply)),
            Err(status) => (Instant::now(), Err(status)),
        };
        let failed = reply.is_err();
        if replies.send((at, reply)).is_err() || failed {
            return;
        }
    }
}

fn renew(own: &Served, world: &mut World, id: i64) -> PbLeaseKeepAliveResponse {
    let lease = LeaseId(id);
    let renewed = world.ask(Call::Renew { lease });
    let ttl = if let Answer::Lease(LeaseAnswer::Live { ttl, .. }) = renewed {
        seconds(ttl)
    } else if world.lie == Some(Lie::UndeadLeases) {
        10
    } else {
        0
    };
    PbLeaseKeepAliveResponse {
        header: own.header(world, world.kv.revision()),
        id,
        ttl,
    }
}
