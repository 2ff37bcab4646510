//! A worker's sign of life for those who cannot ask it, because it opens no port: a file that it writes again every
//! second, for as long as its session lives and no longer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::clock::{Clock, SystemClock};
use crate::node::WorkerStatus;

/// How often the file is written.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Its id.
    pub node: String,
    /// Whether it takes tasks.
    pub ready: bool,
}

/// Why a worker is not believed alive.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// It has not begun, has ended, or writes elsewhere.
    #[error("cannot read {}: {error}", path.display())]
    Silent {
        /// The file.
        path: PathBuf,
        /// What reading it gave.
        error: io::Error,
    },
    /// It has no session, or stands still.
    #[error("{} was written {age} ago, and not within the last {max}", path.display(), age = humantime::format_duration(*age), max = humantime::format_duration(*max))]
    Stale {
        /// The file.
        path: PathBuf,
        /// How far from now it was written.
        age: Duration,
        /// How far from now it may have been written.
        max: Duration,
    },
    /// Another program's file.
    #[error("{} was not written by a worker: {error}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
}

impl Health {
    /// What the worker that writes `path` said within the last `age_max`.
    pub fn read(path: &Path, age_max: Duration) -> Result<Self, Unwell> {
        let silent = |error| Unwell::Silent {
            path: path.to_owned(),
            error,
        };
        let text = fs::read(path).map_err(silent)?;
        let written = fs::metadata(path)
            .and_then(|it| it.modified())
            .map_err(silent)?;
        let age = distance(written, SystemTime::now());
        if age > age_max {
            // Nobody needs more than thousandths.
            let age = Duration::from_millis(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            return Err(Unwell::Stale {
                path: path.to_owned(),
                age,
                max: age_max,
            });
        }
        serde_json::from_slice(&text).map_err(|error| Unwell::Foreign {
            path: path.to_owned(),
            error,
        })
    }

    /// Writes it in one piece: a reader sees the last file or this one.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut neighbour = path.as_os_str().to_owned();
        neighbour.push(".new");
        fs::write(&neighbour, serde_json::to_vec(self)?)?;
        fs::rename(&neighbour, path)
    }
}

/// After the clock was set back, a file may seem to come from the future: that says as little as one from the past.
fn distance(one: SystemTime, other: SystemTime) -> Duration {
    other
        .duration_since(one)
        .unwrap_or_else(|error| error.duration())
}

/// Writes `path` for as long as the session of the worker `node` lives; never ends by itself.
pub async fn keep_written(
    path: PathBuf,
    node: String,
    status: Arc<WorkerStatus>,
    clock: SystemClock,
) {
    let mut failing = false;
    loop {
        if status.has_session(clock.now().mono) {
            let health = Health {
                node: node.clone(),
                ready: status.is_ready(),
            };
            let written = health.write(&path);
            match &written {
                // Told once: it may go on for long.
                Err(error) if !failing => {
                    warn!(path = %path.display(), %error, "cannot write the health file");
                }
                Err(_) | Ok(()) => {}
            }
            failing = written.is_err();
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (tempfile::TempDir, PathBuf, Health) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("health");
        let health = Health {
            node: "w".to_owned(),
            ready: true,
        };
        health.write(&path).unwrap();
        (folder, path, health)
    }

    fn set_time(path: &Path, time: SystemTime) {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(time).unwrap();
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_just_written_is_read() {
        let (folder, path, health) = written();
        assert_eq!(Health::read(&path, MINUTE).unwrap(), health);
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1, "nothing but the file is left");
    }

    #[test]
    fn a_file_from_long_ago_or_from_the_future_is_no_sign_of_life() {
        let (_folder, path, _) = written();
        for time in [
            SystemTime::now() - 10 * MINUTE,
            SystemTime::now() + 10 * MINUTE,
        ] {
            set_time(&path, time);
            let error = Health::read(&path, MINUTE).unwrap_err();
            assert!(matches!(error, Unwell::Stale { .. }), "{error}");
            assert!(Health::read(&path, 20 * MINUTE).is_ok());
        }
    }

    #[test]
    fn no_file_and_anothers_file_are_no_signs_of_life() {
        let (folder, path, _) = written();
        let error = Health::read(&folder.path().join("none"), MINUTE).unwrap_err();
        assert!(matches!(error, Unwell::Silent { .. }), "{error}");
        fs::write(&path, "hello").unwrap();
        let error = Health::read(&path, MINUTE).unwrap_err();
        assert!(matches!(error, Unwell::Foreign { .. }), "{error}");
    }
}
