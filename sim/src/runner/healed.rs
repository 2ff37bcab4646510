//! What comes after the faults: a core of the deployment is healed, everything comes to its end, new work is served, and
//! all come to rest.

use std::time::Duration;

use windlass_core::gateway::Request;
use windlass_core::ids::Priority;
use windlass_core::keyspace::Range;
use windlass_core::record::Json;
use windlass_core::server::Server;
use windlass_core::store::Digest;
use windlass_core::time::{Millis, Mono};

use super::Runner;
use crate::audit::audit;
use crate::checkers::Rule;
use crate::clients::queue_name;
use crate::fact::{NodeIx, Phase};
use crate::liveness;
use crate::nemesis::REPAIR_MAX;
use crate::scenario::{QUEUES, TaskPlan};

/// How long new work may take once everything has come to its end: it may be given to a worker that stays broken and
/// keeps its lease, and is taken back only after its time-out and the grace for silent workers.
const SERVICE_MAX: Duration = Duration::from_secs(180);
/// The type of a task that gives nobody trouble.
const PLAIN: &str = "echo";
/// How long a view may take to reach the store's revision when everything has come to rest.
const CATCH_UP: Duration = Duration::from_secs(15);
/// More than the time between the loss of an event and whatever else happens at that moment.
const LITTLE: Duration = Duration::from_millis(100);

