//! One scenario, from beginning to end: faults, healing of a core, new work, rest; every fact to every checker.

mod healed;

use std::time::Duration;

use windlass_core::config::WorkerConfig;
use windlass_core::kv::Limits;
use windlass_core::time::{Millis, Mono};

use crate::checkers::{self, Checkers, Findings, Rule, Violation};
use crate::clients::{Clients, queue_name};
use crate::fact::{Fact, NodeIx, Phase};
use crate::marks::Marks;
use crate::node::NodeConfig;
use crate::remote;
use crate::report::Report;
use crate::scenario::{Act, Scenario};
use crate::trace::Trace;
use crate::world::World;

/// How a run is watched.
#[derive(Debug, Clone, Copy, Default)]
pub struct Watch {
    /// The lines of the trace that are kept in words.
    pub lines_max: usize,
    /// Whether every fact is kept.
    pub keep_facts: bool,
    /// Whether nothing that is found counts: the canary, a harness that always says that all is well.
    pub silenced: bool,
}

/// A process that ended by itself is started again after this long.
const RESTART: Duration = Duration::from_secs(1);
/// A run in which more than this happens goes round in circles: somebody asks for ever, and nothing comes of it.
const EVENTS_MAX: u64 = 4_000_000;
/// How often the run looks at its nodes and clients.
const LOOK: Duration = Duration::from_millis(50);

/// A run.
#[derive(Debug)]
pub struct Runner<'a> {
    scenario: &'a Scenario,
    /// The deployment.
    pub world: World,
    clients: Clients,
    checkers: Checkers,
    /// What was broken.
    pub found: Findings,
    marks: Marks,
    /// Facts, moved here from the world.
    fresh: Vec<(Mono, Fact)>,
    /// Every fact, when they are kept.
    pub facts: Vec<(Mono, Fact)>,
    watch: Watch,
    /// When nodes that ended by themselves are started again.
    restarts: Vec<(Mono, NodeIx)>,
    /// Since when a core of the deployment is healed.
    healed: Mono,
    seen_exits: usize,
}

/// Runs a scenario.
pub fn run(scenario: &Scenario) -> Report {
    let mut runner = Runner::new(scenario, Watch::default());
    runner.run();
    runner.report()
}

impl<'a> Runner<'a> {
    /// A run that has not begun.
    pub fn new(scenario: &'a Scenario, watch: Watch) -> Self {
        let size = |count: u32| usize::try_from(count).expect("32 bits fit");
        let limits = Limits {
            part_items_max: size(scenario.settings.part_items_max).max(1),
            request_bytes_max: size(scenario.settings.request_bytes_max),
            ..Limits::default()
        };
        let mut world = World::with_limits(scenario.seed, scenario.rudeness, limits);
        world.outage.quota = scenario.settings.quota;
        world.trace = Trace::new(watch.lines_max);
        world.record();
        Self {
            scenario,
            world,
            clients: Clients::default(),
            checkers: Checkers::new(checkers::all(&scenario.terms())),
            found: if watch.silenced {
                Findings::silenced()
            } else {
                Findings::default()
            },
            marks: Marks::default(),
            fresh: Vec::new(),
            facts: Vec::new(),
            watch,
            restarts: Vec::new(),
            healed: Mono::ZERO,
            seen_exits: 0,
        }
    }

    /// Runs to the end, or to the first violation.
    pub fn run(&mut self) {
        self.world.enter(Phase::Safety);
        self.plan_nodes();
        self.safety();
        if self.is_sound() {
            self.liveness();
        }
        if self.is_sound() {
            self.service();
        }
        if self.is_sound() {
            self.rest();
        }
    }

    /// Takes the facts that nobody has judged, as after a panic.
    pub fn take_rest(&mut self) {
        self.world.take_facts(&mut self.fresh);
        self.facts.append(&mut self.fresh);
    }

    /// What became of it.
    pub fn report(self) -> Report {
        Report {
            trace: self.world.trace.hash(),
            events: self.world.events,
            tasks: self.world.book.tasks().len() as u64,
            simulated_ms: self.world.now().mono.as_nanos() / 1_000_000,
            faults: self.world.hits.clone(),
            marks: self.marks.counts,
            violations: self.found.into_violations(),
        }
    }

    fn is_sound(&self) -> bool {
        self.found.violations().is_empty()
    }

