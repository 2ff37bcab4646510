//! How terms are spelled, so that they read back as the same.

use std::fmt::{self, Display, Formatter, Write};

use super::moment::Moment;
use super::term::{Compare, ID_DIGITS, IdPrefix, Pattern, Relation, Term, Test};

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.negated {
            f.write_str("-")?;
        }
        self.test.fmt(f)
    }
}

impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(states) => list(f, "state", states),
            Self::Queue(patterns) => list(f, "queue", patterns),
            Self::Kind(patterns) => list(f, "type", patterns),
            Self::Worker(patterns) => list(f, "worker", patterns),
            Self::Name(patterns) => list(f, "name", patterns),
            Self::Id(prefixes) => list(f, "id", prefixes),
            Self::Priority(compares) => list(f, "priority", compares),
            Self::Error(texts) => list(f, "error", texts.iter().map(|it| Value(it))),
            Self::Created(moments) => list(f, "created", moments),
            Self::Ended(moments) => list(f, "ended", moments),
            Self::Retries(compares) => list(f, "retries", compares),
            Self::Losses(compares) => list(f, "losses", compares),
            Self::Meta(key, patterns) => {
                f.write_str("meta.")?;
                if key.contains(|char: char| char.is_whitespace() || matches!(char, ':' | '"')) {
                    quoted(f, key)?;
                } else {
                    f.write_str(key)?;
                }
                list(f, "", patterns)
            }
            Self::Word(word) => {
                let strange = |char: char| char.is_whitespace() || matches!(char, ':' | '"');
                let begins_strangely = word.starts_with('-') || word.starts_with("meta.");
                if begins_strangely || word.contains(strange) {
                    quoted(f, word)
                } else {
                    f.write_str(word)
                }
            }
        }
    }
}

fn list<T: Display>(
    f: &mut Formatter<'_>,
    field: &str,
    values: impl IntoIterator<Item = T>,
) -> fmt::Result {
    write!(f, "{field}:")?;
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            f.write_str(",")?;
        }
        value.fmt(f)?;
    }
    Ok(())
}

fn quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            f.write_char('\\')?;
        }
        f.write_char(char)?;
    }
    f.write_char('"')
}

/// A text as one value of a field.
struct Value<'a>(&'a str);

impl Display for Value<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let strange = |char: char| char.is_whitespace() || matches!(char, ',' | '"' | '*');
        if self.0.is_empty() || self.0.contains(strange) {
            quoted(f, self.0)
        } else {
            f.write_str(self.0)
        }
    }
}

impl Display for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => Value(text).fmt(f),
            Self::Prefix(text) if text.is_empty() => f.write_str("*"),
            Self::Prefix(text) => write!(f, "{}*", Value(text)),
        }
    }
}

impl Display for Relation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::AtLeast => ">=",
            Self::More => ">",
        })
    }
}

impl Display for Compare {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.relation {
            Relation::Equal => self.number.fmt(f),
            Relation::Less | Relation::AtMost | Relation::AtLeast | Relation::More => {
                write!(f, "{}{}", self.relation, self.number)
            }
        }
    }
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.relation, self.when)
    }
}

impl Display for IdPrefix {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.digits == 0 {
            return f.write_str("*");
        }
        for digit in 0..self.digits.min(ID_DIGITS) {
            if matches!(digit, 8 | 12 | 16 | 20) {
                f.write_char('-')?;
            }
            let shift = 4 * u32::from(ID_DIGITS - 1 - digit);
            write!(f, "{:x}", (self.bits >> shift) & 15)?;
        }
        Ok(())
    }
}
