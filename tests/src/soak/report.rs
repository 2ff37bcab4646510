//! The report of a run, for people.

use std::fmt::Write as _;

use super::run::{ETCD, Soaked};
use super::verdict::Finding;

/// How many lines the table has, about: one for so many parts.
const LINES: usize = 15;

/// The whole report.
pub fn text(soaked: &Soaked, findings: &[Finding]) -> String {
    let options = &soaked.options;
    let mut text = format!(
        "# {} tasks a second for {:?}\n\nOne etcd ({}), started with `{}`; submitters, a scheduler and three workers in one \
         process beside it; {} cores. Ended tasks are kept for {:?}. Commit {}.\n\n",
        options.rate,
        options.lasts,
        soaked.machine.etcd,
        ETCD.join(" "),
        soaked.machine.cores,
        options.retention,
        soaked.machine.commit,
    );
    for finding in findings {
        let word = if finding.holds { "yes" } else { "**NO**" };
        // Writing to memory cannot fail.
        let _ = writeln!(text, "- {word}: {} ({})", finding.rule, finding.why);
    }
    text += "\n| until, s | tasks/s | refused | acknowledged p99, ms | p50, ms | p99, ms | max, ms | Windlass, MiB | etcd, MiB | in use, MiB | file, MiB |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n";
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let step = soaked.parts.len().div_ceil(LINES).max(1);
    let mut since = 0.0;
    for parts in soaked.parts.chunks(step) {
        let Some(end) = parts.last() else { continue };
        let sum = |of: fn(&super::run::Part) -> f64| parts.iter().map(of).sum::<f64>();
        let most = |of: fn(&super::run::Part) -> f64| parts.iter().map(of).fold(0.0, f64::max);
        let _ = writeln!(
            text,
            "| {:.0} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            end.until_seconds,
            sum(|it| it.completed) / (end.until_seconds - since),
            sum(|it| it.refused),
            most(|it| it.ack_p99_ms),
            most(|it| it.p50_ms),
            most(|it| it.p99_ms),
            most(|it| it.max_ms),
            mib(most(|it| it.windlass_bytes)),
            mib(most(|it| it.etcd_bytes)),
            mib(most(|it| it.used_bytes)),
            mib(most(|it| it.file_bytes)),
        );
        since = end.until_seconds;
    }
    text
}
