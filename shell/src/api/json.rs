//! Reads JSON that nobody vouches for: objects field by field, so that every fault has a name, and payloads by their shape.
//! Nothing here recurses, whatever the depth of the text.

use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::Fault;

/// The deepest nesting that is accepted.
pub(super) const DEPTH_MAX: usize = 32;

/// The most fields of one object that are looked at.
const FIELDS_MAX: usize = 64;

/// The text of a body, if it is text that JSON may be in.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Fault> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Fault::new(
            "body",
            "starts with a byte order mark; JSON has none",
        ));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || bytes.contains(&0) {
        return Err(Fault::new("body", "is not UTF-8 text"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        Fault::new(
            "body",
            format!("is not UTF-8 text from byte {}", error.valid_up_to()),
        )
    })
}

/// The elements of the array in `text`, at most one more than `most`.
pub(super) fn elements(text: &str, most: usize) -> Result<Vec<&RawValue>, Fault> {
    let mut reader = serde_json::Deserializer::from_str(text);
    reader
        .deserialize_seq(Elements { most })
        .and_then(|found| reader.end().map(|()| found))
        .map_err(|error| not_json("body", &error))
}

struct Elements {
    most: usize,
}

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut found = Vec::new();
        while found.len() <= self.most {
            match items.next_element()? {
                Some(item) => found.push(item),
                None => return Ok(found),
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

/// An object that is taken apart: each field once, by its name; what is left at the end is unknown.
#[derive(Debug)]
pub(super) struct Object<'a> {
    path: String,
    fields: Vec<(String, &'a RawValue)>,
    faults: Vec<Fault>,
}

impl<'a> Object<'a> {
    /// The object in `text`, whose fields are called `path` and their name in faults.
    pub(super) fn open(path: &str, text: &'a str) -> Result<Self, Fault> {
        let whole = path.strip_suffix('.').unwrap_or("body");
        let start = text.trim_ascii_start().as_bytes().first();
        if start.is_some_and(|first| *first != b'{')
            && serde_json::from_str::<&RawValue>(text).is_ok()
        {
            return Err(Fault::new(whole, "must be an object"));
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let found = reader
            .deserialize_map(Members)
            .and_then(|found| reader.end().map(|()| found))
            .map_err(|error| not_json(whole, &error))?;
        let mut object = Self {
            path: path.to_owned(),
            fields: found.fields,
            faults: Vec::new(),
        };
        for name in found.duplicates {
            object.refuse(&name, "is given twice");
        }
        if found.too_many {
            object.faults.push(Fault::new(
                whole,
                format!("has more than {FIELDS_MAX} fields"),
            ));
        }
        Ok(object)
    }

    /// The field `name`, if it is given, not `null` and as `parse` wants it. What `parse` says is wrong is noted.
    pub(super) fn take<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&'a RawValue) -> Result<T, String>,
    ) -> Option<T> {
        let raw = self.take_raw(name)?;
        if raw.get() == "null" {
            return None;
        }
        match parse(raw) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.refuse(name, reason);
                None
            }
        }
    }

    /// The field `name` as it is spelled, if it is given.
    pub(super) fn take_raw(&mut self, name: &str) -> Option<&'a RawValue> {
        #[cfg(test)]
        asked::note(&self.path, name);
        let index = self.fields.iter().position(|(field, _)| field == name)?;
        Some(self.fields.swap_remove(index).1)
    }

    /// The next field that nobody took.
    pub(super) fn take_any(&mut self) -> Option<(String, &'a RawValue)> {
        self.fields.pop()
    }

    /// Notes that something is wrong with the field `name`.
    pub(super) fn refuse(&mut self, name: &str, reason: impl Into<String>) {
        // A name is the client's own text: it is cut, so that an answer never grows with a question.
        let name: String = name.chars().take(128).collect();
        self.faults
            .push(Fault::new(format!("{}{name}", self.path), reason));
    }

    /// Notes what was found wrong with a part of this object.
    pub(super) fn refuse_all(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.extend(faults);
    }

    /// Whether anything was wrong so far.
    pub(super) fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// Everything that was wrong, fields that nobody took included.
    pub(super) fn close(mut self) -> Vec<Fault> {
        while let Some((name, _)) = self.take_any() {
            self.refuse(&name, "is not a field that is known here");
        }
        self.faults
    }
}

/// Which fields readers ask for, so that a test can compare them with what is described.
#[cfg(test)]
pub(super) mod asked {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static NAMES: RefCell<BTreeSet<String>> = RefCell::default();
    }

    pub(super) fn note(path: &str, name: &str) {
        NAMES.with_borrow_mut(|names| names.insert(format!("{path}{name}")));
    }

    /// The fields that were asked for on this thread since the last call, with their paths.
    pub(in crate::api) fn take() -> BTreeSet<String> {
        NAMES.take()
    }
}

struct Members;

#[derive(Default)]
struct Found<'de> {
    fields: Vec<(String, &'de RawValue)>,
    duplicates: Vec<String>,
    too_many: bool,
}

