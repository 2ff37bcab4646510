//! Every fault at every call of small stories, and every two faults at every two calls: whatever is lost, late, stale or
//! dead, the story ends as it should, once.

mod stories;

use std::time::Duration;

use windlass_core::gateway::{Reply, Request, RequestId};
use windlass_core::ids::Fence;
use windlass_core::time::Mono;

use crate::audit::audit;
use crate::checkers::{self, Findings, Rule, Terms};
use crate::clock::EPOCH_MS;
use crate::fact::Fact;
use crate::perturb::{Aim, Perturbation, Target};
use crate::scenario::{LOSSES_MAX, REQUEST_BYTES_MAX};
use crate::world::{NodeIx, World};

/// The scheduler process of every story.
const SERVER: NodeIx = 0;
/// How long a story may take, and how often its client looks.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS_MAX: usize = 6_000;
/// What arrives late arrives within this.
const LATE_MAX: Duration = Duration::from_secs(8);

/// What the stories' deployments promise: the simulator's usual settings, and tasks that are kept a moment or for good.
const TERMS: Terms = Terms {
    ttl_ms: 3_000,
    end_max_ms: 600_000,
    losses_max: LOSSES_MAX,
    epoch_ms: EPOCH_MS,
    retention_ms: 800,
    drain_max_ms: 25_000,
    claim_wait_max_ms: 10_000,
    advice_max_ms: 0,
    request_bytes_max: REQUEST_BYTES_MAX,
};

/// A small scenario: how it begins, what its client does each time that it looks, and what must hold in the end.
#[derive(Debug)]
pub struct Story {
    /// What people call it.
    pub name: &'static str,
    begin: fn() -> Stage,
    /// Says whether it is done.
    look: fn(&mut Stage) -> bool,
    judge: fn(&Stage) -> Result<(), String>,
}

/// A deployment that does something, and a client that asks again until it knows that it was done.
#[derive(Debug)]
struct Stage {
    world: World,
    /// Nodes that stay down.
    gone: Vec<NodeIx>,
    asked: Option<RequestId>,
    fences: Vec<Fence>,
    facts: Vec<(Mono, Fact)>,
}

/// What a story told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// How many calls there were that a fault could happen to.
    pub calls: u64,
    /// Whether every fault happened.
    pub hit: bool,
}

impl Story {
    /// All stories.
    pub fn all() -> Vec<Self> {
        stories::all()
    }

    /// Plays the story with these faults. An error says what went wrong.
    pub fn play(&self, targets: &[Target]) -> Result<Told, String> {
        let mut stage = (self.begin)();
        stage.world.record();
        stage.world.aim = Aim::at(targets);
        let done = (0..LOOKS_MAX).any(|_| {
            let done = (self.look)(&mut stage);
            if !done {
                stage.pass(LOOK);
            }
            done
        });
        if !done {
            return Err(format!("it never ends: {:?}", audit(stage.world.kv()).live));
        }
        let told = Told {
            calls: stage.world.aim.calls,
            hit: stage.world.aim.was_hit(),
        };
        stage.pass_all(LATE_MAX);
        for _ in 0..200 {
            if (self.look)(&mut stage) {
                break;
            }
            stage.pass(Duration::from_millis(100));
        }
        (self.judge)(&stage)?;
        stage.judge()?;
        Ok(told)
    }

    /// Every fault at every call, and then, if `pairs` are wanted, every two at different calls.
    pub fn plans(&self, pairs: bool) -> Result<Vec<Vec<Target>>, String> {
        let singles = self.singles()?;
        let mut plans: Vec<Vec<Target>> = singles.iter().map(|target| vec![*target]).collect();
        if pairs {
            let all = singles
                .iter()
                .enumerate()
                .flat_map(|(nth, one)| singles[nth + 1..].iter().map(move |two| vec![*one, *two]));
            plans.extend(all.filter(|pair| pair[0].0 != pair[1].0));
        }
        Ok(plans)
    }

    /// Every fault at every call.
    pub fn singles(&self) -> Result<Vec<Target>, String> {
        let calls = self.play(&[])?.calls;
        let each = |nth| Perturbation::ALL.into_iter().map(move |how| (nth, how));
        Ok((0..calls).flat_map(each).collect())
    }
}

impl Stage {
    fn new(world: World) -> Self {
        Self {
            world,
            gone: Vec::new(),
            asked: None,
            fences: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// Takes the reply to the client's request, and asks again when there will not be one.
    fn ask(&mut self, request: impl FnOnce() -> Request) -> Option<Reply> {
        if let Some(reply) = self.asked.and_then(|id| self.world.replies.remove(&id)) {
            self.asked = None;
            return Some(reply);
        }
        let serves = self.world.server(SERVER).is_some_and(|it| it.is_ready());
        if self.asked.is_none() && serves {
            self.asked = Some(self.world.request(SERVER, request()));
        }
        None
    }

    fn pass_all(&mut self, span: Duration) {
        let steps = span.as_millis() / 800;
        for _ in 0..steps {
            self.pass(Duration::from_millis(800));
        }
    }

    /// Lets time pass. Nodes that went down come back, but for those that are gone.
    fn pass(&mut self, span: Duration) {
        self.world.run_for(span);
        for node in 0..self.world.nodes.len() {
            if self.world.nodes[node].brain.is_none() && !self.gone.contains(&node) {
                self.world.boot(node);
                if node == SERVER {
                    self.asked = None;
                }
            }
        }
        self.world.take_facts(&mut self.facts);
    }

    /// Every checker on everything that happened. Liveness is the story's own business.
    fn judge(&self) -> Result<(), String> {
        let terms = TERMS;
        let mut found = Findings::default();
        for checker in &mut checkers::all(&terms) {
            for (at, fact) in &self.facts {
                checker.observe(*at, fact, &mut found);
            }
        }
        let audit = audit(self.world.kv());
        let ledger = self.world.ledger.violations();
        if let Some(what) = audit.violations.iter().chain(ledger).next() {
            return Err(what.clone());
        }
        let safety = |rule: Rule| !rule.is_liveness();
        match found.violations().iter().find(|it| safety(it.rule)) {
            Some(violation) => Err(violation.to_string()),
            None => Ok(()),
        }
    }
}
