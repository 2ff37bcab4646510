//! One handler, and nothing else.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::IntoFuture;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use windlass_core::ids::{Attempt, Fence, OpId, Priority, QueueName, Revision, TaskId, TaskType};
use windlass_core::record::{Json, StopReason};
use windlass_core::rng::Rng;
use windlass_core::time::Millis;
use windlass_core::worker::{RunEvent, Start};

use crate::clock::{Clock, SystemClock};
use crate::executor::{Context, Control, Events, TaskError};
use crate::host;
use crate::sdk::TaskHandler;

/// Runs `handler` once, with no cluster around it. Awaiting it gives what the handler returns.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use windlass::testing;
/// # use windlass::{Context, TaskError};
///
/// async fn send(to: String, ctx: Context) -> Result<u32, TaskError> {
///     Ok(ctx.attempt().0)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let sent = testing::run(send, "ann@example.org".to_owned()).attempt(2).await;
/// assert_eq!(sent.unwrap(), 2);
/// # }
/// ```
pub fn run<Args, H: TaskHandler<Args>>(handler: H, input: H::Input) -> Run<Args, H> {
    Run {
        handler,
        input,
        attempt: 1,
        fence: 1,
        metadata: BTreeMap::new(),
        timeout: Duration::from_secs(300),
        stop: None,
        progress: Arc::new(|_| {}),
    }
}

/// A run of one handler. Every lock is free for it, and it is stopped for no reason but those given here.
#[must_use = "nothing runs before this is awaited"]
pub struct Run<Args, H: TaskHandler<Args>> {
    handler: H,
    input: H::Input,
    attempt: u32,
    fence: u64,
    metadata: BTreeMap<String, String>,
    timeout: Duration,
    stop: Option<(Duration, StopReason)>,
    progress: Arc<dyn Fn(&Json) + Send + Sync>,
}

impl<Args, H: TaskHandler<Args>> Run<Args, H> {
    /// As this attempt; the first unless given.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// With this fence; 1 unless given.
    pub fn fence(mut self, fence: u64) -> Self {
        self.fence = fence;
        self
    }

    /// With this label; may be repeated.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// With this time-out. It is told to the handler, which is stopped then, with [`StopReason::TimeOut`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Tells the handler to stop after this long, for this reason. What becomes of it is up to the handler.
    pub fn stop_after(mut self, span: Duration, reason: StopReason) -> Self {
        self.stop = Some((span, reason));
        self
    }

    /// Shows `look` whatever progress the handler shows.
    pub fn on_progress(mut self, look: impl Fn(&Json) + Send + Sync + 'static) -> Self {
        self.progress = Arc::new(look);
        self
    }

    async fn go(self) -> Result<H::Output, TaskError> {
        let (run, start) = (OpId(1), self.start());
        let control = Arc::new_cyclic(|own: &Weak<Control>| {
            let own = own.clone();
            let (progress, fences) = (Arc::clone(&self.progress), AtomicU64::new(self.fence));
            let events: Events = Arc::new(move |_, event| match event {
                RunEvent::Progress(json) => progress(&json),
                RunEvent::Lock { ask, .. } => {
                    let fence = Fence(Revision(fences.fetch_add(1, Ordering::Relaxed) + 1));
                    if let Some(control) = own.upgrade() {
                        control.asks().answer(ask, Ok(fence));
                    }
                }
                RunEvent::Unlock { .. }
                | RunEvent::Completed(_)
                | RunEvent::Failed(_)
                | RunEvent::Stopped => {}
            });
            Control::new(run, events)
        });
        let (context, _) = Context::new(start, None, Arc::clone(&control));
        let (after, reason) = self
            .stop
            .filter(|(span, _)| *span < self.timeout)
            .unwrap_or((self.timeout, StopReason::TimeOut));
        let stop = async {
            tokio::time::sleep(after).await;
            control.stop(reason);
            std::future::pending::<Infallible>().await
        };
        tokio::select! { biased;
            result = self.handler.handle(self.input, context) => result,
            never = stop => match never {},
        }
    }

    fn start(&self) -> Start {
        let now = SystemClock::start().now().wall;
        Start {
            run: OpId(1),
            task: TaskId::new(&mut Rng::new(host::entropy()), now),
            kind: TaskType::new("test").expect("a plain word is a name"),
            queue: QueueName::new("test").expect("a plain word is a name"),
            priority: Priority::NORMAL,
            name: None,
            payload: Json::null(),
            metadata: self.metadata.clone(),
            created_at: now,
            attempt: Attempt(self.attempt),
            fence: Fence(Revision(self.fence)),
            timeout: Millis::new(u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl<Args, H> IntoFuture for Run<Args, H>
where
    Args: 'static,
    H: TaskHandler<Args>,
{
    type Output = Result<H::Output, TaskError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.go().boxed()
    }
}

impl<Args, H: TaskHandler<Args>> fmt::Debug for Run<Args, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("attempt", &self.attempt)
            .field("stop", &self.stop)
            .finish_non_exhaustive()
    }
}
