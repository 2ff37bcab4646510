//! Measures part after part. What goes wrong in one is its result, and hinders none of the others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::machine::{self, Machine};
use super::part::{Measured, Part};
use super::report::Report;
use super::sizes::Sizes;
use super::{fail_over, loss, memory, placement, simulation, throughput};
use crate::binary;

/// How many letters of a reason stand in the report.
const REASON_MAX: usize = 300;

/// What is measured, and where the report goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// These parts, in this order.
    pub parts: Vec<Part>,
    /// So much.
    pub sizes: Sizes,
    /// Here.
    pub folder: PathBuf,
}

/// Measures, and writes the report anew after each part, so that what was measured is kept whatever comes. `say` hears
/// what is going on.
///
/// # Errors
/// When the machine does not tell what it is, or the report cannot be written.
pub fn run(options: &Options, say: impl Fn(&str)) -> anyhow::Result<Report> {
    std::fs::create_dir_all(&options.folder)?;
    let folder = std::fs::canonicalize(&options.folder)?;
    let mut report = Report::new(Machine::this()?, options.sizes);
    prepare(&options.parts);
    for part in &options.parts {
        // What was built or measured before is still on its way to the disk, and would be waited for.
        rustix::fs::sync();
        let busy = machine::busy_share(options.sizes.look)?;
        report.busy.insert(*part, busy);
        say(&format!(
            "measures {part:?}; others use {:.0} % of the machine",
            busy * 100.0
        ));
        let began = Instant::now();
        // Whatever the panic left behind is not used any more: each part makes all that it needs.
        let came = catch_unwind(AssertUnwindSafe(|| measure(*part, &options.sizes, &folder)));
        let came = match came {
            Ok(Ok(measured)) => Ok(measured),
            Ok(Err(error)) => Err(brief(&format!("{error:#}"))),
            Err(panic) => Err(brief(&reason(&*panic))),
        };
        if let Err(why) = &came {
            say(&format!("{part:?} is NOT MEASURED: {why}"));
        }
        report.add(*part, began.elapsed(), came);
        report.write(&folder)?;
    }
    Ok(report)
}

/// Builds what the parts need, so that nothing is built while something is measured. What cannot be built is told by the
/// parts that miss it.
fn prepare(parts: &[Part]) {
    for part in parts {
        let _ = catch_unwind(|| match part {
            Part::Placement => drop(placement::build()),
            Part::Simulation => drop(binary::simulator()),
            Part::Embedded
            | Part::Etcd
            | Part::Latency
            | Part::Memory
            | Part::Killed
            | Part::Leave
            | Part::Scheduler => {
                binary::windlass();
            }
        });
    }
}

fn measure(part: Part, sizes: &Sizes, folder: &Path) -> anyhow::Result<Measured> {
    match part {
        Part::Embedded => throughput::embedded(sizes, folder),
        Part::Etcd => throughput::etcd(sizes),
        Part::Latency => throughput::latency(sizes),
        Part::Placement => placement::measure(folder),
        Part::Memory => memory::measure(sizes),
        Part::Killed => loss::killed(sizes),
        Part::Leave => loss::left(sizes),
        Part::Scheduler => fail_over::measure(sizes),
        Part::Simulation => simulation::measure(sizes),
    }
}

/// What a panic said.
fn reason(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}

/// On one line that fits a report; whoever wants all of it reads what was said meanwhile.
fn brief(why: &str) -> String {
    let line: String = why.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(REASON_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_and_stands_on_one_line() {
        assert_eq!(brief("a\n  b"), "a b");
        let cut = brief(&"é".repeat(1_000));
        assert_eq!(cut.chars().count(), REASON_MAX + 1);
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn what_a_panic_said_is_kept() {
        let of = |it: Box<dyn std::any::Any + Send>| reason(&*it);
        assert_eq!(of(Box::new("plain")), "plain");
        assert_eq!(of(Box::new("made".to_owned())), "made");
        assert_eq!(of(Box::new(7)), "it panicked");
    }
}
