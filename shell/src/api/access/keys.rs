//! The tokens as they are now: read again when their file changes, and told to whoever depends on one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info};
use windlass_core::time::Wall;

use super::tokens::{Holder, Tokens};
use crate::api::reload::Watched;
use crate::clock::{Clock, SystemClock};

/// How often somebody whose token will expire is looked at again. Clocks may be set, so this does not wait for the expiry.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The tokens of a file, as it is now.
#[derive(Debug, Clone)]
pub struct Keys {
    now: watch::Receiver<Arc<Tokens>>,
    clock: SystemClock,
}

impl Keys {
    /// The tokens in the file `path`, which is read again when it changes and on SIGHUP. While what is there then is
    /// wrong, the tokens before it stay: one mistake locks nobody out, and lets nobody in. Must run within a runtime.
    pub fn watch(path: PathBuf) -> Result<Self, String> {
        let watched = Watched::new(vec![path.clone()]);
        let first = Tokens::read(&path)?;
        info!(tokens = first.len(), path = %path.display(), "tokens are required");
        let (sender, now) = watch::channel(Arc::new(first));
        tokio::spawn(async move {
            let changed = || match Tokens::read(&path) {
                Ok(tokens) => {
                    info!(tokens = tokens.len(), "the tokens were read again");
                    sender.send_replace(Arc::new(tokens));
                }
                Err(error) => error!(%error, "the tokens stay as they were"),
            };
            tokio::select! { biased;
                // Nobody asks for them any more.
                () = sender.closed() => {}
                () = watched.each_change(changed) => {}
            }
        });
        Ok(Self {
            now,
            clock: SystemClock::start(),
        })
    }

    fn wall(&self) -> Wall {
        self.clock.now().wall
    }

    /// Whose `token` is, if it is worth anything now.
    pub(crate) fn find(&self, token: &str) -> Option<Holder> {
        let now = self.wall();
        self.now.borrow().find(token, now).cloned()
    }

    /// Done once `holder` is let in no more, or not with the same role.
    pub(crate) fn gone(&self, holder: Holder) -> impl Future<Output = ()> + Send + use<> {
        let mut keys = self.clone();
        async move {
            loop {
                let now = keys.wall();
                if !keys.now.borrow_and_update().knows(&holder, now) {
                    return;
                }
                let look_again = async {
                    match holder.expires {
                        Some(_) => tokio::time::sleep(LOOK_EVERY).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! { biased;
                    changed = keys.now.changed() => {
                        if changed.is_err() {
                            return look_for_ever(&keys, &holder).await;
                        }
                    }
                    () = look_again => {}
                }
            }
        }
    }
}

/// Nobody reads the file any more, as when the process ends: then only the expiry counts.
async fn look_for_ever(keys: &Keys, holder: &Holder) {
    while keys.now.borrow().knows(holder, keys.wall()) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
