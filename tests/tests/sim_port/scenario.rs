//! What a run will be, drawn from its seed before it begins: who asks what and when, and what breaks. All of it is data,
//! to be printed and drawn again.

use std::time::Duration;

use windlass::core::rng::Rng;

pub(crate) const MEMBERS: usize = 3;

/// How long clients work and things break, in milliseconds. Then everything is healed.
const WORK_MS: u64 = 30_000;
/// The last fault begins a little earlier: nothing may depend on the moment of the healing.
const FAULTS_MS: u64 = 27_000;

/// How many keys the clients share.
pub(crate) const KEYS: u64 = 40;
pub(crate) const WATCHES: u64 = 3;

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// Whether etcd wants users to log in.
    pub(crate) login: bool,
    /// How many events a part of a watch's response has at most.
    pub(crate) fragment: usize,
    /// How long a message is under way, at most.
    pub(crate) latency_ms: u64,
    /// The one member that breaks. Without one, all may.
    pub(crate) victim: Option<usize>,
    /// What each client does, and when.
    pub(crate) clients: Vec<Vec<(u64, Act)>>,
    pub(crate) faults: Vec<(u64, Fault)>,
    pub(crate) heal_ms: u64,
}

/// What a client does.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Writes its lane and these keys, if the guards hold.
    Commit {
        guards: Vec<GuardAct>,
        writes: Vec<WriteAct>,
    },
    /// Writes its lane and many keys at once.
    Fill {
        from: u64,
        count: u64,
    },
    ReadKeys(Vec<u64>),
    ReadRange {
        from: u64,
        to: u64,
        limit: u32,
    },
    Watch {
        slot: u64,
        from: u64,
        to: u64,
    },
    Progress {
        slot: u64,
    },
    /// Ends the lease and asks for another.
    Relet,
    /// Forgets the history of all but the last revisions.
    Compact {
        keep: u64,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum GuardAct {
    Absent(u64),
    /// As the client saw it last, by any of its reads; as its own last commit if it never did.
    Unchanged(u64),
    Alive(u64),
    Gone(u64),
    Quiet(u64, u64),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum WriteAct {
    Put { key: u64, bytes: u64, leased: bool },
    Delete(u64),
    DeleteRange(u64, u64),
}

/// What breaks. Spans are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// What is under way between them is lost, and nothing passes.
    Cut {
        client: usize,
        member: usize,
        ms: u64,
    },
    /// Nothing passes in one direction.
    OneWay {
        client: usize,
        member: usize,
        answers: bool,
        ms: u64,
    },
    /// Nothing passes, until all of it does at once.
    Hold {
        client: usize,
        member: usize,
        ms: u64,
    },
    /// No client reaches the member, nor learns of it.
    BlackHole { member: usize, ms: u64 },
    /// Every connection of the member ends at once.
    Reset { member: usize },
    /// The member's process dies and comes back.
    Restart { member: usize, ms: u64 },
    /// Watch streams on the member say nothing any more, for ever.
    Mute { member: usize, ms: u64 },
    /// The member's watches do not hear of anything new.
    Lag { member: usize, ms: u64 },
    /// The member's watches ignore questions for progress.
    Deaf { member: usize, ms: u64 },
    /// The member's watches tell the last events once more.
    Repeat { member: usize },
    /// The member is cut off from the others.
    NoLeader { member: usize, ms: u64 },
    /// The member takes its time for each answer.
    Slow { member: usize, by: u64, ms: u64 },
    /// The member refuses all work as too much.
    Busy { member: usize, ms: u64 },
    /// The next calls are applied and not answered.
    LoseAnswers { member: usize, calls: u64 },
    /// The next calls are applied, and their answer is an error.
    Fail { member: usize, calls: u64 },
    /// The next calls are applied late.
    ApplyLate { member: usize, calls: u64, by: u64 },
    /// The next calls are answered late.
    AnswerLate { member: usize, calls: u64, by: u64 },
    /// History is forgotten, up to now.
    Compact,
    /// Another member leads: leases are refreshed.
    LeaderChange,
    /// All members are without a leader for a while; then one of them leads.
    Election { ms: u64 },
    /// No login is valid any more.
    ExpireLogins,
    /// A client's lease ends early.
    EndLease { client: usize },
}

/// The names of all kinds, in the order in which they are drawn.
pub(crate) const KINDS: [&str; 22] = [
    "cut",
    "one_way",
    "hold",
    "black_hole",
    "reset",
    "restart",
    "mute",
    "lag",
    "deaf",
    "repeat",
    "no_leader",
    "slow",
    "busy",
    "lose_answers",
    "fail",
    "apply_late",
    "answer_late",
    "compact",
    "leader_change",
    "election",
    "expire_logins",
    "end_lease",
];

impl Fault {
    pub(crate) fn kind(&self) -> &'static str {
        let at = match self {
            Self::Cut { .. } => 0,
            Self::OneWay { .. } => 1,
            Self::Hold { .. } => 2,
            Self::BlackHole { .. } => 3,
            Self::Reset { .. } => 4,
            Self::Restart { .. } => 5,
            Self::Mute { .. } => 6,
            Self::Lag { .. } => 7,
            Self::Deaf { .. } => 8,
            Self::Repeat { .. } => 9,
            Self::NoLeader { .. } => 10,
            Self::Slow { .. } => 11,
            Self::Busy { .. } => 12,
            Self::LoseAnswers { .. } => 13,
            Self::Fail { .. } => 14,
            Self::ApplyLate { .. } => 15,
            Self::AnswerLate { .. } => 16,
            Self::Compact => 17,
            Self::LeaderChange => 18,
            Self::Election { .. } => 19,
            Self::ExpireLogins => 20,
            Self::EndLease { .. } => 21,
        };
        KINDS[at]
    }

    /// How long it lasts; nothing for what happens once.
    pub(crate) fn span(&self) -> Option<Duration> {
        let ms = match self {
            Self::Cut { ms, .. }
            | Self::OneWay { ms, .. }
            | Self::Hold { ms, .. }
            | Self::BlackHole { ms, .. }
            | Self::Restart { ms, .. }
            | Self::Mute { ms, .. }
            | Self::Lag { ms, .. }
            | Self::Deaf { ms, .. }
            | Self::NoLeader { ms, .. }
            | Self::Slow { ms, .. }
            | Self::Busy { ms, .. }
            | Self::Election { ms } => *ms,
            Self::Reset { .. }
            | Self::Repeat { .. }
            | Self::LoseAnswers { .. }
            | Self::Fail { .. }
            | Self::ApplyLate { .. }
            | Self::AnswerLate { .. }
            | Self::Compact
            | Self::LeaderChange
            | Self::ExpireLogins
            | Self::EndLease { .. } => return None,
        };
        Some(Duration::from_millis(ms))
    }
}

