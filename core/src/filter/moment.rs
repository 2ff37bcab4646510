//! Times in queries: a point in time, a date, or an age. Calendars are counted by hand: the core knows no zone but UTC.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::term::Relation;
use crate::time::{Millis, Wall};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;

/// A time as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// How the task's time stands
    pub relation: Relation,
    /// to this one.
    pub when: When,
}

impl Moment {
    pub(super) fn fits(self, found: Wall, now: Wall) -> bool {
        self.relation.holds(&found, &self.when.at(now))
    }
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// This one.
    At(Wall),
    /// So long before whoever asks.
    Ago(Millis),
}

impl When {
    /// The time that is meant at `now`.
    pub fn at(self, now: Wall) -> Wall {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => Wall::from_millis(now.as_millis().saturating_sub(span.get())),
        }
    }

    /// The time that `text` spells, from 1970 to [`Wall::MAX`].
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('-') {
            Some(age) => span(age).map(Self::Ago),
            None => point(text).map(Self::At),
        }
    }
}

/// `1h30m`, `7d`, `500ms`: at least one number with a unit.
fn span(text: &str) -> Option<Millis> {
    let (mut total, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let (number, behind) = digits(rest);
        let unit_len = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = behind.split_at(unit_len);
        let unit = match unit {
            "ms" => 1,
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            "w" => WEEK,
            _ => return None,
        };
        let number: u64 = number.parse().ok()?;
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = behind;
    }
    let is_told = !text.is_empty() && total <= Wall::MAX.as_millis();
    is_told.then_some(Millis::new(total))
}

fn digits(text: &str) -> (&str, &str) {
    let len = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(len)
}

/// `2026-11-23`, or RFC 3339 such as `2026-11-23T10:00:00.5+01:00`.
fn point(text: &str) -> Option<Wall> {
    let (date, time) = match text.split_once(['T', 't']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let days = days_since_1970(year, month, day)?;
    let (clock, offset) = match time {
        Some(time) => clock(time)?,
        None => (0, 0),
    };
    let millis = i64::try_from(days * DAY + clock).ok()? - offset;
    let millis = u64::try_from(millis).ok()?;
    (millis <= Wall::MAX.as_millis()).then_some(Wall::from_millis(millis))
}

/// Numbers of exactly so many digits, with a sign between them.
fn numbers<const N: usize>(text: &str, between: char, lens: [usize; N]) -> Option<[u64; N]> {
    let (mut found, mut parts) = ([0; N], text.split(between));
    for (number, len) in found.iter_mut().zip(lens) {
        let part = parts.next()?;
        let fits = part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| fits)?;
    }
    parts.next().is_none().then_some(found)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_before_year(year: u64) -> u64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400
}

fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let is_date = year >= 1970
        && (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day);
    is_date.then(|| {
        let months: u64 = (1..month).map(|month| days_of_month(year, month)).sum();
        days_before_year(year) - days_before_year(1970) + months + day - 1
    })
}

/// The milliseconds of a day, and those that its zone is ahead of UTC.
fn clock(text: &str) -> Option<(u64, i64)> {
    let zone_at = text.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = text.split_at(zone_at);
    let (seconds, fraction) = match clock.split_once('.') {
        Some((seconds, fraction)) => (seconds, fraction),
        None => (clock, "0"),
    };
    let [hour, minute, second] = numbers(seconds, ':', [2, 2, 2])?;
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let millis: u64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    // A leap second is taken for the second before it: nothing here can tell them apart.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let clock = hour * HOUR + minute * MINUTE + second.min(59) * SECOND + millis;
    Some((clock, offset(zone)?))
}

fn offset(zone: &str) -> Option<i64> {
    let sign = match zone.as_bytes().first()? {
        b'Z' | b'z' => return (zone.len() == 1).then_some(0),
        b'+' => 1,
        _ => -1,
    };
    let [hour, minute] = numbers(&zone[1..], ':', [2, 2])?;
    let ahead = i64::try_from(hour * HOUR + minute * MINUTE).ok()?;
    (hour <= 23 && minute <= 59).then_some(sign * ahead)
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => write_point(at.as_millis(), f),
            Self::Ago(span) => write_span(span.get(), f),
        }
    }
}

fn write_point(millis: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (mut days, clock) = (millis / DAY, millis % DAY);
    let mut year = 1970;
    while days >= days_before_year(year + 1) - days_before_year(year) {
        days -= days_before_year(year + 1) - days_before_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    let (hour, minute) = (clock / HOUR, clock % HOUR / MINUTE);
    let (second, rest) = (clock % MINUTE / SECOND, clock % SECOND);
    write!(f, "{year:04}-{month:02}-{:02}", days + 1)?;
    write!(f, "T{hour:02}:{minute:02}:{second:02}")?;
    if rest > 0 {
        write!(f, ".{rest:03}")?;
    }
    f.write_str("Z")
}

fn write_span(millis: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("-")?;
    let units = [
        (DAY, "d"),
        (HOUR, "h"),
        (MINUTE, "m"),
        (SECOND, "s"),
        (1, "ms"),
    ];
    let mut rest = millis;
    for (unit, name) in units {
        if rest >= unit {
            write!(f, "{}{name}", rest / unit)?;
            rest %= unit;
        }
    }
    if millis == 0 {
        f.write_str("0s")
    } else {
        Ok(())
    }
}
