//! Mistakes on purpose, one at a time, to prove that the checkers would notice them. Unlike those of
//! `windlass_core::planted` they are switches of a run: nothing of the plan is part of the product.

use super::check::Rule;

/// Writes the table.
macro_rules! bugs {
    ($($name:ident: $what:literal breaks [$($rule:ident)*];)*) => {
        /// A mistake on purpose.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Bug {
            $(#[doc = $what] $name,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The bug of this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|bug| bug.name() == name)
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What is wrong.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            /// The rules of which at least one must be found broken.
            pub const fn breaks(self) -> &'static [Rule] {
                match self { $(Self::$name => &[$(Rule::$rule),*],)* }
            }
        }
    };
}

bugs! {
    // The mover.
    SourceNotClosed: "the target is opened while the source still serves" breaks [OneServes];
    BaseForgotten: "the target's fences begin at its own revisions" breaks [FencesGrow];
    BaseFromRead: "the target's base is reckoned from what was read before the source was closed" breaks [FencesGrow];
    RemovedFirst: "a task is removed from the source before it is in the target" breaks [Kept];
    UnknownAsConflict: "a copy of unknown fate is taken for one that is there already" breaks [Kept];
    CopyUnguarded: "a copy does not guard that the target has not got the task" breaks [OneOutcome OnePlace FencesGrow];
    CopyUnderAnyMark: "a copy does not guard the target's mark" breaks [OneOutcome OnePlace OneServes Kept];
    ClaimsCopied: "a running attempt is copied as if its task waited" breaks [OnePlace OneOutcome];
    FinishedWithClaims: "the move is over while attempts still run in the source" breaks [MovesEnd ReadsTrue];
    EndedLeftOut: "ended tasks are removed from the source, and not copied" breaks [Kept];
    KeysLeftOut: "a task is moved without its idempotency key" breaks [KeysUnique];
    MarkForgotten: "the source's mark is removed when the move is over" breaks [OneServes ReadsTrue TasksEnd];
    // Everybody else.
    SubmitUnguarded: "a submission does not guard the mark" breaks [OneServes];
    UnknownAsRefused: "a submission of unknown fate is sent again as another task" breaks [AcceptedOnce];
    SourceNotAsked: "a submission with a key does not ask the cell that the queue leaves" breaks [KeysUnique];
    NotLookedBack: "a task that is not in the target yet is called unknown" breaks [ReadsTrue];
    CancelUnguarded: "a cancel takes a waiting task without guarding the mark" breaks [OnePlace];
    DispatchUnguarded: "a dispatch does not guard the mark" breaks [OneServes OnePlace];
    FlagIgnored: "a worker hands back an attempt that it was told to stop" breaks [StaysCancelled];
    PurgeWhileMoving: "ended tasks are purged while their queue moves" breaks [OneOutcome Kept];
}

impl Bug {
    /// Those of the mover.
    pub fn of_mover() -> &'static [Self] {
        &Self::ALL[..=Self::MarkForgotten as usize]
    }

    /// Those of everybody else.
    pub fn of_others() -> &'static [Self] {
        &Self::ALL[Self::SubmitUnguarded as usize..]
    }
}

/// The bug of a run, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Planted(pub Option<Bug>);

impl Planted {
    /// Whether this bug is on.
    pub fn has(self, bug: Bug) -> bool {
        self.0 == Some(bug)
    }
}
