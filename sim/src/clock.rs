//! A node's own clocks: a monotonic one with an origin of its own, which may run too fast or too slow, and a wall clock,
//! which may jump as well.

use windlass_core::time::{Mono, Now, Wall};

/// The wall clock of every run begins here: 2026-01-01.
pub const EPOCH_MS: u64 = 1_767_225_600_000;

const MILLION: i128 = 1_000_000;

/// The clocks of one machine. They survive its processes.
#[derive(Debug, Clone)]
pub struct Clock {
    /// The node's monotonic clock showed `own` when the run's showed `run`; since then it runs with this error.
    run: Mono,
    own: Mono,
    ppm: i32,
    origin: Mono,
    jumped_ms: i64,
}

impl Clock {
    /// Clocks that are right, but for the origin of the monotonic one.
    pub fn new(origin: Mono) -> Self {
        Self {
            run: Mono::ZERO,
            own: origin,
            ppm: 0,
            origin,
            jumped_ms: 0,
        }
    }

    /// What the clocks show when the run's clock shows `run`.
    pub fn now(&self, run: Mono) -> Now {
        let mono = self.mono(run);
        let millis = mono.since(self.origin).as_millis();
        let wall = i128::from(EPOCH_MS)
            + i128::try_from(millis).unwrap_or(i128::MAX / 2)
            + i128::from(self.jumped_ms);
        Now {
            mono,
            wall: Wall::from_millis(u64::try_from(wall).unwrap_or(0)),
        }
    }

    fn mono(&self, run: Mono) -> Mono {
        if self.ppm == 0 && run >= self.run {
            // The same, for the many that are right: wide divisions are slow.
            let passed = run.as_nanos() - self.run.as_nanos();
            return Mono::from_nanos(self.own.as_nanos().checked_add(passed).unwrap_or(0));
        }
        let passed = i128::from(run.as_nanos()) - i128::from(self.run.as_nanos());
        let own =
            i128::from(self.own.as_nanos()) + passed * (MILLION + i128::from(self.ppm)) / MILLION;
        Mono::from_nanos(u64::try_from(own).unwrap_or(0))
    }

    /// When, on the run's clock, the node's monotonic clock will have reached `own`.
    pub fn on_run(&self, own: Mono) -> Mono {
        if self.ppm == 0 && own >= self.own {
            let passed = own.as_nanos() - self.own.as_nanos();
            let run = self.run.as_nanos().checked_add(passed);
            return Mono::from_nanos(run.unwrap_or(u64::MAX));
        }
        let rate = MILLION + i128::from(self.ppm);
        let wanted = i128::from(own.as_nanos()) - i128::from(self.own.as_nanos());
        // Rounded up, and one more: at that time the node's clock must not show less.
        let passed = (wanted * MILLION).div_euclid(rate) + 1;
        let exact = wanted * MILLION % rate == 0;
        let run = i128::from(self.run.as_nanos()) + passed - i128::from(exact);
        Mono::from_nanos(u64::try_from(run.max(0)).unwrap_or(u64::MAX))
    }

    /// From now on the clocks run with this error, in millionths.
    pub fn drift(&mut self, run: Mono, ppm: i32) {
        self.own = self.mono(run);
        self.run = run;
        self.ppm = ppm.clamp(-900_000, 900_000);
    }

    /// Whether the clocks run with an error.
    pub fn drifts(&self) -> bool {
        self.ppm != 0
    }

    /// The wall clock jumps.
    pub fn jump(&mut self, by_ms: i64) {
        self.jumped_ms = self.jumped_ms.saturating_add(by_ms);
    }

    /// Somebody sets the wall clock right.
    pub fn set_right(&mut self) {
        self.jumped_ms = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Mono {
        Mono::from_nanos(nanos)
    }

    #[test]
    fn a_clock_without_error_differs_by_its_origin_only() {
        let clock = Clock::new(at(500));
        assert_eq!(clock.now(at(70)).mono, at(570));
        assert_eq!(clock.on_run(at(570)), at(70));
        assert_eq!(clock.now(at(2_000_000)).wall.as_millis(), EPOCH_MS + 2);
    }

    #[test]
    fn a_drifting_clock_has_reached_a_time_when_it_says_so_and_not_a_nanosecond_earlier() {
        for ppm in [-900_000, -333_333, -1, 0, 1, 77_777, 900_000] {
            let mut clock = Clock::new(at(1_000));
            clock.drift(at(10), ppm);
            for own in [1_011, 1_012, 5_000, 123_456_789] {
                let run = clock.on_run(at(own));
                assert!(clock.now(run).mono >= at(own), "{ppm} {own}");
                assert!(
                    clock
                        .now(run.before(std::time::Duration::from_nanos(1)))
                        .mono
                        < at(own),
                    "{ppm} {own}"
                );
            }
        }
    }

    #[test]
    fn a_monotonic_clock_never_goes_back_when_its_error_changes() {
        let mut clock = Clock::new(at(0));
        let mut last = at(0);
        for (step, ppm) in [(10, 500_000), (20, -900_000), (30, 0), (40, 900_000)] {
            clock.drift(at(step), ppm);
            assert!(clock.now(at(step)).mono >= last);
            last = clock.now(at(step)).mono;
        }
    }

    #[test]
    fn a_jump_moves_the_wall_clock_only() {
        let mut clock = Clock::new(at(0));
        clock.jump(-3_600_000);
        assert_eq!(clock.now(at(0)).wall.as_millis(), EPOCH_MS - 3_600_000);
        assert_eq!(clock.now(at(9)).mono, at(9));
        clock.set_right();
        assert_eq!(clock.now(at(0)).wall.as_millis(), EPOCH_MS);
    }
}
