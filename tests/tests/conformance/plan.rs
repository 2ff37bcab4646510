//! A random life of a store, as data. What a step names (a revision, a lease) is told relative to what is stored when it
//! is reached, so that guards hold about as often as they fail, and a life stays sensible while steps are taken out of it.

use serde::{Deserialize, Serialize};
use windlass::core::keyspace::{Key, Range};
use windlass::core::rng::Rng;

/// How far ahead of the present a watch may begin.
pub(crate) const AHEAD_MAX: i64 = 3;
/// How many watches are open at once.
const SLOTS: u64 = 6;
/// Leases that are named; the later ones are often not granted yet.
const LEASES: u64 = 8;

/// Each key is the beginning or the neighbour of another.
const KEYS: [&str; 12] = [
    "/a",
    "/a/",
    "/a/b",
    "/a/b/c",
    "/a0",
    "/ab",
    "/b",
    "/b/\u{1}",
    "/b/é",
    "/b/\u{10ffff}",
    "/c",
    "/z",
];

pub(crate) fn key(number: u8) -> Key {
    Key::from_store(KEYS[usize::from(number) % KEYS.len()])
}

pub(crate) fn range((from, to): (u8, u8)) -> Range {
    let bound = |number: u8| match number {
        12 => Key::from_store("/"),
        13 => Key::from_store("0"),
        _ => key(number),
    };
    Range::new(bound(from), bound(to))
}

/// The keys between the two bounds in whatever order; all keys, when that is none.
pub(crate) fn some_range((a, b): (u8, u8)) -> Range {
    let (one, other) = (range((a, b)), range((b, a)));
    [one, other]
        .into_iter()
        .find(|it| it.from < it.to)
        .unwrap_or_else(|| range((12, 13)))
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) acts: Vec<Act>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    Commit {
        guards: Vec<GuardAct>,
        writes: Vec<WriteAct>,
        /// All writes are offered to the transaction as one step: it is refused or taken whole.
        whole: bool,
    },
    /// As many guards and puts as there may be, or nearly.
    Fill {
        count: u8,
        lease: Option<u8>,
    },
    ReadKeys(Vec<u8>),
    ReadRange {
        range: (u8, u8),
        limit: u32,
    },
    Grant {
        seconds: u64,
    },
    /// Grants a lease and ends it at once: its time to live is too short to wait for the rest of the plan.
    Brief {
        seconds: u64,
    },
    Renew {
        lease: u8,
    },
    Revoke {
        lease: u8,
    },
    /// A full read, then what follows, as machines see it.
    Watch {
        slot: u8,
        range: (u8, u8),
    },
    /// What followed a revision, as etcd tells it.
    Follow {
        slot: u8,
        range: (u8, u8),
        from: At,
    },
    Unwatch {
        slot: u8,
    },
    Progress {
        slot: u8,
    },
    /// As machines ask for it.
    Compact {
        at: At,
    },
    /// As etcd is asked for it.
    CompactRaw {
        at: At,
    },
    /// Looks at everything: versions and leases too.
    Dump,
}

/// A revision, counted from the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct At(pub(crate) i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GuardAct {
    pub(crate) kind: GuardKind,
    pub(crate) key: u8,
    /// The end, of a guarded range.
    pub(crate) to: u8,
    pub(crate) since: Since,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GuardKind {
    Absent,
    Unchanged,
    Alive,
    Gone,
    Quiet,
}

/// The revision that a guard names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Since {
    Created,
    Modified,
    Now(At),
    /// The revision that nothing ever had.
    Zero,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WriteAct {
    Put {
        key: u8,
        bytes: u16,
        lease: Option<u8>,
    },
    Delete {
        key: u8,
    },
    DeleteRange {
        range: (u8, u8),
    },
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng, steps: usize) -> Self {
        Self {
            acts: (0..steps).map(|_| Act::draw(rng)).collect(),
        }
    }
}

fn small(rng: &mut Rng, end: u64) -> u8 {
    u8::try_from(rng.below(end)).expect("ends are small")
}

fn one_in(rng: &mut Rng, many: u64) -> bool {
    rng.below(many) == 0
}

fn any_key(rng: &mut Rng) -> u8 {
    small(rng, KEYS.len() as u64)
}

fn any_range(rng: &mut Rng) -> (u8, u8) {
    let mut bound = || small(rng, KEYS.len() as u64 + 2);
    (bound(), bound())
}

/// Mostly one of the first: they were granted.
fn any_lease(rng: &mut Rng) -> u8 {
    let end = 1 + rng.below(LEASES);
    small(rng, end)
}

fn any_slot(rng: &mut Rng) -> u8 {
    small(rng, SLOTS)
}

fn signed(rng: &mut Rng, end: u64) -> i64 {
    i64::from(small(rng, end))
}

/// Mostly in the past, sometimes in the future.
fn any_at(rng: &mut Rng, past: u64) -> At {
    if one_in(rng, 6) {
        At(1 + signed(rng, AHEAD_MAX as u64))
    } else {
        At(-signed(rng, past))
    }
}