impl Runner<'_> {
    pub(super) fn liveness(&mut self) {
        self.world.enter(Phase::Liveness);
        liveness::heal(&mut self.world, self.scenario);
        self.healed = self.world.now().mono;
        let core = liveness::core(self.scenario);
        let end = self.world.now().mono.after(liveness::BUDGET);
        let mut asked = Mono::ZERO;
        let mut progress = (liveness::ended(&self.world), self.world.now().mono);
        loop {
            self.pass(Duration::from_millis(250));
            if !self.is_sound() {
                return;
            }
            let now = self.world.now().mono;
            let Some(reason) = liveness::unfinished(&self.world, &core) else {
                return;
            };
            let mut stalled = now.since(progress.1) > liveness::STALL;
            // Whose clock was ahead may have put a task off for longer than that.
            if stalled && liveness::awaits_due(&self.world) {
                (stalled, progress.1) = (false, now);
            }
            if now >= end || stalled {
                return self.fail(Rule::L1, "converges", reason);
            }
            if now.since(asked) > Duration::from_secs(5) {
                asked = now;
                let ended = liveness::ended(&self.world);
                if ended != progress.0 {
                    progress = (ended, now);
                }
                self.tend(&core);
            }
        }
    }

    /// What operators do while they wait for everything to come to its end.
    fn tend(&mut self, core: &[NodeIx]) {
        liveness::make_room(&mut self.world);
        self.resume(core);
        self.replace_drained(core);
    }

    /// Operators replace workers that they ordered to take nothing any more: the order is for one life.
    fn replace_drained(&mut self, core: &[NodeIx]) {
        for node in core {
            let idle = self.world.is_taking(*node) == Some(false);
            if idle && self.world.is_drained(*node) {
                self.world.drain(*node);
            }
        }
    }

    /// Operators resume every queue: what is paused need not end.
    fn resume(&mut self, core: &[NodeIx]) {
        for queue in 0..QUEUES.len() {
            let queue = queue_name(u8::try_from(queue).expect("few queues"));
            let server = core[0];
            let paused = self
                .world
                .server(server)
                .is_some_and(|it| it.view().config(&queue).paused);
            if paused {
                let request = Request::ConfigureQueue {
                    queue,
                    strategy: None,
                    paused: Some(false),
                };
                self.clients.ask(&mut self.world, server, request);
            }
        }
    }

    /// New work is accepted and done by whoever is healed.
    pub(super) fn service(&mut self) {
        self.world.enter(Phase::Service);
        for server in liveness::core(self.scenario) {
            if server >= self.scenario.servers.len() {
                continue;
            }
            let tasks: Vec<TaskPlan> = (0..QUEUES.len()).map(|queue| plain(queue as u8)).collect();
            let before = self.clients.acknowledged().len();
            let end = self.world.now().mono.after(SERVICE_MAX);
            while self.clients.acknowledged().len() < before + tasks.len() {
                liveness::make_room(&mut self.world);
                self.clients
                    .ask(&mut self.world, server, crate::clients::submit(&tasks));
                self.pass(Duration::from_secs(2));
                if !self.is_sound() {
                    return;
                }
                if self.world.now().mono >= end {
                    return self.fail(Rule::L4, "serves", format!("n{server} accepts no new work"));
                }
            }
        }
        self.finish_work();
    }

    /// Waits until nothing is unfinished. Says whether that has come.
    fn finish_work(&mut self) -> bool {
        let mut since = self.world.now().mono;
        let mut ended = liveness::ended(&self.world);
        let core = liveness::core(self.scenario);
        while let Some(reason) = liveness::unfinished(&self.world, &core) {
            let now = self.world.now().mono;
            if liveness::ended(&self.world) > ended || liveness::awaits_due(&self.world) {
                ended = liveness::ended(&self.world);
                since = now;
            }
            // Late originals of former submissions may have come as well, and take their time; the clock of whom they are
            // from may have been ahead.
            let patience = match liveness::only_open(&self.world, PLAIN) {
                true => SERVICE_MAX,
                false => liveness::STALL,
            };
            if now >= since.after(patience) {
                self.fail(Rule::L4, "serves", reason);
                return false;
            }
            self.tend(&core);
            self.pass(Duration::from_secs(1));
            if !self.is_sound() {
                return false;
            }
        }
        true
    }

    /// Everything comes to rest; then the whole is judged.
    pub(super) fn rest(&mut self) {
        let core = liveness::core(self.scenario);
        self.await_repairs();
        loop {
            self.pass(Duration::from(self.scenario.ttl) * 2 + Duration::from_secs(2));
            if !self.is_sound() {
                return;
            }
            if liveness::unfinished(&self.world, &core).is_none() {
                break;
            }
            // A late original of a submission given up long ago has come only now.
            if !self.finish_work() {
                return;
            }
        }
        self.world.enter(Phase::Rest);
        for node in liveness::core(self.scenario) {
            if self.world.server(node).is_some() && !self.compare(node) {
                return;
            }
            self.compare_claims(node);
        }
        self.judge();
        let now = self.world.now().mono;
        self.checkers.finish(now, &mut self.found);
        let audit = audit(self.world.kv());
        let wrong = audit
            .violations
            .iter()
            .chain(self.world.ledger.violations())
            .cloned()
            .collect::<Vec<_>>();
        for what in wrong {
            let rule = if what.starts_with("S10") {
                Rule::S10
            } else {
                Rule::S1
            };
            self.fail(rule, "audit", what);
        }
        for task in self.clients.acknowledged().to_vec() {
            let kept = self.scenario.retention > Millis::from_secs(1_000)
                && self.scenario.settings.quota.is_none();
            if kept && !audit.tasks.contains_key(&task) {
                self.fail(
                    Rule::S1,
                    "audit",
                    format!("{task} was acknowledged and is gone"),
                );
            }
        }
    }

    /// Waits until whoever knows something wrong, because an event was lost, must have noticed.
    fn await_repairs(&mut self) {
        let Some(lost) = self.world.lost_event else {
            return;
        };
        // A little more, so that nothing is excused any more.
        let end = lost.max(self.healed).after(REPAIR_MAX + LITTLE);
        let left = end.since(self.world.now().mono);
        self.pass(left);
    }

    /// A healed worker knows of its claims what the store holds.
    fn compare_claims(&mut self, node: NodeIx) {
        let Some(worker) = self.world.worker(node) else {
            return;
        };
        let (at, held) = worker.knows();
        let kv = self.world.kv();
        let range = Range::claims_of(self.world.id_of(node));
        let claims = kv.entries(&range);
        let stored = Digest::of(claims.map(|(key, entry)| (key, entry.found.modified)));
        // News of the last claims may be on their way.
        let is_told = |at| kv.changes_since(&range, at).is_ok_and(|it| it.is_empty());
        if at.is_some_and(is_told) && held != stored {
            let what = format!("n{node} does not know its claims, and nothing tells it");
            self.fail(Rule::S17, "knows_claims", what);
        }
    }

    /// Waits until a healed scheduler's view has reached the store's revision, and compares them.
    fn compare(&mut self, node: NodeIx) -> bool {
        // Others go on writing: the moment must be caught between two events.
        let reached = self
            .world
            .run_until(CATCH_UP, |world| world.is_up_to_date(node));
        self.judge();
        if !reached {
            let what = format!("the view of n{node} does not reach the store's revision");
            self.fail(Rule::L7, "catches_up", what);
            return false;
        }
        let reserved = self.world.server(node).map_or(0, Server::reserved);
        if reserved > 0 {
            let what = format!("n{node} keeps {reserved} slots for dispatches that are over");
            self.fail(Rule::L1, "rests", what);
            return false;
        }
        self.world.compare_view_now(node)
    }
}

/// A task that gives nobody trouble.
fn plain(queue: u8) -> TaskPlan {
    TaskPlan {
        kind: PLAIN.to_owned(),
        payload: Json::null(),
        queue,
        priority: Priority::NORMAL,
        retries_max: 3,
        backoff: Millis::new(500),
        retry: None,
        timeout: Millis::from_secs(20),
        delay: Millis::ZERO,
        key: None,
    }
}
