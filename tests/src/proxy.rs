//! A TCP proxy on the loopback, that can cut, mute and swallow what goes through it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How many pieces may be on their way in one direction: what comes beyond waits where it is.
const PIECES_MAX: usize = 1_024;

/// A way to a server that the test can spoil. Ends with all its connections when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    ended: AtomicBool,
    cut: AtomicBool,
    swallows: AtomicBool,
    delay_ms: AtomicU64,
    connections: Mutex<Vec<Connection>>,
}

/// Both ends of one connection.
#[derive(Debug)]
struct Connection {
    ends: [TcpStream; 2],
    muted: Arc<AtomicBool>,
}

impl Proxy {
    /// A way to the server at `url`.
    ///
    /// # Panics
    /// When `url` is none, or there is no free port.
    pub fn to(url: &str) -> Self {
        let server = url.rsplit('/').next().unwrap_or_default();
        let server = server.parse().expect("the URL ends in address and port");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        let shared = Arc::new(Shared {
            server,
            ended: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            swallows: AtomicBool::new(false),
            delay_ms: AtomicU64::new(0),
            connections: Mutex::new(Vec::new()),
        });
        let proxy = Self {
            address: listener
                .local_addr()
                .expect("a bound socket has an address"),
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || shared.accept(&listener));
        proxy
    }

    /// Where clients find it, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends all connections and every new one.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        self.shared.end_all();
    }

    /// Lets new connections through again.
    pub fn heal(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
        self.shared.swallows.store(false, Ordering::SeqCst);
    }

    /// Swallows all that goes over present and new connections, which open and stay open: a black hole.
    pub fn swallow(&self) {
        self.shared.swallows.store(true, Ordering::SeqCst);
        self.mute();
    }

    /// Lets whatever the server says from now on arrive so much later, in order.
    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(millis, Ordering::SeqCst);
    }

    /// Swallows all that goes over the present connections, which stay open. New ones are not concerned.
    pub fn mute(&self) {
        for connection in self.shared.lock().iter() {
            connection.muted.store(true, Ordering::SeqCst);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            let Ok(client) = client else { continue };
            if let Ok(server) = TcpStream::connect(self.server) {
                // What cannot be set up is a connection that fails, as any may.
                drop(self.begin(client, server));
            }
        }
    }

    fn begin(self: &Arc<Self>, client: TcpStream, server: TcpStream) -> std::io::Result<()> {
        let swallows = self.swallows.load(Ordering::SeqCst);
        let muted = Arc::new(AtomicBool::new(swallows));
        let ends = [client.try_clone()?, server.try_clone()?];
        for end in &ends {
            // What is delayed is the test's to say.
            end.set_nodelay(true)?;
        }
        let mut connections = self.lock();
        // Looked at under the lock, so that no connection slips past a cut.
        if self.cut.load(Ordering::SeqCst) {
            return Ok(());
        }
        connections.push(Connection {
            ends,
            muted: Arc::clone(&muted),
        });
        drop(connections);
        let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
        let (sender, pieces) = sync_channel(PIECES_MAX);
        let (shared, mutes) = (Arc::clone(self), Arc::clone(&muted));
        thread::spawn(move || deliver(&pieces, to_client, &mutes));
        thread::spawn(move || {
            read(from_server, |bytes| {
                let delay = Duration::from_millis(shared.delay_ms.load(Ordering::SeqCst));
                sender
                    .send((Instant::now() + delay, bytes.to_vec()))
                    .is_ok()
            });
        });
        thread::spawn(move || pump(client, server, &muted));
        Ok(())
    }

    fn end_all(&self) {
        for connection in self.lock().drain(..) {
            for end in connection.ends {
                // It may have ended by itself.
                drop(end.shutdown(Shutdown::Both));
            }
        }
    }
}

fn pump(from: TcpStream, mut to: TcpStream, muted: &AtomicBool) {
    read(from, |bytes| {
        muted.load(Ordering::SeqCst) || to.write_all(bytes).is_ok()
    });
    drop(to.shutdown(Shutdown::Both));
}

fn read(mut from: TcpStream, mut take: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 * 1_024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !take(&buffer[..count]) {
            return;
        }
    }
}

/// Hands over each piece at its time.
fn deliver(pieces: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream, muted: &AtomicBool) {
    while let Ok((at, bytes)) = pieces.recv() {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        if !muted.load(Ordering::SeqCst) && to.write_all(&bytes).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}
