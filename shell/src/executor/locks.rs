//! Locks that a handler takes through its context: one holder at a time, over all workers of a cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;
use windlass_core::ids::{Fence, IdError, LockAsk, LockName};
use windlass_core::worker::{LOCKS_MAX, LockRefusal, RunEvent};

use super::context::Control;

/// Why a handler did not get a lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// No lock can have this name.
    #[error("{0:?} cannot be a lock: {1}")]
    Name(String, #[source] IdError),
    /// The attempt holds this lock already, or waits for it: it would wait for itself.
    #[error("this attempt holds the lock {0} already, or waits for it")]
    Twice(LockName),
    /// The attempt holds and waits for as many others as it may.
    #[error("this attempt has {LOCKS_MAX} locks already, and may not have {0} as well")]
    TooMany(LockName),
    /// The attempt is to stop: it was cancelled, its time is over, or its worker's session has ended.
    #[error("the attempt is to stop, and does not get the lock {0} any more")]
    Stopped(LockName),
}

/// A lock that the handler holds, until this is dropped.
///
/// It needs no renewal: it hangs on the worker's own session. When that ends, the handler is told to stop
/// ([`Context::cancelled`](super::Context::cancelled)) *before* anybody else can have the lock; there is no other sign that
/// a lock is lost, and no lock is lost otherwise. An attempt that is told to stop for another reason holds its locks until
/// its handler has ended.
///
/// What it cannot promise: a machine that stands still, or whose clock runs wrong by more than a sixth of the worker's
/// `--ttl`, finds out late that its session is over, and a handler that does not stop when it is told to may go on while
/// somebody else holds the lock. So a lock alone keeps nobody out. What is written to must refuse a [`LockGuard::fence`]
/// that is smaller than one it has seen; then whoever holds the lock later always wins.
#[must_use = "the lock is given back when this is dropped"]
pub struct LockGuard {
    place: PlaceInLine,
    name: LockName,
    fence: Fence,
}

impl LockGuard {
    /// Larger than that of every earlier holder of this lock.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Which lock.
    pub fn name(&self) -> &LockName {
        &self.name
    }

    /// Holds the lock until the attempt's end is recorded: the next holder gets it in the same step of the store that
    /// completes this task, or has it tried again.
    pub fn until_end(mut self) {
        self.place.stays = true;
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("name", &self.name)
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}

/// A question that was asked, until nobody cares any more.
struct PlaceInLine {
    control: Arc<Control>,
    ask: LockAsk,
    stays: bool,
}

impl Drop for PlaceInLine {
    fn drop(&mut self) {
        if !self.stays {
            self.control.asks().forget(self.ask);
            self.control.say(RunEvent::Unlock { ask: self.ask });
        }
    }
}

/// What a worker says about a lock.
pub(crate) type Answer = Result<Fence, LockRefusal>;

/// The questions of one run that wait for their answers.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    last: u32,
    open: BTreeMap<LockAsk, oneshot::Sender<Answer>>,
}

impl Asks {
    fn begin(&mut self) -> (LockAsk, oneshot::Receiver<Answer>) {
        self.last += 1;
        let (ask, (answer, answered)) = (LockAsk(self.last), oneshot::channel());
        self.open.insert(ask, answer);
        (ask, answered)
    }

    fn forget(&mut self, ask: LockAsk) {
        self.open.remove(&ask);
    }

    pub(crate) fn answer(&mut self, ask: LockAsk, answer: Answer) {
        if let Some(waits) = self.open.remove(&ask) {
            // Whoever waits no more says so itself.
            let _ = waits.send(answer);
        }
    }
}

/// Takes a lock for the run of `control`.
pub(super) async fn take(control: &Arc<Control>, name: &str) -> Result<LockGuard, LockError> {
    let name = LockName::new(name).map_err(|error| LockError::Name(name.to_owned(), error))?;
    let (ask, answered) = control.asks().begin();
    let place = PlaceInLine {
        control: Arc::clone(control),
        ask,
        stays: false,
    };
    let lock = name.clone();
    control.say(RunEvent::Lock { ask, lock });
    let answer = tokio::select! { biased;
        answer = answered => answer.unwrap_or(Err(LockRefusal::Stopped)),
        () = control.stopped() => Err(LockRefusal::Stopped),
    };
    match answer {
        Ok(fence) => Ok(LockGuard { place, name, fence }),
        Err(LockRefusal::Twice) => Err(LockError::Twice(name)),
        Err(LockRefusal::TooMany) => Err(LockError::TooMany(name)),
        Err(LockRefusal::Stopped) => Err(LockError::Stopped(name)),
    }
}
