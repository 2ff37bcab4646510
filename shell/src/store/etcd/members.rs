//! The members of an etcd: a connection to each, and which of them are fit to be asked.
//!
//! Every request goes to one member. A member is left when it fails or is silent *while another answers*: what it had
//! been asked then ends at once, and its streams with it, so that they begin anew elsewhere. If none answers, there is
//! nobody better to ask, and nobody is left. [`super::probe`] finds out.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

/// How long a member that was left keeps a connection that brings no answers: it may have begun while nothing went
/// through. Long enough for TCP to try twice.
const REDIAL_INTERVAL: Duration = Duration::from_secs(2);

/// Makes the connection to one member, when it is first used.
pub type Dial = Arc<dyn Fn(&Endpoint) -> Channel + Send + Sync>;

/// All members, as the configuration names them.
pub(super) struct Members {
    list: Vec<Member>,
    turn: AtomicUsize,
    dial: Dial,
    suspicion: Notify,
}

struct Member {
    url: String,
    endpoint: Endpoint,
    /// What it was asked and has not answered yet, open streams included.
    busy: AtomicUsize,
    /// How often it said anything.
    heard: AtomicU64,
    life: Mutex<Life>,
}

/// One connection.
struct Life {
    channel: Channel,
    ended: CancellationToken,
    dialled_at: Instant,
    is_fit: bool,
}

/// One use of a member's connection.
pub(super) struct Line {
    members: Arc<Members>,
    index: usize,
    pub(super) channel: Channel,
    /// Fires when the member is left.
    pub(super) ended: CancellationToken,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.members.list[self.index]
            .busy
            .fetch_sub(1, Ordering::AcqRel);
    }
}

impl Line {
    /// Notes that the member said something.
    pub(super) fn heard(&self) {
        self.members.list[self.index]
            .heard
            .fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn url(&self) -> &str {
        &self.members.list[self.index].url
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.list.iter().map(|member| &member.url);
        f.debug_list().entries(urls).finish()
    }
}

impl Members {
    /// Members that are all believed fit. Connects to none yet.
    pub(super) fn new(endpoints: Vec<(String, Endpoint)>, dial: Dial) -> Arc<Self> {
        let now = Instant::now();
        let list = endpoints.into_iter().map(|(url, endpoint)| Member {
            life: Mutex::new(Life {
                channel: dial(&endpoint),
                ended: CancellationToken::new(),
                dialled_at: now,
                is_fit: true,
            }),
            url,
            endpoint,
            busy: AtomicUsize::new(0),
            heard: AtomicU64::new(0),
        });
        Arc::new(Self {
            list: list.collect(),
            turn: AtomicUsize::new(0),
            dial,
            suspicion: Notify::new(),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// A connection to the fit member that has least to do, or else to any; or to the one at `pinned`.
    pub(super) fn line(self: &Arc<Self>, pinned: Option<usize>) -> Line {
        let index = pinned.unwrap_or_else(|| self.choose());
        let member = &self.list[index];
        member.busy.fetch_add(1, Ordering::AcqRel);
        let life = member.life();
        Line {
            members: Arc::clone(self),
            index,
            channel: life.channel.clone(),
            ended: life.ended.clone(),
        }
    }

    fn choose(&self) -> usize {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.list.len();
        let by_turn = (0..count).map(|step| turn.wrapping_add(step) % count);
        // Of several with as little to do, the one whose turn it is.
        let least = by_turn.min_by_key(|index| {
            let member = &self.list[*index];
            let busy = member.busy.load(Ordering::Acquire);
            (!member.life().is_fit, busy)
        });
        least.expect("a configuration names at least one endpoint")
    }

    /// Asks for all members to be looked at.
    pub(super) fn suspect(&self) {
        if self.list.len() > 1 {
            self.suspicion.notify_one();
        }
    }

    /// Waits until somebody suspects a member.
    pub(super) async fn suspected(&self) {
        self.suspicion.notified().await;
    }

    pub(super) fn any_left(&self) -> bool {
        self.list.iter().any(|member| !member.life().is_fit)
    }

    /// How often each member said anything.
    pub(super) fn heard(&self) -> Vec<u64> {
        let heard = |member: &Member| member.heard.load(Ordering::Acquire);
        self.list.iter().map(heard).collect()
    }

    /// Notes that the member at `index` can be asked.
    pub(super) fn welcome(&self, index: usize) {
        let member = &self.list[index];
        let mut life = member.life();
        if !life.is_fit {
            life.is_fit = true;
            tracing::info!(endpoint = member.url, "an etcd member answers again");
        }
    }

    /// Leaves the member at `index`: ends what it was asked, and asks others from now on.
    pub(super) fn leave(&self, index: usize, reason: &str) {
        let member = &self.list[index];
        let mut life = member.life();
        if life.is_fit {
            tracing::warn!(
                endpoint = member.url,
                reason,
                "an etcd member is left, for others answer"
            );
        } else if life.dialled_at.elapsed() < REDIAL_INTERVAL {
            return;
        }
        life.ended.cancel();
        *life = Life {
            channel: (self.dial)(&member.endpoint),
            ended: CancellationToken::new(),
            dialled_at: Instant::now(),
            is_fit: false,
        };
    }
}

impl Member {
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Arc<Members> {
        let endpoints = ["http://a", "http://b", "http://c"].map(|url| {
            let endpoint = Endpoint::from_static(url);
            (url.to_owned(), endpoint)
        });
        Members::new(endpoints.into(), Arc::new(Endpoint::connect_lazy))
    }

    #[tokio::test]
    async fn requests_go_to_the_member_with_least_to_do_in_turn() {
        let members = three();
        let mut lines: Vec<Line> = (0..6).map(|_| members.line(None)).collect();
        for url in ["http://a", "http://b", "http://c"] {
            assert_eq!(lines.iter().filter(|line| line.url() == url).count(), 2);
        }
        let freed = lines.remove(2).url().to_owned();
        assert_eq!(members.line(None).url(), freed);
    }

    #[tokio::test]
    async fn a_member_that_is_left_ends_its_lines_and_gets_none_until_it_is_back() {
        let members = three();
        let line = members.line(Some(1));
        members.leave(1, "it is silent");
        assert!(line.ended.is_cancelled());
        assert!((0..9).all(|_| members.line(None).url() != "http://b"));
        assert!(
            !members.line(Some(1)).ended.is_cancelled(),
            "it has a new connection"
        );
        members.welcome(1);
        assert!(!members.any_left());
        drop(line);
        assert!((0..9).any(|_| members.line(None).url() == "http://b"));
    }

    #[tokio::test]
    async fn when_all_are_left_they_are_still_asked() {
        let members = three();
        (0..3).for_each(|index| members.leave(index, "it is silent"));
        let lines: Vec<Line> = (0..3).map(|_| members.line(None)).collect();
        let mut urls: Vec<&str> = lines.iter().map(Line::url).collect();
        urls.sort_unstable();
        assert_eq!(urls, ["http://a", "http://b", "http://c"]);
    }
}
