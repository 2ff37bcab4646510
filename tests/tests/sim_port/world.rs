//! What all hosts of a run share: the one store behind all members, what is wrong with each member, and the judge.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use windlass::core::ids::{LeaseId, OpId, Revision};
use windlass::core::kv::{ClientId, Effect, Input, Kv, Limits};
use windlass::core::machine::Machine as _;
use windlass::core::store::{Answer, Call, LeaseAnswer};
use windlass::core::time::{Mono, Now};

use super::judge::Judge;
use super::ledger::Ledger;
use super::scenario::{Fault, KINDS, MEMBERS, Scenario};
use super::trace::Trace;

/// The one who asks the store; the members ask for their clients.
const ASKER: ClientId = ClientId(0);

/// The lies that a store may be made to tell, to see whether the judge finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Transactions that are said to be committed and are not.
    FalseCommits,
    /// A transaction that is said to have failed and is applied.
    FalseConflicts,
    /// Watches that skip an event.
    SkippedEvents,
    /// Leases that are said to live after their end.
    UndeadLeases,
    /// Reads of the past.
    StaleReads,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twist {
    Lose,
    Fail,
    ApplyLate(Duration),
    AnswerLate(Duration),
}

/// What is wrong with a member, and until when.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) mute: Mono,
    pub(crate) deaf: Mono,
    pub(crate) leaderless: Mono,
    pub(crate) busy: Mono,
    pub(crate) slow: (Duration, Mono),
    pub(crate) lag: (Revision, Mono),
    pub(crate) twists: VecDeque<Twist>,
    /// How often its watches were told to repeat themselves.
    pub(crate) repeats: u64,
    /// Whose each is, and what tears it down when it is dropped.
    pub(crate) connections: Vec<(String, oneshot::Sender<()>)>,
}

/// Who is logged in.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    pub(crate) valid: BTreeSet<String>,
    pub(crate) granted: u64,
}

pub(crate) struct World {
    pub(crate) kv: Kv,
    pub(crate) ledger: Ledger,
    pub(crate) members: [Member; MEMBERS],
    pub(crate) logins: Option<Logins>,
    pub(crate) judge: Judge,
    pub(crate) trace: Trace,
    /// How often each kind of fault has struck.
    pub(crate) struck: BTreeMap<&'static str, u64>,
    /// What watches can be cut into.
    pub(crate) fragment: usize,
    pub(crate) lie: Option<Lie>,
    pub(crate) term: u64,
    /// The lease that each client holds.
    pub(crate) leases: Vec<Option<LeaseId>>,
    now: Mono,
    step: u64,
}

impl World {
    pub(crate) fn new(scenario: &Scenario, lie: Option<Lie>) -> Self {
        let limits = Limits {
            history_max: usize::MAX,
            ..Limits::default()
        };
        Self {
            kv: Kv::new(limits),
            ledger: Ledger::default(),
            members: Default::default(),
            logins: scenario.login.then(Logins::default),
            judge: Judge::new(scenario.victim.is_some()),
            trace: Trace::default(),
            struck: KINDS.iter().map(|kind| (*kind, 0)).collect(),
            fragment: scenario.fragment,
            lie,
            term: 2,
            leases: vec![None; scenario.clients.len()],
            now: Mono::ZERO,
            step: 0,
        }
    }

    /// The simulated time. Hosts take turns within a tick, so that it may seem to stand still.
    pub(crate) fn now(&mut self) -> Mono {
        if let Some(elapsed) = turmoil::sim_elapsed() {
            self.reach(elapsed);
        }
        self.now
    }

    pub(crate) fn reach(&mut self, elapsed: Duration) {
        self.now = self.now.max(Mono::ZERO.after(elapsed));
    }

    /// The next moment.
    pub(crate) fn step(&mut self) -> u64 {
        self.step += 1;
        self.step
    }

    /// Lets the store do what is due.
    pub(crate) fn elapse(&mut self) {
        let answer = self.handle(Input::Elapsed);
        assert!(answer.is_none(), "nobody asked");
    }

    pub(crate) fn ask(&mut self, call: Call) -> Answer {
        let renewed = if let Call::Renew { lease } = &call {
            Some(*lease)
        } else {
            None
        };
        let (client, op) = (ASKER, OpId(0));
        let answer = self
            .handle(Input::Call { client, op, call })
            .expect("the store answers at once");
        if let (Some(lease), Answer::Lease(LeaseAnswer::Live { .. })) = (renewed, &answer) {
            let step = self.step();
            let life = self.ledger.leases.get_mut(&lease).expect("it lives");
            life.renewed.push(step);
        }
        answer
    }

