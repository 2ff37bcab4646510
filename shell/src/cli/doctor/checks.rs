//! What the facts mean, and what to do about them. Pure.

use serde::Serialize;
use serde_json::Value;

use super::facts::{Facts, Told};
use crate::cli::version::{VERSION, skew};
use crate::store::etcd::{Fitness, fitness};

/// From here on a difference of clocks is worth a look, in seconds: times in answers and schedules are off by it.
const CLOCK_WARN_S: u64 = 2;
/// From here on it is bad.
const CLOCK_BAD_S: u64 = 30;
/// At most so many queues or nodes are named in one message.
const NAMED_MAX: usize = 10;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Ok,
    Warn,
    Bad,
}

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: &'static str,
    /// How it is.
    pub(super) result: Verdict,
    /// What that means.
    pub(super) message: String,
    /// What to do.
    pub(super) advice: Option<String>,
}

fn ok(check: &'static str, message: impl Into<String>) -> Finding {
    Finding {
        check,
        result: Verdict::Ok,
        message: message.into(),
        advice: None,
    }
}

fn warn(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding {
        result: Verdict::Warn,
        advice: Some(advice.into()),
        ..ok(check, message)
    }
}

fn bad(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding {
        result: Verdict::Bad,
        ..warn(check, message, advice)
    }
}

/// Everything that was found. Without a server there is nothing more to say than that.
pub(super) fn of(facts: &Facts) -> Vec<Finding> {
    let mut found = vec![server(facts)];
    if facts.reached.is_ok() {
        found.extend([ready(facts), clock(facts)]);
        found.extend(version(facts));
        found.extend(from("store", &facts.stats, store));
        found.extend(from("store", &facts.stats, records));
        found.extend(from("nodes", &facts.nodes, nodes));
        found.extend(queues(facts));
    }
    found.extend(facts.etcd.iter().map(|(url, told)| etcd(url, told)));
    found
}

/// What `judge` makes of an answer, or that there was none.
fn from(check: &'static str, told: &Told, judge: fn(&Value) -> Vec<Finding>) -> Vec<Finding> {
    match told {
        Ok(answer) => judge(answer),
        Err(error) => vec![unasked(check, error)],
    }
}

fn unasked(check: &'static str, error: &str) -> Finding {
    warn(
        check,
        format!("it could not be asked for: {error}"),
        "ask with a token that may read, or again when the server is ready",
    )
}

fn server(facts: &Facts) -> Finding {
    match &facts.reached {
        Ok(took) => ok(
            "server",
            format!("a server answers within {} ms", took.as_millis()),
        ),
        Err(error) => bad(
            "server",
            error.lines().next().unwrap_or_default(),
            "start one with `windlass dev` or `windlass scheduler`, or name it by --server or WINDLASS_SERVER",
        ),
    }
}

fn ready(facts: &Facts) -> Finding {
    match &facts.ready {
        Ok(()) => ok("readiness", "the server can serve"),
        Err(error) => bad(
            "readiness",
            error,
            "look whether its store can be reached, and into its log; it is ready by itself when the store answers",
        ),
    }
}

fn clock(facts: &Facts) -> Finding {
    const ADVICE: &str =
        "let NTP set the clocks of all machines: schedules, and times in answers, go by them";
    let Some(ahead) = facts.clock_ahead_s else {
        return warn(
            "clock",
            "the server did not tell its time",
            "ask it without a proxy in between",
        );
    };
    let told = match ahead {
        0 => return ok("clock", "the server's clock and this one agree"),
        1.. => format!("the server's clock is at least {ahead} s ahead of this one"),
        _ => format!(
            "the server's clock is at least {} s behind this one",
            ahead.unsigned_abs()
        ),
    };
    match ahead.unsigned_abs() {
        CLOCK_BAD_S.. => bad("clock", told, ADVICE),
        CLOCK_WARN_S.. => warn("clock", told, ADVICE),
        _ => ok("clock", told),
    }
}

