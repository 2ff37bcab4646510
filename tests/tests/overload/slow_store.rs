//! A store that answers late, and then far too late. H-14.

use std::time::Duration;

use serde_json::json;
use windlass_tests::client::Client;
use windlass_tests::etcd::Etcd;
use windlass_tests::load::{Answers, Load, request};
use windlass_tests::process::Process;
use windlass_tests::proxy::Proxy;
use windlass_tests::{eventually, spread, tell};

use super::witness::{metric, resident_mib};
use super::{address_of, step};

/// Longer than the server lets anybody wait.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// How many transactions etcd was asked for.
fn txns(etcd: &Etcd) -> f64 {
    let url = format!("{}/metrics", etcd.endpoint());
    let http = windlass_tests::client::http().build().unwrap();
    let text = http.get(url).send().unwrap().text().unwrap();
    metric(&text, "grpc_server_started_total", |labels| {
        labels.contains("grpc_method=\"Txn\"")
    })
}

/// Everybody is answered in time, and told when to come again.
fn judge(name: &str, answers: &Answers, each: f64, mib: u64) {
    tell(&format!(
        "{name}: {:?}; served {}; turned away {}; {each:.2} transactions a request; {mib} MiB",
        answers.by_status,
        spread(answers.served.clone()),
        spread(answers.turned_away.clone()),
    ));
    assert_eq!(answers.without_hint, 0, "a 503 says when to come again");
    let slowest = answers.served.iter().chain(&answers.turned_away).max();
    assert!(
        slowest.is_none_or(|it| *it < ANSWERED_WITHIN),
        "{slowest:?}"
    );
    assert_eq!(answers.with(0), 0, "everybody is answered");
}

#[test]
fn while_the_store_is_slow_callers_are_told_so_and_the_store_is_not_asked_more() {
    let etcd = Etcd::start();
    let proxy = Proxy::to(etcd.endpoint());
    let scheduler = [
        "scheduler",
        "--etcd",
        &proxy.endpoint(),
        "--listen",
        "127.0.0.1:0",
    ];
    let mut scheduler = Process::start("s", &scheduler);
    let client = Client::of([&mut scheduler]);
    let task = json!({"type": "noop"}).to_string();
    let load = Load {
        address: address_of(&scheduler.url()),
        request: request("/api/v1/tasks", None, Some(&task)),
        per_second: Some(100.0),
        connections: 2_000,
        lasts: step() * 6,
    };
    let mut all = Answers::default();
    let mut run = |name: &str, delay: Duration| {
        proxy.delay(delay);
        let before = txns(&etcd);
        let answers = load.send();
        proxy.delay(Duration::ZERO);
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let each = (txns(&etcd) - before) / answers.due as f64;
        judge(name, &answers, each, resident_mib(scheduler.id()));
        all.add(answers);
        each
    };
    let usual = run("as usual", Duration::ZERO);
    for delay in [2, 10] {
        let each = run(
            &format!("a store {delay} s late"),
            Duration::from_secs(delay),
        );
        assert!(
            each <= usual * 1.2,
            "{each} of {usual} transactions a request"
        );
    }
    eventually("it takes tasks again", || {
        let answer = client.try_post(
            &client.servers()[0],
            "/api/v1/tasks",
            &json!({"type": "noop"}),
        );
        all.acknowledged += u64::from(answer.as_ref().is_some_and(|it| it.0 == 201));
        answer.filter(|it| it.0 == 201)
    });
    let again = load.send();
    assert_eq!(again.with(201), again.due, "{:?}", again.by_status);
    all.add(again);
    let total = client.count("total");
    let most = all.due + 1_000;
    assert!(
        total >= all.acknowledged && total <= most,
        "{total} of {}",
        all.acknowledged
    );
}
