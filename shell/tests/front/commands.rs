//! The commands that need more of a server than the fake gateway has, and those that need none.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::rig::{Rig, printed, program, told};

/// The ids as a list has them: of tasks of the same millisecond, chance decides which is the older one.
fn sorted(ids: &[String]) -> Vec<&str> {
    let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_task_is_named_by_the_start_of_its_id_when_no_other_starts_so() {
    let rig = Rig::start();
    let ids = rig.submit(&["a", "b", "c"]);
    let common = &ids[0][..13];
    assert!(ids.iter().all(|id| id.starts_with(common)), "{ids:?}");
    let told = rig.says(2, &format!("task get {common}"));
    assert!(
        told.contains("several tasks") && told.matches("default/").count() == 2,
        "{told}"
    );
    let start = &ids[1][..23];
    assert_eq!(ids.iter().filter(|id| id.starts_with(start)).count(), 1);
    assert_eq!(rig.json(0, &format!("task get {start}"))["id"], ids[1]);
    assert_eq!(rig.json(0, &format!("task why {start}"))["id"], ids[1]);
    assert_eq!(
        rig.json(0, &format!("task cancel {start}"))["status"],
        "cancelled"
    );
    for verb in ["get", "why", "cancel", "rerun", "wait"] {
        assert!(
            rig.says(3, &format!("task {verb} dead"))
                .contains("starts with dead")
        );
    }
}

#[test]
fn several_tasks_are_named_on_the_line_and_on_stdin_and_one_that_fails_keeps_no_other() {
    let rig = Rig::start();
    let ids = rig.submit(&["a", "b", "c"]);
    let both = rig.json(0, &format!("task get {} {}", ids[0], ids[2]));
    assert_eq!(
        (&both["tasks"][0]["id"], &both["tasks"][1]["id"]),
        (&json!(ids[0]), &json!(ids[2]))
    );
    let listed = rig.prints(0, "task list -q");
    assert_eq!(listed.lines().collect::<Vec<_>>(), sorted(&ids));
    assert_eq!(rig.prints_given(0, "task cancel - -q", &listed), listed);
    // One has another state by now, and one is not there at all.
    rig.prints(0, &format!("task rerun {}", ids[1]));
    let line = format!("task cancel {} {} dead -q", ids[0], ids[1]);
    assert_eq!(rig.prints(4, &line).trim(), ids[1]);
    assert_eq!(rig.prints_given(0, "task get - -q", ""), "");
    rig.prints_given(2, "task get -", "nonsense");
}

#[test]
fn tasks_that_a_query_matches_are_changed_only_when_somebody_says_yes() {
    let rig = Rig::start();
    rig.submit(&["a", "a", "b", "a", "a", "a"]);
    let told = rig.says(2, "task cancel -f type:a");
    assert!(
        told.contains("cancel 5 tasks that match type:a?") && told.contains("--yes"),
        "{told}"
    );
    assert!(rig.server.pages().is_empty());
    let dry = rig.json(0, "task cancel -f type:a --dry-run");
    assert_eq!((&dry["matched"], &dry["done"]), (&json!(5), &json!(0)));
    assert_eq!(
        rig.json(0, "task list --state pending")["tasks"]
            .as_array()
            .unwrap()
            .len(),
        6
    );
    let done = rig.json(
        0,
        "task cancel -f 'type:a state:pending' --yes --reason 'täglich doppelt'",
    );
    assert_eq!(
        done,
        json!({"matched": 5, "done": 5, "refused": [], "next_cursor": null})
    );
    assert_eq!(rig.server.reasons(), vec!["täglich doppelt"; 3]);
    assert_eq!(
        rig.json(0, "task list --state pending")["tasks"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let told = rig.says(4, "task cancel -f type:a --yes");
    assert!(told.contains("the task has ended"), "{told}");
    assert!(
        rig.says(1, "task cancel -f id:018 --yes")
            .contains("the task has ended")
    );
    assert!(
        rig.says(0, "task rerun -f type:none --yes")
            .contains("no task matches")
    );
    rig.prints(2, "task cancel -f ''");
    rig.prints(2, "task cancel");
}

#[test]
fn what_would_be_done_to_named_tasks_is_told_without_doing_it() {
    let rig = Rig::start();
    let ids = rig.submit(&["a", "b"]);
    let line = format!("task cancel {} --dry-run", ids[0]);
    assert_eq!(rig.json(0, &line)["status"], "pending");
    assert!(rig.says(0, &line).contains("nothing was changed"));
    rig.prints(4, &format!("task rerun {} --dry-run", ids[0]));
    assert_eq!(
        rig.json(0, &format!("task get {}", ids[0]))["status"],
        "pending"
    );
}

#[test]
fn lists_are_ordered_go_through_all_pages_and_come_in_every_form() {
    let rig = Rig::start();
    let ids = rig.submit(&["a", "b", "a"]);
    let newest = rig.prints(0, "task list --order newest -q");
    assert!(
        newest.lines().eq(sorted(&ids).into_iter().rev()),
        "{newest}"
    );
    assert_eq!(rig.prints(0, "task ls -f type:a -q").lines().count(), 2);
    for line in ["task list --all -o jsonl", "task list --limit 3 -o jsonl"] {
        let text = rig.prints(0, line);
        let listed: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(
            listed.iter().map(|task| &task["id"]).eq(sorted(&ids)),
            "{text}"
        );
    }
    assert_eq!(rig.json(0, "task list --all")["next_cursor"], Value::Null);
    let wide = rig.prints(0, "task list -o wide");
    assert!(wide.lines().next().unwrap().contains("LOSSES"), "{wide}");
    assert!(rig.prints(0, "queue list -q").is_empty());
    assert_eq!(rig.prints(0, "node list -q"), "w1\n");
    assert!(
        rig.prints(0, "stats -o name")
            .lines()
            .any(|line| line == "tasks.total")
    );
    assert_eq!(rig.prints(0, "stats -o jsonl").lines().count(), 1);
}

#[test]
fn colour_and_times_are_as_asked_and_a_pipe_gets_neither_by_itself() {
    let rig = Rig::start();
    rig.submit(&["a"]);
    assert!(!rig.prints(0, "task list").contains('\u{1b}'));
    assert!(
        rig.prints(0, "task list --color always")
            .contains("\u{1b}[1mID")
    );
    let forced = rig
        .command("task list")
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert!(forced.stdout.contains(&0x1b));
    let refused = rig
        .command("task list")
        .envs([("CLICOLOR_FORCE", "1"), ("NO_COLOR", "0")])
        .output()
        .unwrap();
    assert!(!refused.stdout.contains(&0x1b));
    assert!(
        rig.prints(0, "task list")
            .contains("2023-11-14T22:13:20.000Z")
    );
    assert!(rig.prints(0, "task list --time relative").contains("d ago"));
    let local = rig
        .command("task list --time local")
        .env("TZ", "JST-9")
        .output()
        .unwrap();
    assert!(
        String::from_utf8(local.stdout)
            .unwrap()
            .contains("2023-11-15T07:13:20.000+09:00")
    );
}

const CHANGES: &str = "id: 7\nevent: changes\ndata: ";

#[test]
fn a_watched_list_prints_what_changed_and_what_it_would_show() {
    let rig = Rig::start();
    let ids = rig.submit(&["a", "b"]);
    let changed: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id, "status": "pending", "queue": "default"}))
        .collect();
    let changes = json!({"revision": "7", "tasks": changed, "tasks_omitted": 3, "queues": [], "nodes": false});
    rig.server
        .tell_events(&[&format!("{CHANGES}{changes}\n\n"), ": still there\n\n"]);
    let mut child = rig
        .command("task list --watch -f type:b -o jsonl")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let task: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(task["id"], ids[1]);
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        told(&output).contains("3 more tasks changed"),
        "{}",
        told(&output)
    );
}

