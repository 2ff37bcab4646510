//! Streams of events, and the last while as points.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use windlass::api::{self, Limits};
use windlass_core::gateway::{ChangedStatus, ChangesView, TaskChange, TaskState};
use windlass_core::ids::{Revision, TaskId};
use windlass_core::time::Wall;

use super::fake::{Fake, get};

const LONG: Duration = Duration::from_secs(30);

struct Server {
    fake: Fake,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    end: JoinHandle<()>,
}

async fn server(limits: Limits) -> Server {
    let fake = Fake::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = fake.router_within(limits.clone());
    let (stop, stopped) = oneshot::channel();
    let end = tokio::spawn(api::serve(listener, router, limits, async move {
        let _ = stopped.await;
    }));
    Server {
        fake,
        address,
        stop,
        end,
    }
}

/// A connection that asked for events, and what it got so far.
struct Events {
    socket: TcpStream,
    text: String,
}

impl Events {
    async fn ask(server: &Server, query: &str, headers: &str) -> Self {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET /api/v1/events{query} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let text = String::new();
        Self { socket, text }
    }

    /// Reads until there is `wanted`; false when the connection ends before.
    async fn reads(&mut self, wanted: &str) -> bool {
        while !self.text.contains(wanted) {
            let mut bytes = [0; 4_096];
            let read = tokio::time::timeout(LONG, self.socket.read(&mut bytes)).await;
            let count = read.unwrap_or_else(|_| panic!("no {wanted} in {}", self.text));
            match count {
                Ok(0) | Err(_) => return false,
                Ok(count) => self.text += &String::from_utf8_lossy(&bytes[..count]),
            }
        }
        true
    }

    async fn until(&mut self, wanted: &str) {
        assert!(self.reads(wanted).await, "no {wanted} in {}", self.text);
    }
}

fn change(at: u64, queue: &str) -> ChangesView {
    ChangesView {
        tasks: vec![TaskChange {
            id: TaskId::floor_of(Wall::from_millis(at)),
            status: ChangedStatus::State(TaskState::Pending),
            queue: Some(queue.parse().unwrap()),
            kind: Some("echo".parse().unwrap()),
            worker: None,
        }],
        queues: vec![queue.parse().unwrap()],
        ..ChangesView::none(Revision(at))
    }
}

