//! Requests that make no sense to a running server: refused by field and reason, at once, with nothing written.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rig::Dev;

/// How long a refusal may take on a busy machine; what is refused slowly is refused by something that overflowed.
const SOON: Duration = Duration::from_secs(2);

/// A server that has one task, and must have nothing else at the end.
struct Target {
    dev: Dev,
    before: Value,
}

impl Target {
    fn start() -> Self {
        let dev = Dev::start(&[]);
        let id = dev.submit(&json!({"type": "noop"}));
        dev.ended(&id);
        let before = dev.tasks();
        Self { dev, before }
    }

    fn refuses(&self, body: &str, field: &str) {
        let shown: String = body.chars().take(120).collect();
        let began = Instant::now();
        let answer = self.dev.send("POST", "/api/v1/tasks", Some(body));
        assert!(began.elapsed() < SOON, "{shown} took {:?}", began.elapsed());
        assert_eq!(answer.status, 400, "{shown}: {}", answer.body);
        let fields = answer.bad_fields(400);
        assert!(fields.iter().any(|it| it == field), "{shown}: {fields:?}");
    }

    fn assert_unharmed(mut self) {
        assert_eq!(self.dev.tasks(), self.before, "nothing was written");
        let id = self
            .dev
            .submit(&json!({"type": "echo", "payload": "alive"}));
        assert_eq!(self.dev.ended(&id)["result"], "alive");
        assert_eq!(self.dev.process.child.try_wait().unwrap(), None);
        assert!(!self.dev.process.log().contains("panicked"));
    }
}