fn version(facts: &Facts) -> Vec<Finding> {
    let Ok(nodes) = &facts.nodes else {
        return Vec::new();
    };
    let of = |node: &Value| node["version"].as_str().map(str::to_owned);
    let mut versions: Vec<String> = list(nodes, "nodes").filter_map(of).collect();
    versions.sort();
    versions.dedup();
    let mut found: Vec<Finding> = versions
        .iter()
        .filter_map(|version| skew(VERSION, version))
        .map(|skew| {
            warn(
                "version",
                skew,
                "use programs and nodes of the same version",
            )
        })
        .collect();
    if versions.len() > 1 {
        found.push(warn(
            "version",
            format!("nodes are of different versions: {}", versions.join(", ")),
            "that is as it should be while a new version is rolled out; bring that to its end",
        ));
    }
    if found.is_empty() {
        found.push(ok(
            "version",
            format!("this program and all nodes understand each other ({VERSION})"),
        ));
    }
    found
}

fn store(stats: &Value) -> Vec<Finding> {
    let store = &stats["store"];
    let bytes = |field: &str| store[field].as_u64().map(mebibytes);
    let room = match (bytes("used_bytes"), bytes("quota_bytes")) {
        (Some(used), Some(quota)) => format!("{used} of {quota} are used"),
        (Some(used), None) => format!("{used} are used"),
        (None, _) => "it does not tell how much is used".to_owned(),
    };
    vec![match store["level"].as_str() {
        Some("roomy") => ok("store", format!("it has room: {room}")),
        Some("tight") => warn(
            "store",
            format!("it is short of room, so ended tasks are kept shorter: {room}"),
            "raise etcd's --quota-backend-bytes (and --etcd-quota), or submit less; defragment etcd when its file is mostly empty",
        ),
        Some("full") => bad(
            "store",
            format!("it is full, so new tasks are refused: {room}"),
            "raise etcd's --quota-backend-bytes (and --etcd-quota), defragment etcd, and disarm its NOSPACE alarm",
        ),
        Some(_) | None => warn(
            "store",
            "it does not tell how full it is",
            "look at the store itself",
        ),
    }]
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}

/// Records that this version could not read, and views that had to be repaired.
fn records(stats: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(foreign) = stats["foreign_records"].as_u64().filter(|count| *count > 0) {
        found.push(warn(
            "records",
            format!("{foreign} records are of a later version or corrupt, and were skipped"),
            "bring all nodes to the latest version; if they are, look into the schedulers' logs for the keys",
        ));
    }
    if let Some(repaired) = stats["drift_repaired"].as_u64().filter(|count| *count > 0) {
        found.push(warn(
            "records",
            format!("the server's view of the store was wrong {repaired} times, and was repaired"),
            "etcd or the network loses events: look for etcd members that lag or restart",
        ));
    }
    found
}

fn etcd(url: &str, told: &Told) -> Finding {
    match told {
        Err(error) => bad(
            "etcd",
            error,
            "start that member, or name those that there are by --etcd",
        ),
        Ok(answer) => match answer["etcdserver"].as_str() {
            None => warn(
                "etcd",
                format!("{url} does not tell its version"),
                "look whether that is an etcd",
            ),
            Some(version) => etcd_version(url, version),
        },
    }
}

fn etcd_version(url: &str, version: &str) -> Finding {
    const ADVICE: &str = "upgrade it to the last release of its series";
    let told = format!("{url} is etcd {version}");
    match fitness(version) {
        Fitness::Sound => ok("etcd", told),
        Fitness::Unknown => warn("etcd", told, "look whether that is a release of etcd"),
        Fitness::Faulty => warn("etcd", format!("{told}, which has known faults"), ADVICE),
        Fitness::Unfit => bad("etcd", format!("{told}, which can lose data"), ADVICE),
    }
}

fn list<'a>(answer: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    answer[field].as_array().into_iter().flatten()
}

fn workers(nodes: &Value) -> impl Iterator<Item = &Value> {
    list(nodes, "nodes").filter(|node| node["role"] == "worker")
}