#[tokio::test]
async fn a_reader_learns_where_it_begins_and_then_what_happens() {
    let server = server(Limits::default()).await;
    let mut events = Events::ask(&server, "", "").await;
    events.until("event: stats\ndata: {\"tasks\"").await;
    let begin = r#"id: 1
event: changes
data: {"revision":"1","tasks":[],"tasks_omitted":0,"queues":[],"queues_omitted":0,"nodes":false}"#;
    assert!(events.text.contains(begin), "{}", events.text);
    let head = events.text.split_once("\r\n\r\n").unwrap().0.to_lowercase();
    for header in [
        "content-type: text/event-stream",
        "cache-control: no-store",
        "x-accel-buffering: no",
    ] {
        assert!(head.contains(header), "{head}");
    }
    server.fake.memory().changes.happen(change(5, "first"));
    events.until(r#""queues":["first"]"#).await;
    server.fake.memory().changes.happen(change(6, "second"));
    events.until(r#""queues":["second"]"#).await;
    assert!(events.text.contains("id: 6\n"));
    assert_eq!(events.text.matches("first").count(), 2, "each is told once");
}

#[tokio::test]
async fn who_comes_back_hears_what_happened_meanwhile() {
    let server = server(Limits::default()).await;
    for at in [5, 6] {
        let queue = format!("queue-{at}");
        server.fake.memory().changes.happen(change(at, &queue));
    }
    let mut events = Events::ask(&server, "?after=4", "").await;
    events.until(r#""queues":["queue-5"]"#).await;
    // A browser repeats the address; the header tells how far it has come.
    let mut events = Events::ask(&server, "?after=4", "last-event-id: 5\r\n").await;
    events.until(r#""queues":["queue-6"]"#).await;
    assert!(!events.text.contains("queue-5"), "{}", events.text);
}

#[tokio::test]
async fn who_was_away_for_too_long_is_told_to_read_anew() {
    let server = server(Limits::default()).await;
    server.fake.memory().changes.happen(change(5, "a"));
    server.fake.memory().changes.forget();
    let mut events = Events::ask(&server, "", "last-event-id: 4\r\n").await;
    let resync = "id: 5\nevent: resync\ndata: {\"revision\":\"5\"}\n\n";
    events.until(resync).await;
    server.fake.memory().changes.happen(change(6, "b"));
    events.until(r#""queues":["b"]"#).await;
}

#[tokio::test]
async fn only_topics_that_were_asked_for_are_told() {
    let server = server(Limits::default()).await;
    let mut events = Events::ask(&server, "?topics=queues,nodes", "").await;
    events.until("event: changes").await;
    server.fake.memory().changes.happen(change(5, "a"));
    events.until(r#""queues":["a"]"#).await;
    let nodes = ChangesView {
        nodes: true,
        ..ChangesView::none(Revision(6))
    };
    server.fake.memory().changes.happen(nodes);
    events.until(r#""nodes":true"#).await;
    assert!(
        events
            .text
            .contains(r#""tasks":[],"tasks_omitted":0,"queues":["a"]"#)
    );
    assert!(!events.text.contains("stats"), "{}", events.text);
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused() {
    let router = Fake::default().router();
    for (query, field) in [
        ("?topics=tasks,all", "topics"),
        ("?topics=", "topics"),
        ("?after=", "after"),
        ("?after=+1", "after"),
        ("?after=99999999999999999999", "after"),
        ("?since=1", "since"),
        ("?after=1&after=2", "after"),
    ] {
        let answered = get(&router, &format!("/api/v1/events{query}")).await;
        assert_eq!(answered.bad_fields(), [field], "{query}");
    }
    let server = server(Limits::default()).await;
    let mut events = Events::ask(&server, "", "last-event-id: seven\r\n").await;
    events.until(r#""field":"last-event-id""#).await;
    assert!(events.text.starts_with("HTTP/1.1 400"), "{}", events.text);
}

#[tokio::test]
async fn there_are_only_so_many_streams_at_the_same_time() {
    let server = server(Limits {
        streams_max: 1,
        ..Limits::default()
    })
    .await;
    let mut first = Events::ask(&server, "", "").await;
    first.until("event: changes").await;
    let mut second = Events::ask(&server, "", "").await;
    second.until("no more than 1 streams").await;
    assert!(second.text.starts_with("HTTP/1.1 503"), "{}", second.text);
    assert!(second.text.contains("retry-after: "), "{}", second.text);
    drop(first);
    // The server notices at the next write that the first has gone.
    for at in 2.. {
        server.fake.memory().changes.happen(change(at, "a"));
        let mut third = Events::ask(&server, "", "").await;
        third.until("\n\n").await;
        if third.reads("event: changes").await {
            break;
        }
    }
}

#[tokio::test]
async fn a_stop_ends_streams_before_their_grace_is_over() {
    let server = server(Limits {
        grace: 100 * LONG,
        ..Limits::default()
    })
    .await;
    let mut events = Events::ask(&server, "", "").await;
    events.until("event: changes").await;
    server.stop.send(()).unwrap();
    assert!(!events.reads("what never comes").await);
    assert!(events.text.ends_with("0\r\n\r\n"), "it ends in order");
    tokio::time::timeout(LONG, server.end)
        .await
        .expect("the server ends")
        .unwrap();
}

#[tokio::test]
async fn a_history_begins_empty_and_has_two_ranges() {
    let router = Fake::default().router();
    for (query, step) in [("", 5), ("?range=1h", 5), ("?range=24h", 60)] {
        let history = get(&router, &format!("/api/v1/history{query}"))
            .await
            .json();
        assert_eq!(history["step_seconds"], step, "{query}");
        assert_eq!(history["points"], serde_json::json!([]));
    }
    let answered = get(&router, "/api/v1/history?range=7d").await;
    assert_eq!(answered.bad_fields(), ["range"]);
    let stats = get(&router, "/api/v1/stats").await.json();
    assert!(stats.as_object().unwrap().contains_key("rates"));
    assert!(stats["rates"].is_null(), "nothing is known yet");
}
