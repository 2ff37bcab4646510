//! A server that is killed again and again loses nothing that it acknowledged, and completes nothing twice.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{send, text};
use crate::rig::{Dev, until};

/// Submitters beside each other.
const SUBMITTERS: u64 = 4;

/// A small generator, so that a run can be done again from its seed.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What one submitter knows.
#[derive(Default)]
struct Known {
    acknowledged: BTreeSet<String>,
    /// Tasks without a key whose submission was never answered: they may have been accepted.
    doubtful: usize,
    /// Bodies with keys that were never answered: they are sent again.
    unanswered: Vec<Value>,
    number: u64,
}

fn task(draws: &mut Draws, key: Option<String>) -> Value {
    let mut task = match draws.below(4) {
        0 => json!({"type": "noop"}),
        1 => json!({"type": "sleep", "payload": {"ms": draws.below(40)}}),
        _ => json!({"type": "echo", "payload": "x".repeat(draws.below(300) as usize)}),
    };
    task["priority"] = json!(draws.below(10));
    if let Some(key) = key {
        task["key"] = json!(key);
    }
    task
}

impl Known {
    /// Sends until there is no server any more. Submitter `who` names its keys by itself.
    fn load(&mut self, who: u64, address: SocketAddr, draws: &mut Draws) {
        while let Some(body) = self.unanswered.pop() {
            if !self.send(address, &body) {
                self.unanswered.push(body);
                return;
            }
        }
        loop {
            let keyed = draws.below(2) == 0;
            let mut body: Vec<Value> = Vec::new();
            for _ in 0..=draws.below(if keyed { 4 } else { 60 }) {
                self.number += 1;
                let key = keyed.then(|| format!("{who}/{}", self.number));
                body.push(task(draws, key));
            }
            let count = body.len();
            let body = Value::from(body);
            if self.send(address, &body) {
                continue;
            }
            if keyed {
                self.unanswered.push(body);
            } else {
                self.doubtful += count;
            }
            return;
        }
    }

    /// Whether it was answered. Only the kill excuses a server from accepting what is sound.
    fn send(&mut self, address: SocketAddr, body: &Value) -> bool {
        let Ok(answer) = send(address, "POST", "/api/v1/tasks", Some(&body.to_string())) else {
            return false;
        };
        let accepted = answer.json(201);
        for task in accepted["tasks"].as_array().unwrap() {
            self.acknowledged.insert(text(&task["id"]));
        }
        true
    }
}

#[test]
fn a_server_that_is_killed_at_any_moment_loses_nothing_and_completes_nothing_twice() {
    let from_env = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let seed = from_env("WINDLASS_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let kills: u64 = from_env("WINDLASS_KILLS").unwrap_or(5);
    println!("WINDLASS_SEED={seed} WINDLASS_KILLS={kills}");
    let dir = tempfile::tempdir().unwrap();
    let start = || Dev::start_in(dir.path(), &["--workers", "2"]);
    let mut draws = Draws(seed);
    let mut known: Vec<Known> = (0..SUBMITTERS).map(|_| Known::default()).collect();
    for kill in 0..kills {
        let mut dev = start();
        let address = dev.address;
        nothing_acknowledged_is_missing(&dev, &known, &format!("after kill {kill}"));
        let moment = Duration::from_millis(20 + draws.below(700));
        std::thread::scope(|scope| {
            for (who, known) in (0..).zip(&mut known) {
                let mut draws = Draws(draws.below(u64::MAX));
                scope.spawn(move || known.load(who, address, &mut draws));
            }
            // The moment is the fault that is drawn; nothing is waited for.
            std::thread::park_timeout(moment);
            dev.process.child.kill().unwrap();
            dev.process.child.wait().unwrap();
        });
    }
    let dev = start();
    for known in &mut known {
        for body in std::mem::take(&mut known.unanswered) {
            assert!(known.send(dev.address, &body), "nobody kills this one");
        }
    }
    judge(&dev, &known);
}

fn nothing_acknowledged_is_missing(dev: &Dev, known: &[Known], when: &str) -> Vec<Value> {
    let listed = dev.listed("", 1_000);
    let ids: BTreeSet<String> = listed.iter().map(|task| text(&task["id"])).collect();
    assert_eq!(ids.len(), listed.len(), "{when}: each is listed once");
    for known in known {
        let missing: Vec<_> = known.acknowledged.difference(&ids).collect();
        assert!(missing.is_empty(), "{when}: {missing:?}");
    }
    let counted = &dev.tasks();
    assert_eq!(counted["total"], listed.len(), "{when}: {counted}");
    listed
}

fn judge(dev: &Dev, known: &[Known]) {
    until("nothing is left to do", || {
        let tasks = dev.tasks();
        let left = ["scheduled", "pending", "running", "retrying"]
            .iter()
            .all(|state| tasks[*state] == 0);
        left.then_some(())
    });
    let listed = nothing_acknowledged_is_missing(dev, known, "at the end");
    for task in &listed {
        assert_eq!(task["status"], "completed", "{task}");
    }
    let tasks = dev.tasks();
    assert_eq!(tasks["completed"], listed.len(), "{tasks}");
    assert_eq!(
        (&tasks["failed"], &tasks["cancelled"]),
        (&json!(0), &json!(0))
    );
    let acknowledged: usize = known.iter().map(|known| known.acknowledged.len()).sum();
    let doubtful: usize = known.iter().map(|known| known.doubtful).sum();
    let range = acknowledged..=acknowledged + doubtful;
    assert!(range.contains(&listed.len()), "{} {range:?}", listed.len());
    let lost = &dev.get("/api/v1/stats")["attempts"]["lost"];
    println!(
        "{} tasks, {acknowledged} acknowledged, {doubtful} in doubt, {lost} attempts lost with their worker",
        listed.len()
    );
}
