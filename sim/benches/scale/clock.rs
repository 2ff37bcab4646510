//! How long parts work, in time of the processor.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use windlass_sim::scale::{Meter, Part};

/// Adds up how long each part works.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    spent: [Duration; 3],
}

impl Meter for Stopwatch {
    fn during<T>(&mut self, part: Part, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.spent[part as usize] += begun.elapsed();
        done
    }
}

/// What the parts had spent when a phase began.
#[derive(Debug)]
pub(crate) struct Phase {
    begun: Instant,
    cpu: Duration,
    spent: [Duration; 3],
}

impl Phase {
    pub(crate) fn begin(watch: &Stopwatch) -> Self {
        Self {
            begun: Instant::now(),
            cpu: cpu(),
            spent: watch.spent,
        }
    }

    /// How long each part has worked since, in nanoseconds. What the machine did for others meanwhile is taken off, each
    /// part's share of it.
    pub(crate) fn end(&self, watch: &Stopwatch) -> [f64; 3] {
        let share = (cpu() - self.cpu).as_secs_f64() / self.begun.elapsed().as_secs_f64();
        let part =
            |ix: usize| (watch.spent[ix] - self.spent[ix]).as_nanos() as f64 * share.min(1.0);
        [part(0), part(1), part(2)]
    }
}

/// The processor's time that this thread has used.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