fn nodes(answer: &Value) -> Vec<Finding> {
    let is_draining = |node: &&Value| node["draining"] == true;
    let draining: Vec<&Value> = list(answer, "nodes").filter(is_draining).collect();
    let idle: Vec<&Value> = workers(answer)
        .filter(|node| node["slots"] == 0 && node["draining"] != true)
        .collect();
    let mut found = Vec::new();
    if workers(answer).next().is_none() {
        found.push(bad(
            "nodes",
            "there is no worker: nothing runs",
            "start one with `windlass worker`",
        ));
    }
    if !draining.is_empty() {
        found.push(warn(
            "nodes",
            format!("told to drain, and still there: {}", names(&draining, "id")),
            "they end when what they run has ended; stop those processes that do not end by themselves",
        ));
    }
    if !idle.is_empty() {
        found.push(warn(
            "nodes",
            format!("alive, but take nothing: {}", names(&idle, "id")),
            "a worker that only starts or that cannot reach the store offers nothing; look into its log if it stays so",
        ));
    }
    if found.is_empty() {
        let count = list(answer, "nodes").count();
        found.push(ok(
            "nodes",
            format!("{count} nodes are alive, and all workers take tasks"),
        ));
    }
    found
}

fn queues(facts: &Facts) -> Vec<Finding> {
    let queues = match &facts.queues {
        Ok(queues) => queues,
        Err(error) => return vec![unasked("queues", error)],
    };
    let tasks = |queue: &Value| queue["pending"].as_u64().unwrap_or(0);
    let that = |holds: &dyn Fn(&Value) -> bool| -> Vec<&Value> {
        list(queues, "queues")
            .filter(|queue| holds(queue))
            .collect()
    };
    let paused = that(&|queue| queue["paused"] == true && tasks(queue) > 0);
    let unserved = that(&|queue| tasks(queue) > 0 && !is_served(queue, &facts.nodes));
    let dead = that(&|queue| queue["dead"].as_u64().is_some_and(|count| count > 0));
    let mut found = Vec::new();
    if !unserved.is_empty() {
        found.push(bad(
            "queues",
            format!(
                "tasks wait, and no worker serves: {}",
                names(&unserved, "name")
            ),
            "start workers with --queues for them; `windlass task why ID` tells more of a task",
        ));
    }
    if !paused.is_empty() {
        found.push(warn(
            "queues",
            format!("paused while tasks wait: {}", names(&paused, "name")),
            "let them go on with `windlass queue resume`, when what they were paused for is over",
        ));
    }
    if !dead.is_empty() {
        found.push(warn(
            "queues",
            format!("tasks whose attempts are spent wait for a person: {}", names(&dead, "name")),
            "look at them with `windlass task list --state failed`, and run them again with `windlass task rerun`",
        ));
    }
    if found.is_empty() {
        found.push(ok("queues", "every queue that has tasks is served"));
    }
    found
}

/// Whether a worker serves the queue; where nobody told of workers, it is taken for served.
fn is_served(queue: &Value, nodes: &Told) -> bool {
    let Ok(nodes) = nodes else { return true };
    workers(nodes).any(|worker| {
        let mut served = list(worker, "queues").peekable();
        served.peek().is_none() || served.any(|name| *name == queue["name"])
    })
}

