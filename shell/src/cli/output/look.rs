//! How results are dressed: for a person at a terminal, or for a program that reads a pipe.

use std::io::{self, IsTerminal};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// When there is colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// As NO_COLOR, CLICOLOR_FORCE and TERM say, else on a terminal only.
    #[default]
    Auto,
    /// Whatever reads it.
    Always,
    /// Not at all.
    Never,
}

/// How times are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TimeStyle {
    /// How long ago, or in how long.
    Relative,
    /// In this machine's time zone.
    Local,
    /// In RFC 3339, UTC.
    Utc,
}

/// The dress of a table.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Look {
    /// Whether a person reads it.
    pub(in crate::cli) terminal: bool,
    /// How wide a line may be, in columns.
    pub(in crate::cli) width: Option<usize>,
    /// Whether there is colour.
    pub(in crate::cli) colour: bool,
    /// How times are spelled.
    pub(in crate::cli) time: TimeStyle,
    /// What time it is.
    pub(in crate::cli) now: Timestamp,
}

impl Look {
    /// The dress of what is written to stdout now.
    pub(super) fn of_stdout(color: ColorChoice, time: Option<TimeStyle>, whole: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let default = if terminal {
            TimeStyle::Relative
        } else {
            TimeStyle::Utc
        };
        Self {
            terminal,
            width: (terminal && !whole).then(terminal_width).flatten(),
            colour: coloured(color, |name| std::env::var(name).ok(), terminal),
            time: time.unwrap_or(default),
            now: Timestamp::now(),
        }
    }

    /// For a program that reads a pipe.
    #[cfg(test)]
    pub(in crate::cli) fn plain() -> Self {
        Self {
            terminal: false,
            width: None,
            colour: false,
            time: TimeStyle::Utc,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    /// The time `text`, which is RFC 3339, as people want to read it. What is no time is left as it is.
    pub(in crate::cli) fn time(&self, text: &str) -> String {
        let Ok(at) = text.parse::<Timestamp>() else {
            return text.to_owned();
        };
        match self.time {
            TimeStyle::Utc => text.to_owned(),
            TimeStyle::Local => spell_local(at, self.terminal),
            TimeStyle::Relative => spell_relative(at, self.now),
        }
    }
}

fn spell_local(at: Timestamp, terminal: bool) -> String {
    let local = at.to_zoned(TimeZone::system());
    let format = if terminal {
        "%Y-%m-%d %H:%M:%S"
    } else {
        "%Y-%m-%dT%H:%M:%S%.3f%:z"
    };
    local.strftime(format).to_string()
}

fn spell_relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second() - now.as_second();
    let span = spell_seconds(seconds.unsigned_abs());
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {span}"),
        _ => format!("{span} ago"),
    }
}

/// A number of seconds, in the largest unit that still tells something.
fn spell_seconds(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Whether there is colour: the option goes before the environment, and that before what stdout is.
fn coloured(
    choice: ColorChoice,
    environment: impl Fn(&str) -> Option<String>,
    terminal: bool,
) -> bool {
    let is_set = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if is_set("NO_COLOR") => false,
        ColorChoice::Auto
            if environment("CLICOLOR_FORCE").is_some_and(|it| !it.is_empty() && it != "0") =>
        {
            true
        }
        ColorChoice::Auto => terminal && environment("TERM").is_none_or(|term| term != "dumb"),
    }
}

fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coloured_with(choice: ColorChoice, set: &[(&str, &str)], terminal: bool) -> bool {
        let environment = |name: &str| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        coloured(choice, environment, terminal)
    }

    #[test]
    fn colour_is_decided_by_option_then_environment_then_terminal() {
        use ColorChoice::{Always, Auto, Never};
        for (choice, set, terminal, expected) in [
            (Auto, &[][..], true, true),
            (Auto, &[], false, false),
            (Auto, &[("TERM", "dumb")], true, false),
            (
                Auto,
                &[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")],
                false,
                true,
            ),
            (Auto, &[("CLICOLOR_FORCE", "0")], false, false),
            (
                Auto,
                &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "0")],
                true,
                false,
            ),
            (Auto, &[("NO_COLOR", "")], true, true),
            (Always, &[("NO_COLOR", "1")], false, true),
            (Never, &[("CLICOLOR_FORCE", "1")], true, false),
        ] {
            assert_eq!(
                coloured_with(choice, set, terminal),
                expected,
                "{choice:?} {set:?} {terminal}"
            );
        }
    }

    #[test]
    fn times_are_told_as_asked() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut look = Look {
            time: TimeStyle::Relative,
            now,
            ..Look::plain()
        };
        for (time, told) in [
            ("2026-01-01T00:00:00Z", "now"),
            ("2025-12-31T23:59:18.000Z", "42s ago"),
            ("2026-01-01T00:05:00Z", "in 5m"),
            ("2025-12-31T20:00:00Z", "4h ago"),
            ("2025-12-01T00:00:00Z", "31d ago"),
            ("soon", "soon"),
        ] {
            assert_eq!(look.time(time), told);
        }
        look.time = TimeStyle::Utc;
        assert_eq!(
            look.time("2025-12-31T23:59:18.000Z"),
            "2025-12-31T23:59:18.000Z"
        );
        look.time = TimeStyle::Local;
        let local = look.time("2025-12-31T23:59:18.000Z");
        assert_eq!(
            local.parse::<Timestamp>().unwrap().to_string(),
            "2025-12-31T23:59:18Z"
        );
    }
}
