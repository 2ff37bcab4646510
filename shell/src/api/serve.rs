//! The accept loop. It is our own because it bounds what the stock one leaves open: how many connections there are, in
//! all and from one address, and how long a handshake, a head and a stalled answer may take.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::Limits;
use super::access::{Peer, TlsUsed, source_of};
use super::pace::{Pace, Paced, Sent};
use super::tls::Tls;

/// The most headers of one request.
const HEADERS_MAX: usize = 64;
/// What one connection may hold of a request before it is handled.
const BUFFER_MAX: usize = 16 * 1024;
/// How long to wait when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
#[derive(Debug)]
pub struct Entrance {
    listener: TcpListener,
    tls: Option<Tls>,
}

impl Entrance {
    /// Connections to `listener`, in TLS if there is one.
    pub fn new(listener: TcpListener, tls: Option<Tls>) -> Self {
        Self { listener, tls }
    }
}

impl From<TcpListener> for Entrance {
    fn from(listener: TcpListener) -> Self {
        Self::new(listener, None)
    }
}

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

/// Serves `router` at `entrance` until `shutdown` is done; then takes no more connections, gives those that are being
/// answered their grace, and returns.
pub async fn serve(
    entrance: impl Into<Entrance>,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send,
) {
    let Entrance { listener, tls } = entrance.into();
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let sources = Sources::default();
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
            Ok((stream, peer)) => {
                let Some(place) = sources.place(peer.ip(), limits.source_connections_max) else {
                    tracing::debug!(%peer, "has too many connections");
                    continue;
                };
                let connection = Connection {
                    peer,
                    router: router.clone(),
                    limits: limits.clone(),
                    stopped: stopped.clone(),
                };
                let tls = tls.clone();
                connections.spawn(async move {
                    connection.begin(stream, tls).await;
                    drop((permit, place));
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

/// How many connections each address has.
#[derive(Debug, Clone, Default)]
struct Sources(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

impl Sources {
    /// A place for one more connection from `address`, unless it has `most`. This machine itself has as many as it wants:
    /// its own proxy speaks for everybody.
    fn place(&self, address: IpAddr, most: usize) -> Option<Place> {
        let source = source_of(address);
        if source.is_loopback() || address.to_canonical().is_loopback() {
            return Some(Place(None));
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place(Some((self.clone(), source))))
    }
}

/// The place of one connection, given back when it is dropped.
#[derive(Debug)]
struct Place(Option<(Sources, IpAddr)>);

impl Drop for Place {
    fn drop(&mut self) {
        let Some((sources, source)) = self.0.take() else {
            return;
        };
        let mut counts = sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&source);
            }
        }
    }
}

struct Connection {
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    stopped: watch::Receiver<()>,
}

impl Connection {
    async fn begin(mut self, stream: TcpStream, tls: Option<Tls>) {
        // Answers are small and are written whole; without this some wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else {
            return self.serve(stream, false).await;
        };
        let handshake = tls.acceptor().accept(stream);
        let shaken = tokio::select! { biased;
            _ = self.stopped.changed() => return,
            shaken = tokio::time::timeout(self.limits.handshake_time_out, handshake) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => self.serve(stream, true).await,
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer, %error, "no handshake came about");
            }
            Err(_) => tracing::debug!(peer = %self.peer, "a handshake took too long"),
        }
    }

    async fn serve<S>(self, stream: S, in_tls: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self {
            peer,
            router,
            limits,
            mut stopped,
        } = self;
        let pace = Pace::new();
        let stream = TokioIo::new(Paced::new(stream, Arc::clone(&pace)));
        let answering = Arc::clone(&pace);
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            let answering = answering.answer();
            let extensions = request.extensions_mut();
            extensions.insert(Peer(peer));
            if in_tls {
                extensions.insert(TlsUsed);
            }
            let answer = router.clone().oneshot(request.map(Body::new));
            async move {
                let response = answer.await?;
                Ok::<_, Infallible>(response.map(|body| -> Sent { answering.until_end_of(body) }))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // From the end of one answer to the end of the next head.
            .header_read_timeout(limits.idle_time_out)
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_MAX)
            .serve_connection(stream, service);
        tokio::pin!(connection);
        let mut stopping = false;
        let too_slow = pace.too_slow(limits.head_time_out);
        tokio::pin!(too_slow);
        let ended = loop {
            tokio::select! { biased;
                ended = connection.as_mut() => break ended,
                () = &mut too_slow => {
                    tracing::debug!(%peer, "is too slow, and is cut off");
                    return;
                }
                _ = stopped.changed(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let sources = Sources::default();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let places: Vec<_> = (0..2).map(|_| sources.place(address, 2).unwrap()).collect();
        assert!(sources.place(address, 2).is_none());
        assert!(sources.place("192.0.2.2".parse().unwrap(), 2).is_some());
        drop(places);
        assert!(sources.0.lock().unwrap().is_empty());
        assert!(sources.place(address, 2).is_some());
    }

    #[test]
    fn this_machine_has_as_many_as_it_wants() {
        let sources = Sources::default();
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(
                sources.place(address.parse().unwrap(), 0).is_some(),
                "{address}"
            );
        }
    }
}
