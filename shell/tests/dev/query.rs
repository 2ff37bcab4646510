//! One language to list, count and act on tasks.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::http::text;
use crate::rig::{Dev, until};

/// `q` as a part of a path.
fn spelled(q: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let spell = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    q.bytes().map(spell).collect()
}

fn listed(dev: &Dev, q: &str, order: &str, limit: u32) -> Vec<String> {
    let filter = format!("&q={}&order={order}", spelled(q));
    let tasks = dev.listed(&filter, limit);
    tasks.iter().map(|task| text(&task["id"])).collect()
}

fn count(dev: &Dev, q: &str) -> Value {
    dev.get(&format!("/api/v1/tasks/count?q={}", spelled(q)))
}

/// Tasks of every state, of which some have labels, names and errors; the ids of each kind.
fn sample(dev: &Dev) -> Vec<(&'static str, Vec<String>)> {
    let retry = json!({"kind": "fixed", "delay": "1h", "jitter": false});
    let kinds = [
        (
            "completed",
            json!({"type": "noop", "queue": "mail.eu", "name": "letter to Ann"}),
        ),
        (
            "failed",
            json!({"type": "fail", "payload": {"times": 9}, "max_retries": 0}),
        ),
        (
            "retrying",
            json!({"type": "fail", "payload": {"times": 9}, "retry": retry}),
        ),
        (
            "scheduled",
            json!({"type": "noop", "delay": "1h", "metadata": {"team": "a b"}}),
        ),
        (
            "pending",
            json!({"type": "nobody", "queue": "slow", "priority": 9}),
        ),
    ];
    let submit = |task: &Value| (0..5).map(|_| dev.submit(task)).collect::<Vec<_>>();
    let all: Vec<_> = kinds
        .iter()
        .map(|(state, task)| (*state, submit(task)))
        .collect();
    dev.get_until("/api/v1/stats", |stats| {
        all.iter()
            .all(|(state, ids)| stats["tasks"][*state] == ids.len())
    });
    all
}

#[test]
fn a_query_lists_and_counts_what_it_means() {
    let dev = Dev::start(&[]);
    let all = sample(&dev);
    let worker = text(&dev.worker()["id"]);
    for (q, states) in [
        (
            "",
            &["completed", "failed", "retrying", "scheduled", "pending"][..],
        ),
        ("state:failed,retrying", &["failed", "retrying"]),
        (
            "-state:completed,failed",
            &["retrying", "scheduled", "pending"],
        ),
        ("queue:mail*", &["completed"]),
        ("type:fail state:failed", &["failed"]),
        ("name:\"letter to\"*", &["completed"]),
        ("ANN", &["completed"]),
        ("meta.team:\"a b\"", &["scheduled"]),
        ("error:ATTEMPT", &["failed", "retrying"]),
        ("-error:* state:pending", &["pending"]),
        ("priority:>5", &["pending"]),
        ("retries:>0", &["retrying"]),
        ("ended:>-1h", &["completed", "failed"]),
        ("created:<-1h", &[]),
        ("created:>-1h slow", &["pending"]),
        (&format!("worker:{worker}"), &["completed", "failed"]),
    ] {
        let wanted: Vec<String> = all
            .iter()
            .filter(|(state, _)| states.contains(state))
            .flat_map(|(_, ids)| ids.clone())
            .collect();
        let wanted_set: BTreeSet<_> = wanted.iter().cloned().collect();
        for limit in [2, 100] {
            let oldest = listed(&dev, q, "oldest", limit);
            assert!(oldest.is_sorted(), "{q}");
            assert_eq!(
                oldest.iter().cloned().collect::<BTreeSet<_>>(),
                wanted_set,
                "{q}"
            );
            assert_eq!(oldest.len(), wanted.len(), "{q}: each task once");
            let mut newest = listed(&dev, q, "newest", limit);
            newest.reverse();
            assert_eq!(newest, oldest, "{q}");
        }
        assert_eq!(
            count(&dev, q),
            json!({"count": wanted.len(), "exact": true}),
            "{q}"
        );
        let by_cli = dev.cli_json(&["task", "list", "-f", q, "--order", "newest"]);
        assert_eq!(
            by_cli["tasks"].as_array().unwrap().len(),
            wanted.len(),
            "{q}"
        );
    }
    let (_, scheduled) = &all[3];
    assert_eq!(
        listed(&dev, &format!("id:{}", &scheduled[0][..30]), "oldest", 2)[..1],
        scheduled[..1]
    );
    let both = dev.listed("&state=failed&q=type%3Anoop", 10);
    assert!(both.is_empty(), "parameters are terms like all others");
}