    pub(crate) fn handle(&mut self, input: Input) -> Option<Answer> {
        let mono = self.now();
        let now = Now {
            mono,
            ..Now::default()
        };
        let mut out = Vec::new();
        self.kv.handle(now, input, &mut out);
        let mut answered = None;
        for effect in out {
            match effect {
                Effect::Applied(log) => {
                    let step = self.step();
                    self.trace.note(mono, "store", || log_line(&log));
                    self.ledger.note(step, log);
                }
                Effect::Answer { answer, .. } => answered = Some(answer),
            }
        }
        answered
    }

    /// What a member's watches know. A member that lags knows less than there is.
    pub(crate) fn visible(&mut self, member: usize) -> Revision {
        let now = self.now();
        let (at, until) = self.members[member].lag;
        if now < until { at } else { self.kv.revision() }
    }

    pub(crate) fn strike(&mut self, kind: &'static str) {
        *self.struck.get_mut(kind).expect("a kind of fault") += 1;
    }

    /// What a fault does to the store and its members. What it does to hosts and links is done elsewhere.
    pub(crate) fn suffer(&mut self, fault: &Fault) {
        let now = self.now();
        let until = now.after(fault.span().unwrap_or_default());
        let revision = self.kv.revision();
        let twist = |member: &mut Member, calls: u64, twist| {
            member.twists.extend((0..calls).map(|_| twist));
        };
        match fault {
            Fault::Mute { member, .. } => self.members[*member].mute = until,
            Fault::Deaf { member, .. } => self.members[*member].deaf = until,
            Fault::Lag { member, .. } => {
                let at = self.visible(*member);
                self.members[*member].lag = (at, until);
            }
            Fault::Repeat { member } => self.members[*member].repeats += 1,
            Fault::NoLeader { member, .. } => {
                let at = self.visible(*member);
                self.members[*member].lag = (at, until);
                self.members[*member].leaderless = until;
            }
            Fault::Slow { member, by, .. } => {
                self.members[*member].slow = (Duration::from_millis(*by), until);
            }
            Fault::Busy { member, .. } => self.members[*member].busy = until,
            Fault::LoseAnswers { member, calls } => {
                twist(&mut self.members[*member], *calls, Twist::Lose);
            }
            Fault::Fail { member, calls } => {
                twist(&mut self.members[*member], *calls, Twist::Fail);
            }
            Fault::ApplyLate { member, calls, by } => {
                let by = Twist::ApplyLate(Duration::from_millis(*by));
                twist(&mut self.members[*member], *calls, by);
            }
            Fault::AnswerLate { member, calls, by } => {
                let by = Twist::AnswerLate(Duration::from_millis(*by));
                twist(&mut self.members[*member], *calls, by);
            }
            Fault::Reset { member } => self.members[*member].connections.clear(),
            Fault::Compact => drop(self.ask(Call::Compact { at: revision })),
            Fault::LeaderChange => self.change_leader(),
            Fault::Election { .. } => {
                for member in &mut self.members {
                    member.leaderless = until;
                }
                self.change_leader();
            }
            Fault::ExpireLogins => {
                if let Some(logins) = &mut self.logins {
                    logins.valid.clear();
                }
            }
            Fault::EndLease { client } => {
                if let Some(lease) = self.leases[*client] {
                    self.judge.on_ended(lease);
                    drop(self.ask(Call::Revoke { lease }));
                    self.strike("end_lease");
                }
            }
            Fault::Cut { .. }
            | Fault::OneWay { .. }
            | Fault::Hold { .. }
            | Fault::BlackHole { .. }
            | Fault::Restart { .. } => {}
        }
    }

    fn change_leader(&mut self) {
        self.term += 1;
        drop(self.handle(Input::LeaderChanged));
    }

    /// Nothing is wrong any more, but for streams that were made mute: those stay so.
    pub(crate) fn heal(&mut self) {
        for member in &mut self.members {
            let connections = std::mem::take(&mut member.connections);
            let repeats = member.repeats;
            *member = Member {
                connections,
                repeats,
                ..Member::default()
            };
        }
    }
}

fn log_line(log: &windlass::core::kv::Log) -> String {
    format!("{log:?}")
}

/// The world, and the bell that rings when it changes.
pub(crate) struct Shared {
    world: Mutex<World>,
    pub(crate) changed: Notify,
}

impl Shared {
    pub(crate) fn new(world: World) -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::new(world),
            changed: Notify::new(),
        })
    }

    /// Looks at the world, or changes it.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.world.lock().expect("nobody panics in the world");
        let before = world.kv.revision();
        let done = act(&mut world);
        if world.kv.revision() != before {
            self.changed.notify_waiters();
        }
        done
    }
}