fn names(found: &[&Value], field: &str) -> String {
    let named = found.iter().take(NAMED_MAX);
    let named: Vec<&str> = named.filter_map(|it| it[field].as_str()).collect();
    let more = found.len().saturating_sub(NAMED_MAX);
    if more == 0 {
        named.join(", ")
    } else {
        format!("{} and {more} more", named.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn well() -> Facts {
        Facts {
            reached: Ok(Duration::from_millis(3)),
            clock_ahead_s: Some(0),
            ready: Ok(()),
            stats: Ok(json!({"foreign_records": 0, "drift_repaired": 0,
                "store": {"level": "roomy", "used_bytes": 1_048_576, "quota_bytes": 2_097_152}})),
            queues: Ok(
                json!({"queues": [{"name": "q", "paused": false, "pending": 3, "dead": 0}]}),
            ),
            nodes: Ok(json!({"nodes": [
                {"id": "s", "role": "scheduler", "version": VERSION, "slots": 0, "queues": [], "draining": false},
                {"id": "w", "role": "worker", "version": VERSION, "slots": 4, "queues": ["q"], "draining": false}]})),
            etcd: vec![("http://a".to_owned(), Ok(json!({"etcdserver": "3.5.33"})))],
        }
    }

    /// The check and the message of everything that is not well.
    fn wrong(facts: &Facts, verdict: Verdict) -> Vec<String> {
        let found = of(facts);
        assert!(
            found
                .iter()
                .all(|it| (it.result == Verdict::Ok) == it.advice.is_none()),
            "{found:?}"
        );
        let not_ok = found.into_iter().filter(|it| it.result != Verdict::Ok);
        let told = not_ok.map(|it| {
            assert_eq!(it.result, verdict, "{it:?}");
            format!("{}: {}", it.check, it.message)
        });
        told.collect()
    }

    #[test]
    fn a_cluster_that_is_well_has_nothing_wrong() {
        assert_eq!(wrong(&well(), Verdict::Bad), Vec::<String>::new());
    }

    /// One change of something that is well, how it is then, and a word of what is said of it.
    type Case = (&'static str, Verdict, fn(&mut Facts));

    fn set(told: &mut Told, pointer: &str, value: Value) {
        *told.as_mut().unwrap().pointer_mut(pointer).unwrap() = value;
    }

    #[test]
    fn each_thing_that_is_wrong_is_found() {
        let cases: [Case; 15] = [
            ("readiness: no session", Verdict::Bad, |it| {
                it.ready = Err("no session".to_owned())
            }),
            (
                "clock: the server's clock is at least 5 s ahead",
                Verdict::Warn,
                |it| it.clock_ahead_s = Some(5),
            ),
            (
                "clock: the server's clock is at least 60 s behind",
                Verdict::Bad,
                |it| it.clock_ahead_s = Some(-60),
            ),
            ("version: this program is of version", Verdict::Warn, |it| {
                set(&mut it.nodes, "/nodes/0/version", json!("9.0.0"))
            }),
            ("store: it is short of room", Verdict::Warn, |it| {
                set(&mut it.stats, "/store/level", json!("tight"))
            }),
            ("store: it is full", Verdict::Bad, |it| {
                set(&mut it.stats, "/store/level", json!("full"))
            }),
            ("records: 2 records", Verdict::Warn, |it| {
                set(&mut it.stats, "/foreign_records", json!(2))
            }),
            ("records: the server's view", Verdict::Warn, |it| {
                set(&mut it.stats, "/drift_repaired", json!(1))
            }),
            (
                "nodes: told to drain, and still there: w",
                Verdict::Warn,
                |it| set(&mut it.nodes, "/nodes/1/draining", json!(true)),
            ),
            ("nodes: alive, but take nothing: w", Verdict::Warn, |it| {
                set(&mut it.nodes, "/nodes/1/slots", json!(0))
            }),
            (
                "queues: tasks wait, and no worker serves: q",
                Verdict::Bad,
                |it| set(&mut it.nodes, "/nodes/1/queues", json!(["x"])),
            ),
            ("queues: paused while tasks wait: q", Verdict::Warn, |it| {
                set(&mut it.queues, "/queues/0/paused", json!(true))
            }),
            (
                "queues: tasks whose attempts are spent",
                Verdict::Warn,
                |it| set(&mut it.queues, "/queues/0/dead", json!(1)),
            ),
            (
                "etcd: http://a is etcd 3.5.1, which can lose data",
                Verdict::Bad,
                |it| set(&mut it.etcd[0].1, "/etcdserver", json!("3.5.1")),
            ),
            ("stats", Verdict::Warn, |it| {
                it.stats = Err("403 in stats".to_owned())
            }),
        ];
        for (told, verdict, change) in cases {
            let mut facts = well();
            change(&mut facts);
            let wrong = wrong(&facts, verdict);
            assert!(
                wrong.iter().any(|it| it.contains(told)),
                "{told}: {wrong:?}"
            );
        }
    }

    #[test]
    fn without_a_server_that_is_all_there_is_to_say() {
        let mut facts = well();
        facts.reached = Err("cannot reach the server\n  hint: x".to_owned());
        facts.etcd.clear();
        assert_eq!(
            wrong(&facts, Verdict::Bad),
            ["server: cannot reach the server"]
        );
        assert_eq!(of(&facts).len(), 1);
    }

    #[test]
    fn many_names_are_cut() {
        let queues: Vec<Value> = (0..12).map(|n| json!({"name": format!("q{n}")})).collect();
        let queues: Vec<&Value> = queues.iter().collect();
        assert!(names(&queues, "name").ends_with("q9 and 2 more"));
    }
}
