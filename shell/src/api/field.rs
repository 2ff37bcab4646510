//! How single values are spelled, in both directions: durations, times, names, numbers, opaque texts.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::value::RawValue;
use windlass_core::ids::Priority;
use windlass_core::time::{Millis, Wall};

/// The longest span that a task may name, 10 years: for delays, and how far ahead `run_at` may lie.
pub(super) const AHEAD_MAX: Millis = Millis::from_secs(10 * 366 * 24 * 3_600);

/// The longest time-out and the longest wait of a retry policy: 365 days.
pub(super) const SPAN_MAX: Millis = Millis::from_secs(365 * 24 * 3_600);

/// A string.
pub(super) fn string(raw: &RawValue) -> Result<String, String> {
    if !raw.get().starts_with('"') {
        return Err("must be a string".to_owned());
    }
    serde_json::from_str(raw.get()).map_err(|error| format!("is not a string: {error}"))
}

/// A string of `1..=most` characters that can be shown on one line.
pub(super) fn line(raw: &RawValue, most: usize) -> Result<String, String> {
    let text = string(raw)?;
    let count = text.chars().count();
    if count == 0 || count > most {
        return Err(format!("must have 1 to {most} characters, has {count}"));
    }
    if text.chars().any(char::is_control) {
        return Err("must have no control characters".to_owned());
    }
    Ok(text)
}

/// A string that is the spelling of a `T`.
pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(raw: &RawValue) -> Result<T, String> {
    string(raw)?
        .parse()
        .map_err(|error: T::Err| error.to_string())
}

/// `true` or `false`.
pub(super) fn boolean(raw: &RawValue) -> Result<bool, String> {
    match raw.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// A whole number from 0 to `most`, without sign, fraction or exponent.
pub(super) fn whole(raw: &RawValue, most: u32) -> Result<u32, String> {
    whole_text(raw.get(), most)
}

/// A whole number from 0 to `most` in digits.
pub(super) fn whole_text(text: &str, most: u32) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && number <= most => Ok(number),
        Ok(_) | Err(_) => Err(format!("must be a whole number from 0 to {most}")),
    }
}

/// A digit, as a number or a string, or a name.
pub(super) fn priority(raw: &RawValue) -> Result<Priority, String> {
    let text = if raw.get().starts_with('"') {
        string(raw)?
    } else {
        raw.get().to_owned()
    };
    text.parse()
        .map_err(|error: windlass_core::ids::IdError| error.to_string())
}

/// A span such as `"30s"`, in whole milliseconds, from `least` to `most`.
pub(super) fn span(raw: &RawValue, least: Millis, most: Millis) -> Result<Millis, String> {
    span_text(&string(raw)?, least, most)
}

/// A span such as `30s`, `1m30s` or `500ms`, in whole milliseconds, from `least` to `most`.
pub(super) fn span_text(text: &str, least: Millis, most: Millis) -> Result<Millis, String> {
    let span = humantime::parse_duration(text)
        .map_err(|error| format!("must be a duration such as \"30s\" or \"1m30s\": {error}"))?;
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if millis < least.get() || millis > most.get() {
        return Err(format!(
            "must be from {} to {}",
            bound_spelled(least),
            bound_spelled(most)
        ));
    }
    Ok(Millis::new(millis))
}

/// A time in RFC 3339, not before 1970 and at most [`AHEAD_MAX`] after `now`.
pub(super) fn time(raw: &RawValue, now: Wall) -> Result<Wall, String> {
    let time: Timestamp = string(raw)?
        .parse()
        .map_err(|_| "must be a time in RFC 3339 such as \"2030-01-31T12:00:00Z\"".to_owned())?;
    let millis =
        u64::try_from(time.as_millisecond()).map_err(|_| "must not lie before 1970".to_owned())?;
    if millis > now.after(AHEAD_MAX).as_millis() {
        return Err("must not lie more than 10 years ahead".to_owned());
    }
    Ok(Wall::from_millis(millis))
}

/// A span as it is shown: `5m`, `1m30s`, `500ms`.
pub(super) fn span_spelled(span: Millis) -> String {
    let spelled = humantime::format_duration(Duration::from(span)).to_string();
    spelled.replace(' ', "")
}