#[test]
fn documents_that_are_not_one_sound_json_value_are_refused() {
    let target = Target::start();
    let deep =
        |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    let keys: Vec<String> = (0..20_000)
        .map(|number| format!("\"k{number}\":1"))
        .collect();
    let (lists, objects) = (deep("[", "]"), deep("{\"a\":", "}"));
    for (body, field) in [
        ("".to_owned(), "body"),
        (" \n ".to_owned(), "body"),
        ("null".to_owned(), "body"),
        ("1e400".to_owned(), "body"),
        ("[]".to_owned(), "body"),
        ("{".to_owned(), "body"),
        (r#"{"type":"noop"}}"#.to_owned(), "body"),
        (r#"{"type":"noop"} {"type":"noop"}"#.to_owned(), "body"),
        (r#"{"type":"noop","payload":NaN}"#.to_owned(), "body"),
        (r#"{"type":"noop","payload":+1}"#.to_owned(), "body"),
        (r#"{"type":"noop","payload":01}"#.to_owned(), "body"),
        ("\u{feff}{\"type\":\"noop\"}".to_owned(), "body"),
        (r#"{"type":"noop","type":"noop"}"#.to_owned(), "type"),
        (
            r#"{"type":"noop","payload":"\ud800"}"#.to_owned(),
            "payload",
        ),
        (r#"{"type":"\udfff"}"#.to_owned(), "type"),
        ("[".repeat(10_000), "body"),
        (objects, "a"),
        (format!(r#"{{"type":"noop","payload":{lists}}}"#), "payload"),
        (format!(r#"{{"type":{lists}}}"#), "type"),
        (format!("{{{}}}", keys.join(",")), "body"),
    ] {
        target.refuses(&body, field);
    }
    target.assert_unharmed();
}

#[test]
fn what_json_allows_passes_through_unchanged() {
    let dev = Dev::start(&[]);
    let keys: Vec<String> = (0..20_000)
        .map(|number| format!("\"k{number}\":1"))
        .collect();
    for payload in [
        "-0",
        "1e400",
        "123456789012345678901234567890.5",
        r#"{"a":1,"a":2}"#,
        r#""\u0000\u202e🦀""#,
        r#"[[[[[[[[[[]]]]]]]]]]"#,
        &format!("{{{}}}", keys.join(",")),
    ] {
        let body = format!(r#"{{"type":"echo","payload":{payload}}}"#);
        let accepted = dev.send("POST", "/api/v1/tasks", Some(&body)).json(201);
        let path = format!(
            "/api/v1/tasks/{}?wait=30s",
            accepted["id"].as_str().unwrap()
        );
        let shown = dev.send("GET", &path, None);
        assert_eq!(shown.status, 200);
        assert!(
            shown.body.contains(&format!(r#""result":{payload}"#)),
            "{payload:.60}: {:.400}",
            shown.body
        );
    }
}

#[test]
fn names_that_are_not_names_are_refused() {
    let target = Target::start();
    let long = "a".repeat(129);
    for name in [
        "",
        &long,
        "../x",
        "a/b",
        "a\0",
        "a\n",
        "%2f",
        "a b",
        "\u{202e}a",
        "é",
        "e\u{301}",
        "１",
        "🦀",
        ".\u{200f}",
        "a;b",
    ] {
        target.refuses(&json!({"type": name}).to_string(), "type");
        target.refuses(&json!({"type": "noop", "queue": name}).to_string(), "queue");
        let said = target
            .dev
            .command()
            .args(["task", "submit", "--queue"])
            .arg(name.replace('\0', "\u{1}"))
            .arg("noop")
            .output()
            .unwrap();
        assert_eq!(said.status.code(), Some(2), "{name:?}");
    }
    target.refuses(r#"{"type":"noop","queue":"@worker"}"#, "queue");
    for path in [
        "%2e%2e%2fx",
        "a%2fb",
        "%00",
        "%0a",
        "%ff",
        "%F0%9F%A6%80",
        "@x",
        &long,
    ] {
        for (method, path) in [
            ("GET", format!("/api/v1/queues/{path}")),
            ("POST", format!("/api/v1/queues/{path}/pause")),
            ("POST", format!("/api/v1/locks/{path}")),
            ("GET", format!("/api/v1/tasks/{path}")),
            ("POST", format!("/api/v1/nodes/{path}/drain")),
        ] {
            let answer = target.dev.send(method, &path, None);
            // A lock or a node may be called what a queue may not: @x is a name of nothing else.
            let taken = path.contains("@x") && (path.contains("locks") || path.contains("nodes"));
            if !taken || answer.status == 400 {
                answer.bad_fields(400);
            } else {
                answer.problem(404);
            }
        }
    }
    target.assert_unharmed();
}

#[test]
fn numbers_out_of_range_are_refused() {
    let target = Target::start();
    for (field, values) in [
        (
            "priority",
            &[
                "-1",
                "-0",
                "10",
                "256",
                "5.0",
                "1e0",
                "9223372036854775807",
                "-9223372036854775808",
                "1e400",
                "\"\"",
                "[]",
            ][..],
        ),
        (
            "max_retries",
            &[
                "-1",
                "1.5",
                "4294967296",
                "18446744073709551616",
                "\"3\"",
                "1e400",
            ],
        ),
    ] {
        for value in values {
            target.refuses(&format!(r#"{{"type":"noop","{field}":{value}}}"#), field);
        }
    }
    target.assert_unharmed();
}

#[test]
fn times_and_texts_out_of_range_are_refused() {
    let target = Target::start();
    for (field, values) in [
        (
            "timeout",
            &[
                "\"0s\"",
                "30",
                "\"\"",
                "\"-1s\"",
                "\"1ns\"",
                "\"99999999999999999999y\"",
                "1e18",
            ][..],
        ),
        (
            "delay",
            &[
                "\"-1s\"",
                "-1",
                "1e18",
                "\"999999999999999999s\"",
                "\"11years\"",
                "{}",
            ],
        ),
        (
            "run_at",
            &[
                "\"9999-12-31T23:59:59Z\"",
                "\"1969-12-31T23:59:59Z\"",
                "\"2030-02-30T00:00:00Z\"",
                "\"2030-01-01\"",
                "\"now\"",
                "0",
                "\"2030-01-01T00:00:00\"",
            ],
        ),
        ("key", &["\"\"", "1", "\"a\\nb\""]),
        ("name", &["\"\"", "1", "\"\\u0000\""]),
        ("metadata", &["[]", "\"a\"", "1"]),
        ("retry", &["[]", "\"fixed\"", "1"]),
        ("unknown", &["1"]),
    ] {
        for value in values {
            target.refuses(&format!(r#"{{"type":"noop","{field}":{value}}}"#), field);
        }
    }
    target.assert_unharmed();
}

#[test]
fn retry_policies_that_make_no_sense_are_refused() {
    let target = Target::start();
    for (retry, field) in [
        (r#"{"kind":"quadratic"}"#, "retry.kind"),
        (r#"{"delay":"0s"}"#, "retry.delay"),
        (r#"{"delay":"2s","cap":"1s"}"#, "retry.cap"),
        (r#"{"jitter":"yes"}"#, "retry.jitter"),
        (r#"{"more":1}"#, "retry.more"),
    ] {
        target.refuses(&format!(r#"{{"type":"noop","retry":{retry}}}"#), field);
    }
    target.assert_unharmed();
}

#[test]
fn extremes_that_are_allowed_are_taken() {
    let dev = Dev::start(&[]);
    let name = "n".repeat(128);
    // Nothing is the same as not given.
    let bare =
        json!({"type": "noop", "priority": null, "key": null, "delay": null, "payload": null});
    let bare = dev.submit(&bare);
    assert_eq!(dev.ended(&bare)["priority"], 5);
    let most = json!({
        "type": "nobody", "queue": name, "priority": 9, "max_retries": 0, "timeout": "1ms", "delay": "9years",
        "key": "k".repeat(256),
    });
    let id = dev.submit(&most);
    assert_eq!(dev.task(&id)["status"], "scheduled");
    // The second that clocks repeat is a time.
    let leap = dev.post(
        "/api/v1/tasks",
        &json!({"type": "noop", "run_at": "2016-12-31T23:59:60Z"}),
    );
    assert!([201, 400].contains(&leap.status), "{leap:?}");
}

#[test]
fn arrays_have_one_to_a_thousand_tasks_each_judged_alone() {
    let dev = Dev::start(&[]);
    let array = |count: usize| vec![json!({"type": "noop"}); count];
    let send = |tasks: Vec<Value>| dev.post("/api/v1/tasks", &Value::from(tasks));
    assert_eq!(send(array(0)).bad_fields(400), ["body"]);
    assert_eq!(send(array(1_001)).bad_fields(400), ["body"]);
    assert_eq!(dev.tasks()["total"], 0);
    assert_eq!(
        send(array(1)).json(201)["tasks"].as_array().unwrap().len(),
        1
    );
    assert_eq!(
        send(array(1_000)).json(201)["tasks"]
            .as_array()
            .unwrap()
            .len(),
        1_000
    );
    let mut one_bad = array(1_000);
    one_bad[500] = json!({"type": "noop", "timeout": "0s"});
    let answer = send(one_bad).json(201);
    let fates = answer["tasks"].as_array().unwrap();
    assert_eq!(fates[500]["error"]["errors"][0]["field"], "timeout");
    assert_eq!(fates.iter().filter(|it| it["id"].is_string()).count(), 999);
    let twice = json!({"type": "noop", "key": "k"});
    let answer = send(vec![twice.clone(), twice]).json(201);
    assert_eq!(answer["tasks"][0]["id"], answer["tasks"][1]["id"]);
    let all_bad = send(vec![json!(1), json!({"typ": "noop"})]).json(201);
    assert!(
        all_bad["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["error"]["status"] == 400)
    );
    assert_eq!(dev.tasks()["total"], 2_001);
}

#[test]
fn a_payload_is_taken_up_to_its_limit_and_not_one_byte_more() {
    let dev = Dev::start(&[]);
    let task = |bytes: usize| json!({"type": "echo", "payload": "x".repeat(bytes - 2)});
    let limit = 256 * 1024;
    let id = dev.submit(&task(limit));
    assert_eq!(dev.ended(&id)["result"].as_str().unwrap().len(), limit - 2);
    let over = dev.post("/api/v1/tasks", &task(limit + 1));
    assert_eq!(over.bad_fields(413), ["payload"]);
    let huge = dev.post("/api/v1/tasks", &task(20 * limit));
    assert_eq!(huge.bad_fields(413), ["body"]);
    let array = json!([task(limit), task(limit + 1)]);
    let answer = dev.post("/api/v1/tasks", &array).json(201);
    assert!(answer["tasks"][0]["id"].is_string());
    assert_eq!(answer["tasks"][1]["error"]["status"], 413);
    let five_mib = Value::from(vec![task(limit); 20]);
    assert_eq!(
        dev.post("/api/v1/tasks", &five_mib).json(201)["tasks"]
            .as_array()
            .unwrap()
            .len(),
        20
    );
    let hundred_mib = Value::from(vec![task(limit); 80]);
    assert_eq!(
        dev.post("/api/v1/tasks", &hundred_mib).bad_fields(413),
        ["body"]
    );
    assert_eq!(dev.tasks()["total"], 22);
    let by_cli = dev
        .command()
        .args([
            "task",
            "submit",
            "echo",
            "--payload",
            &format!("\"{}\"", "x".repeat(100_000)),
            "--wait",
        ])
        .output()
        .unwrap();
    assert_eq!(by_cli.status.code(), Some(0));
}

#[test]
fn other_routes_refuse_what_they_do_not_know_too() {
    let target = Target::start();
    let id = target.dev.listed("", 1)[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for (method, path, body, fields) in [
        (
            "PUT",
            "/api/v1/queues/q",
            r#"{"strategy":"best"}"#,
            &["strategy"][..],
        ),
        (
            "PUT",
            "/api/v1/queues/q",
            r#"{"strategi":"random"}"#,
            &["strategi", "strategy"],
        ),
        ("PUT", "/api/v1/queues/q", "{}", &["strategy"]),
        ("POST", "/api/v1/locks/l", r#"{"ttl":"0s"}"#, &["ttl"]),
        ("POST", "/api/v1/locks/l", r#"{"ttl":"2h"}"#, &["ttl"]),
        (
            "POST",
            "/api/v1/locks/l",
            r#"{"wait":"2h","more":1}"#,
            &["wait", "more"],
        ),
        ("POST", "/api/v1/locks/l", "[]", &["body"]),
        ("PUT", "/api/v1/locks/l", r#"{"token":"zz"}"#, &["token"]),
    ] {
        let answer = target.dev.send(method, path, Some(body));
        let mut found = answer.bad_fields(400);
        found.sort();
        let mut expected = fields.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{method} {path} {body}");
    }
    for query in ["wait=-1s", "wait=2m", "wait=1", "wait=", "wiat=1s"] {
        let path = format!("/api/v1/tasks/{id}?{query}");
        target.dev.send("GET", &path, None).bad_fields(400);
    }
    assert_eq!(
        target.dev.get("/api/v1/queues")["queues"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["name"] == "q")
            .count(),
        0
    );
    target.assert_unharmed();
}
