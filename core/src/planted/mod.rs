//! Planted bugs: mistakes that a competent engineer might make, each at its natural place, to prove that the checkers
//! find them. Nothing of them is in a build without `--cfg planted_bug`.
//!
//! `--cfg planted_bug="M-07"` compiles that one in, always on. `--cfg planted_bug="all"` compiles all of them in, and the
//! harness chooses one with [`plant`]: one build serves the whole table. [`BUGS`] tells in every build which bugs there
//! are, which invariant each must break, and what a scenario must do to show it.

mod own;
mod reference;

use crate::store::{Guard, Step};

/// A mistake on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bug {
    /// `M-…`: from the reference's list. `P-…`: of our own protocol.
    pub name: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// Where it is, or why it is not.
    pub place: Place,
    /// The invariants of which at least one must be found broken.
    pub breaks: &'static [&'static str],
    /// What a run must contain, and a checker must look at, for that; the name of the test, where only a test shows it.
    pub needs: &'static str,
}

/// Where a bug is planted, or why it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In this crate, in this function or type.
    Core(&'static str),
    /// In this crate, in this function or type. No run shows it: a test does, which the bug's needs name.
    Tested(&'static str),
    /// In the harness itself.
    Sim(&'static str),
    /// Not planted: the feature that would have it does not exist yet.
    Unbuilt(&'static str),
    /// Not planted: the design leaves no place for it.
    Impossible(&'static str),
    /// Not planted: it would change nothing that anybody can see.
    Harmless(&'static str),
}

/// Why a bug cannot be switched on in this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlantError {
    /// No bug has this name.
    #[error("no bug has this name")]
    Unknown,
    /// It has no place in this crate.
    #[error("this bug is not planted in the core")]
    Elsewhere,
    /// The build was made without it.
    #[error("this build was made without this bug: --cfg planted_bug=\"all\" has them all")]
    NotCompiled,
}

/// Every bug, in the order of the table.
pub const BUGS: &[Bug] = &ALL;

const ALL: [Bug; reference::BUGS.len() + own::BUGS.len()] = {
    let mut all = [reference::BUGS[0]; reference::BUGS.len() + own::BUGS.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < reference::BUGS.len() {
            reference::BUGS[at]
        } else {
            own::BUGS[at - reference::BUGS.len()]
        };
        at += 1;
    }
    all
};

/// Writes the table.
macro_rules! bugs {
    ($($name:literal $place:ident($at:literal): $what:literal breaks [$($rule:literal)*] needs $needs:literal;)*) => {
        pub(super) const BUGS: &[super::Bug] = &[$(super::Bug {
            name: $name,
            what: $what,
            place: super::Place::$place($at),
            breaks: &[$($rule),*],
            needs: $needs,
        }),*];
    };
}
use bugs;

/// Whether this bug is on: the constant `false` in a build without it. A name that is not in [`BUGS`], or that has no
/// place in this crate, does not compile.
macro_rules! planted {
    ($name:literal) => {
        cfg!(planted_bug = $name)
            || $crate::planted::is_on(const { $crate::planted::position($name) })
    };
}
pub(crate) use planted;

/// This guard; while the bug is on, one that always holds in its place, so that the others keep their positions.
macro_rules! unless_planted {
    ($name:literal, $guard:expr) => {{
        let guard = $guard;
        if $crate::planted::planted!($name) {
            $crate::planted::void(&guard)
        } else {
            guard
        }
    }};
}
pub(crate) use unless_planted;

/// Where a bug with a place in this crate stands in [`BUGS`].
pub(crate) const fn position(name: &str) -> usize {
    let mut at = 0;
    while at < BUGS.len() {
        if is_same(BUGS[at].name, name) {
            assert!(
                matches!(BUGS[at].place, Place::Core(_) | Place::Tested(_)),
                "the table does not say that this bug is planted here"
            );
            return at;
        }
        at += 1;
    }
    panic!("the table has no such bug")
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// A guard on the same key that always holds: no life of a key was created then.
pub(crate) fn void(guard: &Guard) -> Guard {
    Guard::Gone {
        key: guard.key().clone(),
        since: crate::ids::Revision(u64::MAX >> 1),
    }
}

/// The step with its first guard made to ask only whether the key still lives, instead of whether it is unchanged.
pub(crate) fn loosened(mut step: Step, created: crate::ids::Revision) -> Step {
    let key = step.guards[0].key().clone();
    step.guards[0] = Guard::Alive {
        key,
        since: created,
    };
    step
}

/// Switches one bug on, and all others off, in this process. No machine may be at work meanwhile: a bug does not come
/// and go in the middle of a run.
pub fn plant(name: &str) -> Result<(), PlantError> {
    let mut known = BUGS.iter();
    let at = known
        .position(|bug| bug.name == name)
        .ok_or(PlantError::Unknown)?;
    match BUGS[at].place {
        Place::Core(_) | Place::Tested(_) => switch::turn(Some(at)),
        Place::Sim(_) | Place::Unbuilt(_) | Place::Impossible(_) | Place::Harmless(_) => {
            Err(PlantError::Elsewhere)
        }
    }
}

/// Switches every bug off, in a build that has them all.
pub fn uproot() -> Result<(), PlantError> {
    switch::turn(None)
}

#[cfg(planted_bug = "all")]
mod switch {
    use std::sync::atomic::{AtomicUsize, Ordering};

    static ON: AtomicUsize = AtomicUsize::new(usize::MAX);

    pub(super) fn turn(on: Option<usize>) -> Result<(), super::PlantError> {
        ON.store(on.unwrap_or(usize::MAX), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn is_on(at: usize) -> bool {
        ON.load(Ordering::Relaxed) == at
    }
}

#[cfg(not(planted_bug = "all"))]
mod switch {
    pub(super) const fn turn(_: Option<usize>) -> Result<(), super::PlantError> {
        Err(super::PlantError::NotCompiled)
    }
}

/// Whether the harness has switched on the bug at this position.
#[cfg(planted_bug = "all")]
pub(crate) fn is_on(at: usize) -> bool {
    switch::is_on(at)
}

/// Never: this build has no switch.
#[cfg(not(planted_bug = "all"))]
#[inline(always)]
pub(crate) const fn is_on(_: usize) -> bool {
    false
}
