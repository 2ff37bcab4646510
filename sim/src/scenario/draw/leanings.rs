//! Leanings: a part of all runs is about one thing. Each of these mixes brings together what seldom meets when everything
//! is drawn apart, in a deployment that is otherwise as drawn, and often with nothing else that breaks: much of what a
//! rule says is suspended while other things are broken.

use windlass_core::record::Json;
use windlass_core::time::Millis;

use super::super::{Act, Move, Part, Scenario, TaskPlan, Timed, Wish};
use super::Draw;
use crate::nemesis::{Fault, Way};
use crate::network::Rudeness;

/// How many of a hundred runs lean.
const LEANING: u64 = 36;
/// The longest that a call takes which is slow and not given up.
const SLOW: Millis = Millis::new(1_300);

impl Draw<'_, '_> {
    /// Some runs lean one way.
    pub(super) fn lean(&mut self, run: &mut Scenario) {
        if self.calm || !self.from.chance(LEANING) {
            return;
        }
        if self.from.chance(65) {
            calm_down(run);
        }
        run.settings.quota = None;
        match self.from.below(9) {
            0 => self.lean_to_late_news(run),
            1 => self.lean_to_twins(run),
            2 => self.lean_to_purges(run),
            3 => self.lean_to_lines(run),
            4 => self.lean_to_lost_places(run),
            5 => self.lean_to_slow_answers(run),
            6 => self.lean_to_crowds(run),
            7 => self.lean_to_old_members(run),
            _ => self.lean_to_upgrades(run),
        }
        run.acts.sort_by_key(|act| act.at);
        run.faults.sort_by_key(|fault| fault.at);
    }

    /// A while after the beginning, with so much time after it.
    fn beginning(&mut self, run: &mut Scenario, lasts: u64) -> u64 {
        let at = 1_500 + self.from.below(4_000);
        run.safety = run.safety.max(Millis::new(at + lasts));
        at
    }

    /// Tasks of this type that are due at once, and as drawn otherwise.
    fn tasks_of(&mut self, count: u64, kind: &str, payload: &str) -> Vec<TaskPlan> {
        let payload = Json::parse(payload.to_owned()).expect("what is written here is JSON");
        let mut all: Vec<TaskPlan> = (0..count).map(|_| self.task()).collect();
        for task in &mut all {
            task.kind = kind.to_owned();
            task.payload = payload.clone();
            task.timeout = Millis::from_secs(20);
            task.delay = Millis::ZERO;
            task.key = None;
        }
        all
    }

    fn server_of(&mut self, run: &Scenario) -> usize {
        self.from.below(run.servers.len() as u64) as usize
    }

    /// One of the workers that talk to the store.
    fn worker_of(&mut self, run: &Scenario) -> usize {
        let all = run.workers.iter().enumerate();
        let local: Vec<usize> = all
            .filter(|(_, it)| !it.remote)
            .map(|(nth, _)| nth)
            .collect();
        run.servers.len() + self.from.one_of(&local)
    }

    /// Workers hear late what happens to their claims, or nothing for a while, and schedulers have little patience.
    fn lean_to_late_news(&mut self, run: &mut Scenario) {
        run.ttl = Millis::from_secs(self.from.one_of(&[2, 3]));
        run.settings.silence_grace = Millis::from_secs(1);
        run.settings.claim_wait_max = Millis::from_secs(10);
        run.rudeness.lag = self.from.one_of(&[0, 10, 30]);
        for worker in &mut run.workers {
            worker.slots = self.from.one_of(&[1, 2, 4]);
        }
        let begin = self.beginning(run, 18_000);
        for nth in 0..3 {
            let ms = 500 + self.from.below(4_000);
            let count = 8 + self.from.below(20);
            let mut tasks = self.tasks_of(count, "sleep", &format!("{{\"ms\":{ms}}}"));
            for task in &mut tasks {
                task.timeout = Millis::from_secs(self.from.one_of(&[1, 2]));
            }
            let server = self.server_of(run);
            submit(run, begin + nth * 1_000, server, tasks);
        }
        for _ in 0..1 + self.from.below(2) {
            let node = self.worker_of(run);
            let lasts = Millis::new(4_000 + self.from.below(8_000));
            let by = Millis::new(4_000 + self.from.below(6_000));
            let what = if self.from.chance(50) {
                Fault::MuteWatch { node, lasts }
            } else {
                Fault::DelayWatch { node, by, lasts }
            };
            fail(run, begin - 500 + self.from.below(3_000), what);
        }
    }

