//! A worker with many running tasks is lost: how long do they wait for others?

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::cluster::{Cluster, endless};
use super::distribution::{Distribution, millis};
use super::part::Measured;
use super::sizes::Sizes;
use crate::chaos::clock;
use crate::eventually;
use crate::process::Process;

/// A worker renews its session this often, or more often. Each is killed at another moment between two renewals.
const RENEWED_EVERY: Duration = Duration::from_secs(1);

/// Killed with `SIGKILL`: others must notice.
///
/// # Errors
/// When the record of claims is not whole.
pub(super) fn killed(sizes: &Sizes) -> anyhow::Result<Measured> {
    let mut waits = Vec::new();
    let mut rounds = Vec::new();
    for round in 0..sizes.losses {
        std::thread::sleep(RENEWED_EVERY * round / sizes.losses);
        let round = taken_over(sizes.claims, Process::kill)?;
        rounds.push(Distribution::of(round.clone()));
        waits.extend(round);
    }
    let all = Distribution::of(waits).context("nothing was claimed")?;
    Ok(Measured {
        reached: vec![all.p99],
        how: format!(
            "{} times, a worker that ran {} tasks was killed with SIGKILL while two schedulers and two other workers \
             lived. From the kill until etcd told each task's next claim; p99 of {} claims.",
            sizes.losses, sizes.claims, all.count
        ),
        details: json!({"all_ms": all, "rounds_ms": rounds}),
    })
}

/// Told to stop with `SIGTERM`: it hands back what it has.
///
/// # Errors
/// When the record of claims is not whole.
pub(super) fn left(sizes: &Sizes) -> anyhow::Result<Measured> {
    let mut rounds = Vec::new();
    for _ in 0..sizes.losses {
        rounds.push(taken_over(sizes.claims, |worker| worker.terminate())?);
    }
    let lasts = rounds.iter().filter_map(|round| round.iter().max());
    let lasts: Vec<f64> = lasts.map(|it| millis(*it)).collect();
    let worst = lasts.iter().copied().reduce(f64::max);
    let worst = worst.context("nothing was claimed")?;
    let rounds: Vec<_> = rounds.into_iter().map(Distribution::of).collect();
    Ok(Measured {
        reached: vec![worst],
        how: format!(
            "{} times, a worker that ran {} tasks and had no grace left for them was told to stop with SIGTERM. From the \
             signal until etcd told the next claim of the last of its tasks; the worst time.",
            sizes.losses, sizes.claims
        ),
        details: json!({"last_ms": lasts, "rounds_ms": rounds}),
    })
}

/// How long each of `count` tasks of a worker waited for another after its fate.
fn taken_over(count: usize, fate: impl FnOnce(&mut Process)) -> anyhow::Result<Vec<Duration>> {
    let cluster = Cluster::start(2)?;
    let mut lost = cluster.worker("lost", count, &["--drain-grace", "0s"]);
    let ids = cluster.client.submit_all(&vec![endless(); count]);
    eventually("the first worker has them all", || {
        let claims = cluster.claims.first(|it| it == "lost");
        claims.map_or(None, |it| (it.len() == ids.len()).then_some(()))
    });
    let others = ["w1", "w2"].map(|id| cluster.worker(id, count, &["--drain-grace", "0s"]));
    let at = clock::now();
    fate(&mut lost);
    eventually("the others have them all", || {
        let claims = cluster.claims.first(|it| it != "lost");
        claims.map_or(None, |it| (it.len() == ids.len()).then_some(()))
    });
    drop(others);
    let claims = cluster.claims.first(|it| it != "lost")?;
    let waits = claims.into_values().map(|then| then.saturating_sub(at));
    Ok(waits.map(Duration::from_nanos).collect())
}
