//! The accept loop. It is our own because it bounds what the stock one leaves open: the number of connections, and how
//! long a head may take.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::Limits;

/// The most headers of one request.
const HEADERS_MAX: usize = 64;
/// What one connection may hold of a request before it is handled.
const BUFFER_MAX: usize = 16 * 1024;
/// How long to wait when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Says when the server stops: what would go on for ever ends then. Every request carries one.
#[derive(Debug, Clone)]
pub(super) struct Stopping(watch::Receiver<()>);

impl Stopping {
    /// Done when the server stops.
    pub(super) async fn wait(&mut self) {
        // Whoever would say so may be gone: then the server has stopped, too.
        let _ = self.0.changed().await;
    }
}

/// Serves `router` on `listener` until `shutdown` is done; then takes no more connections, gives those that are being
/// answered their grace, and returns.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let (stop, stopped) = watch::channel(());
    let router = router.layer(Extension(Stopping(stopped.clone())));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let permit = tokio::select! { biased;
            () = &mut shutdown => break,
            permit = Arc::clone(&room).acquire_owned() => permit.expect("nobody closes the semaphore"),
        };
        let accepted = tokio::select! { biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let connection = connect(stream, router.clone(), &limits, stopped.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => pause_after(&error).await,
        }
    }
    drop(listener);
    // Nobody may be listening any more: then there is nothing to stop.
    let _ = stop.send(());
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.grace, finished).await.is_err() {
        tracing::warn!("some requests did not finish within the grace; their connections are cut");
    }
}

/// A connection that failed before it was accepted says nothing about the next one; any other error may last.
async fn pause_after(error: &io::Error) {
    let of_the_peer = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    );
    if !of_the_peer {
        tracing::warn!(%error, "cannot accept connections");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

fn connect(
    stream: TcpStream,
    router: Router,
    limits: &Limits,
    mut stopped: watch::Receiver<()>,
) -> impl Future<Output = ()> + Send + 'static {
    // Answers are small and are written whole; without this some wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time_out)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    async move {
        tokio::pin!(connection);
        let ended = tokio::select! { biased;
            ended = connection.as_mut() => ended,
            _ = stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
