//! A cell's worker, as far as the plan concerns it: runs what it holds claims for, and records what came of it, under its
//! claim alone. Some of its attempts are stubborn: they do not notice that their claim is gone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use windlass_core::ids::{NodeId, Revision};
use windlass_core::keyspace::{Key, Meaning, Range};
use windlass_core::machine::Machine;
use windlass_core::record::{Json, Outcome};
use windlass_core::rng::Rng;
use windlass_core::steps::Ending;
use windlass_core::store::Step;
use windlass_core::time::{Millis, Mono, Now, Wall};

use super::actor::{Desk, Effect, Input, Store, rest, snapshot};
use super::bug::{Bug, Planted};
use super::record::CellId;
use super::rows::Held;
use super::scheduler::held;
use super::snapshot::Snapshot;

/// How an attempt will end, once it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Done,
    Failed,
    HandedBack,
}

#[derive(Debug)]
struct Run {
    held: Held,
    until: Mono,
    verdict: Verdict,
    /// It will try to record its end, claim or no claim.
    is_stubborn: bool,
}

#[derive(Debug)]
pub(super) struct Worker {
    cell: CellId,
    me: NodeId,
    desk: Desk,
    rng: Rng,
    next: Mono,
    runs: BTreeMap<(Key, Revision), Run>,
    plan: VecDeque<Step>,
    /// How long attempts take at most, in milliseconds.
    run_ms_max: u64,
    /// Every attempt goes well from now on.
    is_tame: bool,
    bugs: Planted,
}

impl Worker {
    pub(super) fn new(
        cell: CellId,
        me: NodeId,
        rng: Rng,
        now: Mono,
        run_ms_max: u64,
        bugs: Planted,
    ) -> Self {
        Self {
            cell,
            me,
            desk: Desk::default(),
            rng,
            next: now,
            runs: BTreeMap::new(),
            plan: VecDeque::new(),
            run_ms_max,
            is_tame: false,
            bugs,
        }
    }

    /// A worker whose attempts all go well.
    pub(super) fn tame(self) -> Self {
        Self {
            is_tame: true,
            ..self
        }
    }

    fn draw(&mut self, now: Now, held: Held) -> Run {
        let lot = self.rng.below(100);
        let verdict = match lot {
            _ if self.is_tame => Verdict::Done,
            0..=14 => Verdict::Failed,
            15..=24 => Verdict::HandedBack,
            _ => Verdict::Done,
        };
        let is_stubborn = !self.is_tame && self.rng.below(100) < 40;
        let span = self.rng.below(self.run_ms_max) + 1;
        Run {
            held,
            until: now.mono.after(Duration::from_millis(span)),
            verdict,
            is_stubborn,
        }
    }

    fn on_claims(&mut self, now: Now, view: &Snapshot) {
        let mut claimed = BTreeMap::new();
        for (key, found) in view.all() {
            if let Meaning::Claim(worker, place) = Meaning::of(key) {
                claimed.insert((key.clone(), found.created), held(worker, place, found));
            }
        }
        self.runs
            .retain(|id, run| claimed.contains_key(id) || run.is_stubborn);
        for (id, held) in claimed {
            match self.runs.get_mut(&id) {
                Some(run) => run.held = held,
                None => {
                    let run = self.draw(now, held);
                    self.runs.insert(id, run);
                }
            }
        }
        let due: Vec<_> = self
            .runs
            .iter()
            .filter(|(_, run)| run.until <= now.mono || run.held.record.claim.stop.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            // An attempt that is still claimed at the next look tries again.
            let Some(run) = self.runs.remove(&id) else {
                continue;
            };
            self.plan.push_back(step(&run, now.wall, self.bugs));
        }
    }
}

/// What records the end of an attempt.
fn step(run: &Run, wall: Wall, bugs: Planted) -> Step {
    const FAILURES_MAX: u32 = 2;
    let claim = &run.held.record.claim;
    let end = |outcome| {
        run.held.end(Ending {
            outcome,
            started_at: Some(wall),
            ended_at: wall,
        })
    };
    if claim.stop.is_some() && bugs.has(Bug::FlagIgnored) {
        return run.held.hand_back();
    }
    if claim.stop.is_some() {
        return end(Outcome::Cancelled);
    }
    match run.verdict {
        Verdict::Done => end(Outcome::Completed(Json::null())),
        Verdict::Failed if claim.carry.retries >= FAILURES_MAX => {
            end(Outcome::Failed(Arc::from("it never works")))
        }
        Verdict::Failed => run.held.retry(wall.after(Millis::new(100))),
        Verdict::HandedBack => run.held.hand_back(),
    }
}

impl Machine for Worker {
    type Input = Input;
    type Effect = Effect;
    type Timer = ();

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Answered { op, answer } => {
                if self.desk.takes(op) {
                    if let Some(view) = snapshot(answer) {
                        self.on_claims(now, &view);
                    }
                    match self.plan.pop_front() {
                        Some(step) => self.desk.commit(Store::Cell(self.cell), step, out),
                        None => self.next = rest(&mut self.rng, now, 30),
                    }
                }
            }
            Input::Elapsed | Input::Asked(_) => {}
        }
        if self.desk.is_free() && self.next <= now.mono {
            let range = Range::claims_of(&self.me);
            self.desk.read_range(Store::Cell(self.cell), range, out);
        }
    }

    fn deadline(&self) -> Option<(Mono, ())> {
        self.desk.is_free().then_some((self.next, ()))
    }
}
