//! From a client's JSON to a [`TaskSpec`]: every field is checked by hand, and every fault is named.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::HeaderMap;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use windlass_core::gateway::{Due, IdempotencyKey, TaskSpec};
use windlass_core::ids::QueueName;
use windlass_core::record::Json;
use windlass_core::retry::{Backoff, RetryPolicy};
use windlass_core::time::{Millis, Wall};

use super::field;
use super::json::{self, Object};
use super::problem::Fault;
use crate::executor::TRACE_PARENT;

/// Where a task waits unless it says otherwise.
const QUEUE_DEFAULT: &str = "default";
/// How many failures are tried again unless the task says otherwise.
const RETRIES_DEFAULT: u32 = 3;
/// How many failures may be tried again at most.
const RETRIES_MAX: u32 = 10_000;
/// How long an attempt may run unless the task says otherwise.
const TIMEOUT_DEFAULT: Millis = Millis::from_secs(300);
/// The longest name of a task and the longest idempotency key, in characters.
const LINE_MAX: usize = 256;
/// The most labels of a task.
const LABELS_MAX: usize = 32;
/// The longest name of a label, in bytes.
const LABEL_NAME_MAX: usize = 63;
/// The longest value of a label, in bytes.
const LABEL_VALUE_MAX: usize = 255;
/// The header that carries an idempotency key beside the body.
pub(super) const KEY_HEADER: &str = "idempotency-key";
/// The shortest span that is one.
const TICK: Millis = Millis::new(1);

/// Why a submission is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// Everything that is wrong with it.
    pub faults: Vec<Fault>,
    /// Whether the only fault is a payload over the limit.
    pub too_large: bool,
}

/// The task that `text` describes, for a gateway whose clock says `now`.
pub(super) fn read(text: &str, payload_max: usize, now: Wall) -> Result<TaskSpec, Refused> {
    read_keyed(text, None, payload_max, now)
}

/// The same, with the idempotency key that came beside the text. Both may be given if they are the same.
pub(super) fn read_keyed(
    text: &str,
    key: Option<&str>,
    payload_max: usize,
    now: Wall,
) -> Result<TaskSpec, Refused> {
    let mut object = Object::open("", text).map_err(|fault| Refused {
        faults: vec![fault],
        too_large: false,
    })?;
    let payload = object.take_raw("payload");
    let oversized = payload.is_some_and(|raw| raw.get().len() > payload_max);
    let spec = take_spec(&mut object, payload.filter(|_| !oversized), key, now);
    let mut faults = object.close();
    let too_large = oversized && faults.is_empty();
    if oversized {
        faults.push(Fault::new(
            "payload",
            format!("is larger than {payload_max} bytes"),
        ));
    }
    match spec {
        Some(spec) if faults.is_empty() => Ok(spec),
        Some(_) | None => Err(Refused { faults, too_large }),
    }
}

fn take_spec(
    object: &mut Object<'_>,
    payload: Option<&RawValue>,
    key_beside: Option<&str>,
    now: Wall,
) -> Option<TaskSpec> {
    let kind = take_kind(object);
    let queue = object.take("queue", field::parsed).unwrap_or_else(|| {
        QueueName::new(QUEUE_DEFAULT).expect("the default queue has a legal name")
    });
    let priority = object.take("priority", field::priority).unwrap_or_default();
    let name = object.take("name", |raw| field::line(raw, LINE_MAX));
    let payload = take_payload(object, payload);
    let metadata = take_metadata(object);
    let retries_max = object
        .take("max_retries", |raw| field::whole(raw, RETRIES_MAX))
        .unwrap_or(RETRIES_DEFAULT);
    let retry = take_retry(object);
    let timeout = object
        .take("timeout", |raw| field::span(raw, TICK, field::SPAN_MAX))
        .unwrap_or(TIMEOUT_DEFAULT);
    let due = take_due(object, now);
    let key = object.take("key", |raw| field::line(raw, LINE_MAX));
    if key_beside.is_some_and(|beside| key.as_deref().is_some_and(|key| key != beside)) {
        object.refuse("key", format!("is not that of the header {KEY_HEADER}"));
    }
    let key = key.or_else(|| key_beside.map(str::to_owned));
    let mut spec = TaskSpec {
        kind: kind?,
        queue,
        priority,
        name: name.map(Arc::from),
        payload,
        metadata,
        retries_max,
        retry,
        timeout,
        due,
        key: None,
    };
    spec.key = key.map(|key| idempotency(&key, &spec));
    Some(spec)
}

