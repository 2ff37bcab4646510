//! The W3C trace context that a task carries from whoever submits it to whoever runs it, in its metadata under
//! [`TRACE_PARENT`](crate::executor::TRACE_PARENT). <https://www.w3.org/TR/trace-context/>

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

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

/// The span that a sound `traceparent` names; nothing for one that is not sound. Of a later version it reads what this
/// version knows.
pub(super) fn parse(text: &str) -> Option<SpanContext> {
    if !is_sound(text) {
        return None;
    }
    let mut parts = text.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    Some(SpanContext::new(
        trace,
        span,
        TraceFlags::new(flags),
        true,
        TraceState::NONE,
    ))
}

/// The `traceparent` that names `span`; nothing for one that was made after its exporter's end, which has no name.
pub(super) fn spell(span: &SpanContext) -> Option<String> {
    let flags = span.trace_flags().to_u8();
    let spelled = || format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id());
    span.is_valid().then(spelled)
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

    #[test]
    fn what_is_parsed_is_spelled_the_same() {
        for text in [SOUND, &SOUND.replace("-01", "-00")] {
            let span = parse(text).unwrap();
            assert!(span.is_remote());
            assert_eq!(span.is_sampled(), text.ends_with("01"));
            assert_eq!(spell(&span).as_deref(), Some(text));
        }
        let later = SOUND.replacen("00", "01", 1) + "-more";
        assert_eq!(spell(&parse(&later).unwrap()).unwrap(), SOUND);
        assert_eq!(spell(&SpanContext::NONE), None);
        assert!(parse("00-xyz").is_none());
    }
}
