//! One run of a scenario: hosts, network and faults, from the first second to the verdict.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};
use windlass::store::etcd::{EtcdConfig, EtcdStore, Login};

use super::client::{Client, PATIENCE};
use super::judge::Tally;
use super::links::Links;
use super::net;
use super::scenario::{Act, Fault, MEMBERS, Scenario};
use super::served::{PASSWORD, Served, USER, serve};
use super::world::{Lie, Shared, World};

/// How finely the network is simulated.
const TICK: Duration = Duration::from_millis(10);
/// No run takes longer than this.
const END: Duration = Duration::from_secs(90);

/// What came out.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) seed: u64,
    pub(crate) violations: Vec<String>,
    /// The end of the trace, when something was violated.
    pub(crate) story: String,
    pub(crate) hash: u64,
    pub(crate) events: u64,
    pub(crate) simulated: Duration,
    pub(crate) struck: BTreeMap<&'static str, u64>,
    pub(crate) tally: Tally,
}

/// Plays a scenario, on a thread of its own: what is left on a thread would be felt by the next run.
pub(crate) fn play(scenario: Scenario, lie: Option<Lie>) -> Verdict {
    let played = std::thread::spawn(move || Run::new(scenario, lie).play());
    played.join().expect("a run ends with a verdict")
}

struct Run {
    scenario: Scenario,
    shared: std::sync::Arc<Shared>,
    sim: turmoil::Sim<'static>,
    links: Links,
    /// What ends when, in order.
    ends: Vec<(Duration, Fault)>,
}

impl Run {
    fn new(scenario: Scenario, lie: Option<Lie>) -> Self {
        let shared = Shared::new(World::new(&scenario, lie));
        let mut sim = turmoil::Builder::new()
            .rng_seed(scenario.seed)
            .epoch(SystemTime::UNIX_EPOCH)
            .tick_duration(TICK)
            .simulation_duration(END)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(scenario.latency_ms))
            .tcp_capacity(4_096)
            .build();
        for id in 0..MEMBERS {
            let shared = shared.clone();
            sim.host(net::name(id), move || {
                let shared = shared.clone();
                serve(Served { shared, id })
            });
        }
        let heal = Duration::from_millis(scenario.heal_ms);
        for (id, script) in scenario.clients.iter().enumerate() {
            let (shared, script) = (shared.clone(), script.clone());
            let (login, seed) = (scenario.login, scenario.seed);
            sim.client(host(id), work(id, shared, script, heal, login, seed));
        }
        let links = Links::new(scenario.clients.len());
        Self {
            scenario,
            shared,
            sim,
            links,
            ends: Vec::new(),
        }
    }

    fn play(mut self) -> Verdict {
        let mut faults = self.scenario.faults.clone().into_iter().peekable();
        let heal = Duration::from_millis(self.scenario.heal_ms);
        let mut healed = false;
        let mut failure = None;
        loop {
            let now = self.sim.elapsed();
            self.shared.with(|world| {
                world.reach(now);
                world.elapse();
            });
            while let Some((_, fault)) = faults.next_if(|(at, _)| Duration::from_millis(*at) <= now)
            {
                self.strike(fault, now, heal);
            }
            self.end(now);
            if now >= heal && !healed {
                healed = true;
                self.shared.with(World::heal);
                self.shared.changed.notify_waiters();
            }
            match self.sim.step() {
                Ok(false) => {}
                Ok(true) => break,
                Err(error) => {
                    failure = Some(error.to_string());
                    break;
                }
            }
        }
        self.verdict(failure)
    }

    fn strike(&mut self, fault: Fault, now: Duration, heal: Duration) {
        self.shared.with(|world| {
            let at = world.now();
            world.trace.note(at, "fault", || format!("{fault:?}"));
            world.suffer(&fault);
            if let Fault::Restart { .. }
            | Fault::Reset { .. }
            | Fault::Cut { .. }
            | Fault::OneWay { .. }
            | Fault::Hold { .. }
            | Fault::BlackHole { .. }
            | Fault::LeaderChange
            | Fault::Election { .. } = fault
            {
                world.strike(fault.kind());
            }
        });
        self.shared.changed.notify_waiters();
        if let Fault::Restart { member, .. } = fault {
            self.sim.crash(net::name(member));
        }
        let lossy = self.links.begin(&self.sim, &fault);
        self.sever(&lossy);
        if let Some(span) = fault.span() {
            self.ends.push(((now + span).min(heal), fault));
            self.ends.sort_by_key(|(at, _)| *at);
        }
    }

    fn end(&mut self, now: Duration) {
        while self.ends.first().is_some_and(|(at, _)| *at <= now) {
            let (_, fault) = self.ends.remove(0);
            if let Fault::Restart { member, .. } = fault {
                let down = |(_, other): &(Duration, Fault)| matches!(other, Fault::Restart { member: of, .. } if *of == member);
                if !self.ends.iter().any(down) {
                    self.sim.bounce(net::name(member));
                }
            }
            let lossy = self.links.end(&self.sim, &fault);
            self.sever(&lossy);
            // Whoever lagged, or had no leader, hears of what it missed.
            self.shared.changed.notify_waiters();
        }
    }

    /// Ends the connections of links: as a real network does with those that it could not carry on.
    fn sever(&self, links: &[(usize, usize)]) {
        self.shared.with(|world| {
            for (client, member) in links {
                let name = host(*client);
                let connections = &mut world.members[*member].connections;
                connections.retain(|(of, _)| *of != name);
            }
        });
    }

    fn verdict(self, failure: Option<String>) -> Verdict {
        let simulated = self.sim.elapsed();
        // The port's own tasks end before the last look.
        drop(self.sim);
        self.shared.with(|world| {
            let (judge, ledger) = (&mut world.judge, &world.ledger);
            judge.close(ledger);
            judge.violations.extend(failure);
            let mut story = String::new();
            if !judge.violations.is_empty() {
                let lines = world.trace.lines();
                lines.for_each(|line| writeln!(story, "{line}").expect("memory is writable"));
            }
            Verdict {
                seed: self.scenario.seed,
                violations: judge.violations.clone(),
                story,
                hash: world.trace.hash(),
                events: world.trace.count(),
                simulated,
                struck: world.struck.clone(),
                tally: judge.tally.clone(),
            }
        })
    }
}

pub(crate) fn host(client: usize) -> String {
    format!("client-{client}")
}

/// What a client's host runs.
async fn work(
    id: usize,
    shared: std::sync::Arc<Shared>,
    script: Vec<(u64, Act)>,
    heal: Duration,
    login: bool,
    seed: u64,
) -> turmoil::Result {
    let begun = Instant::now();
    let members: Vec<String> = (0..MEMBERS).map(net::name).collect();
    let mut config = EtcdConfig::new(members);
    config.patience = PATIENCE;
    // The port reads it at each attempt to connect.
    let password = tempfile::NamedTempFile::new()?;
    std::fs::write(&password, PASSWORD)?;
    config.login = login.then(|| Login {
        user: USER.to_owned(),
        password_file: password.path().to_owned(),
    });
    let mut entropy = seed ^ (id as u64 + 1).rotate_left(32);
    let store = loop {
        match EtcdStore::connect_by(config.clone(), net::dial(), entropy).await {
            Ok(store) => break store,
            Err(error) => {
                shared.with(|world| {
                    let now = world.now();
                    world.trace.note(now, &host(id), || error.to_string());
                });
                entropy = entropy.wrapping_add(1 << 16);
                sleep(Duration::from_millis(50)).await;
            }
        }
    };
    Client::new(id, shared, &store)
        .run(script, begun, heal)
        .await;
    Ok(())
}
