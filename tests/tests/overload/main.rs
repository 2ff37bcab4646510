//! The real server asked for more than it can do: what was acknowledged is kept, workers are heard first, and whoever is
//! turned away is told when to come again.
//!
//! In the suite these runs are short and say what they measured; `make overload` makes them long, in release, and judges
//! their figures, too.
#![allow(clippy::unwrap_used)]

mod callers;
mod crowd;
mod slow_store;
mod witness;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use windlass_tests::client::Client;
use windlass_tests::load::{Answers, Load, request};
use windlass_tests::process::Process;
use windlass_tests::{eventually, size, spread, tell};

use witness::{Witness, metric, resident_mib};

/// Tasks of one request: the server's work is large beside the sender's, which has the same machine.
const ARRAY: usize = 10;
/// How many times more than 1x is asked for.
const FACTORS: [f64; 5] = [1.0, 2.0, 5.0, 10.0, 1.0];
/// What 1x is of all that the server can take.
const NOMINAL: f64 = 0.7;
/// Of beats and completions, so many in a thousand are taken.
const WORKERS_HEARD_MIN: f64 = 0.999;

/// How long each step lasts; in the suite, hardly any time, for other tests want to run, too.
fn step() -> Duration {
    match size("WINDLASS_OVERLOAD_SECONDS", 0) {
        0 => Duration::from_millis(300),
        seconds => Duration::from_secs(seconds as u64),
    }
}

/// Whether figures are judged: only where nothing else uses the machine.
fn is_judged() -> bool {
    size("WINDLASS_OVERLOAD_JUDGED", 0) != 0
}

fn address_of(url: &str) -> SocketAddr {
    url.rsplit('/').next().unwrap().parse().unwrap()
}

fn array() -> String {
    json!(vec![
        json!({"type": "noop", "payload": "x".repeat(256)});
        ARRAY
    ])
    .to_string()
}

/// What a step came to, for people.
fn report(name: &str, lasts: Duration, answers: &Answers, completed: u64, server: &Process) {
    let seconds = lasts.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let rate = |count: u64| (count as f64 / seconds).round();
    tell(&format!(
        "{name}: {}/s requests due, {}/s unsent, {}/s tasks taken, {}/s completed; by status {:?}; \
         served {}; turned away {}; {} MiB",
        rate(answers.due),
        rate(answers.unsent),
        rate(answers.acknowledged),
        rate(completed),
        answers.by_status,
        spread(answers.served.clone()),
        spread(answers.turned_away.clone()),
        resident_mib(server.id()),
    ));
}

/// A server under load, and what came of all of it.
struct Ordeal {
    server: Process,
    client: Client,
    load: Load,
    all: Answers,
}

impl Ordeal {
    fn begin() -> Self {
        let mut server = Process::dev(&["--slots", "1024", "--retention", "20s"]);
        let client = Client::of([&mut server]);
        let load = Load {
            address: address_of(&server.url()),
            request: request("/api/v1/tasks", None, Some(&array())),
            per_second: None,
            connections: 32,
            lasts: step(),
        };
        Self {
            server,
            client,
            load,
            all: Answers::default(),
        }
    }

    /// One step: how many requests were served a second, and how many tasks completed.
    fn run(&mut self, name: &str, per_second: Option<f64>) -> (f64, f64) {
        let load = Load {
            per_second,
            connections: if per_second.is_some() { 1_000 } else { 32 },
            ..self.load.clone()
        };
        let before = self.client.count("completed");
        let began = Instant::now();
        let answers = load.send();
        let took = began.elapsed();
        let completed = self.client.count("completed") - before;
        report(name, took, &answers, completed, &self.server);
        assert_eq!(
            answers.without_hint, 0,
            "who is turned away is told when to come again"
        );
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let rates =
            [answers.served.len() as u64, completed].map(|it| it as f64 / took.as_secs_f64());
        self.all.add(answers);
        (rates[0], rates[1])
    }

    /// Nothing that was acknowledged is lost, and nothing ran twice, `besides` tasks that others submitted.
    fn judge(&self, besides: u64, metrics: &str) {
        let submitted = self.all.acknowledged + besides;
        let total = self.client.count("total");
        let may_have_been_taken = self.all.with(0) + self.all.with(503) + self.all.with(504);
        assert!(
            total >= submitted && total <= submitted + may_have_been_taken * ARRAY as u64,
            "{submitted} were acknowledged, and there are {total}"
        );
        assert_eq!(
            self.client.count("completed"),
            total,
            "each has completed, once"
        );
        let of = |name: &str| metric(metrics, name, |_| true);
        assert_eq!(of("windlass_attempts_lost_total"), 0.0);
        let started =
            of("windlass_attempts_dispatched_total") - of("windlass_attempts_handed_back_total");
        #[expect(clippy::cast_precision_loss, reason = "a run has no 2^52 tasks")]
        let once = total as f64;
        assert_eq!(started, once, "overload lets nothing run twice");
    }
}

/// Of what workers tell, hardly anything may be turned away.
fn judge_workers(metrics: &str) {
    for route in ["beat", "done"] {
        let of = |good: bool| {
            metric(metrics, "windlass_http_requests_total", |labels| {
                labels.contains(&format!("/{route}\"")) && labels.contains("status=\"2") == good
            })
        };
        let (heard, refused) = (of(true), of(false));
        tell(&format!("{route}: {heard} heard, {refused} not"));
        assert!(
            refused <= (heard + refused) * (1.0 - WORKERS_HEARD_MIN),
            "{route}"
        );
    }
}

/// H-12.
#[test]
fn an_overloaded_server_keeps_what_it_took_and_hears_its_workers() {
    let mut ordeal = Ordeal::begin();
    let witness = Witness::start(&ordeal.client.servers()[0]);
    ordeal.run("warming up", None);
    let (requests, peak) = ordeal.run("as much as it takes", None);
    let mut at_ten = 0.0;
    for factor in FACTORS {
        let per_second = requests * NOMINAL * factor;
        let (_, goodput) = ordeal.run(&format!("{factor}x"), Some(per_second));
        if factor >= 10.0 {
            at_ten = goodput;
        }
    }
    let began = Instant::now();
    eventually("all that was taken has ended", || {
        let left = ["pending", "running"].map(|it| ordeal.client.count(it));
        (left == [0, 0]).then_some(())
    });
    tell(&format!(
        "all had ended after {:?}; goodput at 10x is {:.0} % of the peak",
        began.elapsed(),
        at_ten / peak * 100.0
    ));
    if is_judged() {
        assert!(at_ten >= peak * 0.8, "{at_ten} of {peak} tasks/s");
        assert!(began.elapsed() <= Duration::from_secs(30));
    }
    let besides = witness.end(&ordeal.client);
    let metrics = ordeal.client.get_text("/metrics");
    judge_workers(&metrics);
    ordeal.judge(besides, &metrics);
}
