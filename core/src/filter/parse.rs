//! Reading a query: from its text to its terms, or to the place where it cannot go on and what was expected there.

use std::str::FromStr;
use std::sync::Arc;

use super::moment::{Moment, When};
use super::term::{Compare, IdPrefix, Pattern, Relation, Term, Test, folded};
use super::{TERMS_MAX, TEXT_MAX};
use crate::ids::{NAME_LEN_MAX, Priority};

/// What is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {reason}")]
pub struct FilterError {
    /// Where, in characters; the first is 1.
    pub at: usize,
    /// What was expected there.
    pub reason: String,
}

const FIELDS: &str = "state, queue, type, worker, name, id, priority, error, created, ended, retries, losses, meta.KEY";
const STATES: &str =
    "expected a state: scheduled, pending, running, retrying, completed, failed or cancelled";
const TIME: &str = "expected <, <=, > or >= and a time such as 2026-11-23T10:00:00Z, a date such as 2026-11-23, or an age such as -1h";

/// The terms of a query.
pub(super) fn terms(text: &str) -> Result<Vec<Term>, FilterError> {
    let mut reader = Reader { text, at: 0 };
    if text.len() > TEXT_MAX {
        let last = text.floor_char_boundary(TEXT_MAX);
        return reader.fail(last, format!("a query has at most {TEXT_MAX} bytes"));
    }
    let mut terms = Vec::new();
    loop {
        reader.take_while(char::is_whitespace);
        if reader.rest().is_empty() {
            return Ok(terms);
        }
        if terms.len() == TERMS_MAX {
            let reason = format!("a query has at most {TERMS_MAX} terms");
            return reader.fail(reader.at, reason);
        }
        terms.push(reader.term()?);
    }
}

