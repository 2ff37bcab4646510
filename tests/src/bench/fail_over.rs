//! A scheduler is killed under a steady load while others live: does any task wait for it?

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;
use windlass_sim::core::ids::TaskId;

use super::cluster::Cluster;
use super::distribution::{Distribution, millis};
use super::part::Measured;
use super::sizes::Sizes;
use crate::chaos::clock::{self, Nanos};
use crate::eventually;

/// Between two submissions.
const EVERY: Duration = Duration::from_millis(10);
const SCHEDULERS: usize = 3;

/// How long tasks waited in one round.
struct Round {
    usual: Distribution,
    after: Distribution,
    beyond: Duration,
}

/// # Errors
/// When the record of claims is not whole, or tasks are not accepted.
pub(super) fn measure(sizes: &Sizes) -> anyhow::Result<Measured> {
    let rounds: Vec<Round> = (0..sizes.losses)
        .map(|_| one(sizes))
        .collect::<anyhow::Result<_>>()?;
    let worst = rounds.iter().map(|it| it.beyond).max();
    let worst = worst.context("nothing was measured")?;
    let details: Vec<_> = rounds
        .iter()
        .map(|it| json!({"usual_ms": it.usual, "after_ms": it.after, "beyond_ms": millis(it.beyond)}))
        .collect();
    Ok(Measured {
        reached: vec![millis(worst)],
        how: format!(
            "{} times, one of {SCHEDULERS} schedulers was killed with SIGKILL while 100 tasks a second were submitted to the \
             others, TTL 3 s. From the acknowledgement of each task until etcd told its claim: the longest wait of those \
             that were claimed after the kill, less the median of those before; the worst time.",
            sizes.losses
        ),
        details: json!({"rounds": details}),
    })
}

fn one(sizes: &Sizes) -> anyhow::Result<Round> {
    let mut cluster = Cluster::start(SCHEDULERS)?;
    let _workers = ["w1", "w2"].map(|id| cluster.worker(id, 64, &[]));
    let mut acknowledged = submit(&cluster, sizes.steady)?;
    let killed = clock::now();
    cluster.schedulers[0].kill();
    acknowledged.extend(submit(&cluster, sizes.after)?);
    eventually("all tasks are claimed", || {
        let claims = cluster.claims.first(|_| true);
        claims.map_or(None, |it| (it.len() >= acknowledged.len()).then_some(()))
    });
    judged(&acknowledged, &cluster.claims.first(|_| true)?, killed)
}

/// Submits to those that are to live, for so long: the tasks, and when each was acknowledged.
fn submit(cluster: &Cluster, lasts: Duration) -> anyhow::Result<BTreeMap<TaskId, Nanos>> {
    let (mut acknowledged, mut due) = (BTreeMap::new(), clock::now());
    let end = due + clock::nanos(lasts);
    let survivors = cluster.client.servers()[1..].iter().cycle();
    for server in survivors {
        if due >= end {
            break;
        }
        std::thread::sleep(Duration::from_nanos(due.saturating_sub(clock::now())));
        due += clock::nanos(EVERY);
        let answer = cluster
            .client
            .try_post(server, "/api/v1/tasks", &json!({"type": "noop"}));
        let at = clock::now();
        let (status, body) = answer.context("a submission was not answered")?;
        ensure!(
            status == 201,
            "a submission was answered with {status}: {body}"
        );
        let id = body["id"].as_str().context("a task has an id")?;
        acknowledged.insert(id.parse()?, at);
    }
    Ok(acknowledged)
}

/// What the kill cost. A claim that was seen before the submission was acknowledged made nobody wait.
fn judged(
    acknowledged: &BTreeMap<TaskId, Nanos>,
    claimed: &BTreeMap<TaskId, Nanos>,
    killed: Nanos,
) -> anyhow::Result<Round> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (task, at) in acknowledged {
        let then = claimed.get(task).context("each task was claimed")?;
        let wait = Duration::from_nanos(then.saturating_sub(*at));
        if *then > killed {
            after.push(wait);
        } else {
            before.push(wait);
        }
    }
    let longest = after.iter().max().copied().unwrap_or_default();
    let usual = Distribution::of(before).context("nothing was claimed before the kill")?;
    let median = Duration::from_secs_f64(usual.p50 / 1_000.0);
    Ok(Round {
        usual,
        after: Distribution::of(after).context("nothing was claimed after the kill")?,
        beyond: longest.saturating_sub(median),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn times(all: &[(u128, u64)]) -> BTreeMap<TaskId, Nanos> {
        let times = all
            .iter()
            .map(|(task, ms)| (TaskId::from_u128(*task), ms * MS));
        times.collect()
    }

    #[test]
    fn who_was_claimed_after_the_kill_is_compared_with_who_was_before() {
        let acknowledged = times(&[(1, 10), (2, 20), (3, 30), (4, 40), (5, 60)]);
        let claimed = times(&[(1, 14), (2, 24), (3, 27), (4, 540), (5, 62)]);
        let round = judged(&acknowledged, &claimed, 50 * MS).unwrap();
        assert_eq!((round.usual.count, round.usual.p50), (3, 4.0));
        assert_eq!((round.after.count, round.after.max), (2, 500.0));
        assert_eq!(round.beyond, Duration::from_millis(496));
    }

    #[test]
    fn a_task_that_was_never_claimed_is_no_figure() {
        let acknowledged = times(&[(1, 10), (2, 20)]);
        assert!(judged(&acknowledged, &times(&[(1, 14)]), 50 * MS).is_err());
    }
}
