//! Every example does what it shows.

use std::sync::Arc;

use windlass::testing::Windlass;

#[path = "../../examples/embedded.rs"]
mod embedded;
#[path = "../../examples/middleware.rs"]
mod middleware;
#[path = "../../examples/submit.rs"]
#[allow(dead_code, reason = "its main wants a server")]
mod submit;
#[path = "../../examples/testing.rs"]
mod testing;
#[path = "../../examples/worker.rs"]
#[allow(dead_code, reason = "its main wants an etcd")]
mod worker;

#[tokio::test(start_paused = true)]
async fn the_worker_of_the_example_does_what_its_submitter_wants() {
    let windlass = Windlass::start(worker::worker(Arc::default()))
        .await
        .unwrap();
    let client = windlass.client();
    submit::submit(&client).await.unwrap();
    let slow = serde_json::json!({"to": "eve@slow.example", "subject": "hi"});
    let greylisted = client.submit_raw("email.send", &slow).queue("mail");
    let task = greylisted.await.unwrap().ended().await.unwrap();
    assert_eq!((task.status.as_str(), task.retry_count), ("completed", 1));
}

#[test]
fn the_embedded_windlass_of_the_example_counts_words() {
    embedded::main().unwrap();
}

#[test]
fn the_layer_of_the_example_measures_attempts() {
    middleware::main().unwrap();
}

#[test]
fn the_tests_of_the_example_pass() {
    testing::main().unwrap();
}
