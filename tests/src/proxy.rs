//! A TCP proxy on the loopback, that can cut, mute and swallow what goes through it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

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

    fn accept(&self, listener: &TcpListener) {
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

    fn begin(&self, client: TcpStream, server: TcpStream) -> std::io::Result<()> {
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
        for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
            let muted = Arc::clone(&muted);
            thread::spawn(move || pump(from, to, &muted));
        }
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

fn pump(mut from: TcpStream, mut to: TcpStream, muted: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1_024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !muted.load(Ordering::SeqCst) && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}
