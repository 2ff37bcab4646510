//! Notices that files have changed, so that secrets are replaced without a restart.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// How often files are looked at. A change counts soon enough for who was locked out to be out within 5 s.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What tells one content of a file from the next without reading it.
type Sign = Option<(u64, u64, i64, i64, i64, i64)>;

fn sign(path: &PathBuf) -> Sign {
    let found = fs::metadata(path).ok()?;
    Some((
        found.ino(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    ))
}

/// Files that are read again when they change.
#[derive(Debug)]
pub(crate) struct Watched {
    paths: Vec<PathBuf>,
    seen: Vec<Sign>,
}

impl Watched {
    /// The files as they are now: made before they are read, so that no change is missed.
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        let seen = paths.iter().map(sign).collect();
        Self { paths, seen }
    }

    /// Calls `changed` each time that a file has another content, and whenever SIGHUP asks for it, for ever.
    pub(crate) async fn each_change(mut self, mut changed: impl FnMut()) {
        let mut asked = match signal(SignalKind::hangup()) {
            Ok(asked) => Some(asked),
            Err(error) => {
                tracing::warn!(%error, "cannot listen for SIGHUP");
                None
            }
        };
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let hup = async {
                match &mut asked {
                    Some(asked) => drop(asked.recv().await),
                    None => std::future::pending().await,
                }
            };
            let by_order = tokio::select! { biased;
                () = hup => true,
                _ = tick.tick() => false,
            };
            let now: Vec<Sign> = self.paths.iter().map(sign).collect();
            if by_order || now != self.seen {
                self.seen = now;
                changed();
            }
        }
    }
}
