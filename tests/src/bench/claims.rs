//! When which worker got which task, as etcd tells whoever watches it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use windlass_sim::core::ids::TaskId;
use windlass_sim::core::keyspace::{Key, Meaning};

use crate::chaos::clock::Nanos;
use crate::chaos::history::{History, Recorded, Recorder};
use crate::etcd::Etcd;

/// Watches an etcd from its first revision on.
#[derive(Debug)]
pub(super) struct Claims {
    recorder: Recorder,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

/// A task was given to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claimed {
    pub(super) task: TaskId,
    pub(super) worker: String,
    pub(super) at: Nanos,
}

impl Claims {
    /// Watches this one, in which nothing was compacted yet.
    pub(super) fn watch(etcd: &Etcd) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("history");
        let recorder = Recorder::start(&[etcd.endpoint().to_owned()], &file)?;
        Ok(Self {
            recorder,
            file,
            _folder: folder,
        })
    }

    /// All claims so far, in order.
    pub(super) fn all(&self) -> anyhow::Result<Vec<Claimed>> {
        self.recorder.flush()?;
        let mut claims = Vec::new();
        for recorded in History::open(&self.file)? {
            claims.extend(made_by(&recorded?));
        }
        Ok(claims)
    }

    /// When each task was first given to a worker for whom `is_wanted`.
    pub(super) fn first(
        &self,
        is_wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<BTreeMap<TaskId, Nanos>> {
        let mut first = BTreeMap::new();
        for claim in self.all()? {
            if is_wanted(&claim.worker) {
                first.entry(claim.task).or_insert(claim.at);
            }
        }
        Ok(first)
    }
}

/// The claims that a revision made; one that it only wrote again is none.
fn made_by(recorded: &Recorded) -> Vec<Claimed> {
    let made = recorded.writes.iter().filter(|write| write.version == 1);
    let claims = made.filter_map(|write| {
        let Meaning::Claim(worker, place) = Meaning::of(&Key::from_store(write.key.as_str()))
        else {
            return None;
        };
        write.value.as_ref().map(|_| Claimed {
            task: place.task,
            worker: worker.as_str().to_owned(),
            at: recorded.at,
        })
    });
    claims.collect()
}

#[cfg(test)]
mod tests {
    use windlass_sim::core::ids::Priority;
    use windlass_sim::core::keyspace::Place;
    use windlass_sim::core::time::Wall;

    use super::*;
    use crate::chaos::history::Written;

    #[test]
    fn only_what_is_claimed_anew_is_a_claim() {
        let place = Place {
            priority: Priority::NORMAL,
            timestamp: Wall::from_millis(1),
            task: TaskId::from_u128(7),
        };
        let claim = Key::claim(&"w1".parse().unwrap(), place);
        let entry = Key::entry(&"default".parse().unwrap(), place);
        let write = |key: &Key, value: Option<&str>, version| Written {
            key: key.as_str().to_owned(),
            value: value.map(str::to_owned),
            created: 5,
            version,
            lease: None,
        };
        let writes = vec![
            write(&claim, Some("{}"), 1),
            write(&claim, Some("{}"), 2),
            write(&claim, None, 0),
            write(&entry, Some("{}"), 1),
        ];
        let recorded = Recorded {
            revision: 5,
            at: 9,
            writes,
        };
        let made = Claimed {
            task: place.task,
            worker: "w1".to_owned(),
            at: 9,
        };
        assert_eq!(made_by(&recorded), [made]);
    }
}
