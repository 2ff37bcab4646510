//! One caller that asks for far too much, and another that does not. H-13.

use std::time::Duration;

use windlass_tests::client::{Client, command};
use windlass_tests::load::{Load, request};
use windlass_tests::process::Process;
use windlass_tests::{spread, tell};

use super::{address_of, array, is_judged, step};

/// What each caller may ask for a second.
const RATE_MAX: u32 = 100;

fn token(file: &str, name: &str) -> String {
    let (code, token, said) = command(&["token", "new", name, "--role", "submit", "--file", file]);
    assert_eq!(code, 0, "{said}");
    token.trim().to_owned()
}

#[test]
fn a_caller_beyond_its_rate_is_turned_away_and_the_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    let file = file.to_str().unwrap();
    let [calm, greedy] = ["calm", "greedy"].map(|name| token(file, name));
    let rate_max = RATE_MAX.to_string();
    let mut server = Process::dev(&["--tokens", file, "--rate-max", &rate_max]);
    Client::of([&mut server]);
    let address = address_of(&server.url());
    let load = |token: &str, per_second: f64, connections: usize| Load {
        address,
        request: request("/api/v1/tasks", Some(token), Some(&array())),
        per_second: Some(per_second),
        connections,
        lasts: step() * 2,
    };
    let calm = load(&calm, f64::from(RATE_MAX) / 2.0, 50);
    let greedy = load(&greedy, f64::from(RATE_MAX) * 10.0, 200);
    calm.send();
    let alone = calm.send();
    let (beside, excess) = std::thread::scope(|scope| {
        let excess = scope.spawn(|| greedy.send());
        (calm.send(), excess.join().unwrap())
    });
    tell(&format!(
        "the calm caller alone: {}",
        spread(alone.served.clone())
    ));
    tell(&format!(
        "beside the greedy one: {}",
        spread(beside.served.clone())
    ));
    tell(&format!("the greedy caller: {:?}", excess.by_status));
    for answers in [&alone, &beside] {
        assert_eq!(answers.with(201), answers.due, "{:?}", answers.by_status);
    }
    assert!(
        excess.with(429) > excess.with(201),
        "{:?}",
        excess.by_status
    );
    assert_eq!(excess.without_hint, 0, "each 429 says when to come again");
    if is_judged() {
        // Below a few milliseconds it is the machine that is measured.
        let most = alone.p99().mul_f64(1.5).max(Duration::from_millis(5));
        assert!(beside.p99() <= most, "{:?} of {most:?}", beside.p99());
    }
}