#[test]
fn a_faulty_query_is_refused_with_its_place() {
    let dev = Dev::start(&[]);
    for path in ["/api/v1/tasks", "/api/v1/tasks/count"] {
        let answer = dev.send("GET", &format!("{path}?q=mail+state%3Aodd"), None);
        let problem = answer.json(400);
        let reason = text(&problem["errors"][0]["reason"]);
        assert!(
            reason.contains("character 12: expected a state"),
            "{reason}"
        );
    }
    for (body, field) in [
        (json!({"action": "cancel"}), "q"),
        (json!({"action": "cancel", "q": "  "}), "q"),
        (json!({"action": "cancel", "q": "state:odd"}), "q"),
        (json!({"action": "purge", "q": "a"}), "action"),
        (json!({"q": "a"}), "action"),
        (json!({"action": "rerun", "q": "a", "limit": 0}), "limit"),
        (json!({"action": "rerun", "q": "a", "limit": 1001}), "limit"),
        (
            json!({"action": "rerun", "q": "a", "cursor": "x"}),
            "cursor",
        ),
        (
            json!({"action": "rerun", "q": "a", "dry_run": 1}),
            "dry_run",
        ),
        (json!({"action": "rerun", "q": "a", "all": true}), "all"),
    ] {
        let answer = dev.post("/api/v1/tasks/bulk", &body);
        assert_eq!(answer.bad_fields(400), [field], "{body}");
    }
}

/// Acts page by page until nothing is left; the sums of what was matched and done.
fn act_on_all(dev: &Dev, action: &str, q: &str, limit: u32) -> (u64, u64) {
    let mut body = json!({"action": action, "q": q, "limit": limit});
    let mut sums = (0, 0);
    loop {
        let page = dev.post("/api/v1/tasks/bulk", &body).json(200);
        assert_eq!(page["refused"], json!([]), "{page}");
        sums.0 += page["matched"].as_u64().unwrap();
        sums.1 += page["done"].as_u64().unwrap();
        if page["next_cursor"].is_null() {
            return sums;
        }
        body["cursor"] = page["next_cursor"].clone();
    }
}

#[test]
fn many_tasks_are_cancelled_and_run_again_though_they_leave_the_query_meanwhile() {
    let dev = Dev::start(&[]);
    dev.act("/api/v1/queues/q/pause").json(200);
    let task = json!({"type": "noop", "queue": "q"});
    dev.post("/api/v1/tasks", &Value::from(vec![task; 250]))
        .json(201);
    let kept = dev.submit(&json!({"type": "nobody", "queue": "other"}));
    let body = json!({"action": "cancel", "q": "queue:q", "dry_run": true});
    let dry = dev.post("/api/v1/tasks/bulk", &body).json(200);
    assert_eq!((&dry["matched"], &dry["done"]), (&json!(250), &json!(0)));
    assert_eq!(dev.tasks()["cancelled"], 0);
    assert_eq!(
        act_on_all(&dev, "cancel", "queue:q state:pending", 60),
        (250, 250)
    );
    assert_eq!(dev.tasks()["cancelled"], 250);
    assert_eq!(act_on_all(&dev, "cancel", "queue:q", 1_000), (0, 0));
    assert_eq!(act_on_all(&dev, "rerun", "queue:q", 60), (250, 250));
    assert_eq!(count(&dev, "queue:q state:pending")["count"], 250);
    dev.act("/api/v1/queues/q/resume").json(200);
    until("all have run", || {
        (dev.tasks()["completed"] == 250).then_some(())
    });
    assert_eq!(dev.task(&kept)["status"], "pending");
}
