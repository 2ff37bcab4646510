//! Workers, schedulers and clients of the library, on a real etcd.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass::{Client, Context, NodeError, Scheduler, Task, TaskError, Worker};
use windlass_tests::etcd::Etcd;

const ANY: &str = "127.0.0.1:0";

#[derive(Serialize, Deserialize)]
struct Add(Vec<u64>);

impl Task for Add {
    const TYPE: &'static str = "add";
    const QUEUE: &'static str = "sums";
    type Output = u64;
}

async fn add(Add(numbers): Add, ctx: Context) -> Result<u64, TaskError> {
    let _alone = ctx.lock("adder").await?;
    Ok(numbers.iter().sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_works_and_submits_while_its_schedulers_come_and_go() {
    let etcd = Etcd::start();
    let scheduler = || {
        Scheduler::builder()
            .etcd([etcd.endpoint()])
            .prefix("/embedded")
            .listen(ANY.parse::<SocketAddr>().unwrap())
            .start()
    };
    let (mut first, second) = (scheduler().await.unwrap(), scheduler().await.unwrap());
    let mut worker = Worker::builder()
        .etcd([etcd.endpoint()])
        .prefix("/embedded")
        .queues(["sums"])
        .handler(add)
        .start()
        .await
        .unwrap();
    let url = |address: Option<SocketAddr>| format!("http://{}", address.unwrap());
    let servers = [url(first.address()), url(second.address())];
    let client = Client::connect(&servers.join(",")).unwrap();
    let task = client.submit(&Add(vec![1, 2])).await.unwrap();
    assert_eq!(task.wait().await.unwrap(), 3);
    first.stop();
    first.wait().await.unwrap();
    // The connection may just break with the scheduler: only with a key is it sent again.
    let task = client.submit(&Add(vec![3, 4])).key("after").await.unwrap();
    assert_eq!(task.wait_for(Duration::from_secs(60)).await.unwrap(), 7);
    assert!(etcd.keys().iter().all(|key| key.starts_with("/embedded")));
    worker.stop();
    worker.wait().await.unwrap();
}

#[tokio::test]
async fn a_worker_says_that_its_etcd_is_not_there() {
    let nowhere = tokio::net::TcpListener::bind(ANY).await.unwrap();
    let address = nowhere.local_addr().unwrap();
    drop(nowhere);
    let worker = Worker::builder().etcd([format!("http://{address}")]);
    let error = worker.handler(add).start().await.unwrap_err();
    assert!(matches!(error, NodeError::Etcd(_)), "{error:?}");
}
