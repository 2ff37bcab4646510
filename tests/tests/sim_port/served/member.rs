//! One member: who may ask it, and what becomes of its answers.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use etcd_client::proto::{
    PbKvServer, PbLeaseServer, PbMaintenanceServer, PbResponseHeader, PbWatchServer,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tonic::codegen::tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::transport::server::Connected;
use tonic::{Response, Status};
use turmoil::net::{TcpListener, TcpStream};
use windlass::core::ids::Revision;

use super::auth::AuthServer;
use super::wire::raw;
use crate::world::{Shared, Twist, World};

pub(crate) const PORT: u16 = 2_379;

/// One member of the cluster.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: usize,
}

/// What is in store for an admitted call.
struct Plan {
    before: Duration,
    twist: Option<Twist>,
}

impl Served {
    pub(super) fn header(&self, world: &World, at: Revision) -> Option<PbResponseHeader> {
        Some(PbResponseHeader {
            cluster_id: 7,
            member_id: 100 + self.id as u64,
            revision: raw(at),
            raft_term: world.term,
        })
    }

    /// Whether etcd's interceptors would let this call through.
    pub(super) fn admit(&self, world: &mut World, metadata: &MetadataMap) -> Result<(), Status> {
        let now = world.now();
        if now < world.members[self.id].leaderless {
            world.strike("no_leader");
            return Err(Status::unavailable("etcdserver: no leader"));
        }
        self.check_login(world, metadata)?;
        if now < world.members[self.id].busy {
            world.strike("busy");
            return Err(Status::resource_exhausted("etcdserver: too many requests"));
        }
        Ok(())
    }

    fn check_login(&self, world: &mut World, metadata: &MetadataMap) -> Result<(), Status> {
        let Some(logins) = &world.logins else {
            return Ok(());
        };
        let Some(token) = metadata.get("token") else {
            return Err(Status::invalid_argument("etcdserver: user name is empty"));
        };
        if token.to_str().is_ok_and(|it| logins.valid.contains(it)) {
            return Ok(());
        }
        world.strike("expire_logins");
        Err(Status::unauthenticated("etcdserver: invalid auth token"))
    }

    fn plan(&self, world: &mut World) -> Plan {
        let now = world.now();
        let (by, until) = world.members[self.id].slow;
        let mut before = Duration::ZERO;
        if now < until {
            world.strike("slow");
            before = by;
        }
        let twist = world.members[self.id].twists.pop_front();
        match twist {
            None => {}
            Some(Twist::Lose) => world.strike("lose_answers"),
            Some(Twist::Fail) => world.strike("fail"),
            Some(Twist::ApplyLate(by)) => {
                world.strike("apply_late");
                before += by;
            }
            Some(Twist::AnswerLate(_)) => world.strike("answer_late"),
        }
        Plan { before, twist }
    }

    /// Applies a call and answers it, or whatever else is in store for it.
    pub(super) async fn perform<T: Send + 'static>(
        &self,
        metadata: &MetadataMap,
        apply: impl FnOnce(&Self, &mut World) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let plan = self.shared.with(|world| {
            self.admit(world, metadata)?;
            Ok::<_, Status>(self.plan(world))
        })?;
        let done = self.apply(plan.before, apply).await?;
        self.pass(plan.twist).await?;
        done.map(Response::new)
    }

    /// Applies it now, or, whether anybody still waits or not, later. Fails when the member stops before that.
    async fn apply<T: Send + 'static>(
        &self,
        before: Duration,
        apply: impl FnOnce(&Self, &mut World) -> T + Send + 'static,
    ) -> Result<T, Status> {
        if before.is_zero() {
            return Ok(self.shared.with(|world| apply(self, world)));
        }
        let own = self.clone();
        let later = tokio::spawn(async move {
            sleep(before).await;
            own.shared.with(|world| apply(&own, world))
        });
        later
            .await
            .map_err(|_| Status::unavailable("etcdserver: server stopped"))
    }

    /// What holds up an answer.
    async fn pass(&self, twist: Option<Twist>) -> Result<(), Status> {
        match twist {
            None | Some(Twist::ApplyLate(_)) => Ok(()),
            Some(Twist::Lose) => pending().await,
            Some(Twist::Fail) => Err(Status::unavailable("etcdserver: request timed out")),
            Some(Twist::AnswerLate(by)) => {
                sleep(by).await;
                Ok(())
            }
        }
    }

    /// As [`Self::perform`], for a question on a stream. What holds up the answer is left to the caller.
    pub(super) async fn perform_streamed<T: Send + 'static>(
        &self,
        metadata: &MetadataMap,
        apply: impl FnOnce(&Self, &mut World) -> T + Send + 'static,
    ) -> Result<(T, Option<Twist>), Status> {
        let plan = self.shared.with(|world| {
            self.admit(world, metadata)?;
            Ok::<_, Status>(self.plan(world))
        })?;
        let done = self.apply(plan.before, apply).await?;
        Ok((done, plan.twist))
    }
}

/// Serves one member until its host dies.
pub(crate) async fn serve(served: Served) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let shared = Arc::clone(&served.shared);
    let id = served.id;
    tokio::spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            let from = turmoil::reverse_lookup(from.ip()).unwrap_or_default();
            let (cut, alive) = oneshot::channel();
            shared.with(|world| world.members[id].connections.push((from, cut)));
            let accepted = Ok::<_, std::io::Error>(Severable { stream, alive });
            if sender.send(accepted).is_err() {
                return;
            }
        }
    });
    tonic::transport::Server::builder()
        .add_service(PbKvServer::new(served.clone()))
        .add_service(PbLeaseServer::new(served.clone()))
        .add_service(PbWatchServer::new(served.clone()))
        .add_service(PbMaintenanceServer::new(served.clone()))
        .add_service(AuthServer(served))
        .serve_with_incoming(Received(receiver))
        .await?;
    Ok(())
}

/// What a channel receives, as a stream.
pub(super) struct Received<T>(pub(super) tokio::sync::mpsc::UnboundedReceiver<T>);

impl<T> Stream for Received<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(context)
    }
}

/// A connection that can be torn down from outside.
struct Severable {
    stream: TcpStream,
    alive: oneshot::Receiver<()>,
}

impl Severable {
    fn check(&mut self, context: &mut Context<'_>) -> std::io::Result<()> {
        match Pin::new(&mut self.alive).poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(_) => Err(std::io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl Connected for Severable {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Severable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Severable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
