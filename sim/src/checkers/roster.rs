//! What checkers remember of nodes: who is up, who froze, and whose clock or lease was meddled with.

use std::collections::BTreeMap;

use windlass_core::ids::NodeId;
use windlass_core::keyspace::Role;
use windlass_core::time::Mono;

use super::rows::is_remote;
use crate::fact::{Fact, NodeIx};
use crate::nemesis::{FaultKind, REPAIR_MAX};

/// One process slot.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// What it is called.
    pub(super) id: NodeId,
    /// What it does.
    pub(super) role: Role,
    /// Whether a process runs.
    pub(super) up: bool,
    /// How many processes there were.
    pub(super) life: u32,
    /// Since when it is up, or down.
    pub(super) since: Mono,
    /// It does not run on for now.
    frozen: bool,
    /// When the last fault is over that concerned it.
    hurt_until: Mono,
    /// When an event was last lost that its watch should have told: from then on it knows something wrong, for a while.
    lost: Option<Mono>,
    /// When a worker believes that its session ends.
    pub(super) session_until: Option<Mono>,
    /// Its lease was ended early within this life of the process.
    pub(super) cast_out: bool,
    /// Its clocks ran wrong until then.
    pub(super) drifts_until: Option<Mono>,
    /// Its wall clock may be wrong for ever.
    pub(super) skewed: bool,
    /// When it was told to leave.
    pub(super) draining: Option<Mono>,
}

/// All nodes.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: BTreeMap<NodeIx, Member>,
    /// What faults did to the machines and connections of nodes, which their processes come and go on.
    wounds: BTreeMap<NodeIx, Wounds>,
    /// When the last fault of everybody is over.
    hurt_until: Mono,
}

#[derive(Debug, Clone, Copy, Default)]
struct Wounds {
    hurt_until: Mono,
    drifts_until: Option<Mono>,
    skewed: bool,
    deaf_until: Mono,
}

impl Member {
    /// When the last fault is over that concerned it; never, while it is frozen.
    fn hurt_until(&self) -> Mono {
        match self.lost {
            _ if self.frozen => Mono::from_nanos(u64::MAX),
            None => self.hurt_until,
            // What keeps it from asking, or from hearing the answer, keeps it from mending what it knows.
            Some(lost) => self.hurt_until.max(lost).after(REPAIR_MAX),
        }
    }
}

impl Roster {
    /// A node, if it ever was up.
    pub(super) fn get(&self, node: NodeIx) -> Option<&Member> {
        self.members.get(&node)
    }

