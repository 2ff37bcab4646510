//! What a route needs, and what a role may do. Decides nothing but that.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;

/// What a route needs of whoever asks. Every route of the table names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Nothing: probes, the description, static files and the session itself.
    Open,
    /// To look at tasks, queues, nodes and counts.
    Read,
    /// To hand in tasks and to take locks.
    Submit,
    /// To be a worker: to fetch tasks and to record what became of them.
    Work,
    /// To change what others have handed in: cancel, rerun, pause, drain.
    Operate,
    /// Everything, the audit log included.
    Admin,
}

impl Access {
    /// The word for it in texts for people.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Work => "work",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the holder of a token may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look at everything but the audit log
    Read,
    /// Also hand in tasks and take locks
    Submit,
    /// Also cancel, rerun, pause, resume, configure and drain
    Operate,
    /// Everything
    Admin,
    /// Be a worker, and nothing else
    Work,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Submit,
        Self::Operate,
        Self::Admin,
        Self::Work,
    ];

    /// Whether this role is enough for a route that needs `access`.
    pub(crate) fn allows(self, access: Access) -> bool {
        match access {
            Access::Open => true,
            Access::Read => self != Self::Work,
            Access::Submit => matches!(self, Self::Submit | Self::Operate | Self::Admin),
            Access::Work => matches!(self, Self::Work | Self::Admin),
            Access::Operate => matches!(self, Self::Operate | Self::Admin),
            Access::Admin => self == Self::Admin,
        }
    }

    /// Its name in files and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Operate => "operate",
            Self::Admin => "admin",
            Self::Work => "work",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| "a role is one of read, submit, operate, admin, work".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_allows_what_the_table_says_and_no_more() {
        use Access::{Admin, Open, Operate, Read, Submit, Work};
        let allowed = |role: Role| -> Vec<Access> {
            [Open, Read, Submit, Work, Operate, Admin]
                .into_iter()
                .filter(|access| role.allows(*access))
                .collect()
        };
        assert_eq!(allowed(Role::Read), [Open, Read]);
        assert_eq!(allowed(Role::Submit), [Open, Read, Submit]);
        assert_eq!(allowed(Role::Operate), [Open, Read, Submit, Operate]);
        assert_eq!(
            allowed(Role::Admin),
            [Open, Read, Submit, Work, Operate, Admin]
        );
        assert_eq!(allowed(Role::Work), [Open, Work]);
    }

    #[test]
    fn roles_read_back_and_nothing_else_is_one() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        for bad in ["", "Admin", "root", "read ", "admin\0"] {
            assert!(bad.parse::<Role>().is_err(), "{bad:?}");
        }
    }
}
