//! The accept loop on a real port.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use windlass::api::{self, Limits};

use super::fake::Fake;

const LONG: Duration = Duration::from_secs(30);

/// A server within `limits`, what stops it, and its end.
async fn server(
    limits: Limits,
) -> (
    std::net::SocketAddr,
    oneshot::Sender<()>,
    tokio::task::JoinHandle<()>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Fake::default().router_within(limits.clone());
    let (stop, stopped) = oneshot::channel();
    let end = tokio::spawn(api::serve(listener, router, limits, async move {
        let _ = stopped.await;
    }));
    (address, stop, end)
}

async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(LONG, stream.read_to_end(&mut bytes));
    // A connection that is cut may be reset.
    let _ = read.await.expect("the connection ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_head_that_does_not_come_is_cut_off() {
    let (address, _stop, _end) = server(Limits {
        head_time_out: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    let silent = TcpStream::connect(address).await.unwrap();
    assert!(!rest(silent).await.contains("200"));
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n")
        .await
        .unwrap();
    assert!(!rest(half).await.contains("200"));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_time_out() {
    let (address, _stop, _end) = server(Limits {
        body_time_out: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"POST /api/v1/tasks HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{")
        .await
        .unwrap();
    let answer = rest(slow).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_served_at_once() {
    let (address, _stop, _end) = server(Limits {
        connections_max: 1,
        ..Limits::default()
    })
    .await;
    let request = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(request).await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(request).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), second.read(&mut byte)).await;
    assert!(early.is_err(), "the second waits for its turn");
    drop(first);
    tokio::time::timeout(LONG, second.read_exact(&mut byte))
        .await
        .expect("the second has its turn")
        .unwrap();
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_takes_no_new_ones() {
    let (address, stop, end) = server(Limits::default()).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0];
    idle.read_exact(&mut byte).await.unwrap();
    stop.send(()).unwrap();
    tokio::time::timeout(LONG, end)
        .await
        .expect("it ends")
        .unwrap();
    rest(idle).await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_is_under_way_gets_its_grace_and_no_more() {
    let (address, stop, end) = server(Limits {
        grace: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    let mut stuck = TcpStream::connect(address).await.unwrap();
    stuck
        .write_all(b"POST /api/v1/tasks HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{")
        .await
        .unwrap();
    stop.send(()).unwrap();
    tokio::time::timeout(LONG, end)
        .await
        .expect("it ends")
        .unwrap();
    assert!(!rest(stuck).await.contains("201"));
}

#[tokio::test]
async fn a_request_that_is_ambiguous_is_refused() {
    let (address, _stop, _end) = server(Limits::default()).await;
    for head in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\nx : y\r\n",
        "content-length: -1\r\n",
        "a: b\r\n c\r\n",
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("POST /api/v1/tasks HTTP/1.1\r\nhost: x\r\n{head}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
    }
}
