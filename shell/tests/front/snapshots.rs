//! What every command prints, as a table and as JSON, word for word: scripts and people count on it.

use super::rig::Rig;

/// Both forms of what `line` prints.
fn forms(rig: &Rig, line: &str) -> String {
    let table = rig.prints(0, line);
    let json = rig.prints(0, &format!("{line} -o json"));
    format!("$ windlass {line}\n{table}\n$ windlass {line} -o json\n{json}")
}

/// A server with a task of each kind of state.
fn rig() -> (Rig, Vec<String>) {
    let rig = Rig::start();
    let mut ids = rig.submit(&["echo", "report", "mail"]);
    rig.prints(0, &format!("task cancel {}", ids[1]));
    let failed = rig.prints(
        1,
        "task submit fail --queue mails --name 'daily mail' --wait -q",
    );
    ids.push(failed.trim().to_owned());
    (rig, ids)
}

#[test]
fn tasks_look_like_this() {
    let (rig, ids) = rig();
    insta::assert_snapshot!(
        "submit",
        rig.prints(0, "task submit later --delay 1h")
            + &rig.prints(0, "task submit later --delay 1h -o json")
    );
    insta::assert_snapshot!("list", forms(&rig, "task list --limit 4"));
    insta::assert_snapshot!("list_wide", rig.prints(0, "task list --limit 4 -o wide"));
    insta::assert_snapshot!("get", forms(&rig, &format!("task get {}", ids[3])));
    insta::assert_snapshot!("why", forms(&rig, &format!("task why {}", ids[0])));
    insta::assert_snapshot!(
        "wait",
        forms(&rig, &format!("task wait {} {}", ids[0], ids[2]))
    );
    let cancelled = rig.prints(0, "task submit endless -q");
    let cancel = format!("task cancel {}", cancelled.trim());
    let rerun = format!("task rerun {}", cancelled.trim());
    insta::assert_snapshot!("cancel", rig.prints(0, &cancel));
    insta::assert_snapshot!("rerun", rig.prints(0, &format!("{rerun} -o json")));
    insta::assert_snapshot!("cancel_many", forms(&rig, "task cancel -f type:none --yes"));
}

#[test]
fn queues_nodes_counts_and_the_rest_look_like_this() {
    let rig = Rig::start();
    insta::assert_snapshot!(
        "queue_set",
        forms(&rig, "queue set mails --strategy weighted")
    );
    insta::assert_snapshot!("queue_pause", forms(&rig, "queue pause mails"));
    insta::assert_snapshot!("queue_list", forms(&rig, "queue list"));
    insta::assert_snapshot!("queue_get", forms(&rig, "queue get mails"));
    insta::assert_snapshot!("queue_resume", forms(&rig, "queue resume mails"));
    insta::assert_snapshot!("node_list", forms(&rig, "node list"));
    insta::assert_snapshot!("node_get", forms(&rig, "node get w1"));
    insta::assert_snapshot!("node_drain", forms(&rig, "node drain w1"));
    insta::assert_snapshot!("stats", forms(&rig, "stats"));
    insta::assert_snapshot!("audit", forms(&rig, "audit"));
    insta::assert_snapshot!("health", forms(&rig, "health --ready"));
    insta::assert_snapshot!("doctor", stable(&forms(&rig, "doctor")));
    insta::assert_snapshot!("top", rig.prints(0, "top --once"));
}

#[test]
fn help_looks_like_this() {
    let rig = Rig::start();
    for topic in ["exit-codes", "environment", "query", "formatting"] {
        insta::assert_snapshot!(
            format!("help_{topic}"),
            rig.prints(0, &format!("help {topic}"))
        );
    }
}

/// Without what is different each time: how long the server took, and the columns that are as wide as that.
fn stable(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if let Some(at) = words.iter().position(|word| word.starts_with("ms")) {
            words[at - 1] = "N";
        }
        lines.push(words.join(" "));
    }
    lines.join("\n")
}