impl Act {
    fn draw(rng: &mut Rng) -> Self {
        match rng.below(100) {
            0..=49 => Self::Commit {
                guards: (0..rng.below(6).saturating_sub(2))
                    .map(|_| GuardAct::draw(rng))
                    .collect(),
                writes: (0..rng.below(6)).map(|_| WriteAct::draw(rng)).collect(),
                whole: one_in(rng, 4),
            },
            50 => Self::Fill {
                count: 126 + small(rng, 3),
                lease: one_in(rng, 2).then(|| any_lease(rng)),
            },
            51..=54 => Self::ReadKeys((0..rng.below(6)).map(|_| any_key(rng)).collect()),
            55..=59 => Self::ReadRange {
                range: any_range(rng),
                limit: if one_in(rng, 4) {
                    u32::MAX
                } else {
                    small(rng, 6).into()
                },
            },
            60..=66 => Self::Grant {
                seconds: [
                    600,
                    601,
                    86_400,
                    9_000_000_000,
                    9_000_000_001,
                    u64::MAX / 1_000_000,
                ][usize::from(small(rng, 6))],
            },
            67 => Self::Brief {
                seconds: rng.below(4),
            },
            68..=71 => Self::Renew {
                lease: any_lease(rng),
            },
            72..=75 => Self::Revoke {
                lease: any_lease(rng),
            },
            76..=79 => Self::Watch {
                slot: any_slot(rng),
                range: any_range(rng),
            },
            80..=85 => Self::Follow {
                slot: any_slot(rng),
                range: any_range(rng),
                from: any_at(rng, 20),
            },
            86..=87 => Self::Unwatch {
                slot: any_slot(rng),
            },
            88..=90 => Self::Progress {
                slot: any_slot(rng),
            },
            91..=92 => Self::Compact { at: any_at(rng, 8) },
            93..=94 => Self::CompactRaw { at: any_at(rng, 8) },
            _ => Self::Dump,
        }
    }

    /// The same with less in it, in several ways.
    pub(crate) fn simpler(&self) -> Vec<Self> {
        let mut all = Vec::new();
        match self {
            Self::Commit {
                guards,
                writes,
                whole,
            } => {
                let with = |guards: &[GuardAct], writes: &[WriteAct]| Self::Commit {
                    guards: guards.to_vec(),
                    writes: writes.to_vec(),
                    whole: *whole,
                };
                all.extend((0..guards.len()).map(|at| with(&without(guards, at), writes)));
                all.extend((0..writes.len()).map(|at| with(guards, &without(writes, at))));
                for (at, write) in writes.iter().enumerate() {
                    for simpler in write.simpler() {
                        let mut writes = writes.clone();
                        writes[at] = simpler;
                        all.push(with(guards, &writes));
                    }
                }
            }
            Self::Fill { count, lease } => {
                let (count, lease) = (*count, *lease);
                all.extend((count > 1).then_some(Self::Fill {
                    count: count / 2,
                    lease,
                }));
                all.extend(lease.map(|_| Self::Fill { count, lease: None }));
            }
            Self::ReadKeys(keys) => {
                all.extend((0..keys.len()).map(|at| Self::ReadKeys(without(keys, at))));
            }
            Self::ReadRange { .. }
            | Self::Grant { .. }
            | Self::Brief { .. }
            | Self::Renew { .. }
            | Self::Revoke { .. }
            | Self::Watch { .. }
            | Self::Follow { .. }
            | Self::Unwatch { .. }
            | Self::Progress { .. }
            | Self::Compact { .. }
            | Self::CompactRaw { .. }
            | Self::Dump => {}
        }
        all
    }
}

fn without<T: Clone>(all: &[T], at: usize) -> Vec<T> {
    let mut rest = all.to_vec();
    rest.remove(at);
    rest
}

impl GuardAct {
    fn draw(rng: &mut Rng) -> Self {
        let kind = match rng.below(5) {
            0 => GuardKind::Absent,
            1 => GuardKind::Unchanged,
            2 => GuardKind::Alive,
            3 => GuardKind::Gone,
            _ => GuardKind::Quiet,
        };
        let since = match (rng.below(12), kind) {
            (0, _) => Since::Zero,
            (1..=3, _) => Since::Now(any_at(rng, 8)),
            (4, _) | (_, GuardKind::Alive) => Since::Created,
            (_, GuardKind::Quiet) => Since::Now(At(-signed(rng, 3))),
            (_, GuardKind::Absent | GuardKind::Unchanged | GuardKind::Gone) => Since::Modified,
        };
        let (from, to) = any_range(rng);
        let key = if kind == GuardKind::Quiet {
            from
        } else {
            any_key(rng)
        };
        Self {
            kind,
            key,
            to,
            since,
        }
    }
}

impl WriteAct {
    fn draw(rng: &mut Rng) -> Self {
        match rng.below(10) {
            0..=6 => Self::Put {
                key: any_key(rng),
                bytes: if one_in(rng, 20) {
                    5_000
                } else {
                    small(rng, 9).into()
                },
                lease: one_in(rng, 3).then(|| any_lease(rng)),
            },
            7..=8 => Self::Delete { key: any_key(rng) },
            _ => Self::DeleteRange {
                range: any_range(rng),
            },
        }
    }

    fn simpler(&self) -> Vec<Self> {
        match *self {
            Self::Put { key, bytes, lease } => {
                let short = (bytes > 0).then_some(Self::Put {
                    key,
                    bytes: 0,
                    lease,
                });
                let free = lease.map(|_| Self::Put {
                    key,
                    bytes,
                    lease: None,
                });
                short.into_iter().chain(free).collect()
            }
            Self::Delete { .. } | Self::DeleteRange { .. } => Vec::new(),
        }
    }
}