fn take_kind(object: &mut Object<'_>) -> Option<windlass_core::ids::TaskType> {
    match object.take_raw("type") {
        None => {
            object.refuse("type", "is missing: it selects the handler");
            None
        }
        Some(raw) => field::parsed(raw)
            .map_err(|reason| object.refuse("type", reason))
            .ok(),
    }
}

fn take_payload(object: &mut Object<'_>, payload: Option<&RawValue>) -> Json {
    let Some(raw) = payload else {
        return Json::null();
    };
    if let Err(shape) = json::check_shape(raw.get()) {
        object.refuse("payload", shape.to_string());
    }
    Json::from(raw.to_owned())
}

fn take_metadata(object: &mut Object<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let Some(raw) = object.take("metadata", Ok) else {
        return labels;
    };
    let mut given = match Object::open("metadata.", raw.get()) {
        Ok(given) => given,
        Err(fault) => {
            object.refuse_all([fault]);
            return labels;
        }
    };
    while let Some((name, raw)) = given.take_any() {
        if name.is_empty() || name.len() > LABEL_NAME_MAX || name.contains(char::is_control) {
            given.refuse(
                &name,
                format!("a label's name has 1 to {LABEL_NAME_MAX} bytes and no control characters"),
            );
            continue;
        }
        match field::string(raw) {
            Ok(value) if value.len() <= LABEL_VALUE_MAX => {
                labels.insert(name, value);
            }
            Ok(_) => given.refuse(&name, format!("is longer than {LABEL_VALUE_MAX} bytes")),
            Err(reason) => given.refuse(&name, reason),
        }
    }
    object.refuse_all(given.close());
    if labels.len() > LABELS_MAX {
        object.refuse("metadata", format!("has more than {LABELS_MAX} labels"));
    }
    labels
}

fn take_retry(object: &mut Object<'_>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let Some(raw) = object.take("retry", Ok) else {
        return default;
    };
    let mut given = match Object::open("retry.", raw.get()) {
        Ok(given) => given,
        Err(fault) => {
            object.refuse_all([fault]);
            return default;
        }
    };
    let span = |raw: &RawValue| field::span(raw, TICK, field::SPAN_MAX);
    let delay = given.take("delay", span).unwrap_or(default.delay);
    let cap = given.take("cap", span);
    if cap.is_some_and(|cap| cap < delay) {
        given.refuse("cap", "must not be shorter than the delay");
    }
    let policy = RetryPolicy {
        kind: given.take("kind", backoff).unwrap_or(default.kind),
        delay,
        cap: cap.unwrap_or_else(|| default.cap.max(delay)),
        jitter: given
            .take("jitter", field::boolean)
            .unwrap_or(default.jitter),
        elapsed_max: given.take("max_elapsed", span),
    };
    object.refuse_all(given.close());
    policy
}

fn backoff(raw: &RawValue) -> Result<Backoff, String> {
    match field::string(raw)?.as_str() {
        "exponential" => Ok(Backoff::Exponential),
        "linear" => Ok(Backoff::Linear),
        "fixed" => Ok(Backoff::Fixed),
        _ => Err("must be one of exponential, linear, fixed".to_owned()),
    }
}

fn take_due(object: &mut Object<'_>, now: Wall) -> Due {
    let delay = object.take("delay", |raw| {
        field::span(raw, Millis::ZERO, field::AHEAD_MAX)
    });
    let at = object.take("run_at", |raw| field::time(raw, now));
    match (delay, at) {
        (Some(_), Some(_)) => {
            object.refuse("run_at", "cannot be given together with delay");
            Due::Now
        }
        (Some(Millis::ZERO) | None, None) => Due::Now,
        (Some(delay), None) => Due::In(delay),
        (None, Some(at)) => Due::At(at),
    }
}

/// The idempotency key that a request's headers bring, bare or as a quoted string (RFC 8941).
pub(super) fn key_in(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let mut given = headers.get_all(KEY_HEADER).iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    let wrong = |why: &str| Fault::new(KEY_HEADER, why);
    if given.next().is_some() {
        return Err(wrong("is given twice"));
    }
    let text = value.to_str().map_err(|_| wrong("is not ASCII text"))?;
    let key = match text.trim().strip_prefix('"') {
        None => text.trim().to_owned(),
        Some(rest) => unquoted(rest).ok_or_else(|| wrong("is not a quoted string"))?,
    };
    if key.is_empty() || key.len() > LINE_MAX || key.contains(char::is_control) {
        let bounds = format!("must have 1 to {LINE_MAX} characters, and no control characters");
        return Err(wrong(&bounds));
    }
    Ok(Some(key))
}

