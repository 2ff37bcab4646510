//! Text from others, made fit to be shown: it cannot steer a terminal, and its width is what a terminal makes of it.

use serde_json::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A value as a cell: nothing is `-`, lists are joined, and objects are JSON.
pub(in crate::cli) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items)
            if items
                .iter()
                .all(|item| !item.is_object() && !item.is_array()) =>
        {
            items.iter().map(cell).collect::<Vec<_>>().join(",")
        }
        Value::Object(members) if members.is_empty() => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Text from others as one line that cannot steer a terminal.
pub(in crate::cli) fn harmless(text: &str) -> String {
    text.chars()
        .map(|character| {
            if steers(character) {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

/// The same, line by line.
pub(in crate::cli) fn harmless_lines(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n")
}

fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many columns of a terminal `text` takes.
pub(in crate::cli) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// `text`, or as much of its start as fits `most` columns, with a mark that something is missing.
pub(in crate::cli) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 1;
    for character in text.chars() {
        taken += character.width().unwrap_or(0);
        if taken > most {
            break;
        }
        kept.push(character);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_cut_says_so_and_wide_characters_are_not_halved() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 5), "abcd…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!((width("日本語"), width("é")), (6, 1));
    }

    #[test]
    fn escapes_breaks_and_changes_of_direction_are_made_inert() {
        assert_eq!(
            harmless("\u{1b}[31m\r\n\u{202e}\u{9b}x"),
            "\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}\u{fffd}x"
        );
        assert_eq!(harmless_lines("a\nb\u{7}"), "a\nb\u{fffd}");
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_it_may_be(text in any::<String>(), most in 1_usize..40) {
            let text = harmless(&text);
            prop_assert!(width(&cut(&text, most)) <= most.max(1));
        }
    }
}
