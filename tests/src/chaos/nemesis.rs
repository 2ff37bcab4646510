//! Breaks what the plan says, mends it again, and tells what it did.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use windlass_sim::core::time::Mono;
use windlass_sim::fact::Fact;
use windlass_sim::nemesis::FaultKind;

use super::clock::{self, nanos};
use super::cluster::{Cluster, Member, Node};
use super::history::Recorder;
use super::journal::Journal;
use super::net::{Host, Rule};
use super::plan::{Act, Kind};
use super::store::Store;

/// How long the echo of a fault lasts: what was lost is repeated, what was cut is dialled again.
const ECHO: Duration = Duration::from_secs(6);
/// How long a node may take to leave.
pub const LEAVE_MAX: Duration = Duration::from_secs(35);

/// Breaks things.
#[derive(Debug)]
pub struct Nemesis<'a> {
    /// What it breaks.
    pub cluster: &'a Cluster,
    /// Where it asks.
    pub store: &'a Store,
    /// Who must have seen everything before it is compacted.
    pub recorder: &'a Recorder,
    /// Where it tells.
    pub journal: &'a Journal,
    /// The other build of the program, for upgrades.
    pub builds: [PathBuf; 2],
    /// What was done, by kind, and what could not be done.
    pub done: Mutex<Done>,
}

/// What was done.
#[derive(Debug, Default, Clone)]
pub struct Done {
    /// How often each kind of fault had its effect.
    pub hits: BTreeMap<Kind, u64>,
    /// What could not be done, and why.
    pub failed: Vec<String>,
    /// Which build upgrades go to.
    upgrades: usize,
}

