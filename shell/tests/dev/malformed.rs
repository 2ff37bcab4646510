//! Bytes that are hardly HTTP, and senders that take their time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::http::{answer_to, exchange};
use crate::rig::{Dev, PATIENCE};

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /api/v1/tasks HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn what_is_not_http_is_turned_away_and_the_server_lives() {
    let mut dev = Dev::start(&[]);
    let huge = "x".repeat(200_000);
    let many: String = (0..2_000)
        .map(|number| format!("h{number}: x\r\n"))
        .collect();
    for bytes in [
        b"\0\xff\xfe\r\n\r\n".to_vec(),
        b"hello\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET /api/v1/stats HTTP/9.9\r\n\r\n".to_vec(),
        b"GET /api/v1/stats\x01 HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
        format!("GET /{huge} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes(),
        format!("GET /api/v1/stats HTTP/1.1\r\nhost: localhost\r\nbig: {huge}\r\n\r\n")
            .into_bytes(),
        format!("GET /api/v1/stats HTTP/1.1\r\nhost: localhost\r\n{many}\r\n").into_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        post("content-length: -1\r\n", "{}"),
        post("content-length: 5\r\ncontent-length: 6\r\n", "{}aaaa"),
        post("transfer-encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"),
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        // A reset is an answer too.
        if let Ok(back) = exchange(dev.address, &bytes) {
            let back = String::from_utf8_lossy(&back).into_owned();
            let refused =
                back.is_empty() || back.starts_with("HTTP/1.1 4") || back.starts_with("HTTP/1.1 5");
            assert!(refused, "{shown:?}: {back}");
        }
    }
    assert_eq!(dev.tasks()["total"], 0);
    assert_eq!(dev.process.child.try_wait().unwrap(), None);
}

#[test]
fn bodies_of_other_kinds_are_unsupported() {
    let dev = Dev::start(&[]);
    let body = r#"{"type":"noop"}"#;
    let length = format!("content-length: {}\r\n", body.len());
    for headers in [
        String::new(),
        "content-type: text/plain\r\n".to_owned(),
        "content-type: application/x-www-form-urlencoded\r\n".to_owned(),
        "content-type: multipart/form-data; boundary=x\r\n".to_owned(),
        "content-type: application/jsonp\r\n".to_owned(),
        "content-type: application/json\r\ncontent-encoding: gzip\r\n".to_owned(),
    ] {
        answer_to(dev.address, &post(&format!("{headers}{length}"), body)).problem(415);
    }
    let form = "type=noop&priority=1";
    let headers = format!(
        "content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n",
        form.len()
    );
    answer_to(dev.address, &post(&headers, form)).problem(415);
    assert_eq!(dev.tasks()["total"], 0);
    let spelled = format!("Content-Type: Application/JSON; charset=utf-8\r\n{length}");
    answer_to(dev.address, &post(&spelled, body)).json(201);
    let chunked = format!(
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let head = "POST /api/v1/tasks HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    answer_to(dev.address, format!("{head}{chunked}").as_bytes()).json(201);
}

#[test]
fn paths_and_methods_that_do_not_exist_are_problems() {
    let dev = Dev::start(&[]);
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/task",
        "/api/v1/tasks/",
        "/api/v2/tasks",
        "//api/v1/tasks",
        "/api/v1/tasks/x/y/z",
    ] {
        let answer = dev.send("GET", path, None);
        if path != "/" || answer.status != 200 {
            answer.problem(404);
        }
    }
    for (method, path) in [
        ("DELETE", "/api/v1/tasks"),
        ("PUT", "/api/v1/tasks"),
        ("POST", "/api/v1/stats"),
        ("PATCH", "/api/v1/queues/q"),
        ("GET", "/api/v1/queues/q/pause"),
        ("POST", "/livez"),
        ("BREW", "/api/v1/tasks"),
    ] {
        let answer = dev.send(method, path, None);
        answer.problem(405);
        assert!(
            answer.head.contains("\nallow: "),
            "{method} {path}: {}",
            answer.head
        );
    }
    assert!(dev.get("/livez").is_object());
}

#[test]
fn slow_senders_hold_nobody_up() {
    let dev = Dev::start(&[]);
    let half: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut slow = TcpStream::connect(dev.address).unwrap();
            let headers = "content-type: application/json\r\ncontent-length: 1000\r\n";
            let bytes = post(headers, r#"{"type":"#);
            let sent = if number % 2 == 0 { bytes.len() } else { 30 };
            slow.write_all(&bytes[..sent]).unwrap();
            slow
        })
        .collect();
    let began = Instant::now();
    for _ in 0..20 {
        let id = dev.submit(&json!({"type": "noop"}));
        assert_eq!(dev.ended(&id)["status"], "completed");
    }
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    let mut one = &half[0];
    let rest = r#""noop"}"#;
    one.write_all(rest.as_bytes()).unwrap();
    one.write_all(
        " ".repeat(1_000 - rest.len() - r#"{"type":"#.len())
            .as_bytes(),
    )
    .unwrap();
    one.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    one.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}