impl<'de> Visitor<'de> for Members {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = Found::default();
        while found.fields.len() < FIELDS_MAX {
            let Some(name) = members.next_key::<String>()? else {
                return Ok(found);
            };
            if found.fields.iter().any(|(field, _)| *field == name) {
                members.next_value::<IgnoredAny>()?;
                if !found.duplicates.contains(&name) {
                    found.duplicates.push(name);
                }
            } else {
                found.fields.push((name, members.next_value()?));
            }
        }
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            found.too_many = true;
        }
        Ok(found)
    }
}

fn not_json(field: &str, error: &serde_json::Error) -> Fault {
    Fault::new(field, format!("is not JSON that is accepted here: {error}"))
}

/// Why a document that is JSON is not accepted all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Shape {
    /// Deeper than [`DEPTH_MAX`].
    #[error("is nested deeper than {DEPTH_MAX} levels")]
    Deep,
    /// An escape that stands for half a character.
    #[error("has an escape for half a character (a lone surrogate)")]
    HalfCharacter,
}

/// Whether the JSON document `text` has a shape that every reader can take.
pub(super) fn check_shape(text: &str) -> Result<(), Shape> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(Shape::Deep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => at = string_end(bytes, at)?,
            _ => {}
        }
    }
    Ok(())
}

/// The first byte behind the string whose first character is at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> Result<usize, Shape> {
    loop {
        match bytes.get(at) {
            None => return Ok(at),
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => match utf16_escape(bytes, at) {
                Some(0xd800..=0xdbff) => match utf16_escape(bytes, at + 6) {
                    Some(0xdc00..=0xdfff) => at += 12,
                    Some(_) | None => return Err(Shape::HalfCharacter),
                },
                Some(0xdc00..=0xdfff) => return Err(Shape::HalfCharacter),
                Some(_) => at += 6,
                None => at += 2,
            },
            Some(_) => at += 1,
        }
    }
}

/// The code unit of the escape `\uXXXX` at `at`, if there is one.
fn utf16_escape(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The JSON document `text` without the space between its tokens.
pub(super) fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in text.chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            in_string = character == '"';
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn depth_is_counted_outside_strings_only() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check_shape(&nested(DEPTH_MAX)), Ok(()));
        assert_eq!(check_shape(&nested(DEPTH_MAX + 1)), Err(Shape::Deep));
        assert_eq!(check_shape(&nested(1_000_000)), Err(Shape::Deep));
        assert_eq!(check_shape(&format!("\"\\\"{}\"", "[".repeat(100))), Ok(()));
        assert_eq!(check_shape("[[],[],{}]"), Ok(()));
    }

    #[test]
    fn half_a_character_is_refused_and_a_whole_one_is_not() {
        assert_eq!(check_shape(r#""\ud83e\udd80""#), Ok(()));
        assert_eq!(check_shape(r#""\u00e9 \\ud800""#), Ok(()));
        for half in [
            r#""\ud800""#,
            r#""\ud800x""#,
            r#""\udc00""#,
            r#""\ud800\n""#,
            r#""\ud800\u0041""#,
            r#"{"\uD800":1}"#,
        ] {
            assert_eq!(check_shape(half), Err(Shape::HalfCharacter), "{half}");
        }
    }

    #[test]
    fn space_is_dropped_between_tokens_only() {
        assert_eq!(
            compact("{ \"a b\" :\n[1, \"\\\" x\\\\\" ,2] }"),
            "{\"a b\":[1,\"\\\" x\\\\\",2]}"
        );
    }

    #[test]
    fn an_object_names_what_is_given_twice_and_what_is_unknown() {
        let mut object = Object::open("", r#"{"a":1,"b":2,"a":3,"c":null}"#).unwrap();
        assert_eq!(
            object.take("b", |raw| Ok(raw.get().to_owned())).unwrap(),
            "2"
        );
        assert_eq!(object.take("c", |_| Ok(())), None);
        let mut faults = object.close();
        faults.sort_by(|a, b| a.reason.cmp(&b.reason));
        assert_eq!(
            faults,
            [
                Fault::new("a", "is given twice"),
                Fault::new("a", "is not a field that is known here")
            ]
        );
    }

    #[test]
    fn a_million_fields_are_one_fault() {
        let many: String = (0..1_000_000).map(|n| format!("\"k{n}\":1,")).collect();
        let text = format!("{{{}\"z\":1}}", many);
        let object = Object::open("", &text).unwrap();
        assert!(!object.is_sound());
        assert!(object.close().len() <= FIELDS_MAX + 1);
    }

    proptest! {
        #[test]
        fn no_text_crashes_a_reader(text in any::<String>()) {
            let _ = (check_shape(&text), compact(&text), elements(&text, 10).map(|found| found.len()));
            let _ = Object::open("", &text).map(Object::close);
        }

        #[test]
        fn no_brackets_and_escapes_crash_a_reader(text in r#"[\[\]{}"\\u0-9a-fd8, :]{0,60}"#) {
            let _ = (check_shape(&text), compact(&text), elements(&text, 10).map(|found| found.len()));
            let _ = Object::open("", &text).map(Object::close);
        }

        #[test]
        fn what_serde_wrote_is_read_whole(text in any::<String>(), number in any::<f64>()) {
            let spelled = serde_json::json!({"t": text, "n": [number]}).to_string();
            prop_assert_eq!(check_shape(&spelled), Ok(()));
            prop_assert!(Object::open("", &spelled).is_ok());
            prop_assert_eq!(compact(&spelled), spelled);
        }
    }
}
