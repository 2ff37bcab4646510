//! Whether a run was steady: its last third is held against its second. The first is for everything to fill up.

use serde::Serialize;

use super::run::{Part, Soaked, Totals};
use crate::bench::distribution::median;

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What must hold.
    pub rule: &'static str,
    /// Whether it does.
    pub holds: bool,
    /// By what that is known.
    pub why: String,
}

/// How much more memory or room the last third may need than the second.
const GROWTH_MAX: f64 = 1.15;
/// How much longer tasks may wait in it, by the middle of the parts' 99th of a hundred.
const SLOWER_MAX: f64 = 1.5;
/// What counts as no wait at all, in milliseconds.
const WAIT_MIN_MS: f64 = 1.0;
/// Which part of what was submitted must have been completed in it.
const DONE_MIN: f64 = 0.99;

/// All that must hold of a run.
pub fn judge(soaked: &Soaked) -> Vec<Finding> {
    let third = soaked.parts.len() / 3;
    let second = &soaked.parts[third..third * 2];
    let last = &soaked.parts[third * 2..];
    let of = |name, size: fn(&Part) -> f64| grows(name, second, last, size);
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let rate = soaked.options.rate as f64;
    vec![
        nothing_is_lost(&soaked.totals),
        of("the memory of Windlass is flat", |it| it.windlass_bytes),
        of("the memory of etcd is flat", |it| it.etcd_bytes),
        of("what is in use in the store is bounded", |it| it.used_bytes),
        of("the store's file is bounded", |it| it.file_bytes),
        waits("tasks wait no longer for their start", second, last, |it| {
            it.p99_ms
        }),
        waits("submitters wait no longer", second, last, |it| {
            it.ack_p99_ms
        }),
        keeps_up(rate, last),
    ]
}

fn nothing_is_lost(totals: &Totals) -> Finding {
    Finding {
        rule: "each acknowledged task was completed once, and none is left",
        holds: totals.total == totals.acknowledged
            && totals.completed == totals.acknowledged
            && totals.live == 0,
        why: format!(
            "acknowledged {}, accepted {}, completed {}, live {}, attempts lost {}",
            totals.acknowledged, totals.total, totals.completed, totals.live, totals.lost_attempts
        ),
    }
}

fn grows(rule: &'static str, second: &[Part], last: &[Part], size: fn(&Part) -> f64) -> Finding {
    let most = |parts: &[Part]| parts.iter().map(size).fold(0.0, f64::max) / f64::from(1 << 20);
    let (before, after) = (most(second), most(last));
    Finding {
        rule,
        holds: after > 0.0 && after <= before * GROWTH_MAX,
        why: format!("at most {before:.0} MiB in the second third, {after:.0} in the last"),
    }
}

fn waits(rule: &'static str, second: &[Part], last: &[Part], wait: fn(&Part) -> f64) -> Finding {
    let middle = |parts: &[Part]| median(parts.iter().map(wait).collect());
    let (before, after) = (middle(second), middle(last));
    let holds = before.zip(after).is_some_and(|(before, after)| {
        after.max(WAIT_MIN_MS) <= before.max(WAIT_MIN_MS) * SLOWER_MAX
    });
    Finding {
        rule,
        holds,
        why: format!(
            "99 of a hundred no longer than {:.1} ms in the second third, {:.1} in the last",
            before.unwrap_or(f64::NAN),
            after.unwrap_or(f64::NAN)
        ),
    }
}

fn keeps_up(rate: f64, last: &[Part]) -> Finding {
    let done: f64 = last.iter().skip(1).map(|it| it.completed).sum();
    let (begin, end) = (last.first(), last.last());
    let seconds = begin
        .zip(end)
        .map_or(0.0, |(begin, end)| end.until_seconds - begin.until_seconds);
    Finding {
        rule: "tasks are completed as they are submitted",
        holds: seconds > 0.0 && done >= rate * seconds * DONE_MIN,
        why: format!(
            "{done:.0} in {seconds:.0} s at the end, {:.0} a second of {rate:.0}",
            done / seconds.max(f64::MIN_POSITIVE)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(change: impl Fn(f64, &mut Part)) -> Vec<Part> {
        (0..9)
            .map(|n| {
                let mut part = Part {
                    until_seconds: f64::from(n) * 10.0,
                    completed: 1_000.0,
                    refused: 0.0,
                    ack_p99_ms: 50.0,
                    p50_ms: 0.0,
                    p99_ms: 4.0,
                    max_ms: 9.0,
                    windlass_bytes: 5e7,
                    etcd_bytes: 5e9,
                    used_bytes: 1e9,
                    file_bytes: 2e9,
                };
                change(f64::from(n), &mut part);
                part
            })
            .collect()
    }

    /// What the second and the last third say.
    fn thirds<T>(parts: &[Part], say: impl Fn(&[Part], &[Part]) -> T) -> T {
        say(&parts[3..6], &parts[6..])
    }

    #[test]
    fn what_grows_only_at_first_is_flat_and_what_goes_on_growing_is_not() {
        let grows_in = |parts: Vec<Part>| {
            thirds(&parts, |second, last| {
                grows("", second, last, |it| it.etcd_bytes).holds
            })
        };
        assert!(grows_in(parts(|n, it| it.etcd_bytes *= n.min(3.0))));
        assert!(!grows_in(parts(|n, it| it.etcd_bytes *= 1.0 + n)));
        assert!(!grows_in(parts(|_, it| it.etcd_bytes = 0.0)), "nobody told");
    }

    #[test]
    fn longer_waits_are_seen_unless_they_are_none() {
        let flat = |parts: Vec<Part>| {
            thirds(&parts, |second, last| {
                waits("", second, last, |it| it.p99_ms).holds
            })
        };
        assert!(flat(parts(|_, _| {})));
        assert!(!flat(parts(|n, it| it.p99_ms *= n)));
        assert!(flat(parts(|n, it| it.p99_ms = n / 10.0)));
    }

    #[test]
    fn a_run_that_falls_behind_its_rate_is_seen() {
        let last = parts(|_, _| {});
        assert!(keeps_up(100.0, &last[6..]).holds);
        assert!(!keeps_up(102.0, &last[6..]).holds);
        assert!(!keeps_up(100.0, &[]).holds);
    }

    #[test]
    fn a_task_that_is_left_or_counted_twice_is_seen() {
        let whole = Totals {
            acknowledged: 9,
            total: 9,
            completed: 9,
            live: 0,
            lost_attempts: 3,
        };
        assert!(nothing_is_lost(&whole).holds);
        for broken in [
            Totals {
                completed: 8,
                live: 1,
                ..whole
            },
            Totals {
                completed: 10,
                ..whole
            },
            Totals { total: 8, ..whole },
            Totals { live: 1, ..whole },
        ] {
            assert!(!nothing_is_lost(&broken).holds, "{broken:?}");
        }
    }
}
