//! What remote workers send, field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use serde_json::value::RawValue;
use windlass_core::gateway::{RemoteAttempt, RemoteEnd};
use windlass_core::ids::{Fence, Revision};
use windlass_core::record::Json;
use windlass_core::retry::Verdict;
use windlass_core::time::Millis;

use super::super::field;
use super::super::json::{self, Object};
use super::super::problem::Fault;

/// The most ends that one call reports.
pub(super) const RESULTS_MAX: usize = 1_000;
/// The most attempts that a worker names as held.
const HELD_MAX: usize = 4_000;
/// The longest report of progress, in bytes.
const PROGRESS_MAX: usize = 16 * 1024;
/// The longest error, in bytes. A longer one is cut: a failure is never lost for being told at length.
const ERROR_MAX: usize = 8 * 1024;
/// The most labels of a worker, and the longest name and value of one, in bytes.
const LABELS_MAX: (usize, usize, usize) = (32, 63, 255);

/// A number from 1 to `most`; 1 unless it is given.
pub(super) fn at_least_one(object: &mut Object<'_>, name: &str, most: u32) -> u32 {
    let read = |raw: &RawValue| match field::whole(raw, most) {
        Ok(0) | Err(_) => Err(format!("must be a whole number from 1 to {most}")),
        Ok(number) => Ok(number),
    };
    object.take(name, read).unwrap_or(1)
}

/// Names, each once.
pub(super) fn names<T>(raw: &RawValue, most: usize) -> Result<Vec<T>, String>
where
    T: FromStr<Err: std::fmt::Display> + Ord + Clone,
{
    let items = array(raw, most)?;
    let names = items
        .into_iter()
        .map(field::parsed)
        .collect::<Result<Vec<T>, String>>()?;
    let different: BTreeSet<T> = names.iter().cloned().collect();
    if different.len() < names.len() {
        return Err("names something twice".to_owned());
    }
    Ok(names)
}

fn array(raw: &RawValue, most: usize) -> Result<Vec<&RawValue>, String> {
    if !raw.get().starts_with('[') {
        return Err("must be an array".to_owned());
    }
    let items = json::elements(raw.get(), most).map_err(|fault| fault.reason)?;
    if items.len() > most {
        return Err(format!("must have at most {most} elements"));
    }
    Ok(items)
}

/// Labels for people.
pub(super) fn labels(object: &mut Object<'_>) -> BTreeMap<String, String> {
    let (most, name_max, value_max) = LABELS_MAX;
    let mut labels = BTreeMap::new();
    let Some(raw) = object.take("labels", Ok) else {
        return labels;
    };
    let mut given = match Object::open("labels.", raw.get()) {
        Ok(given) => given,
        Err(fault) => {
            object.refuse_all([fault]);
            return labels;
        }
    };
    while let Some((name, raw)) = given.take_any() {
        match field::string(raw) {
            _ if name.is_empty() || name.len() > name_max || name.contains(char::is_control) => {
                given.refuse(
                    &name,
                    format!("a label's name has 1 to {name_max} bytes and no control characters"),
                );
            }
            Ok(value) if value.len() <= value_max => {
                labels.insert(name, value);
            }
            Ok(_) => given.refuse(&name, format!("is longer than {value_max} bytes")),
            Err(reason) => given.refuse(&name, reason),
        }
    }
    object.refuse_all(given.close());
    if labels.len() > most {
        object.refuse("labels", format!("has more than {most} labels"));
    }
    labels
}

fn fence(raw: &RawValue) -> Result<Fence, String> {
    let digits = raw.get().bytes().all(|byte| byte.is_ascii_digit());
    let fence = raw.get().parse().ok().filter(|_| digits);
    fence
        .map(|at| Fence(Revision(at)))
        .ok_or_else(|| "must be a fence as a fetch gave it".to_owned())
}

