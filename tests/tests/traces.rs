//! What real processes export to an OpenTelemetry collector, and what becomes of them when there is none.
#![allow(clippy::unwrap_used)]

#[path = "traces/collector.rs"]
mod collector;
#[path = "traces/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::net::TcpListener;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use windlass_tests::client::{Client, command, http, text};
use windlass_tests::etcd::Etcd;
use windlass_tests::eventually;
use windlass_tests::process::Process;

use collector::{Collector, Seen};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
/// A handler whose result is the trace context that it was given.
const TELLS: &str = "tells=sh -c 'echo \"\\\"$TRACEPARENT\\\"\"'";

/// Submits with the header `traceparent`; the answer.
fn submitted(client: &Client, trace: &str, body: &Value) -> Value {
    let request = http()
        .build()
        .unwrap()
        .post(format!("{}/api/v1/tasks", client.servers()[0]))
        .header("traceparent", trace)
        .json(body);
    let answer = request.send().unwrap();
    assert_eq!(answer.status().as_u16(), 201);
    answer.json().unwrap()
}

fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn is_child(span: &Seen, of: &Seen) -> bool {
    span.trace == of.trace && span.parent == of.id
}

#[test]
fn a_task_is_followed_from_its_sender_through_the_scheduler_to_the_command_that_a_worker_runs() {
    let (collector, etcd) = (Collector::start(), Etcd::start());
    let otlp = ["--otlp", collector.url()];
    let mut scheduler = Process::scheduler(&etcd, "s-1", &otlp);
    let worker = [&otlp[..], &["--handler", TELLS]].concat();
    let mut worker = Process::worker(&etcd, "w-1", &worker);
    let client = Client::of([&mut scheduler]);
    let body = json!({"type": "tells", "queue": "mail"});
    let id = text(&submitted(&client, &format!("00-{TRACE}-{SPAN}-01"), &body)["id"]);
    let task = client.end_of(&id);
    // What is queued is exported at the end: nobody waits for the interval.
    worker.terminate();
    assert_eq!(worker.ended(), 0);
    scheduler.terminate();
    assert_eq!(scheduler.ended(), 0);
    let [send, process] = collector.of_task(&id, 2).try_into().unwrap();

    assert_eq!((&*send.name, send.kind), ("send mail", SpanKind::Producer));
    assert_eq!((&*send.trace, &*send.parent), (TRACE, SPAN));
    assert_eq!(text(&task["metadata"]["traceparent"]), send.trace_parent());
    assert_eq!(
        (&*process.name, process.kind),
        ("process mail", SpanKind::Consumer)
    );
    assert!(is_child(&process, &send), "{process:?} {send:?}");
    assert_eq!(text(&task["result"]), process.trace_parent());
    assert!(!send.failed && !process.failed);

    let common = [
        ("messaging.system", "windlass"),
        ("messaging.destination.name", "mail"),
        ("messaging.message.id", &*id),
        ("windlass.task.type", "tells"),
    ];
    let operation = |name| {
        [
            ("messaging.operation.name", name),
            ("messaging.operation.type", name),
        ]
    };
    let sent = [&common[..], &operation("send")].concat();
    assert_eq!(send.attributes, attributes(&sent));
    let fence = task["fence"].to_string();
    let own = [
        ("windlass.attempt", "1"),
        ("windlass.fence", &*fence),
        ("windlass.outcome", "completed"),
    ];
    let processed = [&common[..], &operation("process"), &own].concat();
    assert_eq!(process.attributes, attributes(&processed));
    for (span, role, node) in [(&send, "scheduler", "s-1"), (&process, "worker", "w-1")] {
        assert_eq!(span.resource["service.name"], "windlass");
        assert_eq!(span.resource["service.instance.id"], node);
        assert_eq!(span.resource["windlass.role"], role);
    }
}

#[test]
fn each_attempt_is_a_span_that_tells_how_it_ended() {
    let collector = Collector::start();
    let mut dev = Process::dev(&[
        "--otlp",
        collector.url(),
        "--handler",
        "dies=sh -c 'echo no >&2; exit 3'",
    ]);
    let client = Client::of([&mut dev]);
    let soon = json!({"kind": "fixed", "delay": "10ms"});
    let flaky = json!({"type": "fail", "payload": {"times": 1}, "retry": soon});
    let slow =
        json!({"type": "sleep", "payload": {"ms": 600_000}, "timeout": "50ms", "max_retries": 0});
    let dies = json!({"type": "dies", "max_retries": 0});
    let [flaky, slow, dies] = [flaky, slow, dies].map(|task| client.submit(&task));
    let ended = [&flaky, &slow, &dies].map(|id| client.end_of(id)["status"].clone());
    assert_eq!(ended, ["completed", "failed", "failed"]);
    dev.terminate();
    assert_eq!(dev.ended(), 0);

    let [send, first, second] = collector.of_task(&flaky, 3).try_into().unwrap();
    assert!(send.parent.is_empty(), "nobody sent a trace");
    assert!(is_child(&first, &send) && is_child(&second, &send));
    assert_ne!(first.id, second.id);
    assert!(first.failed && !second.failed);
    assert_eq!(first.attributes["error.type"], "failed");
    assert_eq!(first.message, "attempt 1 of 1 that were to fail");
    assert!(!second.attributes.contains_key("error.type"));
    let numbers = [&first, &second].map(|span| span.attributes["windlass.attempt"].clone());
    assert_eq!(numbers, ["1", "2"]);

    let [_, slow] = collector.of_task(&slow, 2).try_into().unwrap();
    assert!(slow.failed);
    assert_eq!(slow.attributes["error.type"], "timed_out");
    let [_, dies] = collector.of_task(&dies, 2).try_into().unwrap();
    assert!(dies.failed);
    assert_eq!(dies.message, "no");
}

