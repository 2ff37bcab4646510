//! The way of each request to a member, below the etcd client: it chooses the member, and ends when that is left.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{BoxError, Service};

use super::members::{Line, Members};

/// After what time without an answer somebody looks whether other members do better.
pub(super) const SLOW: Duration = Duration::from_millis(250);

tokio::task_local! {
    /// The member that requests of this task go to, whatever state it is in.
    static PINNED: usize;
}

/// Sends the requests of `asking` to the member at `index`.
pub(super) async fn pinned<T>(index: usize, asking: impl Future<Output = T>) -> T {
    PINNED.scope(index, asking).await
}

/// What the etcd client takes for its connection.
#[derive(Debug, Clone)]
pub(super) struct Route(pub(super) Arc<Members>);

impl Service<Request<Body>> for Route {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let line = self.0.line(PINNED.try_get().ok());
        send(Arc::clone(&self.0), line, request).boxed()
    }
}

async fn send(
    members: Arc<Members>,
    line: Line,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let mut channel = line.channel.clone();
    let answer = async move {
        poll_fn(|cx| channel.poll_ready(cx)).await?;
        channel.call(request).await
    };
    tokio::pin!(answer);
    let slow = sleep(SLOW);
    tokio::pin!(slow);
    let mut is_slow = false;
    let answer = loop {
        tokio::select! { biased;
            answer = &mut answer => break answer,
            () = line.ended.cancelled() => return Err(left(&line).into()),
            () = &mut slow, if !is_slow => {
                is_slow = true;
                members.suspect();
            }
        }
    };
    let response = answer.inspect_err(|_| members.suspect())?;
    line.heard();
    if has_failed(&response) {
        members.suspect();
    }
    Ok(response.map(|body| {
        Body::new(Tied {
            body,
            ended: Box::pin(line.ended.clone().cancelled_owned()),
            line,
        })
    }))
}

/// Whether the member itself cannot serve: an answer without content says so in its head.
fn has_failed(response: &Response<Body>) -> bool {
    Status::from_header_map(response.headers())
        .is_some_and(|status| status.code() == Code::Unavailable)
}

fn left(line: &Line) -> Status {
    let url = line.url();
    Status::unavailable(format!("{url} does not answer, but other members do"))
}

/// An answer that ends with its line.
struct Tied {
    body: Body,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    line: Line,
}

impl http_body::Body for Tied {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.line.heard();
            return Poll::Ready(frame);
        }
        ready!(self.ended.as_mut().poll(cx));
        Poll::Ready(Some(Err(left(&self.line))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