#[test]
fn events_are_printed_as_they_come_until_a_lull() {
    let rig = Rig::start();
    let changes = json!({"revision": "7", "tasks": [{"id": "i", "status": "completed", "queue": "q", "worker_id": "w"}],
        "tasks_omitted": 2, "queues": ["q"], "nodes": true});
    let frames = [
        format!("{CHANGES}{changes}\n\n"),
        "event: resync\ndata: {\"revision\":\"8\"}\n\n".to_owned(),
    ];
    rig.server.tell_events(&[&frames[0], &frames[1]]);
    let lines = rig.prints(0, "events -o jsonl");
    let events: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        events[0],
        json!({"event": "changes", "id": "7", "data": changes})
    );
    assert_eq!((&events[1]["event"], events.len()), (&json!("resync"), 2));
    assert_eq!(rig.prints(0, "events -q"), "i\n");
    assert_eq!(
        rig.prints(0, "events --topics tasks,queues"),
        "task  i  completed  q  -  w\ntasks  2 more\nqueue  q\nnodes\nresync  {\"revision\":\"8\"}\n"
    );
    rig.prints(2, "events --topics weather");
    let mut child = rig
        .command("events --follow -q")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "i");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn any_call_of_the_api_can_be_made() {
    let rig = Rig::start();
    let accepted: Value =
        serde_json::from_str(&rig.prints(0, r#"api post tasks -d '{"type": "t"}'"#)).unwrap();
    let id = accepted["id"].as_str().unwrap();
    let task: Value =
        serde_json::from_str(&rig.prints(0, &format!("api GET tasks/{id} -o jsonl"))).unwrap();
    assert_eq!(task["type"], "t");
    assert!(rig.prints(0, "api GET /metrics").contains("# EOF"));
    rig.prints(3, "api GET nothing");
    rig.prints(4, "api POST tasks -d '{}'");
    rig.prints(2, "api POST tasks -d nonsense");
    rig.prints(2, "api BREW tasks");
    rig.prints(0, &format!("api POST tasks/{id}/cancel --reason why"));
    assert_eq!(rig.server.reasons(), ["why"]);
}

#[test]
fn nodes_are_named_by_the_starts_of_their_ids() {
    let rig = Rig::start();
    assert_eq!(rig.json(0, "node get w")["id"], "w1");
    rig.prints(3, "node get x");
    assert!(
        rig.says(3, "node drain x")
            .contains("no node whose id is or starts with x")
    );
    assert_eq!(
        rig.json(0, "node drain w --reason update")["draining"],
        true
    );
    assert_eq!(rig.server.reasons(), ["update"]);
    assert_eq!(rig.prints(3, "node drain x w -q"), "w1\n");
}

#[test]
fn the_doctor_tells_what_is_wrong_and_fails_when_it_is_bad() {
    let rig = Rig::start();
    let found = rig.json(0, "doctor");
    assert_eq!(found["result"], "warn");
    let is_told = |found: &Value, check: &str, result: &str| {
        let mut checks = found["checks"].as_array().unwrap().iter();
        checks.any(|it| it["check"] == check && it["result"] == result)
    };
    for (check, result) in [
        ("server", "ok"),
        ("readiness", "ok"),
        ("clock", "ok"),
        ("version", "ok"),
        ("store", "warn"),
        ("queues", "ok"),
    ] {
        assert!(is_told(&found, check, result), "{check}: {found}");
    }
    rig.server.fake.memory().ready = Some("no session".to_owned());
    assert!(is_told(&rig.json(1, "doctor"), "readiness", "bad"));
    let output = program("doctor -o json --server http://127.0.0.1:1")
        .output()
        .unwrap();
    let found: Value = serde_json::from_str(&printed(1, "doctor", &output)).unwrap();
    assert!(is_told(&found, "server", "bad"), "{found}");
}

#[test]
fn what_needs_no_server_needs_none() {
    let prints = |code: i32, line: &str| printed(code, line, &program(line).output().unwrap());
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(
            prints(0, &format!("completions {shell}")).contains("windlass"),
            "{shell}"
        );
    }
    assert!(prints(0, "man").contains(".TH windlass 1"));
    let dir = tempfile::tempdir().unwrap();
    prints(0, &format!("man {}", dir.path().display()));
    let page = std::fs::read_to_string(dir.path().join("windlass-task-list.1")).unwrap();
    assert!(
        page.contains("windlass task list") && page.contains("Examples"),
        "{page}"
    );
    prints(1, "man /nowhere/at/all");
    assert!(prints(0, "help exit-codes").contains("5  unreachable"));
    assert!(prints(0, "help environment").contains("WINDLASS_SERVER"));
    assert!(prints(0, "help query").contains("state:failed"));
    assert!(prints(0, "help formatting").contains("jsonl"));
    assert!(prints(0, "help task list").contains("Examples"));
    assert!(prints(0, "help").contains("Options of every command"));
    prints(2, "help nonsense");
    let version: Value = serde_json::from_str(&prints(0, "version --client -o json")).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        version["rustc"].as_str().unwrap().starts_with("rustc "),
        "{version}"
    );
    let output = program("version --server http://127.0.0.1:1")
        .output()
        .unwrap();
    assert!(told(&output).contains("no server told its version"));
    prints(2, "top");
}

#[test]
fn every_command_that_asks_a_server_says_so_when_there_is_none() {
    const ID: &str = "019aa000-0000-7000-8000-000000000000";
    for line in [
        "task submit t",
        &format!("task get {ID}"),
        "task get 019aa0",
        "task list",
        "task list --watch",
        &format!("task wait {ID}"),
        &format!("task cancel {ID}"),
        "task cancel -f type:a --yes",
        &format!("task rerun {ID}"),
        &format!("task why {ID}"),
        "queue list",
        "queue get q",
        "queue set q --strategy random",
        "queue pause q",
        "queue resume q",
        "node list",
        "node get n",
        "node drain n",
        "stats",
        "top --once",
        "events",
        "audit",
        "api GET tasks",
        "health",
        "lock run k -- true",
    ] {
        let output = program(&format!("{line} --server http://127.0.0.1:1").replace(
            " -- true --server http://127.0.0.1:1",
            " --server http://127.0.0.1:1 -- true",
        ))
        .output()
        .unwrap();
        assert!(printed(5, line, &output).is_empty(), "{line}");
        assert!(
            told(&output).contains("cannot reach the server"),
            "{line}: {}",
            told(&output)
        );
    }
}
