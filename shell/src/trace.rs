//! The W3C trace context that a task carries from whoever submits it to whoever runs it, in its metadata under
//! [`TRACE_PARENT`](crate::executor::TRACE_PARENT). <https://www.w3.org/TR/trace-context/>

/// Whether `text` is a `traceparent`: `00-TRACE-SPAN-FLAGS` in lower-case hexadecimal digits, where neither the trace nor
/// the span is all zeros. Later versions may append parts.
pub(crate) fn is_sound(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags, more @ ..] = &parts[..] else {
        return false;
    };
    let is_hex = |part: &str, len: usize| {
        part.len() == len
            && part
                .bytes()
                .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_named = |part: &str, len: usize| is_hex(part, len) && part.bytes().any(|it| it != b'0');
    is_hex(version, 2)
        && *version != "ff"
        && is_named(trace, 32)
        && is_named(span, 16)
        && is_hex(flags, 2)
        && (more.is_empty() || *version != "00")
        && text.bytes().all(|it| it.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_sound_one_is_taken_and_one_of_a_later_version_too() {
        assert!(is_sound(SOUND));
        assert!(is_sound(&(SOUND.replacen("00", "01", 1) + "-more")));
    }

    #[test]
    fn what_is_no_traceparent_is_not() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-\0",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
        ] {
            assert!(!is_sound(text), "{text:?}");
        }
    }
}
