//! Watches over one connection: whoever sends a head, or takes an answer, too slowly is cut off.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long a peer may take nothing of an answer that waits for it.
const STALL_MAX: Duration = Duration::from_secs(30);
/// How often a connection is looked at, at most and at least.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What is known of a connection. Points in time are milliseconds after its beginning, plus one; zero is never.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    head_since: AtomicU64,
    stalled_since: AtomicU64,
    answering: AtomicU64,
}

impl Pace {
    /// Of a connection that begins now: its first head is awaited.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            head_since: AtomicU64::new(1),
            stalled_since: AtomicU64::new(0),
            answering: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).map_or(u64::MAX, |millis| millis + 1)
    }

    fn has_lasted(&self, since: &AtomicU64, most: Duration) -> bool {
        match since.load(Ordering::Relaxed) {
            0 => false,
            since => u128::from(self.now().saturating_sub(since)) > most.as_millis(),
        }
    }

    /// A head has come whole. What is returned is held until its answer has gone whole.
    pub(super) fn answer(self: &Arc<Self>) -> Answering {
        self.head_since.store(0, Ordering::Relaxed);
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    /// Done when the peer is too slow; `head_max` is what one head may take.
    pub(super) async fn too_slow(&self, head_max: Duration) {
        let every = (head_max / 4).clamp(LOOK_EVERY.0, LOOK_EVERY.1);
        while !self.has_lasted(&self.head_since, head_max)
            && !self.has_lasted(&self.stalled_since, STALL_MAX)
        {
            tokio::time::sleep(every).await;
        }
    }
}

/// An answer is being made or sent.
#[derive(Debug)]
pub(super) struct Answering(Arc<Pace>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Answering {
    /// `body`, at whose end the answer has gone.
    pub(super) fn until_end_of(self, body: Body) -> Sent {
        Sent {
            body,
            _answering: self,
        }
    }
}

/// The body of an answer, which is dropped when it was sent.
#[derive(Debug)]
pub(super) struct Sent {
    body: Body,
    _answering: Answering,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream whose pace is noted.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
}

impl<S> Paced<S> {
    /// `stream`, whose pace `pace` learns.
    pub(super) fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace }
    }

    /// Notes whether a write is stuck, and hands its result on.
    fn written<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let pace = &self.pace;
        if poll.is_ready() {
            pace.stalled_since.store(0, Ordering::Relaxed);
        } else {
            let _ = pace.stalled_since.compare_exchange(
                0,
                pace.now(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
        poll
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        let pace = &self.pace;
        // Bytes outside an answer begin a head. Those of a body come while it is being answered.
        if buffer.filled().len() > before && pace.answering.load(Ordering::Relaxed) == 0 {
            let _ = pace.head_since.compare_exchange(
                0,
                pace.now(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.written(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        self.written(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.written(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
