//! Looks after the members: asks all of them the same question at the same time, and compares.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{GetOptions, KvClient};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::fate::Fate;
use super::members::Members;
use super::route::pinned;

/// How long a member may take longer than the first that answers.
const GRACE: Duration = Duration::from_millis(300);
/// After this time without any answer there is nothing to compare.
const ROUND_MAX: Duration = Duration::from_secs(2);
/// How often members are looked at when nobody suspects them.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often while one of them is left.
const INTERVAL_LEFT: Duration = Duration::from_millis(500);
/// The least time between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks after the members for ever. `key` is one that may be read.
pub(super) async fn look_after(members: Arc<Members>, kv: KvClient, key: Vec<u8>) {
    loop {
        let interval = match members.any_left() {
            true => INTERVAL_LEFT,
            false => INTERVAL,
        };
        // Either is a reason to look.
        drop(timeout(interval, members.suspected()).await);
        round(&members, &kv, &key).await;
        sleep(PAUSE).await;
    }
}

async fn round(members: &Members, kv: &KvClient, key: &[u8]) {
    let heard_before = members.heard();
    let mut asked: FuturesUnordered<_> = (0..members.count())
        .map(|index| async move { (index, answers(index, kv.clone(), key).await) })
        .collect();
    let mut until = Instant::now() + ROUND_MAX;
    let mut verdicts = vec![Verdict::Silent; members.count()];
    while let Ok(Some((index, verdict))) = timeout_at(until, asked.next()).await {
        if verdict == Verdict::Answers {
            until = until.min(Instant::now() + GRACE);
        }
        verdicts[index] = verdict;
    }
    let heard = members.heard();
    for (index, fit) in judge(&verdicts, &heard_before, &heard) {
        match fit {
            Ok(()) => members.welcome(index),
            Err(reason) => members.leave(index, reason),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It serves what needs a quorum, or has a reason not to that any member would have.
    Answers,
    Fails,
    Silent,
}

/// A read that needs a quorum: a member that is cut off from the others fails it, however well it is reached.
async fn answers(index: usize, mut kv: KvClient, key: &[u8]) -> Verdict {
    let options = GetOptions::new().with_count_only();
    match pinned(index, kv.get(key, Some(options))).await {
        Ok(_) => Verdict::Answers,
        Err(error) => match Fate::of(&error) {
            Fate::Refused(_) | Fate::LoginStale | Fate::Compacted | Fate::Oversized => {
                Verdict::Answers
            }
            Fate::Unsent | Fate::Unknown => Verdict::Fails,
        },
    }
}

/// Which members are fit and which are not; nothing of those that cannot be told. A member that says anything at all is
/// only busy.
fn judge(
    verdicts: &[Verdict],
    heard_before: &[u64],
    heard: &[u64],
) -> Vec<(usize, Result<(), &'static str>)> {
    if !verdicts.contains(&Verdict::Answers) {
        return Vec::new();
    }
    let all = verdicts.iter().zip(heard_before).zip(heard).enumerate();
    all.filter_map(|(index, ((verdict, before), after))| {
        let fit = match verdict {
            Verdict::Answers => Ok(()),
            Verdict::Fails => Err("it fails"),
            Verdict::Silent if before == after => Err("it is silent"),
            Verdict::Silent => return None,
        };
        Some((index, fit))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Answers, Fails, Silent};
    use super::*;

    #[test]
    fn a_member_is_left_only_while_another_answers() {
        let told = |verdicts: &[Verdict], heard: &[u64]| {
            let fit = judge(verdicts, &[0, 0, 0], heard);
            fit.into_iter()
                .map(|(index, fit)| (index, fit.is_ok()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            told(&[Answers, Fails, Silent], &[1, 1, 0]),
            [(0, true), (1, false), (2, false)]
        );
        assert_eq!(told(&[Silent, Fails, Silent], &[0, 1, 0]), []);
        assert_eq!(
            told(&[Answers, Answers, Silent], &[1, 1, 1]),
            [(0, true), (1, true)],
            "it is busy, not silent"
        );
    }
}