/// One value as it stands in the text.
struct Raw {
    at: usize,
    text: String,
    /// A `*` stands behind it.
    open: bool,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn eat(&mut self, wanted: char) -> bool {
        let is_there = self.rest().starts_with(wanted);
        if is_there {
            self.at += wanted.len_utf8();
        }
        is_there
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|char| !belongs(char)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    /// What is wrong at the byte `at`.
    fn fail<T>(&self, at: usize, reason: impl Into<String>) -> Result<T, FilterError> {
        Err(FilterError {
            at: self.text[..at].chars().count() + 1,
            reason: reason.into(),
        })
    }

    fn term(&mut self) -> Result<Term, FilterError> {
        let negated = self.eat('-');
        let test = self.test()?;
        let behind = self.rest().chars().next();
        if behind.is_some_and(|char| !char.is_whitespace()) {
            return self.fail(self.at, "expected white space behind a term");
        }
        Ok(Term { negated, test })
    }

    fn test(&mut self) -> Result<Test, FilterError> {
        let start = self.at;
        if self.rest().starts_with('"') {
            let word = self.quoted()?;
            if word.is_empty() {
                return self.fail(start, "expected a word with letters in it");
            }
            return Ok(Test::Word(folded(&word).into()));
        }
        let head = self.take_while(|char| !char.is_whitespace() && !matches!(char, ':' | '"'));
        if let Some(key) = head.strip_prefix("meta.") {
            return self.labels(start, key);
        }
        if self.eat(':') {
            return self.field(start, head);
        }
        if head.is_empty() {
            return self.fail(start, "expected a word, or a field and a value");
        }
        Ok(Test::Word(folded(head).into()))
    }

    /// `meta.KEY:VALUE`, the key in quotes when it has to be.
    fn labels(&mut self, start: usize, bare: &str) -> Result<Test, FilterError> {
        let key = if bare.is_empty() && self.rest().starts_with('"') {
            self.quoted()?
        } else {
            bare.to_owned()
        };
        if key.is_empty() {
            return self.fail(start, "expected the name of a label behind meta.");
        }
        if !self.eat(':') {
            return self.fail(self.at, "expected a colon and a value behind meta.KEY");
        }
        let patterns = self.values(|_, raw| Ok(pattern(raw)))?;
        Ok(Test::Meta(key.into(), patterns))
    }

    fn field(&mut self, start: usize, name: &str) -> Result<Test, FilterError> {
        Ok(match name {
            "state" => Test::State(self.values(|it, raw| it.parsed(&raw, STATES))?),
            "queue" => Test::Queue(self.names("queue")?),
            "type" => Test::Kind(self.names("type")?),
            "worker" => Test::Worker(self.names("worker")?),
            "name" => Test::Name(self.values(|_, raw| Ok(pattern(raw)))?),
            "id" => Test::Id(self.values(Self::id)?),
            "priority" => Test::Priority(self.values(Self::priority)?),
            "error" => Test::Error(self.values(Self::error)?),
            "created" => Test::Created(self.values(Self::moment)?),
            "ended" => Test::Ended(self.values(Self::moment)?),
            "retries" => Test::Retries(self.values(Self::number)?),
            "losses" => Test::Losses(self.values(Self::number)?),
            _ => {
                let reason = format!(
                    "{name} is not a field; expected one of {FIELDS}, or a word in quotes if it has a colon"
                );
                return self.fail(start, reason);
            }
        })
    }

    /// The values of a field, with commas between them.
    fn values<T>(
        &mut self,
        read: impl Fn(&Self, Raw) -> Result<T, FilterError>,
    ) -> Result<Vec<T>, FilterError> {
        let mut values = Vec::new();
        loop {
            let raw = self.raw()?;
            values.push(read(self, raw)?);
            if !self.eat(',') {
                return Ok(values);
            }
        }
    }

    fn raw(&mut self) -> Result<Raw, FilterError> {
        let at = self.at;
        if self.rest().starts_with('"') {
            let text = self.quoted()?;
            let open = self.eat('*');
            return Ok(Raw { at, text, open });
        }
        let bare = self.take_while(|char| !char.is_whitespace() && !matches!(char, ',' | '"'));
        let (text, open) = match bare.strip_suffix('*') {
            Some(text) => (text, true),
            None => (bare, false),
        };
        if bare.is_empty() {
            return self.fail(at, "expected a value");
        }
        if let Some(star) = text.find('*') {
            let reason = "expected a * only behind the last character; in quotes it is a character as any other";
            return self.fail(at + star, reason);
        }
        let text = text.to_owned();
        Ok(Raw { at, text, open })
    }

    /// A text in double quotes, with `\"` and `\\` inside.
    fn quoted(&mut self) -> Result<String, FilterError> {
        let start = self.at;
        self.eat('"');
        let mut text = String::new();
        while let Some(char) = self.rest().chars().next() {
            self.at += char.len_utf8();
            match char {
                '"' => return Ok(text),
                '\\' if self.eat('"') => text.push('"'),
                '\\' if self.eat('\\') => text.push('\\'),
                '\\' => return self.fail(self.at, "expected \" or \\ behind a \\"),
                _ => text.push(char),
            }
        }
        self.fail(start, "expected a closing quote for this one")
    }

    fn names(&mut self, field: &str) -> Result<Vec<Pattern>, FilterError> {
        self.values(|it, raw| {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            let fits = raw.text.len() <= NAME_LEN_MAX && raw.text.bytes().all(legal);
            if !fits || (raw.text.is_empty() && !raw.open) {
                let reason = format!("expected a {field} of at most {NAME_LEN_MAX} characters out of A-Z, a-z, 0-9, '.', '_' and '-', or its beginning and a *");
                return it.fail(raw.at, reason);
            }
            Ok(pattern(raw))
        })
    }

    fn parsed<T: FromStr>(&self, raw: &Raw, reason: &str) -> Result<T, FilterError> {
        match raw.text.parse() {
            Ok(value) if !raw.open => Ok(value),
            Ok(_) | Err(_) => self.fail(raw.at, reason),
        }
    }

    fn id(&self, raw: Raw) -> Result<IdPrefix, FilterError> {
        match IdPrefix::new(&raw.text) {
            Some(prefix) if prefix.digits > 0 || raw.open => Ok(prefix),
            Some(_) | None => self.fail(raw.at, "expected the beginning of a task's id"),
        }
    }

    fn error(&self, raw: Raw) -> Result<Arc<str>, FilterError> {
        if raw.open && !raw.text.is_empty() {
            let reason = "expected a text without *: it may stand anywhere in the error";
            return self.fail(raw.at, reason);
        }
        Ok(folded(&raw.text).into())
    }

    fn priority(&self, raw: Raw) -> Result<Compare, FilterError> {
        let reason = "expected a priority from 0 to 9, or critical, high, normal or low, with <, <=, =, >= or > before it if need be";
        let (relation, text) = relation(&raw.text);
        match text.parse::<Priority>() {
            Ok(priority) if !raw.open => Ok(Compare {
                relation: relation.unwrap_or(Relation::Equal),
                number: u32::from(priority.get()),
            }),
            Ok(_) | Err(_) => self.fail(raw.at, reason),
        }
    }

    fn number(&self, raw: Raw) -> Result<Compare, FilterError> {
        let (relation, text) = relation(&raw.text);
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && !raw.open => Ok(Compare {
                relation: relation.unwrap_or(Relation::Equal),
                number,
            }),
            Ok(_) | Err(_) => self.fail(raw.at, "expected a number such as 3, >2 or <=5"),
        }
    }

    fn moment(&self, raw: Raw) -> Result<Moment, FilterError> {
        let (relation, text) = relation(&raw.text);
        let relation = relation.filter(|it| *it != Relation::Equal && !raw.open);
        match relation.zip(When::parse(text)) {
            Some((relation, when)) => Ok(Moment { relation, when }),
            None => self.fail(raw.at, TIME),
        }
    }
}

fn pattern(raw: Raw) -> Pattern {
    if raw.open {
        Pattern::Prefix(raw.text.into())
    } else {
        Pattern::Exact(raw.text.into())
    }
}

fn relation(text: &str) -> (Option<Relation>, &str) {
    let signs = [
        ("<=", Relation::AtMost),
        (">=", Relation::AtLeast),
        ("<", Relation::Less),
        (">", Relation::More),
        ("=", Relation::Equal),
    ];
    let found = signs
        .into_iter()
        .find_map(|(sign, it)| Some((Some(it), text.strip_prefix(sign)?)));
    found.unwrap_or((None, text))
}