impl Nemesis<'_> {
    /// Does one lane of the plan.
    pub fn run(&self, begun: Instant, lane: &[Act]) {
        for act in lane {
            let due = begun + Duration::from_millis(act.at_ms);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let done = self.act(act);
            let mut all = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            match done {
                Ok(()) => *all.hits.entry(act.kind).or_default() += 1,
                Err(error) => all.failed.push(format!("{}: {error:#}", act.kind)),
            }
        }
    }

    fn act(&self, act: &Act) -> anyhow::Result<()> {
        let lasts = Duration::from_millis(act.lasts_ms);
        match act.kind {
            Kind::KillWorker => self.kill(self.worker(act), lasts),
            Kind::KillScheduler => self.kill(self.scheduler(act), lasts),
            Kind::FreezeWorker => self.freeze(self.worker(act), lasts),
            Kind::FreezeScheduler => self.freeze(self.scheduler(act), lasts),
            Kind::RestartWorker => self.restart(self.worker(act)),
            Kind::RestartScheduler => self.restart(self.scheduler(act)),
            Kind::RollWorkers => self.roll(self.cluster.workers()),
            Kind::RollSchedulers => self.roll(self.cluster.schedulers()),
            Kind::CutNode => self.cut(act, FaultKind::CutBoth, lasts),
            Kind::CutToStore => self.cut(act, FaultKind::CutToStore, lasts),
            Kind::CutFromStore => self.cut(act, FaultKind::CutFromStore, lasts),
            Kind::CutFromMember => self.cut_from_member(act, lasts),
            Kind::LossyNode => self.spoil_node(act, Rule::Lossy(25), lasts),
            Kind::SlowNode => self.spoil_node(act, Rule::Slow(256), lasts),
            Kind::JumpClock => self.jump(act, lasts),
            Kind::KillLeader => self.kill_member(self.store.leader()?, lasts),
            Kind::KillMember => self.kill_member(self.member(act), lasts),
            Kind::FreezeLeader => self.freeze_member(self.store.leader()?, lasts),
            Kind::FreezeMember => self.freeze_member(self.member(act), lasts),
            Kind::IsolateMember => self.isolate(self.member(act), false, lasts),
            Kind::CutMember => self.isolate(self.member(act), true, lasts),
            Kind::WipeMember => self.wipe(self.member(act)),
            Kind::LossyMember => self.spoil_member(self.member(act), Rule::Lossy(25), lasts),
            Kind::SlowMember => self.spoil_member(self.member(act), Rule::Slow(1_024), lasts),
            Kind::LoseQuorum => self.lose_quorum(act, lasts),
            Kind::Compact => self.compact(lasts),
            Kind::Defragment => self.defragment(),
            Kind::NoSpace => self.no_space(lasts),
            Kind::RevokeLeases => self.revoke_leases(),
        }
    }

    // Who is meant.

    fn worker(&self, act: &Act) -> &Arc<Node> {
        pick(self.cluster.workers(), act.whom)
    }

    fn scheduler(&self, act: &Act) -> &Arc<Node> {
        pick(self.cluster.schedulers(), act.whom)
    }

    fn node(&self, act: &Act) -> &Arc<Node> {
        pick(self.cluster.nodes.iter(), act.whom)
    }

    fn member(&self, act: &Act) -> usize {
        *pick(
            (0..self.cluster.members.len()).collect::<Vec<_>>().iter(),
            act.whom,
        )
    }

    fn addresses(&self) -> Vec<Ipv4Addr> {
        self.cluster
            .members
            .iter()
            .map(|it| it.host.address())
            .collect()
    }

    // What is told.

    fn tell(&self, kind: FaultKind, node: Option<&Node>, lasts: Duration) {
        self.journal.note(&Fact::Fault {
            kind,
            node: node.map(|it| it.ix),
            until: Mono::from_nanos(clock::now() + nanos(lasts + ECHO)),
        });
    }

    /// A fault of etcd concerns everybody, and may keep everybody's news back.
    fn tell_all(&self, kind: FaultKind, lasts: Duration) {
        self.tell(kind, None, lasts);
        for node in &self.cluster.nodes {
            self.tell(FaultKind::DelayWatch, Some(node), lasts);
        }
    }

    // What is done to nodes.

    fn kill(&self, node: &Node, lasts: Duration) -> anyhow::Result<()> {
        self.tell(FaultKind::Crash, Some(node), lasts);
        node.hold(true);
        node.kill();
        std::thread::sleep(lasts);
        node.hold(false);
        node.start()
    }

    fn freeze(&self, node: &Node, lasts: Duration) -> anyhow::Result<()> {
        self.tell(FaultKind::Pause, Some(node), lasts);
        self.tell(FaultKind::DelayWatch, Some(node), lasts);
        anyhow::ensure!(node.freeze(), "{} is down", node.id);
        std::thread::sleep(lasts);
        node.thaw();
        Ok(())
    }

    fn restart(&self, node: &Node) -> anyhow::Result<()> {
        node.hold(true);
        if !node.leave(LEAVE_MAX) {
            node.kill();
        }
        node.hold(false);
        node.start()
    }

    /// Every node of a role in turn leaves, and comes back as another build.
    fn roll<'a>(&self, nodes: impl Iterator<Item = &'a Arc<Node>>) -> anyhow::Result<()> {
        let build = {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.upgrades += 1;
            &self.builds[done.upgrades % 2]
        };
        for node in nodes {
            node.upgrade(build);
            self.restart(node)?;
        }
        Ok(())
    }

    fn cut(&self, act: &Act, kind: FaultKind, lasts: Duration) -> anyhow::Result<()> {
        let node = self.node(act);
        self.tell(kind, Some(node), lasts);
        // Either way nothing is acknowledged: news stop, too.
        self.tell(FaultKind::DelayWatch, Some(node), lasts);
        let store = self.addresses();
        let mut rules = Vec::new();
        if kind != FaultKind::CutFromStore {
            rules.push(Rule::DropTo(store.clone()));
        }
        if kind != FaultKind::CutToStore {
            rules.push(Rule::DropFrom(store));
        }
        spoil(&node.host, rules, lasts)
    }

    fn cut_from_member(&self, act: &Act, lasts: Duration) -> anyhow::Result<()> {
        let node = self.node(act);
        let members = self.addresses();
        let member = members[usize::try_from(act.whom >> 32)? % members.len()];
        self.tell(FaultKind::CutBoth, Some(node), lasts);
        let rules = vec![Rule::DropTo(vec![member]), Rule::DropFrom(vec![member])];
        // It may not have spoken to that member at all.
        let before = node.host.spoil_all(rules)?;
        std::thread::sleep(lasts);
        node.host.mend_all(&before)
    }

    fn spoil_node(&self, act: &Act, rule: Rule, lasts: Duration) -> anyhow::Result<()> {
        let node = self.node(act);
        self.tell(FaultKind::SlowRequest, Some(node), lasts);
        self.tell(FaultKind::DelayWatch, Some(node), lasts);
        spoil(&node.host, vec![rule], lasts)
    }

    /// An hour forth or back, for one node.
    fn jump(&self, act: &Act, lasts: Duration) -> anyhow::Result<()> {
        let clocks = self.cluster.nodes.iter().filter(|it| it.clock.is_some());
        let clocks: Vec<&Arc<Node>> = clocks.collect();
        anyhow::ensure!(!clocks.is_empty(), "no node has a clock of its own");
        let node = *pick(clocks.iter(), act.whom);
        let file = node.clock.as_ref().context("it has a clock of its own")?;
        self.tell(FaultKind::JumpWall, Some(node), lasts);
        let offset = if act.whom >> 32 & 1 == 0 {
            "+3600"
        } else {
            "-3600"
        };
        std::fs::write(file, format!("{offset}\n"))?;
        std::thread::sleep(lasts);
        std::fs::write(file, "+0\n")?;
        Ok(())
    }

    // What is done to etcd.

    fn kill_member(&self, ix: usize, lasts: Duration) -> anyhow::Result<()> {
        self.tell_all(FaultKind::MoveLeader, lasts);
        let member = &self.cluster.members[ix];
        member.process().kill();
        std::thread::sleep(lasts);
        member.process().start()
    }

    fn freeze_member(&self, ix: usize, lasts: Duration) -> anyhow::Result<()> {
        self.tell_all(FaultKind::MoveLeader, lasts);
        let member = &self.cluster.members[ix];
        let frozen = member.process().freeze();
        std::thread::sleep(lasts);
        member.process().thaw();
        anyhow::ensure!(frozen, "{} is down", member.name);
        Ok(())
    }

    /// Away from the other members, and perhaps from nodes.
    fn isolate(&self, ix: usize, also_from_nodes: bool, lasts: Duration) -> anyhow::Result<()> {
        self.tell_all(FaultKind::MoveLeader, lasts);
        let own = self.cluster.members[ix].host.address();
        let mut others: Vec<Ipv4Addr> = self.addresses();
        others.retain(|it| *it != own);
        if also_from_nodes {
            others.extend(self.cluster.nodes.iter().map(|it| it.host.address()));
        }
        let rules = vec![Rule::DropTo(others.clone()), Rule::DropFrom(others)];
        spoil(&self.cluster.members[ix].host, rules, lasts)
    }

    /// A member loses its disk, and a new one takes its place.
    fn wipe(&self, ix: usize) -> anyhow::Result<()> {
        self.tell_all(FaultKind::MoveLeader, Duration::from_secs(10));
        let member = &self.cluster.members[ix];
        member.process().kill();
        let replaced = self.replaced(member);
        let mut process = member.process();
        let args = &mut process.spec.args;
        if replaced.is_ok() && !args.iter().any(|it| it == "existing") {
            args.extend(["--initial-cluster-state", "existing"].map(str::to_owned));
        }
        process.start()?;
        drop(process);
        replaced?;
        self.is_well(ix)
    }

    fn replaced(&self, member: &Member) -> anyhow::Result<()> {
        // The others may need a moment to find a leader.
        let begun = Instant::now();
        while let Err(error) = self.store.replace(&member.name, &member.peer_url()) {
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(20), error);
            std::thread::sleep(Duration::from_millis(500));
        }
        match std::fs::remove_dir_all(&member.data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn is_well(&self, ix: usize) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.store.is_well(ix).is_err() {
            let name = &self.cluster.members[ix].name;
            let patience = Duration::from_secs(30);
            anyhow::ensure!(begun.elapsed() < patience, "{name} does not come back");
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn spoil_member(&self, ix: usize, rule: Rule, lasts: Duration) -> anyhow::Result<()> {
        self.tell_all(FaultKind::MoveLeader, lasts);
        spoil(&self.cluster.members[ix].host, vec![rule], lasts)
    }

    /// So many members are down that the others can decide nothing.
    fn lose_quorum(&self, act: &Act, lasts: Duration) -> anyhow::Result<()> {
        self.tell_all(FaultKind::StoreDown, lasts);
        let members = &self.cluster.members;
        let first = self.member(act);
        let lost = (0..=members.len() / 2).map(|n| &members[(first + n) % members.len()]);
        let lost: Vec<&Arc<Member>> = lost.collect();
        lost.iter().for_each(|it| it.process().kill());
        std::thread::sleep(lasts);
        for member in lost {
            member.process().start()?;
        }
        self.is_well(first)
    }

    /// As much as the recorder has seen, every half second.
    fn compact(&self, lasts: Duration) -> anyhow::Result<()> {
        self.tell_all(FaultKind::Compact, lasts);
        let begun = Instant::now();
        loop {
            let done = self.store.compact(i64::try_from(self.recorder.last())?);
            if begun.elapsed() > lasts {
                return done;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn defragment(&self) -> anyhow::Result<()> {
        self.tell_all(FaultKind::Busy, Duration::from_secs(3));
        for ix in 0..self.cluster.members.len() {
            self.store.defragment(ix)?;
        }
        Ok(())
    }

    /// What ends it is what an operator does: compact, defragment, take the alarm back.
    fn no_space(&self, lasts: Duration) -> anyhow::Result<()> {
        self.tell_all(FaultKind::NoSpace, lasts);
        let raised = self.store.no_space(true);
        std::thread::sleep(lasts);
        let begun = Instant::now();
        while let Err(error) = self.store.no_space(false) {
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(60), error);
            std::thread::sleep(Duration::from_millis(500));
        }
        raised
    }

    fn revoke_leases(&self) -> anyhow::Result<()> {
        let leases = self.store.leases()?;
        self.tell_all(FaultKind::ExpireAll, Duration::ZERO);
        for lease in leases {
            // It may have ended by itself.
            drop(self.store.revoke(lease));
        }
        Ok(())
    }
}

fn pick<'a, T>(among: impl Iterator<Item = &'a T>, draw: u64) -> &'a T {
    let all: Vec<&T> = among.collect();
    let len = u64::try_from(all.len()).unwrap_or(u64::MAX);
    let ix = usize::try_from(draw % len).unwrap_or_default();
    all[ix]
}

/// Breaks a network for a while; fails when no packet came to harm.
fn spoil(host: &Host, rules: Vec<Rule>, lasts: Duration) -> anyhow::Result<()> {
    let counted = rules.iter().any(|it| !matches!(it, Rule::Slow(_)));
    let numbers = host.spoil_all(rules)?;
    std::thread::sleep(lasts);
    let dropped = host.dropped();
    host.mend_all(&numbers)?;
    anyhow::ensure!(!counted || dropped? > 0, "no packet was dropped");
    Ok(())
}
