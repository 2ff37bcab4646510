//! The typed client, over the network and within a process.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::json;
use tokio::net::TcpListener;
use windlass::client::{ErrorKind, Retry};
use windlass::{Client, Priority, Scheduler, TaskState, WaitError, Worker};

use crate::tasks::{Echo, echo, echoing, say};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A URL that nobody listens at.
async fn nobody() -> String {
    let listener = TcpListener::bind(ANY).await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_task_goes_over_the_network_and_its_result_comes_back_though_the_first_server_is_gone() {
    let scheduler = Scheduler::builder().in_memory().listen(ANY).start().await;
    let scheduler = scheduler.unwrap();
    let _worker = Worker::builder()
        .store(scheduler.store())
        .handler(say)
        .start()
        .await
        .unwrap();
    let servers = format!("{},http://{}", nobody().await, scheduler.address().unwrap());
    let client = Client::connect(&servers).unwrap();
    let task = client
        .submit(&echo("hi"))
        .priority(Priority::HIGH)
        .name("greeting")
        .metadata("colour", "blue")
        .retry(Retry::fixed(Duration::from_millis(1_500)).exact())
        .await
        .unwrap();
    assert_eq!(task.wait_for(Duration::from_secs(60)).await.unwrap(), "hi");
    let info = task.get().await.unwrap();
    assert_eq!(
        (info.status, info.priority),
        (TaskState::Completed, Priority::HIGH)
    );
    assert_eq!(info.name.as_deref(), Some("greeting"));
    assert_eq!(info.metadata["colour"], "blue");
}

#[tokio::test(start_paused = true)]
async fn what_is_submitted_twice_with_one_key_is_one_task() {
    let windlass = echoing().await;
    let client = windlass.client();
    let one = client.submit(&echo("hi")).key("k").await.unwrap();
    let two = client.submit(&echo("hi")).key("k").await.unwrap();
    assert_eq!(one.id(), two.id());
    let other = client.submit(&echo("ho")).key("k").await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Refused);
}

#[tokio::test]
async fn of_many_submissions_each_has_its_own_fate() {
    let windlass = echoing().await;
    let client = windlass.client();
    let texts: Vec<Echo> = (0..2_500).map(|n| echo(&n.to_string())).collect();
    let submissions = texts.iter().enumerate().map(|(n, text)| match n {
        1_700 => client.submit(text).queue("not a queue"),
        _ => client.submit(text),
    });
    let fates = client.submit_all(submissions).await;
    assert_eq!(fates.len(), 2_500);
    for (n, fate) in fates.into_iter().enumerate() {
        match fate {
            Ok(task) => assert_eq!(task.wait().await.unwrap(), n.to_string()),
            Err(error) => {
                assert_eq!((n, error.kind()), (1_700, ErrorKind::Refused));
                assert!(error.to_string().contains("queue"), "{error}");
            }
        }
    }
    let listed = client.list().queue("talk").state(TaskState::Completed);
    assert_eq!(listed.first(10_000).await.unwrap().len(), 2_499);
    let page = listed.page(10).await.unwrap();
    assert_eq!(page.tasks.len(), 10);
    let next = listed.clone().after(page.next_cursor.unwrap());
    assert_ne!(next.page(1).await.unwrap().tasks[0].id, page.tasks[9].id);
    assert!(
        client
            .submit_all(Vec::<windlass::Submission<()>>::new())
            .await
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_is_looked_after() {
    let windlass = echoing().await;
    let client = windlass.client();
    let hour = Duration::from_secs(3_600);
    let task = client.submit(&echo("hi")).delay(hour).await.unwrap();
    assert_eq!(task.why().await.unwrap().reasons[0].reason, "not_due");
    let early = task.wait_for(Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(early, WaitError::TimedOut(_)), "{early:?}");
    assert_eq!(task.cancel().await.unwrap().status, TaskState::Cancelled);
    let cancelled = task.wait().await.unwrap_err();
    assert!(
        matches!(cancelled, WaitError::Cancelled(_)),
        "{cancelled:?}"
    );
    assert_eq!(task.cancel().await.unwrap_err().kind(), ErrorKind::Refused);
    task.rerun().await.unwrap();
    assert_eq!(task.wait().await.unwrap(), "hi");
    let stranger = "019aa000-0000-7000-8000-000000000000".parse().unwrap();
    let missing = client.get(stranger).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_something_else_is_told_as_such() {
    struct Wrong;
    impl windlass::Task for Wrong {
        const TYPE: &'static str = "say";
        type Output = u32;
    }
    let windlass = echoing().await;
    let id = windlass.client().submit(&echo("hi")).await.unwrap().id();
    let error = windlass
        .client()
        .task::<Wrong>(id)
        .wait()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("is no u32"), "{error}");
}

#[tokio::test]
async fn nobody_is_unreachable_and_nonsense_is_refused_before_anything_is_sent() {
    let client = Client::connect(&nobody().await).unwrap();
    let error = client.list().page(1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.is_undone());
    for (servers, why) in [("", "URL"), ("ftp://a", "http://"), ("http://a, b", "b: ")] {
        let error = Client::connect(servers).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{servers}");
        assert!(error.to_string().contains(why), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty");
    std::fs::write(&file, "\n").unwrap();
    for builder in [
        Client::builder().token("two\nlines"),
        Client::builder().token("t").token_file(&file),
        Client::builder().token_file(&file),
        Client::builder().token_file(folder.path().join("missing")),
        Client::builder().ca(&file),
        Client::builder().identity(&file, &file),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Input, "{error}");
    }
}

#[tokio::test]
async fn the_token_is_shown_to_the_server_and_to_nobody_else() {
    let wants = async |headers: HeaderMap| match headers.get("authorization") {
        Some(token) if token == "Bearer secret" => (
            StatusCode::CREATED,
            json!({"id": "019aa000-0000-7000-8000-000000000000"}).to_string(),
        ),
        _ => (StatusCode::UNAUTHORIZED, String::new()),
    };
    let listener = TcpListener::bind(ANY).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/api/v1/tasks", post(wants));
    let limits = windlass::api::Limits::default();
    let server = tokio::spawn(windlass::api::serve(
        listener,
        router,
        limits,
        std::future::pending(),
    ));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "secret\n").unwrap();
    let builder = Client::builder().servers([url.as_str()]).token_file(&file);
    assert!(!format!("{builder:?}").contains("secret"));
    let client = builder.build().unwrap();
    assert!(!format!("{client:?}").contains("secret"));
    client.submit(&echo("hi")).await.unwrap();
    let stranger = Client::connect(&url).unwrap();
    let error = stranger.submit(&echo("hi")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    server.abort();
}