/// What stands before the closing quote, with `\"` and `\\` as the only escapes.
fn unquoted(rest: &str) -> Option<String> {
    let mut key = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(key),
            '\\' => key.push(characters.next().filter(|it| matches!(it, '"' | '\\'))?),
            other => key.push(other),
        }
    }
}

/// The body's hash covers what was understood, with its defaults: two spellings of the same submission are the same. So
/// are those of two attempts of a handler, though each has a span of its own in the trace.
fn idempotency(key: &str, spec: &TaskSpec) -> IdempotencyKey {
    assert!(spec.key.is_none(), "a body's hash does not cover its key");
    let payload = Json::parse(json::compact(spec.payload.as_str()))
        .expect("JSON without space between its tokens is JSON");
    let mut canonical = TaskSpec {
        payload,
        ..spec.clone()
    };
    canonical.metadata.remove(TRACE_PARENT);
    let spelled = serde_json::to_vec(&canonical).expect("a specification has string keys only");
    IdempotencyKey {
        key_hash: field::hex(&Sha256::digest(key.as_bytes())).into(),
        body_hash: field::hex(&Sha256::digest(&spelled)).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use axum::http::HeaderName;

    use super::*;

    const NOW: Wall = Wall::from_millis(1_700_000_000_000);

    fn spec(text: &str) -> TaskSpec {
        read(text, 1_000, NOW).unwrap_or_else(|refused| panic!("{text}: {refused:?}"))
    }

    fn faults(text: &str) -> Vec<Fault> {
        match read(text, 1_000, NOW) {
            Ok(spec) => panic!("{text} was taken as {spec:?}"),
            Err(refused) => refused.faults,
        }
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let spec = spec(r#"{"type":"echo"}"#);
        assert_eq!(spec.queue.as_str(), "default");
        assert_eq!(spec.priority.get(), 5);
        assert_eq!(
            (spec.retries_max, spec.timeout),
            (3, Millis::from_secs(300))
        );
        assert_eq!(
            (spec.payload, spec.due, spec.key),
            (Json::null(), Due::Now, None)
        );
    }

    #[test]
    fn everything_that_is_given_is_taken() {
        let spec = spec(
            r#"{"type":"t","queue":"q","priority":"high","payload":{"a": [1e400,-0]},"name":"n","metadata":{"k":"v"},
               "max_retries":0,"retry":{"kind":"linear","delay":"2s","cap":"1m","jitter":false,"max_elapsed":"1h"},
               "timeout":"1m30s","delay":"500ms"}"#,
        );
        assert_eq!(spec.priority.get(), 3);
        assert_eq!(spec.payload.as_str(), r#"{"a": [1e400,-0]}"#);
        assert_eq!(spec.metadata["k"], "v");
        assert_eq!(
            spec.retry,
            RetryPolicy {
                kind: Backoff::Linear,
                delay: Millis::from_secs(2),
                cap: Millis::from_secs(60),
                jitter: false,
                elapsed_max: Some(Millis::from_secs(3_600)),
            }
        );
        assert_eq!((spec.retries_max, spec.timeout), (0, Millis::from_secs(90)));
        assert_eq!(spec.due, Due::In(Millis::new(500)));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let mut fields: Vec<String> = faults(
            r#"{"queue":"@x","priority":-1,"name":"","metadata":{"k":1,"k":2,"":"v"},"max_retries":1.5,
               "retry":{"kind":"never","kidn":1},"timeout":"0s","delay":"-1s","key":"","extra":1,"extra":2}"#,
        )
        .into_iter()
        .map(|fault| fault.field)
        .collect();
        fields.sort();
        fields.dedup();
        assert_eq!(
            fields,
            [
                "delay",
                "extra",
                "key",
                "max_retries",
                "metadata.",
                "metadata.k",
                "name",
                "priority",
                "queue",
                "retry.kidn",
                "retry.kind",
                "timeout",
                "type"
            ]
        );
    }

    #[test]
    fn delay_and_run_at_exclude_each_other() {
        let found = faults(r#"{"type":"t","delay":"1s","run_at":"2030-01-01T00:00:00Z"}"#);
        assert_eq!(found[0].field, "run_at");
    }

    #[test]
    fn a_payload_is_taken_up_to_its_limit_and_the_same_keys_inside_are_its_authors_business() {
        let payload = |len: usize| format!(r#"{{"type":"t","payload":"{}"}}"#, "x".repeat(len - 2));
        spec(&payload(1_000));
        let refused = read(&payload(1_001), 1_000, NOW).unwrap_err();
        assert!(refused.too_large);
        assert_eq!(refused.faults[0].field, "payload");
        spec(r#"{"type":"t","payload":{"a":1,"a":2}}"#);
    }

    #[test]
    fn the_same_body_has_the_same_hash_however_it_is_spelled() {
        let one = spec(r#"{"type":"t","key":"k","payload":{"a": 1}}"#)
            .key
            .unwrap();
        let same = spec(
            r#"{"priority":"normal","payload":{"a":1},"key":"k","queue":"default","type":"t"}"#,
        )
        .key
        .unwrap();
        let other = spec(r#"{"type":"t","key":"k","payload":{"a":2}}"#)
            .key
            .unwrap();
        let other_key = spec(r#"{"type":"t","key":"K","payload":{"a":1}}"#)
            .key
            .unwrap();
        assert_eq!(one, same);
        assert_eq!(one.key_hash, other.key_hash);
        assert_ne!(one.body_hash, other.body_hash);
        assert_ne!(one.key_hash, other_key.key_hash);
        assert_eq!(one.body_hash, other_key.body_hash);
        assert_eq!(one.key_hash.len(), 64);
    }

    #[test]
    fn what_a_handler_submits_in_two_attempts_is_the_same_though_their_spans_differ() {
        let of = |label: &str| {
            spec(&format!(
                r#"{{"type":"t","key":"k","metadata":{{{label}}}}}"#
            ))
            .key
            .unwrap()
        };
        let trace = r#""traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01""#;
        assert_eq!(of(trace), of(&trace.replace("00f0", "10f0")));
        assert_eq!(of(trace), of(""));
        assert_ne!(of(trace), of(r#""colour":"blue""#));
    }

    fn key_of(values: &[&str]) -> Result<Option<String>, Fault> {
        let spelled = values.iter().map(|value| value.parse().expect("a header"));
        let headers: HeaderMap = spelled
            .map(|value| (HeaderName::from_static(KEY_HEADER), value))
            .collect();
        key_in(&headers)
    }

    #[test]
    fn a_key_may_stand_in_a_header_bare_or_quoted() {
        assert_eq!(key_of(&[]), Ok(None));
        for (value, key) in [
            ("job-1", "job-1"),
            (r#""job-1""#, "job-1"),
            (r#""a \"b\" \\ c""#, r#"a "b" \ c"#),
            (r#"a"b"#, r#"a"b"#),
        ] {
            assert_eq!(key_of(&[value]), Ok(Some(key.to_owned())), "{value}");
        }
        let long = "x".repeat(LINE_MAX + 1);
        for bad in ["", "\"\"", "\"a", "\"a\"b", r#""\n""#, &long] {
            assert!(key_of(&[bad]).is_err(), "{bad}");
        }
        assert!(key_of(&[&long[1..]]).is_ok());
        assert!(key_of(&["a", "a"]).is_err());
    }

    #[test]
    fn a_key_in_both_places_must_be_the_same() {
        let keyed = |text: &str, key| read_keyed(text, key, 1_000, NOW).map(|spec| spec.key);
        let inside = keyed(r#"{"type":"t","key":"k"}"#, None).unwrap();
        assert!(inside.is_some());
        assert_eq!(keyed(r#"{"type":"t"}"#, Some("k")).unwrap(), inside);
        assert_eq!(
            keyed(r#"{"type":"t","key":"k"}"#, Some("k")).unwrap(),
            inside
        );
        let refused = keyed(r#"{"type":"t","key":"k"}"#, Some("l")).unwrap_err();
        assert_eq!(refused.faults[0].field, "key");
    }

    proptest! {
        #[test]
        fn no_body_crashes_the_reader(text in any::<String>()) {
            let _ = read(&text, 100, NOW);
        }

        #[test]
        fn no_field_value_crashes_the_reader(
            name in prop::sample::select(vec!["type", "queue", "priority", "payload", "name", "metadata",
                "max_retries", "retry", "timeout", "delay", "run_at", "key", "other"]),
            value in r#"(null|-?[0-9]{1,30}(\.[0-9]+)?(e[0-9]{1,4})?|"[a-z0-9:. -]{0,30}"|\{"[a-z]{0,9}":"[0-9a-z]{0,9}"\}|\[\[\]\])"#,
        ) {
            let _ = read(&format!(r#"{{"type":"t","{name}":{value}}}"#), 100, NOW);
        }
    }
}