    /// Every node.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeIx, &Member)> {
        self.members.iter().map(|(node, member)| (*node, member))
    }

    /// The processes that go by an id.
    pub(super) fn named<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Member> {
        self.members
            .values()
            .filter(move |member| member.id.as_str() == id)
    }

    /// Whether the wall clock of anybody who goes by this id may be wrong.
    pub(super) fn is_skewed(&self, id: &str) -> bool {
        self.named(id).any(|member| member.skewed)
    }

    /// Whether anybody's wall clock may be wrong.
    pub(super) fn any_skewed(&self) -> bool {
        self.wounds.values().any(|wounds| wounds.skewed)
    }

    /// When the last fault of anybody, or everybody, is over.
    pub(super) fn all_hurt_until(&self) -> Mono {
        let each = self.members.values().map(Member::hurt_until);
        each.fold(self.hurt_until, Mono::max)
    }

    /// Until when a node's news may be late or missing.
    pub(super) fn deaf_until(&self, node: NodeIx) -> Mono {
        self.wounds
            .get(&node)
            .copied()
            .unwrap_or_default()
            .deaf_until
    }

    /// When the last fault that concerned everybody is over.
    pub(super) fn everybody_hurt_until(&self) -> Mono {
        self.hurt_until
    }

    /// Until when what a node knows may be wrong, because an event was lost; `None` when none was.
    pub(super) fn misled_until(&self, node: NodeIx) -> Option<Mono> {
        let member = self.members.get(&node)?;
        member.lost?;
        Some(member.hurt_until().max(self.hurt_until.after(REPAIR_MAX)))
    }

    /// When the last fault that concerns a node is over.
    pub(super) fn hurt_until(&self, node: NodeIx) -> Mono {
        let own = self.members.get(&node).map(Member::hurt_until);
        own.unwrap_or_default().max(self.hurt_until)
    }

    /// Since when some gateway that is up was spared by faults; `None` while none is up. Of several processes that go by
    /// one id only one serves, and nobody here knows which.
    pub(super) fn served_since(&self) -> Option<Mono> {
        let mut gateways: BTreeMap<&NodeId, Mono> = BTreeMap::new();
        let members = self.members.values();
        for member in members.filter(|it| it.role == Role::Scheduler && it.up) {
            let hurt = gateways.entry(&member.id).or_default();
            *hurt = member.hurt_until().max(*hurt);
        }
        let least = gateways.into_values().min()?;
        Some(least.max(self.hurt_until))
    }

    /// When the last fault that concerns a worker is over. One that talks to gateways only is concerned as well by what
    /// concerns all of those.
    pub(super) fn worker_hurt_until(&self, node: NodeIx) -> Mono {
        let own = self.hurt_until(node);
        match self.members.get(&node) {
            Some(member) if is_remote(&member.id) => own.max(self.served_since().unwrap_or(own)),
            Some(_) | None => own,
        }
    }

    /// Takes note of a fact.
    pub(super) fn observe(&mut self, at: Mono, fact: &Fact) {
        match fact {
            Fact::Booted {
                node,
                role,
                id,
                slots: _,
            } => self.boot(at, *node, *role, id),
            Fact::Down { node, .. } => self.with(*node, |member| {
                member.up = false;
                member.since = at;
                member.hurt_until = member.hurt_until.max(at);
                member.session_until = None;
                member.draining = None;
            }),
            Fact::Frozen { node } => self.with(*node, |member| member.frozen = true),
            Fact::Thawed { node } => self.with(*node, |member| {
                member.frozen = false;
                member.hurt_until = member.hurt_until.max(at);
            }),
            Fact::Draining { node } => self.with(*node, |member| {
                member.draining.get_or_insert(at);
            }),
            Fact::SessionUntil { node, until, .. } => {
                self.with(*node, |member| member.session_until = Some(*until));
            }
            Fact::Fault { kind, node, until } => self.fault(at, *kind, *node, *until),
            Fact::Stored(_)
            | Fact::Leased { .. }
            | Fact::LeaseEnded { .. }
            | Fact::Started { .. }
            | Fact::StopOrdered { .. }
            | Fact::HandlerEnded { .. }
            | Fact::Locked { .. }
            | Fact::Unlocked { .. }
            | Fact::Asked { .. }
            | Fact::Answered { .. }
            | Fact::Handled { .. }
            | Fact::Sent { .. }
            | Fact::Read { .. }
            | Fact::Decided { .. }
            | Fact::Viewed { .. }
            | Fact::Room { .. }
            | Fact::Repaired { .. }
            | Fact::AskedAgain { .. }
            | Fact::Phase(_) => {}
        }
    }

    fn with(&mut self, node: NodeIx, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(&node) {
            change(member);
        }
    }

    fn boot(&mut self, at: Mono, node: NodeIx, role: Role, id: &NodeId) {
        let before = self.members.get(&node);
        let wounds = self.wounds.get(&node).copied().unwrap_or_default();
        // That a process starts is no fault; that it starts again is the end of one.
        let again = before.map_or(Mono::ZERO, |_| at);
        let member = Member {
            id: id.clone(),
            role,
            up: true,
            life: before.map_or(0, |member| member.life + 1),
            since: at,
            frozen: false,
            hurt_until: wounds.hurt_until.max(again),
            lost: None,
            session_until: None,
            cast_out: false,
            drifts_until: wounds.drifts_until,
            skewed: wounds.skewed,
            draining: None,
        };
        self.members.insert(node, member);
    }

    #[allow(
        clippy::too_many_lines,
        reason = "a table: every kind of fault is named"
    )]
    fn fault(&mut self, at: Mono, kind: FaultKind, node: Option<NodeIx>, until: Mono) {
        let end = until.max(at);
        let Some(node) = node else {
            self.hurt_until = self.hurt_until.max(end);
            if kind == FaultKind::ExpireAll {
                for member in self.members.values_mut().filter(|member| member.up) {
                    member.cast_out = true;
                }
            }
            return;
        };
        if kind == FaultKind::ExpireLease {
            self.cast_out(node);
        }
        if kind == FaultKind::LoseEvent {
            return self.with(node, |member| member.lost = Some(at));
        }
        let wounds = self.wounds.entry(node).or_default();
        if matches!(
            kind,
            FaultKind::DelayWatch
                | FaultKind::MuteWatch
                | FaultKind::StaleRead
                | FaultKind::CutFromStore
                | FaultKind::CutBoth
        ) {
            wounds.deaf_until = wounds.deaf_until.max(end);
        }
        match kind {
            // It lasts until somebody sets the clock right, and concerns nothing but wall time.
            FaultKind::JumpWall => wounds.skewed = true,
            FaultKind::Drift => {
                wounds.skewed = true;
                wounds.drifts_until = wounds.drifts_until.max(Some(end));
                wounds.hurt_until = wounds.hurt_until.max(end);
            }
            // Within every margin of time: only wall clocks show it.
            FaultKind::SmallDrift => {
                wounds.skewed = true;
                wounds.hurt_until = wounds.hurt_until.max(end);
            }
            FaultKind::Crash
            | FaultKind::Pause
            | FaultKind::Double
            | FaultKind::CutToStore
            | FaultKind::CutFromStore
            | FaultKind::CutBoth
            | FaultKind::LoseRequest
            | FaultKind::LoseAnswer
            | FaultKind::ArriveLate
            | FaultKind::SlowRequest
            | FaultKind::SlowAnswer
            | FaultKind::DuplicateRequest
            | FaultKind::DuplicateAnswer
            | FaultKind::DelayWatch
            | FaultKind::MuteWatch
            | FaultKind::BreakWatch
            | FaultKind::BreakRead
            | FaultKind::StaleRead
            | FaultKind::LoseEvent
            | FaultKind::DuplicateNews
            | FaultKind::LateNews
            | FaultKind::Compact
            | FaultKind::MoveLeader
            | FaultKind::StoreDown
            | FaultKind::NoSpace
            | FaultKind::Busy
            | FaultKind::ExpireLease
            | FaultKind::ExpireAll
            | FaultKind::Upgrade
            | FaultKind::HandlerHangs
            | FaultKind::HandlerIgnoresStop
            | FaultKind::HandlerExits
            | FaultKind::HandlerLies
            | FaultKind::ClientRepeats
            | FaultKind::ClientVanishes => wounds.hurt_until = wounds.hurt_until.max(end),
        }
        let wounds = *wounds;
        self.with(node, |member| {
            member.hurt_until = member.hurt_until.max(wounds.hurt_until);
            member.drifts_until = wounds.drifts_until;
            member.skewed = wounds.skewed;
        });
    }

    /// The lease of a node's key has ended early: that of whoever goes by its id.
    fn cast_out(&mut self, node: NodeIx) {
        let Some(id) = self.members.get(&node).map(|member| member.id.clone()) else {
            return;
        };
        let named = self.members.values_mut().filter(|it| it.id == id && it.up);
        named.for_each(|member| member.cast_out = true);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::ZERO.after(Duration::from_secs(seconds))
    }

    fn boot(roster: &mut Roster, seconds: u64) {
        let booted = Fact::Booted {
            node: 0,
            role: Role::Worker,
            id: "w1".parse().unwrap(),
            slots: 1,
        };
        roster.observe(at(seconds), &booted);
    }

    fn fault(roster: &mut Roster, kind: FaultKind, until: u64) {
        let fault = Fact::Fault {
            kind,
            node: Some(0),
            until: at(until),
        };
        roster.observe(at(0), &fault);
    }

    #[test]
    fn what_broke_a_node_before_its_process_started_is_remembered() {
        let mut roster = Roster::default();
        fault(&mut roster, FaultKind::CutBoth, 100);
        fault(&mut roster, FaultKind::Drift, 10);
        boot(&mut roster, 1);
        assert!(roster.is_skewed("w1"));
        assert_eq!(roster.hurt_until(0), at(100));
        boot(&mut roster, 2);
        assert_eq!(roster.hurt_until(0), at(100));
    }

    #[test]
    fn a_frozen_node_is_hurt_until_it_runs_on() {
        let mut roster = Roster::default();
        boot(&mut roster, 1);
        roster.observe(at(2), &Fact::Frozen { node: 0 });
        assert!(roster.hurt_until(0) > at(1_000_000));
        roster.observe(at(3), &Fact::Thawed { node: 0 });
        assert_eq!(roster.hurt_until(0), at(3));
    }

    #[test]
    fn a_lease_that_ends_early_is_that_of_whoever_goes_by_the_id() {
        let mut roster = Roster::default();
        boot(&mut roster, 1);
        fault(&mut roster, FaultKind::ExpireLease, 0);
        assert!(roster.get(0).is_some_and(|member| member.cast_out));
        boot(&mut roster, 2);
        assert!(roster.get(0).is_some_and(|member| !member.cast_out));
    }
}