/// A bound as it is told: long ones in days, because months and years have many lengths.
fn bound_spelled(bound: Millis) -> String {
    const DAY: u64 = 24 * 3_600 * 1_000;
    match bound.get() / DAY {
        days @ 1.. if bound.get().is_multiple_of(DAY) => format!("{days}days"),
        _ => span_spelled(bound),
    }
}

/// A time as it is shown: RFC 3339, UTC, with milliseconds.
pub(super) fn time_spelled(time: Wall) -> String {
    let millis = i64::try_from(time.as_millis()).expect("13 digits fit");
    let time = Timestamp::from_millisecond(millis).expect("the year 2286 is a legal time");
    format!("{time:.3}")
}

/// Bytes as hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

/// The bytes behind hex digits as [`hex`] writes them.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2)
        || !text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn numbers_are_whole_and_unsigned() {
        assert_eq!(whole(&raw("3"), 10), Ok(3));
        for bad in [
            "-0",
            "-1",
            "1.0",
            "1e0",
            "11",
            "1e400",
            "\"3\"",
            "true",
            "9223372036854775808",
        ] {
            assert!(whole(&raw(bad), 10).is_err(), "{bad}");
        }
    }

    #[test]
    fn priorities_are_digits_or_names() {
        assert_eq!(priority(&raw("0")), Ok(Priority::CRITICAL));
        assert_eq!(priority(&raw("\"high\"")), Ok(Priority::HIGH));
        for bad in [
            "10",
            "-0",
            "-1",
            "5.0",
            "256",
            "-9223372036854775808",
            "1e400",
            "null",
            "\"\"",
        ] {
            assert!(priority(&raw(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_have_units_and_bounds() {
        let span = |text: &str| span_text(text, Millis::new(1), Millis::from_secs(60));
        assert_eq!(span("1m"), Ok(Millis::from_secs(60)));
        assert_eq!(span("500ms"), Ok(Millis::new(500)));
        for bad in [
            "",
            "30",
            "0s",
            "-1s",
            "61s",
            "1ns",
            "1.5.s",
            "99999999999999999999y",
        ] {
            assert!(span(bad).is_err(), "{bad}");
        }
        assert!(
            span_text("1year", Millis::new(1), SPAN_MAX)
                .unwrap_err()
                .contains("from 1ms to 365days")
        );
        assert_eq!(span_spelled(Millis::new(90_000)), "1m30s");
        assert_eq!(span_spelled(Millis::from_secs(300)), "5m");
    }

    #[test]
    fn times_are_rfc_3339_and_not_too_far() {
        let now = Wall::from_millis(1_700_000_000_000);
        assert_eq!(
            time(&raw("\"2030-01-01T00:00:00+01:00\""), now),
            Ok(Wall::from_millis(1_893_452_400_000))
        );
        for bad in [
            "\"9999-12-31T23:59:59Z\"",
            "\"1969-01-01T00:00:00Z\"",
            "\"tomorrow\"",
            "5",
            "\"2030-01-01\"",
        ] {
            assert!(time(&raw(bad), now).is_err(), "{bad}");
        }
        assert_eq!(
            time_spelled(Wall::from_millis(1_893_452_400_007)),
            "2029-12-31T23:00:00.007Z"
        );
        assert_eq!(time_spelled(Wall::MAX), "2286-11-20T17:46:39.999Z");
    }

    proptest! {
        #[test]
        fn hex_reads_back(bytes in any::<Vec<u8>>(), text in any::<String>()) {
            prop_assert_eq!(unhex(&hex(&bytes)), Some(bytes));
            let _ = unhex(&text);
        }

        #[test]
        fn spans_read_back(millis in 1..=SPAN_MAX.get()) {
            let span = Millis::new(millis);
            prop_assert_eq!(span_text(&span_spelled(span), Millis::new(1), SPAN_MAX), Ok(span));
        }

        #[test]
        fn no_text_crashes_a_parser(text in any::<String>()) {
            let _ = (whole_text(&text, 9), span_text(&text, Millis::ZERO, SPAN_MAX));
            let quoted = raw(&serde_json::to_string(&text).unwrap());
            let _ = (time(&quoted, Wall::MAX), priority(&quoted), line(&quoted, 10));
        }
    }
}
