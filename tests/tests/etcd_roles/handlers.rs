//! Handlers in Rust that take locks, on a real etcd, with the rights of a worker and no others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use windlass::clock::SystemClock;
use windlass::core::config::WorkerConfig;
use windlass::core::keyspace::{Key, Range};
use windlass::executor::{Context, ExecutorOptions, Handlers, TaskError};
use windlass::host::Store;
use windlass::node::WorkerNode;
use windlass::store::etcd::EtcdStore;
use windlass_tests::client::Client;

use crate::rig::{Rig, Way};

/// Takes the lock, and says who else was inside.
async fn work(ctx: Context, inside: Arc<AtomicU32>) -> Result<Value, TaskError> {
    let guard = ctx.lock("l").await?;
    let others = inside.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(5)).await;
    inside.fetch_sub(1, Ordering::SeqCst);
    Ok(json!({"others": others, "fence": guard.fence().0.0}))
}

async fn worker(rig: &Rig, id: &str, user: &str, inside: &Arc<AtomicU32>) -> (WorkerNode, Store) {
    let config = WorkerConfig::new(id.parse().unwrap(), Vec::new(), "test".into());
    let probe = Range::of_key(&Key::node_config(&config.id));
    let store = EtcdStore::connect(rig.config(user, probe)).await.unwrap();
    let inside = Arc::clone(inside);
    let mut handlers = Handlers::new();
    let run = move |_: Value, ctx| work(ctx, Arc::clone(&inside));
    handlers.add("run", run).unwrap();
    let (store, clock) = (Store::Etcd(Arc::new(store)), SystemClock::start());
    let options = ExecutorOptions::default();
    let node = WorkerNode::start(&store, config, handlers, options, clock);
    (node, store)
}

#[test]
fn handlers_take_locks_with_the_rights_of_their_workers() {
    let rig = Rig::start(Way::Password);
    let mut scheduler = rig.scheduler();
    let client = Client::of([&mut scheduler]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let inside = Arc::default();
    let _workers = runtime.block_on(async {
        [
            worker(&rig, "w1", "worker-w1", &inside).await,
            worker(&rig, "w2", "fleet", &inside).await,
        ]
    });
    let tasks = vec![json!({"type": "run"}); 20];
    let mut fences = Vec::new();
    for task in client.submit_all(&tasks) {
        let end = client.end_of(&task);
        assert_eq!(
            (&end["status"], &end["retry_count"]),
            (&json!("completed"), &json!(0)),
            "{end}"
        );
        assert_eq!(end["result"]["others"], 0, "{end}");
        fences.push(end["result"]["fence"].as_u64().unwrap());
    }
    fences.sort_unstable();
    fences.dedup();
    assert_eq!(fences.len(), 20);
}