    fn plan_nodes(&mut self) {
        let ttl: Duration = self.scenario.ttl.into();
        let settings = self.scenario.settings;
        for (nth, plan) in self.scenario.servers.iter().enumerate() {
            let node = self.world.plan_server(&format!("s{nth}"), |config| {
                config.ttl = ttl;
                config.retention = self.scenario.retention;
                config.gateway_lanes = plan.lanes;
                config.scheduler_lanes = plan.lanes;
                config.losses_max = settings.losses_max;
                config.fold_every = settings.fold_every.into();
                config.silence_grace = settings.silence_grace.into();
            });
            self.world.boot_at(node, plan.starts);
        }
        for (nth, plan) in self.scenario.workers.iter().enumerate() {
            let adjust = |config: &mut WorkerConfig| {
                config.ttl = ttl;
                config.slots = plan.slots;
                config.weight = plan.weight;
                config.lanes = plan.lanes;
                config.queues = plan.queues.iter().map(|queue| queue_name(*queue)).collect();
                config.claim_wait_max = settings.claim_wait_max.into();
                config.drain_grace = Duration::from_secs(2);
            };
            let node = if plan.remote {
                self.world
                    .plan_remote(&format!("{}{nth}", remote::NAME), adjust)
            } else {
                self.world.plan_worker(&format!("w{nth}"), adjust)
            };
            self.world.boot_at(node, plan.starts);
        }
    }

    fn safety(&mut self) {
        let acts = self
            .scenario
            .acts
            .iter()
            .map(|it| (it.at, Some(&it.what), None));
        let faults = self
            .scenario
            .faults
            .iter()
            .map(|it| (it.at, None, Some(&it.what)));
        let mut plan: Vec<_> = acts.chain(faults).collect();
        plan.sort_by_key(|(at, ..)| *at);
        for (at, act, fault) in plan {
            if !self.until(at) {
                return;
            }
            if let Some(act) = act {
                self.act(act);
            }
            if let Some(fault) = fault {
                self.world.break_it(fault);
            }
        }
        self.until(self.scenario.safety);
        self.clients.disarm();
    }

    fn act(&mut self, act: &Act) {
        self.clients.act(&mut self.world, act);
        if let Act::Drain {
            node,
            back_after,
            slots,
        } = act
        {
            let back = self
                .world
                .now()
                .mono
                .after(Duration::from_secs(3) + (*back_after).into());
            self.restarts.push((back, *node));
            if let NodeConfig::Worker(config) | NodeConfig::Remote(config) =
                &mut self.world.nodes[*node].config
            {
                config.slots = *slots;
            }
        }
    }

    /// Runs until a time of the run. Says whether all is well.
    fn until(&mut self, at: Millis) -> bool {
        let end = Mono::from_nanos(at.get().saturating_mul(1_000_000));
        while self.world.now().mono < end && self.is_sound() {
            let left = end.since(self.world.now().mono);
            self.pass(left.min(LOOK));
        }
        self.is_sound()
    }

    /// Lets time pass, shows every fact to every checker, and does what people and service managers do meanwhile.
    fn pass(&mut self, span: Duration) {
        let end = self.world.now().mono.after(span);
        while self.world.next().is_some_and(|at| at <= end) {
            self.world.step();
            self.judge();
            self.clients.spring(&mut self.world);
            if self.world.events > EVENTS_MAX {
                self.fail(
                    Rule::L5,
                    "comes_to_rest",
                    format!("more than {EVENTS_MAX} events"),
                );
            }
            if !self.is_sound() {
                return;
            }
        }
        self.world.run_for(end.since(self.world.now().mono));
        self.clients.read(&mut self.world);
        self.restart();
        self.judge();
    }

    fn judge(&mut self) {
        self.world.take_facts(&mut self.fresh);
        for (at, fact) in &self.fresh {
            self.marks.observe(fact);
            self.clients.observe(*at, fact);
            self.checkers.observe(*at, fact, &mut self.found);
        }
        if self.watch.keep_facts {
            self.facts.append(&mut self.fresh);
        } else {
            self.fresh.clear();
        }
    }

    /// What a service manager does: whatever ended by itself is started again, but for second copies.
    fn restart(&mut self) {
        let now = self.world.now().mono;
        let planned = self.scenario.nodes();
        let exits = &self.world.exits[self.seen_exits..];
        self.restarts
            .extend(exits.iter().map(|(node, _)| (now.after(RESTART), *node)));
        self.seen_exits = self.world.exits.len();
        let down = (0..planned)
            .filter(|node| self.world.handler_exit(*node))
            .collect::<Vec<_>>();
        self.restarts
            .extend(down.into_iter().map(|node| (now.after(RESTART), node)));
        let due: Vec<NodeIx> = self
            .restarts
            .iter()
            .filter(|(at, _)| *at <= now)
            .map(|(_, node)| *node)
            .collect();
        self.restarts.retain(|(at, _)| *at > now);
        for node in due {
            if node < planned && self.world.nodes[node].brain.is_none() && !self.stays_down(node) {
                self.world.boot(node);
            }
        }
    }

    fn stays_down(&self, node: NodeIx) -> bool {
        self.world.given_up.contains(&node)
    }

    fn fail(&mut self, rule: Rule, checker: &str, what: String) {
        let at = self.world.now().mono;
        let checker = checker.to_owned();
        self.found.push(Violation {
            rule,
            checker,
            at,
            node: None,
            task: None,
            what,
        });
    }
}