impl Scenario {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut shape = rng.fork("shape");
        let login = shape.below(2) == 0;
        let victim = (shape.below(3) == 0).then(|| pick(&mut shape, MEMBERS));
        let clients = 1 + pick(&mut shape, 3);
        let mut acts = rng.fork("acts");
        Self {
            seed,
            login,
            fragment: 1 + pick(&mut shape, 6),
            latency_ms: 1 + shape.below(40),
            victim,
            faults: faults(&mut rng.fork("faults"), clients, victim, login),
            clients: (0..clients).map(|_| script(&mut acts)).collect(),
            heal_ms: WORK_MS,
        }
    }
}

fn pick(rng: &mut Rng, end: usize) -> usize {
    usize::try_from(rng.below(end as u64)).expect("below a usize")
}

fn between(rng: &mut Rng, from: u64, to: u64) -> u64 {
    from + rng.below(to - from)
}

/// A span that straddles what matters: a try, the patience, a lease's time, the silence that a watch bears.
fn span(rng: &mut Rng) -> u64 {
    let edges = [200, 1_700, 5_000, 8_000, 13_000];
    let edge = edges[pick(rng, edges.len())];
    between(rng, edge / 2, edge * 3 / 2)
}

fn faults(rng: &mut Rng, clients: usize, victim: Option<usize>, login: bool) -> Vec<(u64, Fault)> {
    // What strikes more than one member has no place in a run that must not notice the loss of one.
    let is_own = |kind: usize| victim.is_none() || kind < 11 || kind == 17;
    let mut kinds: Vec<usize> = (0..KINDS.len())
        .filter(|kind| is_own(*kind) && (login || KINDS[*kind] != "expire_logins"))
        .filter(|_| rng.below(3) == 0)
        .collect();
    if kinds.is_empty() {
        kinds.push(0);
    }
    let count = 3 + rng.below(10);
    let mut all: Vec<(u64, Fault)> = (0..count)
        .map(|_| {
            let kind = kinds[pick(rng, kinds.len())];
            let at = between(rng, 500, FAULTS_MS);
            let member = pick(rng, MEMBERS);
            let client = pick(rng, clients);
            let fault = fault(rng, kind, victim.unwrap_or(member), client);
            (at, fault)
        })
        .collect();
    all.sort_by_key(|(at, _)| *at);
    all
}