#[test]
fn an_array_is_one_span_for_each_trace_that_its_tasks_belong_to() {
    let collector = Collector::start();
    let mut dev = Process::dev(&["--otlp", collector.url()]);
    let client = Client::of([&mut dev]);
    let other = TRACE.replace("4bf9", "5bf9");
    let own = json!({"traceparent": format!("00-{other}-{SPAN}-01")});
    let tasks = json!([
        {"type": "noop", "queue": "a"},
        {"type": "echo", "queue": "b", "metadata": own},
        {"type": "noop", "queue": "a"},
    ]);
    let answer = submitted(&client, &format!("00-{TRACE}-{SPAN}-01"), &tasks);
    let ids = answer["tasks"].as_array().unwrap();
    for task in ids {
        client.end_of(&text(&task["id"]));
    }
    dev.terminate();
    assert_eq!(dev.ended(), 0);
    let sent: Vec<Seen> = collector.seen();
    let sent = sent
        .into_iter()
        .filter(|span| span.kind == SpanKind::Producer);
    let sent: BTreeMap<String, Seen> = sent.map(|span| (span.trace.clone(), span)).collect();
    assert_eq!(sent.len(), 2);
    let (both, one) = (&sent[TRACE], &sent[&other]);
    assert_eq!((&*both.name, &*one.name), ("send a", "send b"));
    assert_eq!(both.attributes["messaging.batch.message_count"], "2");
    assert_eq!((&*both.parent, &*one.parent), (SPAN, SPAN));
    for (task, sent) in ids.iter().zip([both, one, both]) {
        let id = text(&task["id"]);
        let seen = collector.seen();
        let process = seen.iter().find(|span| {
            span.kind == SpanKind::Consumer && span.attributes["messaging.message.id"] == id
        });
        assert!(is_child(process.unwrap(), sent), "{process:?} {sent:?}");
    }
}

#[test]
fn a_burst_is_exported_whole() {
    let collector = Collector::start();
    let mut dev = Process::dev(&["--otlp", collector.url(), "--slots", "64"]);
    let client = Client::of([&mut dev]);
    let tasks = vec![json!({"type": "noop"}); 1_000];
    for _ in 0..4 {
        client.submit_all(&tasks);
    }
    eventually("all have ended", || {
        (client.count("completed") == 4_000).then_some(())
    });
    // The queue is bounded, and so is the wait at the end: what is lost there is another test's.
    eventually("all spans are there", || {
        (collector.seen().len() == 4_004).then_some(())
    });
    assert!(dev.log_line("lost").is_none());
}

#[test]
fn a_trace_that_its_sender_does_not_sample_is_carried_on_and_not_exported() {
    let collector = Collector::start();
    let mut dev = Process::dev(&["--otlp", collector.url(), "--handler", TELLS]);
    let client = Client::of([&mut dev]);
    let body = json!({"type": "tells"});
    let id = text(&submitted(&client, &format!("00-{TRACE}-{SPAN}-00"), &body)["id"]);
    let carried = text(&client.end_of(&id)["result"]);
    assert!(
        carried.starts_with(&format!("00-{TRACE}-")) && carried.ends_with("-00"),
        "{carried}"
    );
    let sampled = client.submit(&body);
    client.end_of(&sampled);
    dev.terminate();
    assert_eq!(dev.ended(), 0);
    collector.of_task(&sampled, 2);
    assert_eq!(collector.seen().len(), 2, "{:#?}", collector.seen());
}

#[test]
fn without_a_collector_tasks_run_as_ever_and_the_log_tells_it_once() {
    // One that nobody listens at, and one that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for url in ["http://127.0.0.1:1", &silent] {
        let mut dev = Process::dev(&["--otlp", url]);
        let client = Client::of([&mut dev]);
        let tasks = vec![json!({"type": "noop"}); 600];
        for round in 0..3 {
            for id in client.submit_all(&tasks) {
                assert_eq!(client.end_of(&id)["status"], "completed", "{round}");
            }
        }
        dev.logs("the collector does not take them");
        dev.terminate();
        assert_eq!(dev.ended(), 0);
        // A scheduler and a worker, each of which tells it once while it runs, and once at its end.
        assert!(dev.log_lines("does not take them").len() <= 2);
        assert!(dev.log_lines("before the end").len() <= 2);
    }
}

#[test]
fn what_is_no_collector_is_refused_with_the_flags_name() {
    for url in ["collector", "http://127.0.0.1:4318/v1/traces"] {
        let (code, _, said) = command(&["dev", "--otlp", url]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("--otlp <URL>"), "{said}");
        assert!(said.contains("http://127.0.0.1:4317"), "{said}");
    }
}