    /// A second process starts under a name whose first is slow, hears late, and loses its lease while it works.
    fn lean_to_twins(&mut self, run: &mut Scenario) {
        let begin = self.beginning(run, 20_000);
        for round in 0..1 + self.from.below(3) {
            let at = begin + 1_000 + round * 6_000;
            let server = self.server_of(run);
            let node = if self.from.chance(75) {
                server
            } else {
                self.worker_of(run)
            };
            let by = Millis::new(1_500 + self.from.below(3_000));
            let lasts = Millis::from_secs(5);
            fail(run, at, Fault::Double { node });
            fail(run, at, Fault::DelayWatch { node, by, lasts });
            let way = self.from.one_of(&[Way::ToStore, Way::Both]);
            slow(run, at, node, way, lasts);
            let lost = at + 300 + self.from.below(1_500);
            fail(run, lost, Fault::ExpireLease { node });
            for _ in 0..10 {
                let count = 1 + self.from.below(3);
                let tasks = self.tasks_of(count, "noop", "null");
                submit(run, at + self.from.below(2_500), server, tasks);
            }
        }
    }

    /// Tasks with keys are cancelled, kept for a moment only, and run again just when the janitor looks at them.
    fn lean_to_purges(&mut self, run: &mut Scenario) {
        let retention = 1_000 * self.from.one_of(&[2, 3]);
        run.retention = Millis::new(retention);
        let begin = self.beginning(run, 20_000);
        for round in 0..2 {
            let at = begin + round * 7_000;
            let count = 10 + self.from.below(10);
            let mut tasks = self.tasks_of(count, "noop", "null");
            for (nth, task) in tasks.iter_mut().enumerate() {
                task.delay = Millis::from_secs(15);
                task.key = Some((round as u8 * 100 + nth as u8, 0));
            }
            let server = self.server_of(run);
            submit(run, at, server, tasks);
            let wish = Wish::Cancel;
            act(run, at + 1_500, Act::Sweep { server, wish });
            for skip in 0..8 {
                let ambush = Act::Ambush {
                    step: Move::Ended,
                    skip,
                    after: Millis::new(retention + self.from.below(2_500)),
                    wish: Wish::Rerun,
                    server: self.server_of(run),
                    also: None,
                };
                act(run, at + 10, ambush);
            }
        }
        for node in 0..run.servers.len() {
            let way = self.from.one_of(&[Way::ToStore, Way::FromStore, Way::Both]);
            slow(run, begin, node, way, Millis::from_secs(20));
        }
    }

    /// Clients wait in one line for longer than their places are kept without a renewal.
    fn lean_to_lines(&mut self, run: &mut Scenario) {
        let begin = self.beginning(run, 25_000);
        for _ in 0..5 + self.from.below(8) {
            let take = Act::LockTake {
                server: self.server_of(run),
                lock: self.from.below(2) as u8,
                ttl: Millis::from_secs(self.from.one_of(&[2, 2, 3, 5])),
                wait: Millis::from_secs(4 + self.from.below(12)),
            };
            act(run, begin + self.from.below(6_000), take);
        }
        for nth in 0..self.from.below(6) as u32 {
            let server = self.server_of(run);
            let again = Act::LockRenew { server, nth };
            act(run, begin + self.from.below(8_000), again);
        }
    }

    /// Handlers crowd in one line, and workers are not told of everybody who is in it.
    fn lean_to_lost_places(&mut self, run: &mut Scenario) {
        run.rudeness.lag = self.from.one_of(&[3, 10, 30]);
        for worker in &mut run.workers {
            worker.slots = self.from.one_of(&[4, 8]);
        }
        let begin = self.beginning(run, 15_000);
        let locks = 1 + self.from.below(2);
        for nth in 0..6 {
            let (lock, ms) = (self.from.below(locks), 50 + self.from.below(600));
            let count = 4 + self.from.below(5);
            let payload = format!("{{\"lock\":{lock},\"ms\":{ms}}}");
            let tasks = self.tasks_of(count, "locker", &payload);
            let server = self.server_of(run);
            submit(run, begin + nth * 500, server, tasks);
        }
        for _ in 0..3 + self.from.below(5) {
            let lost = Fault::LoseEvent {
                node: self.worker_of(run),
                delete: self.from.chance(20),
                of_lock: true,
            };
            fail(run, begin + self.from.below(4_000), lost);
        }
    }

    /// A scheduler learns late what became of its transactions, when the tasks that they were about are back already.
    fn lean_to_slow_answers(&mut self, run: &mut Scenario) {
        let begin = self.beginning(run, 16_000);
        for server in &mut run.servers {
            server.lanes = self.from.one_of(&[4, 8]);
        }
        for nth in 0..6 {
            let count = 4 + self.from.below(12);
            let mut tasks = self.tasks_of(count, "fail", "{\"times\":9}");
            for task in &mut tasks {
                task.retries_max = 3;
                task.retry = None;
                task.backoff = Millis::new(self.from.one_of(&[50, 50, 500]));
            }
            let server = self.server_of(run);
            submit(run, begin + nth * 1_500, server, tasks);
        }
        for node in 0..run.servers.len() {
            if node == 0 || self.from.chance(70) {
                let way = self.from.one_of(&[Way::Both, Way::Both, Way::FromStore]);
                slow(run, begin, node, way, Millis::from_secs(15));
            }
        }
    }

