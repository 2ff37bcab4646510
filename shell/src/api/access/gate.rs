//! What every request passes before its route's handler: the door, the role that the route needs, and the caller's rate.
//! And after it, when it changed something of others: the audit log.

use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Extensions, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

use super::audit::{self, Acted, Record};
use super::door::{Caller, Peer};
use super::front::Front;
use super::role::Access;
use crate::api::field;
use crate::api::problem::Problem;
use crate::api::request_id::RequestId;
use crate::api::route::Cost;
use crate::clock::{Clock, SystemClock};

/// What stands before one route.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    /// What all gates share.
    pub front: Front,
    /// What the route needs.
    pub access: Access,
    /// How much the route may need of the server.
    pub cost: Cost,
    /// For the times in the audit log.
    pub clock: SystemClock,
}

/// Lets a request through to its handler, or answers why not.
pub(crate) async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let door = &gate.front.door;
    if gate.access == Access::Open {
        return challenged(next.run(request).await);
    }
    let caller = match door.caller(request.headers(), source(&request)) {
        Ok(caller) => caller,
        Err(problem) => return challenged(problem.into_response()),
    };
    request.extensions_mut().insert(caller.clone());
    if !gate.is_audited(request.method()) {
        return gate.serve(&caller, request, next).await;
    }
    let mut record = match gate.record(&caller, &request) {
        Ok(record) => record,
        Err(problem) => return problem.into_response(),
    };
    let response = gate.serve(&caller, request, next).await;
    record.status = response.status().as_u16();
    if let Some(Acted(object)) = response.extensions().get() {
        record.object = Some(object.clone());
    }
    record.at = field::time_spelled(gate.clock.now().wall);
    gate.front.audit.note(record);
    response
}

impl Gate {
    async fn serve(&self, caller: &Caller, request: Request, next: Next) -> Response {
        let place = match self.admit(caller, source(&request)) {
            Ok(place) => place,
            Err(problem) => return problem.into_response(),
        };
        let response = match self.access {
            // What only looks is cut off when its token is taken away, however long it would have waited.
            Access::Read | Access::Work => self.run_while_known(caller, request, next).await,
            // What changes something is not: who asked could not know whether it was done.
            Access::Submit | Access::Operate | Access::Admin | Access::Open => {
                next.run(request).await
            }
        };
        drop(place);
        response
    }

    /// Whether `caller` may pass now; with its place among the costly requests, if it needs one.
    fn admit(
        &self,
        caller: &Caller,
        source: IpAddr,
    ) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, Problem> {
        if !caller.role.allows(self.access) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                format!(
                    "{} has the role {}, and this needs {}",
                    caller.name, caller.role, self.access
                ),
            ));
        }
        // What a worker tells is never turned away: its work would be done again.
        if self.access != Access::Work {
            self.front.spend(caller, source)?;
        }
        match self.cost {
            Cost::Small => Ok(None),
            Cost::Large => self.front.place().map(Some),
        }
    }

    async fn run_while_known(&self, caller: &Caller, request: Request, next: Next) -> Response {
        let door = &self.front.door;
        let response = tokio::select! { biased;
            response = next.run(request) => response,
            () = door.gone(caller) => {
                let gone = Problem::new(StatusCode::UNAUTHORIZED, "the token was taken away");
                return challenged(gone.into_response());
            }
        };
        let streams = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        if !streams || !door.is_locked() {
            return response;
        }
        let (door, caller) = (door.clone(), caller.clone());
        let gone = Box::pin(async move { door.gone(&caller).await });
        response.map(|body| Body::from_stream(body.into_data_stream().take_until(gone)))
    }

    /// Whether this is an action of somebody over what is not theirs alone.
    fn is_audited(&self, method: &Method) -> bool {
        matches!(self.access, Access::Operate | Access::Admin)
            && !matches!(*method, Method::GET | Method::HEAD)
    }

    fn record(&self, caller: &Caller, request: &Request) -> Result<Record, Problem> {
        let route = request
            .extensions()
            .get::<MatchedPath>()
            .map_or("", MatchedPath::as_str);
        Ok(Record {
            at: String::new(),
            principal: caller.name.to_string(),
            role: caller.role,
            source: source(request).to_string(),
            method: request.method().to_string(),
            route: route.to_owned(),
            object: object(route, request.uri().path()),
            reason: audit::reason(request.headers())?,
            status: 0,
            request_id: RequestId::of(request.extensions()),
        })
    }
}

/// What stands in `path` where `route` has its variable.
fn object(route: &str, path: &str) -> Option<String> {
    let mut pairs = route.split('/').zip(path.split('/'));
    let (_, named) = pairs.find(|(segment, _)| segment.starts_with('{'))?;
    Some(named.to_owned())
}

/// The address that the request came from. Only a request that came over no connection has none.
fn source(request: &Request) -> IpAddr {
    source_in(request.extensions())
}

/// The same, of a request that was taken apart.
pub(super) fn source_in(extensions: &Extensions) -> IpAddr {
    extensions
        .get::<Peer>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip())
}

/// A 401 says how a token is shown.
fn challenged(mut response: Response) -> Response {
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"windlass\""),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_what_stands_for_the_variable() {
        let route = "/api/v1/queues/{queue}/pause";
        assert_eq!(
            object(route, "/api/v1/queues/q%0A/pause").as_deref(),
            Some("q%0A")
        );
        assert_eq!(object("/api/v1/tasks/bulk", "/api/v1/tasks/bulk"), None);
    }
}