/// Attempts that a worker names in the field `name`. One that is wrong refuses them all.
pub(super) fn attempts(object: &mut Object<'_>, name: &str) -> Vec<RemoteAttempt> {
    let read = |raw: &RawValue| -> Result<Vec<RemoteAttempt>, Fault> {
        let items = array(raw, HELD_MAX).map_err(|reason| Fault::new(name, reason))?;
        let mut attempts = Vec::with_capacity(items.len());
        for (at, raw) in items.into_iter().enumerate() {
            let mut item = Object::open(&format!("{name}[{at}]."), raw.get())?;
            let known = known(&mut item);
            match item.close().into_iter().next() {
                Some(fault) => return Err(fault),
                None => attempts.extend(known),
            }
        }
        Ok(attempts)
    };
    match object.take(name, Ok).map(read) {
        Some(Ok(attempts)) => attempts,
        Some(Err(fault)) => {
            object.refuse_all([fault]);
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// How far an attempt is.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) attempt: RemoteAttempt,
    pub(super) progress: Json,
}

/// Reports of progress. One that is wrong refuses them all.
pub(super) fn reports(raw: &RawValue) -> Result<Vec<Report>, Fault> {
    let items = array(raw, RESULTS_MAX).map_err(|reason| Fault::new("progress", reason))?;
    let mut reports = Vec::new();
    for (at, raw) in items.into_iter().enumerate() {
        let mut object = Object::open(&format!("progress[{at}]."), raw.get())?;
        let known = known(&mut object);
        let progress = object.take_raw("progress").map(RawValue::get);
        match progress {
            None => object.refuse("progress", "is missing"),
            Some(text) => check(&mut object, "progress", text, PROGRESS_MAX),
        }
        let mut faults = object.close();
        match (known, progress) {
            (Some(attempt), Some(text)) if faults.is_empty() => reports.push(Report {
                attempt,
                progress: spelled(text),
            }),
            (Some(_) | None, Some(_) | None) => return Err(faults.remove(0)),
        }
    }
    Ok(reports)
}

/// An end as its worker reports it.
#[derive(Debug)]
pub(super) enum Item {
    /// To be recorded.
    Sound {
        known: RemoteAttempt,
        end: RemoteEnd,
        ran: Option<Millis>,
    },
    /// Refused, and no other with it. Which it is, as far as that can be read.
    Refused {
        known: Option<RemoteAttempt>,
        faults: Vec<Fault>,
    },
}

/// The ends in an array.
pub(super) fn results(raw: &RawValue, result_max: usize) -> Result<Vec<Item>, Fault> {
    let fault = |reason: String| Fault::new("results", reason);
    let items = array(raw, RESULTS_MAX).map_err(fault)?;
    if items.is_empty() {
        return Err(fault(format!("must have 1 to {RESULTS_MAX} elements")));
    }
    let read = |raw: &RawValue| result(raw, result_max);
    Ok(items.into_iter().map(read).collect())
}

fn result(raw: &RawValue, result_max: usize) -> Item {
    let mut object = match Object::open("", raw.get()) {
        Ok(object) => object,
        Err(fault) => {
            return Item::Refused {
                known: None,
                faults: vec![fault],
            };
        }
    };
    let known = known(&mut object);
    let ran = object.take("ran_ms", |raw| field::whole(raw, u32::MAX));
    let end = end(&mut object, result_max);
    let faults = object.close();
    match (known, end) {
        (Some(known), Some(end)) if faults.is_empty() => Item::Sound {
            known,
            end,
            ran: ran.map(|ms| Millis::new(ms.into())),
        },
        (known, _) => Item::Refused { known, faults },
    }
}

/// Which attempt something is about.
fn known(object: &mut Object<'_>) -> Option<RemoteAttempt> {
    let task = object.take("id", field::parsed);
    let fence = object.take("fence", fence);
    if (task.is_none() || fence.is_none()) && object.is_sound() {
        object.refuse(if task.is_none() { "id" } else { "fence" }, "is missing");
    }
    Some(RemoteAttempt {
        task: task?,
        fence: fence?,
    })
}

fn end(object: &mut Object<'_>, result_max: usize) -> Option<RemoteEnd> {
    let outcome = object.take("outcome", field::string);
    let end = match outcome.as_deref() {
        Some("completed") => {
            let text = object.take_raw("result").map_or("null", RawValue::get);
            check(object, "result", text, result_max);
            RemoteEnd::Completed(spelled(text))
        }
        Some("failed") => {
            let error = object.take("error", field::string);
            RemoteEnd::Failed {
                error: cut(error.unwrap_or_default()),
                verdict: verdict(object),
            }
        }
        Some("timed_out") => RemoteEnd::TimedOut,
        Some("handed_back") => RemoteEnd::HandedBack,
        Some(_) => {
            object.refuse(
                "outcome",
                "must be one of completed, failed, timed_out, handed_back",
            );
            return None;
        }
        None => {
            if object.is_sound() {
                object.refuse("outcome", "is missing");
            }
            return None;
        }
    };
    Some(end)
}

fn verdict(object: &mut Object<'_>) -> Verdict {
    let fatal = object.take("fatal", field::boolean).unwrap_or_default();
    let again = object.take("retry_after", |raw| {
        field::span(raw, Millis::new(1), field::SPAN_MAX)
    });
    match (fatal, again) {
        (true, Some(_)) => {
            object.refuse("retry_after", "cannot be given together with fatal");
            Verdict::Retry
        }
        (true, None) => Verdict::FailNow,
        (false, Some(wait)) => Verdict::RetryAfter(wait),
        (false, None) => Verdict::Retry,
    }
}

/// An error of a length that records bear.
fn cut(error: String) -> Arc<str> {
    if error.len() <= ERROR_MAX {
        return error.into();
    }
    let ends = (0..=ERROR_MAX).rev();
    let end = ends
        .into_iter()
        .find(|at| error.is_char_boundary(*at))
        .unwrap_or_default();
    error[..end].into()
}

fn check(object: &mut Object<'_>, name: &str, text: &str, most: usize) {
    if text.len() > most {
        object.refuse(name, format!("is larger than {most} bytes"));
    } else if let Err(shape) = json::check_shape(text) {
        object.refuse(name, shape.to_string());
    }
}

fn spelled(text: &str) -> Json {
    Json::parse(text.to_owned()).unwrap_or_else(|_| Json::null())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn one(text: &str) -> Item {
        results(&raw(&format!("[{text}]")), 100).unwrap().remove(0)
    }

    const ID: &str = r#""id":"00000000-0000-7000-8000-000000000001","fence":7"#;

    #[test]
    fn every_outcome_is_read_with_what_belongs_to_it() {
        let end = |rest: &str| match one(&format!("{{{ID},{rest}}}")) {
            Item::Sound { end, .. } => end,
            Item::Refused { faults, .. } => panic!("{rest}: {faults:?}"),
        };
        assert_eq!(
            end(r#""outcome":"completed","result":[1]"#),
            RemoteEnd::Completed(Json::parse("[1]".to_owned()).unwrap())
        );
        let failed = |verdict| RemoteEnd::Failed {
            error: "x".into(),
            verdict,
        };
        assert_eq!(
            end(r#""outcome":"failed","error":"x""#),
            failed(Verdict::Retry)
        );
        assert_eq!(
            end(r#""outcome":"failed","error":"x","fatal":true"#),
            failed(Verdict::FailNow)
        );
        assert_eq!(
            end(r#""outcome":"failed","error":"x","retry_after":"2s","ran_ms":5"#),
            failed(Verdict::RetryAfter(Millis::from_secs(2)))
        );
        assert_eq!(end(r#""outcome":"timed_out""#), RemoteEnd::TimedOut);
        assert_eq!(end(r#""outcome":"handed_back""#), RemoteEnd::HandedBack);
    }

    #[test]
    fn one_wrong_end_is_refused_with_its_reason_and_no_other() {
        for (bad, field) in [
            (r#"{"outcome":"completed"}"#.to_owned(), "id"),
            (format!("{{{ID}}}"), "outcome"),
            (format!(r#"{{{ID},"outcome":"lost"}}"#), "outcome"),
            (
                format!(r#"{{{ID},"outcome":"timed_out","error":"x"}}"#),
                "error",
            ),
            (
                format!(r#"{{{ID},"outcome":"failed","fatal":true,"retry_after":"1s"}}"#),
                "retry_after",
            ),
            (
                format!(
                    r#"{{{ID},"outcome":"completed","result":"{}"}}"#,
                    "x".repeat(99)
                ),
                "result",
            ),
            (
                format!(r#"{{{ID},"outcome":"completed","ran_ms":-1}}"#),
                "ran_ms",
            ),
        ] {
            let both = format!(
                r#"[{bad},{{{ID},"outcome":"completed","result":"{}"}}]"#,
                "x".repeat(98)
            );
            let items = results(&raw(&both), 100).unwrap();
            let Item::Refused { faults, .. } = &items[0] else {
                panic!("{bad} was taken");
            };
            assert_eq!(faults[0].field, field, "{bad}");
            assert!(matches!(items[1], Item::Sound { .. }));
        }
    }

    #[test]
    fn an_array_has_its_bounds() {
        let many = |n: usize| format!("[{}]", vec!["1"; n].join(","));
        let held = |item: &str, count: usize| {
            let text = format!(r#"{{"held":[{}]}}"#, vec![item; count].join(","));
            let mut object = Object::open("", &text).unwrap();
            let read = attempts(&mut object, "held").len();
            (
                read,
                object
                    .close()
                    .into_iter()
                    .map(|it| it.field)
                    .collect::<Vec<_>>(),
            )
        };
        let item = format!("{{{ID}}}");
        assert_eq!(held(&item, HELD_MAX), (HELD_MAX, vec![]));
        assert_eq!(held(&item, HELD_MAX + 1), (0, vec!["held".to_owned()]));
        assert_eq!(held("7", 1), (0, vec!["held[0]".to_owned()]));
        let wrong = ID.replace(":7", ":-1");
        assert_eq!(
            held(&format!("{{{wrong}}}"), 2),
            (0, vec!["held[0].fence".to_owned()])
        );
        assert!(results(&raw("[]"), 1).is_err());
        assert_eq!(
            results(&raw(&many(RESULTS_MAX)), 1).unwrap().len(),
            RESULTS_MAX
        );
        assert!(results(&raw(&many(RESULTS_MAX + 1)), 1).is_err());
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let text = format!("{}{}", "x".repeat(ERROR_MAX - 1), "\u{e9}".repeat(5));
        assert_eq!(cut(text).len(), ERROR_MAX - 1);
    }

    proptest! {
        #[test]
        fn no_json_crashes_a_reader(text in any::<String>()) {
            let quoted = raw(&serde_json::to_string(&vec![text]).unwrap());
            let _ = (results(&quoted, 10), reports(&quoted));
        }
    }
}
