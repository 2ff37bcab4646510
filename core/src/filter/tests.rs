//! What queries read as, what they mean, and how they fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::ids::{NodeId, Priority, TaskId};
use crate::time::Millis;

/// 2026-11-23T10:00:00Z
const NOW: Wall = Wall::from_millis(1_795_428_000_000);

/// A task of which everything is known.
struct Sample {
    id: TaskId,
    state: TaskState,
    queue: QueueName,
    kind: TaskType,
    worker: Option<NodeId>,
    error: Option<&'static str>,
    name: Option<&'static str>,
    metadata: BTreeMap<String, String>,
    ended_at: Option<Wall>,
}

impl Sample {
    fn new() -> Self {
        Self {
            id: "019ab000-1234-7abc-8def-0123456789ab".parse().unwrap(),
            state: TaskState::Failed,
            queue: "mail.eu".parse().unwrap(),
            kind: "send".parse().unwrap(),
            worker: Some("w-1".parse().unwrap()),
            error: Some("Connection refused, \"again\""),
            name: Some("Letter to Ann"),
            metadata: [("team", "a b"), ("odd key:", "x"), ("empty", "")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ended_at: Some(Wall::from_millis(NOW.as_millis() - 60_000)),
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            id: self.id,
            state: self.state,
            queue: &self.queue,
            kind: &self.kind,
            priority: Priority::HIGH,
            created_at: Wall::from_millis(NOW.as_millis() - 3_600_000),
            ended_at: self.ended_at,
            retries: 2,
            losses: 0,
            worker: Fact::Known(self.worker.as_ref()),
            error: Fact::Known(self.error),
            name: Fact::Known(self.name),
            metadata: Fact::Known(&self.metadata),
        }
    }
}

fn read(text: &str) -> Filter {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn means(text: &str, task: &Sample) -> bool {
    read(text)
        .judge(&task.facts(), NOW)
        .expect("everything is known")
}

#[test]
fn each_term_means_what_it_says() {
    let task = Sample::new();
    for text in [
        "",
        "   \t ",
        "state:failed",
        "state:pending,failed",
        "-state:completed",
        "queue:mail.eu",
        "queue:mail*",
        "queue:*",
        "type:send -type:s",
        "worker:w-1,w-2 worker:*",
        "name:\"Letter to Ann\"",
        "name:\"Letter to\"*",
        "name:Letter*",
        "id:019ab000",
        "id:019AB000-1234-7abc",
        "id:019ab000-1234-7abc-8def-0123456789ab",
        "priority:3 priority:high priority:<4 priority:>=3 priority:<=3 priority:=3 priority:0,3",
        "error:refused error:REFUSED error:\"\\\"again\\\"\" error:*",
        "created:>-2h created:<-30m created:>2026-11-23 created:<2026-11-23T10:00:00Z",
        "created:>=2026-11-23T09:00:00Z created:<=2026-11-23T10:00:00+01:00",
        "ended:>-1h ended:<-59s",
        "retries:2 retries:=2 retries:>1 retries:<3 losses:0 losses:<=0",
        "meta.team:\"a b\" meta.team:a* meta.team:* meta.\"odd key:\":x meta.empty:\"\"",
        "019ab refused mail SEND \"to ann\" ",
        "-meta.other:* -name:letter* -error:timeout",
    ] {
        assert!(means(text, &task), "{text}");
    }
    for text in [
        "state:completed,cancelled",
        "-state:failed",
        "queue:mail",
        "queue:eu*",
        "worker:w*  -worker:*",
        "name:letter*",
        "name:Letter",
        "id:019ab001",
        "priority:>3",
        "priority:5",
        "error:timeout",
        "created:<-2h",
        "created:>2026-11-23T09:00:00Z",
        "ended:<-1h",
        "retries:>2",
        "losses:>0",
        "meta.team:a",
        "meta.other:*",
        "refused nowhere",
        "-refused",
    ] {
        assert!(!means(text, &task), "{text}");
    }
}

#[test]
fn what_a_task_does_not_have_is_no_value_of_it() {
    let mut task = Sample::new();
    (task.worker, task.error, task.name, task.ended_at) = (None, None, None, None);
    task.metadata.clear();
    for text in [
        "worker:*",
        "error:*",
        "name:*",
        "meta.team:*",
        "ended:<2030-01-01",
    ] {
        assert!(!means(text, &task), "{text}");
        assert!(means(&format!("-{text}"), &task), "-{text}");
    }
}

#[test]
fn what_is_not_known_is_not_guessed() {
    let task = Sample::new();
    let facts = Facts {
        name: Fact::Unknown,
        error: Fact::Unknown,
        ..task.facts()
    };
    let verdict = |text| read(text).judge(&facts, NOW);
    assert_eq!(verdict("name:x*"), None);
    assert_eq!(verdict("-error:x"), None);
    assert_eq!(verdict("name:x* state:pending"), Some(false));
    assert_eq!(verdict("mail"), Some(true));
    assert_eq!(verdict("nowhere"), None);
}

#[test]
fn an_error_names_the_place_and_what_was_expected() {
    for (text, at, expected) in [
        ("colour:red", 1, "is not a field"),
        ("mail state:odd", 12, "expected a state"),
        ("état state:odd", 12, "expected a state"),
        ("state:", 7, "expected a value"),
        ("state:pending,", 15, "expected a value"),
        ("state:fail*", 7, "expected a state"),
        ("queue:@w", 7, "expected a queue"),
        ("queue:\"\"", 7, "expected a queue"),
        ("type:a*b", 7, "only behind the last"),
        ("id:xyz", 4, "beginning of a task's id"),
        ("id:019ab0001", 4, "beginning of a task's id"),
        ("priority:10", 10, "expected a priority"),
        ("retries:-1", 9, "expected a number"),
        ("retries:4294967296", 9, "expected a number"),
        ("created:2026-11-23", 9, "expected <, <="),
        ("created:=2026-11-23", 9, "expected <, <="),
        ("created:>2026-02-29", 9, "a date such as"),
        ("created:>1969-12-31", 9, "a date such as"),
        ("created:>2026-11-23T24:00:00Z", 9, "a date such as"),
        ("created:>2026-11-23T10:00:00", 9, "a date such as"),
        ("created:>-1", 9, "an age such as"),
        ("created:>-99999999999999w", 9, "an age such as"),
        ("error:time*", 7, "without *"),
        ("name:\"open", 6, "closing quote"),
        ("name:\"a\\n\"", 9, "behind a \\"),
        ("name:\"a\"b", 9, "expected white space"),
        ("name:a\"b\"", 7, "expected white space"),
        ("a\"b", 2, "expected white space"),
        ("-", 2, "expected a word"),
        ("\"\"", 1, "expected a word"),
        (":x", 1, "is not a field"),
        ("meta.:x", 1, "name of a label"),
        ("meta.team", 10, "expected a colon"),
    ] {
        let error = match text.parse::<Filter>() {
            Ok(filter) => panic!("{text} is {filter:?}"),
            Err(error) => error,
        };
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.reason.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_word_may_begin_with_a_sign_that_means_not() {
    assert_eq!(read("--a").to_string(), "-\"-a\"");
}

#[test]
fn a_query_is_bounded() {
    let fits = vec!["a"; TERMS_MAX].join(" ");
    assert_eq!(read(&fits).terms().len(), TERMS_MAX);
    let error = format!("{fits} b").parse::<Filter>().unwrap_err();
    assert_eq!(error.at, fits.len() + 2);
    assert!(error.reason.contains("32 terms"));
    let long = format!("\"{}\"", "ä".repeat(TEXT_MAX / 2 - 1));
    assert_eq!((long.len(), read(&long).terms().len()), (TEXT_MAX, 1));
    let error = format!("{long} ").parse::<Filter>().unwrap_err();
    assert!(error.reason.contains("2048 bytes"), "{error}");
}

#[test]
fn times_are_read_and_spelled() {
    for (text, spelled) in [
        ("created:>1970-01-01", "created:>1970-01-01T00:00:00Z"),
        ("created:>2024-02-29", "created:>2024-02-29T00:00:00Z"),
        ("ended:<2000-12-31T23:59:60Z", "ended:<2000-12-31T23:59:59Z"),
        (
            "ended:<2026-11-23T10:00:00.1239+01:30",
            "ended:<2026-11-23T08:30:00.123Z",
        ),
        (
            "ended:<2286-11-20T17:46:39.999Z",
            "ended:<2286-11-20T17:46:39.999Z",
        ),
        ("created:<-90m", "created:<-1h30m"),
        ("created:<-1w", "created:<-7d"),
        ("created:<-0s", "created:<-0s"),
    ] {
        assert_eq!(read(text).to_string(), spelled);
    }
    let filter = read("created:>2026-11-23T10:00:00Z");
    let Test::Created(moments) = &filter.terms()[0].test else {
        panic!("a time")
    };
    assert_eq!(moments[0].when, When::At(NOW));
}

#[test]
fn a_query_reaches_no_further_than_it_means() {
    let reach = |text: &str| read(text).reach(NOW);
    let ended = [
        TaskState::Completed,
        TaskState::Failed,
        TaskState::Cancelled,
    ];
    assert!(reach("").is_exact && reach("").states.len() == 7);
    assert_eq!(reach("ended:>-1h").states, ended.into());
    assert_eq!(reach("-state:running worker:w").states, ended.into());
    assert!(reach("state:pending state:running").states.is_empty());
    let queues = reach("queue:a,b queue:b,c state:pending");
    assert!(queues.is_exact);
    assert_eq!(queues.queues, Some(["b".parse().unwrap()].into()));
    assert!(!reach("queue:a*").is_exact && reach("queue:a*").queues.is_none());
    assert!(!reach("-queue:a").is_exact && reach("-queue:a").queues.is_none());
    let ids = reach("id:019ab000-1234,019ab000-1235");
    let id = |text: &str| text.parse::<TaskId>().unwrap().as_u128();
    assert_eq!(ids.first, id("019ab000-1234-0000-0000-000000000000"));
    assert_eq!(ids.last, id("019ab000-1235-ffff-ffff-ffffffffffff"));
    let hour = TaskId::floor_of(Wall::from_millis(NOW.as_millis() - 3_600_000));
    assert_eq!(reach("created:>-1h").first, hour.as_u128());
    assert_eq!(reach("created:<-1h").last, hour.as_u128());
    let none = reach("id:0 id:f");
    assert!(none.first > none.last);
}

fn text() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![
        "[a-z0-9.-]{1,6}".prop_map(Arc::from),
        "[ -~]{1,8}".prop_map(Arc::from),
        "\\PC{1,5}".prop_map(Arc::from),
    ]
}

fn patterns(text: impl Strategy<Value = Arc<str>>) -> impl Strategy<Value = Vec<Pattern>> {
    let one = (text, any::<bool>()).prop_map(|(text, open)| {
        if open {
            Pattern::Prefix(text)
        } else {
            Pattern::Exact(text)
        }
    });
    prop::collection::vec(one, 1..3)
}

fn names() -> impl Strategy<Value = Vec<Pattern>> {
    patterns("[A-Za-z0-9._-]{1,9}".prop_map(Arc::from))
}

fn compares(most: u32) -> impl Strategy<Value = Vec<Compare>> {
    let one = (relation(), 0..=most).prop_map(|(relation, number)| Compare { relation, number });
    prop::collection::vec(one, 1..3)
}

fn relation() -> impl Strategy<Value = Relation> {
    prop::sample::select(vec![
        Relation::Less,
        Relation::AtMost,
        Relation::Equal,
        Relation::AtLeast,
        Relation::More,
    ])
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let when = (any::<bool>(), 0..=Wall::MAX.as_millis()).prop_map(|(ago, millis)| {
        if ago {
            When::Ago(Millis::new(millis))
        } else {
            When::At(Wall::from_millis(millis))
        }
    });
    let relation = relation().prop_filter("no time is met exactly", |it| *it != Relation::Equal);
    let one = (relation, when).prop_map(|(relation, when)| Moment { relation, when });
    prop::collection::vec(one, 1..3)
}

fn test() -> impl Strategy<Value = Test> {
    let lower = || text().prop_map(|text| Arc::from(term::folded(&text)));
    let states = prop::collection::vec(prop::sample::select(TaskState::ALL.to_vec()), 1..4);
    let id = (any::<u128>(), 0_u8..=32).prop_map(|(bits, digits)| {
        let kept = u128::MAX.checked_shl(128 - 4 * u32::from(digits));
        let bits = bits & kept.unwrap_or(0);
        IdPrefix { bits, digits }
    });
    prop_oneof![
        states.prop_map(Test::State),
        names().prop_map(Test::Queue),
        names().prop_map(Test::Kind),
        names().prop_map(Test::Worker),
        patterns(text()).prop_map(Test::Name),
        prop::collection::vec(id, 1..3).prop_map(Test::Id),
        compares(9).prop_map(Test::Priority),
        prop::collection::vec(lower(), 1..3).prop_map(Test::Error),
        moments().prop_map(Test::Created),
        moments().prop_map(Test::Ended),
        compares(u32::MAX).prop_map(Test::Retries),
        compares(u32::MAX).prop_map(Test::Losses),
        (text(), patterns(text())).prop_map(|(key, patterns)| Test::Meta(key, patterns)),
        lower().prop_map(Test::Word),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let term = (any::<bool>(), test()).prop_map(|(negated, test)| Term { negated, test });
    prop::collection::vec(term, 0..6).prop_map(|terms| Filter { terms })
}

proptest! {
    #[test]
    fn what_a_query_is_spelled_as_reads_back(filter in filter()) {
        let spelled = filter.to_string();
        prop_assert_eq!(spelled.parse::<Filter>(), Ok(filter), "{}", spelled);
    }

    #[test]
    fn no_text_is_too_strange_to_be_read_or_refused(text in "[a-z:\"*,<>=. -]{0,40}|\\PC{0,40}") {
        match text.parse::<Filter>() {
            Ok(filter) => prop_assert_eq!(filter.to_string().parse(), Ok(filter)),
            Err(error) => prop_assert!(1 <= error.at && error.at <= text.chars().count() + 1),
        }
    }

    #[test]
    fn no_task_that_is_meant_lies_out_of_reach(filter in filter(), state in prop::sample::select(TaskState::ALL.to_vec())) {
        let mut task = Sample::new();
        task.state = state;
        task.id = TaskId::floor_of(Wall::from_millis(NOW.as_millis() - 3_600_000));
        if !state.has_ended() {
            task.ended_at = None;
        }
        if !(state.has_ended() || state == TaskState::Running) {
            task.worker = None;
        }
        let reach = filter.reach(NOW);
        if filter.judge(&task.facts(), NOW) == Some(true) {
            prop_assert!(reach.states.contains(&state) && reach.has(task.id));
            prop_assert!(reach.queues.is_none_or(|it| it.contains(&task.queue)));
        } else {
            let is_there = reach.states.contains(&state)
                && reach.queues.is_none_or(|it| it.contains(&task.queue));
            prop_assert!(!(reach.is_exact && is_there));
        }
    }
}
