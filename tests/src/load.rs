//! Requests at a rate that does not care how they are answered, as the world's do: an open loop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// A request that no connection was free for so long after its time is not sent: whoever waited has gone.
const STALE: Duration = Duration::from_secs(1);
/// How long an answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// As many threads as send: the server needs the rest of the machine.
const THREADS: usize = 1;

/// What is sent, and how.
#[derive(Debug, Clone)]
pub struct Load {
    /// To whom.
    pub address: SocketAddr,
    /// The request, whole, over a connection that is kept.
    pub request: Arc<[u8]>,
    /// How many a second; as many as are answered when there is none.
    pub per_second: Option<f64>,
    /// Over so many connections at most.
    pub connections: usize,
    /// For so long.
    pub lasts: Duration,
}

/// What became of it.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// How many were due.
    pub due: u64,
    /// How many of them found no connection free.
    pub unsent: u64,
    /// How many had each status; 0 is of those whose answer never came.
    pub by_status: BTreeMap<u16, u64>,
    /// How many tasks were acknowledged.
    pub acknowledged: u64,
    /// How many 429 and 503 did not say when to come again.
    pub without_hint: u64,
    /// From the time at which a request was due to its answer: of those that were served, and of those turned away.
    pub served: Vec<Duration>,
    /// See [`Answers::served`].
    pub turned_away: Vec<Duration>,
}

impl Answers {
    /// How many had an answer with this status.
    pub fn with(&self, status: u16) -> u64 {
        self.by_status.get(&status).copied().unwrap_or_default()
    }

    /// How long those that were served had to wait, but for the slowest of a hundred.
    pub fn p99(&self) -> Duration {
        let mut took = self.served.clone();
        took.sort_unstable();
        let at = took.len().saturating_sub(1) * 99 / 100;
        took.get(at).copied().unwrap_or_default()
    }

    /// Counts these, too.
    pub fn add(&mut self, other: Self) {
        self.due += other.due;
        self.unsent += other.unsent;
        for (status, count) in other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        self.acknowledged += other.acknowledged;
        self.without_hint += other.without_hint;
        self.served.extend(other.served);
        self.turned_away.extend(other.turned_away);
    }

    fn take(&mut self, answer: Option<Answer>, took: Duration) {
        let status = answer.as_ref().map_or(0, |it| it.status);
        *self.by_status.entry(status).or_default() += 1;
        let Some(answer) = answer else { return };
        self.acknowledged += answer.acknowledged;
        if answer.status < 400 {
            self.served.push(took);
        } else {
            self.turned_away.push(took);
        }
        if matches!(answer.status, 429 | 503) && !answer.has_hint {
            self.without_hint += 1;
        }
    }
}

/// The request that submits `body`, or asks for `path` without one. With the token, if there is one.
pub fn request(path: &str, token: Option<&str>, body: Option<&str>) -> Arc<[u8]> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let token = token.map_or_else(String::new, |it| format!("authorization: Bearer {it}\r\n"));
    let body = body.unwrap_or_default();
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{token}content-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    text.into_bytes().into()
}

impl Load {
    /// Sends it, and waits for the last answer.
    ///
    /// # Panics
    /// When no thread can be made for it.
    pub fn send(&self) -> Answers {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .expect("threads can be made");
        runtime.block_on(self.send_all())
    }

    async fn send_all(&self) -> Answers {
        let (next, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let mut senders = JoinSet::new();
        for _ in 0..self.connections {
            senders.spawn(sender(self.clone(), Arc::clone(&next), began));
        }
        let mut all = Answers::default();
        while let Some(answers) = senders.join_next().await {
            all.add(answers.expect("a sender does not panic"));
        }
        all
    }
}

async fn sender(load: Load, next: Arc<AtomicU64>, began: Instant) -> Answers {
    let mut answers = Answers::default();
    let mut connection = None;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let due = match load.per_second {
            #[expect(clippy::cast_precision_loss, reason = "a run has no 2^52 requests")]
            Some(rate) => began + Duration::from_secs_f64(number as f64 / rate),
            None => Instant::now(),
        };
        if due >= began + load.lasts {
            return answers;
        }
        answers.due += 1;
        sleep_until(due).await;
        if due.elapsed() > STALE {
            answers.unsent += 1;
            continue;
        }
        let answer = timeout(ANSWER_MAX, ask(&load, &mut connection)).await;
        let answer = answer.ok().flatten();
        if answer.is_none() {
            connection = None;
        }
        answers.take(answer, due.elapsed());
    }
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

struct Answer {
    status: u16,
    has_hint: bool,
    acknowledged: u64,
}

async fn ask(load: &Load, connection: &mut Option<Connection>) -> Option<Answer> {
    if connection.is_none() {
        let stream = TcpStream::connect(load.address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let read = Vec::new();
        *connection = Some(Connection { stream, read });
    }
    let Connection { stream, read } = connection.as_mut()?;
    stream.write_all(&load.request).await.ok()?;
    loop {
        if let Some((answer, length)) = answer_in(read) {
            read.drain(..length);
            return Some(answer);
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}

/// The first answer in `bytes`, and how long it is, once it is whole.
fn answer_in(bytes: &[u8]) -> Option<(Answer, usize)> {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end])
        .ok()?
        .to_ascii_lowercase();
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|it| it.0 == name).map(|it| it.1.to_owned())
    };
    let length: usize = field("content-length")?.parse().ok()?;
    let body = bytes.get(end..end + length)?;
    let status = head.get(9..12)?.parse().ok()?;
    let is_pending = b"\"pending\"";
    let acknowledged = if status == 201 {
        body.windows(is_pending.len())
            .filter(|it| it == is_pending)
            .count()
    } else {
        0
    };
    let answer = Answer {
        status,
        has_hint: field("retry-after").is_some(),
        acknowledged: u64::try_from(acknowledged).unwrap_or(u64::MAX),
    };
    Some((answer, end + length))
}
