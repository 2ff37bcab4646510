//! What happens, as it happens: the stream of events of a real server, and its history.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::rig::{Dev, PATIENCE};

/// One event.
#[derive(Debug, Default)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

/// A connection that asked for events.
struct Events {
    lines: BufReader<TcpStream>,
    /// The last id.
    last: String,
}

impl Events {
    fn open(dev: &Dev, query: &str, last: Option<&str>) -> Self {
        let mut socket = TcpStream::connect(dev.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let last = last.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        let request =
            format!("GET /api/v1/events{query} HTTP/1.1\r\nhost: localhost\r\n{last}\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        Self {
            lines: BufReader::new(socket),
            last: String::new(),
        }
    }

    /// The next event; `None` when the stream ends. The lines between are of the transport.
    fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            let line = line.trim_end();
            if let Some(id) = line.strip_prefix("id: ") {
                event.id = id.to_owned();
                self.last = id.to_owned();
            } else if let Some(name) = line.strip_prefix("event: ") {
                event.name = name.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                event.data = serde_json::from_str(data).unwrap();
                return Some(event);
            }
        }
    }

    /// The first event that is as wanted.
    fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().expect("the stream goes on");
            assert_ne!(event.name, "resync", "nothing is missed");
            if wanted(&event) {
                return event;
            }
        }
    }

    /// What is told of the task once it is in this state.
    fn task(&mut self, id: &str, status: &str) -> Value {
        let find = |event: &Event| {
            let tasks = event.data["tasks"].as_array()?;
            let found = tasks.iter().find(|it| it["id"] == id)?;
            (found["status"] == status).then(|| found.clone())
        };
        let event = self.until(|event| event.name == "changes" && find(event).is_some());
        find(&event).unwrap()
    }
}

#[test]
fn the_life_of_a_task_is_told_as_it_happens() {
    let dev = Dev::start(&["--workers", "1"]);
    let mut events = Events::open(&dev, "", None);
    let begin = events.until(|event| event.name == "changes");
    assert_eq!(begin.id, begin.data["revision"]);
    let id = dev.submit(&json!({"type": "sleep", "payload": {"ms": 700}, "queue": "slow"}));
    let running = events.task(&id, "running");
    assert_eq!(running["queue"], "slow");
    assert_eq!(running["type"], "sleep");
    assert_eq!(running["worker_id"], dev.worker()["id"]);
    let done = events.task(&id, "completed");
    assert_eq!(done["queue"], "slow");
    events.until(|event| event.name == "stats" && event.data["tasks"]["completed"] == 1);
    let failing = json!({"type": "fail", "payload": {"times": 9}, "max_retries": 0});
    let id = dev.submit(&failing);
    events.task(&id, "failed");
    let id = dev.submit(&json!({"type": "noop", "delay": "1h"}));
    events.task(&id, "scheduled");
    dev.act(&format!("/api/v1/tasks/{id}/cancel")).json(200);
    events.task(&id, "cancelled");
}

#[test]
fn settings_of_queues_and_nodes_that_come_and_go_are_told() {
    let dev = Dev::start(&["--workers", "1"]);
    let worker = dev.worker();
    let mut events = Events::open(&dev, "?topics=queues,nodes", None);
    events.until(|event| event.name == "changes");
    dev.act("/api/v1/queues/mail/pause").json(200);
    let has_mail = |event: &Event| event.data["queues"] == json!(["mail"]);
    events.until(has_mail);
    let drain = format!("/api/v1/nodes/{}/drain", worker["id"].as_str().unwrap());
    dev.act(&drain).json(200);
    events.until(|event| event.data["nodes"] == true);
}

#[test]
fn who_comes_back_misses_nothing() {
    let dev = Dev::start(&["--workers", "1"]);
    let mut events = Events::open(&dev, "", None);
    events.until(|event| event.name == "changes");
    let first = dev.submit(&json!({"type": "noop"}));
    events.task(&first, "completed");
    let last = events.last.clone();
    drop(events);
    let second = dev.submit(&json!({"type": "noop"}));
    dev.ended(&second);
    let mut events = Events::open(&dev, "", Some(&last));
    events.task(&second, "completed");
    // A revision of another store, or one that is forgotten.
    for lost in ["1", "999999999999"] {
        let mut events = Events::open(&dev, "", Some(lost));
        assert_eq!(events.next().unwrap().name, "resync", "after {lost}");
    }
}

#[test]
fn a_server_that_is_told_to_stop_ends_its_streams() {
    let mut dev = Dev::start(&["--workers", "1"]);
    let mut events = Events::open(&dev, "", None);
    events.until(|event| event.name == "changes");
    dev.process.signal(Signal::TERM);
    while events.next().is_some() {}
    assert!(dev.process.end().success());
    assert!(
        !dev.process.log().contains("grace"),
        "{}",
        dev.process.log()
    );
}

#[test]
fn the_last_while_is_kept_as_points() {
    let dev = Dev::start(&["--workers", "1"]);
    // The first look is the base that the first point is counted from.
    dev.get_until("/api/v1/history", |history| {
        history["points"][0].is_object()
    });
    for _ in 0..3 {
        let id = dev.submit(&json!({"type": "sleep", "payload": {"ms": 20}}));
        dev.ended(&id);
    }
    let sum = |history: &Value, what: &str| -> u64 {
        let points = history["points"].as_array().unwrap().iter();
        points.map(|point| point[what].as_u64().unwrap()).sum()
    };
    let history = dev.get_until("/api/v1/history?range=1h", |it| sum(it, "completed") == 3);
    assert_eq!(history["step_seconds"], 5);
    assert_eq!((sum(&history, "accepted"), sum(&history, "failed")), (3, 0));
    let points = history["points"].as_array().unwrap();
    let timed = points.iter().find(|it| it["run_ms"].is_object()).unwrap();
    let median = timed["run_ms"]["p50"].as_f64().unwrap();
    assert!(
        median >= 10.0,
        "a run of 20 ms lies above the bucket below: {timed}"
    );
    assert!(timed["wait_ms"]["p99"].is_number(), "{timed}");
    assert_ne!(points.last().unwrap()["slots"], 0);
    let stats = dev.get_until("/api/v1/stats", |it| it["rates"]["completed"] != 0.0);
    assert!(
        stats["rates"]["accepted"].as_f64().unwrap() > 0.0,
        "{stats}"
    );
}
