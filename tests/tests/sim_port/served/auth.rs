//! Logins. The one service that is written by hand: the crate does not give out all types of the generated one.

use std::convert::Infallible;
use std::task::{Context, Poll};

use etcd_client::proto::{PbAuthenticateRequest, PbAuthenticateResponse};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::member::Served;

pub(crate) const USER: &str = "windlass";
pub(crate) const PASSWORD: &str = "secret";

#[derive(Clone)]
pub(super) struct AuthServer(pub(super) Served);

impl NamedService for AuthServer {
    const NAME: &'static str = "etcdserverpb.Auth";
}

impl Service<http::Request<Body>> for AuthServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let own = self.0.clone();
        Box::pin(async move {
            if request.uri().path() != "/etcdserverpb.Auth/Authenticate" {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.unary(Authenticate(own), request).await)
        })
    }
}

struct Authenticate(Served);

impl UnaryService<PbAuthenticateRequest> for Authenticate {
    type Response = PbAuthenticateResponse;
    type Future = BoxFuture<Response<PbAuthenticateResponse>, Status>;

    fn call(&mut self, request: Request<PbAuthenticateRequest>) -> Self::Future {
        let own = self.0.clone();
        let asked = request.into_inner();
        Box::pin(async move {
            let answer = own.shared.with(|world| {
                if world.now() < world.members[own.id].leaderless {
                    return Err(Status::unavailable("etcdserver: no leader"));
                }
                let Some(logins) = &mut world.logins else {
                    return Err(Status::failed_precondition(
                        "etcdserver: authentication is not enabled",
                    ));
                };
                if (&*asked.name, &*asked.password) != (USER, PASSWORD) {
                    return Err(Status::invalid_argument(
                        "etcdserver: authentication failed, invalid user ID or password",
                    ));
                }
                logins.granted += 1;
                let token = format!("token.{}", logins.granted);
                logins.valid.insert(token.clone());
                Ok(PbAuthenticateResponse {
                    header: own.header(world, world.kv.revision()),
                    token,
                })
            })?;
            Ok(Response::new(answer))
        })
    }
}