    /// One worker holds more than fits a transaction when it dies, and again when it is back; one scheduler cares for it.
    fn lean_to_crowds(&mut self, run: &mut Scenario) {
        run.broken.clear();
        alone(run);
        run.ttl = Millis::from_secs(self.from.one_of(&[2, 3]));
        let losses = self.from.one_of(&[1, 1, 2]);
        run.settings.losses_max = losses;
        run.workers[0].slots = self.from.one_of(&[64, 96, 128]);
        let begin = self.beginning(run, 20_000);
        let (count, ms) = (45 + self.from.below(90), 4_000 + self.from.below(5_000));
        let mut tasks = self.tasks_of(count, "sleep", &format!("{{\"ms\":{ms}}}"));
        for task in &mut tasks {
            // The backstop takes nothing before long.
            task.timeout = Millis::from_secs(300);
        }
        submit(run, begin, 0, tasks);
        let mut at = begin + 1_000;
        // The last one is what most tasks do not survive.
        for _ in 0..=losses {
            if self.from.chance(30) {
                let (server, wish) = (0, Wish::Cancel);
                act(run, at - 5, Act::Sweep { server, wish });
            }
            let down_for = self.from.one_of(&[Millis::new(300), run.ttl]);
            let node = run.servers.len();
            fail(run, at, Fault::Crash { node, down_for });
            at += run.ttl.get() + 1_500 + self.from.below(2_000);
        }
    }

    /// Watches break while much happens, and whoever asks anew may reach a member of the store that lags; and the store
    /// takes less at once than clients want to give it.
    fn lean_to_old_members(&mut self, run: &mut Scenario) {
        run.rudeness.stale_reads = self.from.one_of(&[300, 700]);
        run.settings.request_bytes_max = 100_000;
        let begin = self.beginning(run, 12_000);
        for nth in 0..8 {
            let (server, at) = (self.server_of(run), begin + nth * 700);
            let ms = self.from.below(1_500);
            let count = 4 + self.from.below(12);
            let mut tasks = self.tasks_of(count, "sleep", &format!("{{\"ms\":{ms}}}"));
            if self.from.chance(25) {
                let large = format!("\"{}\"", "x".repeat(110_000));
                tasks.extend(self.tasks_of(1, "echo", &large));
            }
            submit(run, at, server, tasks);
            let some = self.from.chance(60);
            let node = some.then(|| self.from.below(run.nodes() as u64) as usize);
            let broken = Fault::BreakWatches { node };
            fail(run, at + self.from.below(700), broken);
        }
    }

    /// The next version takes over a worker that holds claims, and dies; everybody loses its watches meanwhile.
    fn lean_to_upgrades(&mut self, run: &mut Scenario) {
        run.ttl = Millis::from_secs(self.from.one_of(&[5, 10, 10]));
        let begin = self.beginning(run, 30_000);
        let (count, ms) = (10 + self.from.below(20), 2_000 + self.from.below(4_000));
        let tasks = self.tasks_of(count, "sleep", &format!("{{\"ms\":{ms}}}"));
        let server = self.server_of(run);
        submit(run, begin, server, tasks);
        let node = self.worker_of(run);
        let at = begin + 200 + self.from.below(1_000);
        let lasts = Millis::new(100 + self.from.below(400));
        let upgrade = Fault::Upgrade {
            node: Some(node),
            lasts,
        };
        fail(run, at, upgrade);
        let down_for = Millis::new(run.ttl.get() * self.from.one_of(&[12, 20]) / 10);
        let dies = at + self.from.below(300);
        fail(run, dies, Fault::Crash { node, down_for });
        // Whoever reads anew judges every claim anew.
        let broken = Fault::BreakWatches { node: None };
        fail(run, dies + self.from.below(800), broken);
    }
}

/// Nothing else breaks.
fn calm_down(run: &mut Scenario) {
    run.faults.clear();
    run.broken.clear();
    run.rudeness = Rudeness {
        lag: run.rudeness.lag,
        ..Rudeness::default()
    };
}

/// One scheduler and one worker are left.
fn alone(run: &mut Scenario) {
    while let Some(less) = (1..run.servers.len())
        .chain(run.servers.len() + 1..run.nodes())
        .next_back()
        .and_then(|node| run.without(Part::Node(node)))
    {
        *run = less;
    }
}

fn submit(run: &mut Scenario, at: u64, server: usize, tasks: Vec<TaskPlan>) {
    act(run, at, Act::Submit { server, tasks });
}

fn act(run: &mut Scenario, at: u64, what: Act) {
    let at = Millis::new(at.min(run.safety.get() - 1));
    run.acts.push(Timed { at, what });
}

fn fail(run: &mut Scenario, at: u64, what: Fault) {
    let at = Millis::new(at.min(run.safety.get() - 1));
    run.faults.push(Timed { at, what });
}

fn slow(run: &mut Scenario, at: u64, node: usize, way: Way, lasts: Millis) {
    let by = SLOW;
    let slow = Fault::Slow {
        node,
        way,
        by,
        lasts,
    };
    fail(run, at, slow);
}
