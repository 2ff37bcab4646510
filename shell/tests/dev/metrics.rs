//! What people see of a cluster's health: metrics, and the dashboard and the alerts that are made of them.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use tower::ServiceExt;
use windlass::api::{Door, Front, worker_metrics};

use crate::rig::Dev;

/// The names of all metrics in a scrape, without the suffixes of their series.
fn told(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.filter_map(|line| Some(line.split_once(' ')?.0.to_owned()));
    names.collect()
}

/// The names of all metrics that queries in this text ask for.
fn asked(text: &str) -> BTreeSet<String> {
    let words = text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    let names = words.filter(|word| word.starts_with("windlass_") || word.starts_with("process_"));
    let bare = names.map(|name| {
        let suffixes = ["_total", "_bucket", "_count", "_sum"];
        let found = suffixes.into_iter().find_map(|it| name.strip_suffix(it));
        found.unwrap_or(name).to_owned()
    });
    bare.collect()
}

fn file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join(path)).unwrap()
}

/// What a worker serves when it is told to.
fn of_a_worker() -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let front = Front::new(Door::open());
        let router = worker_metrics(std::sync::Arc::default(), "w1", &front);
        let request = http::Request::get("/metrics");
        let request = request.body(axum::body::Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        String::from_utf8(body.unwrap().to_vec()).unwrap()
    })
}

#[test]
fn every_metric_that_the_dashboard_and_the_alerts_ask_for_is_there() {
    let dev = Dev::start(&["--workers", "1"]);
    let id = dev.submit(&json!({"type": "noop"}));
    dev.ended(&id);
    let mut there = told(&dev.send("GET", "/metrics", None).body);
    there.extend(told(&of_a_worker()));
    // An embedded store has no quota; etcd tells one.
    there.insert("windlass_store_quota_bytes".to_owned());
    for path in [
        "deploy/grafana/windlass.json",
        "deploy/prometheus/alerts.yml",
    ] {
        let wanted = asked(&file(path));
        assert!(wanted.len() > 5, "{path}: {wanted:?}");
        let missing: Vec<_> = wanted.difference(&there).collect();
        assert!(missing.is_empty(), "{path}: {missing:?}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&file("deploy/grafana/windlass.json")).unwrap();
    assert_eq!(dashboard["uid"], "windlass");
}

#[test]
fn metrics_tell_how_long_tasks_of_each_queue_wait_and_run() {
    let dev = Dev::start(&["--workers", "1"]);
    let task = json!({"type": "sleep", "payload": {"ms": 30}, "queue": "mail"});
    let id = dev.submit(&task);
    dev.ended(&id);
    dev.act("/api/v1/queues/later/pause").json(200);
    dev.submit(&json!({"type": "noop", "queue": "later"}));
    let metrics = dev.send("GET", "/metrics", None).body;
    let value = |series: &str| {
        let found = metrics.lines().find_map(|line| line.strip_prefix(series));
        let found = found.unwrap_or_else(|| panic!("no {series} in {metrics}"));
        found.trim().parse::<f64>().unwrap()
    };
    assert_eq!(
        value("windlass_task_wait_seconds_count{queue=\"mail\"}"),
        1.0
    );
    assert_eq!(
        value("windlass_task_run_seconds_count{queue=\"mail\"}"),
        1.0
    );
    assert!(value("windlass_task_run_seconds_sum{queue=\"mail\"}") >= 0.03);
    assert_eq!(
        value("windlass_queue_depth{queue=\"later\",state=\"pending\"}"),
        1.0
    );
    assert!(value("windlass_queue_oldest_seconds{queue=\"later\"}") >= 0.0);
    assert!(value("windlass_store_request_seconds_count{op=\"commit\",outcome=\"done\"}") > 0.0);
    assert!(value("windlass_decision_seconds_count") > 0.0);
    assert!(value("windlass_session_left_seconds") > 0.0);
    assert!(value("windlass_view_revision") > 1.0);
    assert!(value("process_cpu_seconds_total") >= 0.0);
    assert!(value("process_open_fds") > 0.0);
    assert_eq!(value("windlass_sse_clients"), 0.0);
}