fn fault(rng: &mut Rng, kind: usize, member: usize, client: usize) -> Fault {
    let ms = span(rng);
    let calls = 1 + rng.below(4);
    let by = between(rng, 50, 9_000);
    match KINDS[kind] {
        "cut" => Fault::Cut { client, member, ms },
        "one_way" => Fault::OneWay {
            client,
            member,
            answers: rng.below(2) == 0,
            ms,
        },
        "hold" => Fault::Hold { client, member, ms },
        "black_hole" => Fault::BlackHole { member, ms },
        "reset" => Fault::Reset { member },
        "restart" => Fault::Restart { member, ms },
        "mute" => Fault::Mute { member, ms },
        "lag" => Fault::Lag { member, ms },
        "deaf" => Fault::Deaf { member, ms },
        "repeat" => Fault::Repeat { member },
        "no_leader" => Fault::NoLeader { member, ms },
        "slow" => Fault::Slow {
            member,
            by: between(rng, 20, 2_500),
            ms,
        },
        "busy" => Fault::Busy { member, ms },
        "lose_answers" => Fault::LoseAnswers { member, calls },
        "fail" => Fault::Fail { member, calls },
        "apply_late" => Fault::ApplyLate { member, calls, by },
        "answer_late" => Fault::AnswerLate { member, calls, by },
        "compact" => Fault::Compact,
        "leader_change" => Fault::LeaderChange,
        "election" => Fault::Election {
            ms: between(rng, 500, 4_000),
        },
        "expire_logins" => Fault::ExpireLogins,
        "end_lease" => Fault::EndLease { client },
        other => panic!("{other} is no kind of fault"),
    }
}

fn script(rng: &mut Rng) -> Vec<(u64, Act)> {
    let mut acts = Vec::new();
    for slot in 0..WATCHES {
        let (from, to) = range(rng);
        acts.push((10, Act::Watch { slot, from, to }));
    }
    let pause = between(rng, 40, 400);
    let mut at = 50;
    while at < WORK_MS {
        acts.push((at, act(rng)));
        at += 1 + rng.below(pause * 2);
    }
    acts
}

fn range(rng: &mut Rng) -> (u64, u64) {
    if rng.below(3) == 0 {
        return (0, KEYS);
    }
    let from = rng.below(KEYS);
    (from, between(rng, from, KEYS + 1))
}

fn act(rng: &mut Rng) -> Act {
    match rng.below(100) {
        0..50 => Act::Commit {
            guards: (0..rng.below(3)).map(|_| guard(rng)).collect(),
            writes: (0..rng.below(5)).map(|_| write(rng)).collect(),
        },
        50..56 => Act::Fill {
            from: rng.below(KEYS),
            count: between(rng, 5, 30),
        },
        56..64 => Act::ReadKeys((0..1 + rng.below(5)).map(|_| rng.below(KEYS)).collect()),
        64..76 => {
            let (from, to) = range(rng);
            let limit = if rng.below(2) == 0 { 5 } else { 1_000 };
            Act::ReadRange { from, to, limit }
        }
        76..82 => {
            let (from, to) = range(rng);
            let slot = rng.below(WATCHES);
            Act::Watch { slot, from, to }
        }
        82..94 => Act::Progress {
            slot: rng.below(WATCHES),
        },
        94..97 => Act::Relet,
        _ => Act::Compact {
            keep: rng.below(30),
        },
    }
}

fn guard(rng: &mut Rng) -> GuardAct {
    let key = rng.below(KEYS);
    match rng.below(10) {
        0..2 => GuardAct::Absent(key),
        2..5 => GuardAct::Unchanged(key),
        5..7 => GuardAct::Alive(key),
        7..9 => GuardAct::Gone(key),
        _ => {
            let (from, to) = range(rng);
            GuardAct::Quiet(from, to)
        }
    }
}

fn write(rng: &mut Rng) -> WriteAct {
    let key = rng.below(KEYS);
    match rng.below(12) {
        0..9 => WriteAct::Put {
            key,
            bytes: [3, 40, 4_000][pick(rng, 3)],
            leased: rng.below(4) == 0,
        },
        9..11 => WriteAct::Delete(key),
        _ => {
            let (from, to) = range(rng);
            WriteAct::DeleteRange(from, to)
        }
    }
}
