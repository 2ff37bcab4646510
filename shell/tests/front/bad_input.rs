//! What the API answers to requests that do not make sense: always a problem, and nothing is written.

use axum::body::Body;
use axum::http::Request;
use proptest::prelude::*;
use windlass::api::Limits;

use super::fake::{Fake, call, get, post, send};

/// Each of these bodies is refused for this field, and writes nothing.
async fn refused(cases: &[(&str, &str)]) {
    let fake = Fake::default();
    let router = fake.router();
    for (body, field) in cases {
        let answered = post(&router, "/api/v1/tasks", (*body).to_owned()).await;
        let shown = &body[..body.len().min(200)];
        let fields = answered.bad_fields();
        assert!(
            fields.iter().any(|found| found == field),
            "{shown}: {fields:?}"
        );
    }
    assert!(fake.memory().specs.is_empty(), "nothing is written");
}

#[tokio::test]
async fn bodies_that_are_not_one_json_document_are_refused() {
    let deep = "[".repeat(10_000);
    let deep_payload = format!(r#"{{"type":"t","payload":{deep}{}}}"#, "]".repeat(10_000));
    let deep_field = format!(
        r#"{{"type":{}1{}}}"#,
        "{\"a\":".repeat(10_000),
        "}".repeat(10_000)
    );
    let pairs: Vec<String> = (0..20_000).map(|n| format!("\"k{n}\":1")).collect();
    let many = format!("{{{}}}", pairs.join(","));
    refused(&[
        ("", "body"),
        ("   ", "body"),
        ("null", "body"),
        ("7", "body"),
        ("\"text\"", "body"),
        ("{", "body"),
        ("{}{}", "body"),
        (r#"{"type":"t"} trailing"#, "body"),
        (r#"[{"type":"t"}] ]"#, "body"),
        (r#"{"type":"t",}"#, "body"),
        ("{'type':'t'}", "body"),
        (r#"{"type":"t","payload":NaN}"#, "body"),
        (r#"{"type":"t","payload":Infinity}"#, "body"),
        ("\u{feff}{\"type\":\"t\"}", "body"),
        (r#"{"type":"t","payload":"\ud800"}"#, "payload"),
        (r#"{"type":"\ud800"}"#, "type"),
        (r#"{"\ud800":1,"type":"t"}"#, "body"),
        (r#"{"type":"t","name":"\u0000"}"#, "name"),
        (&deep, "body"),
        (&deep_payload, "payload"),
        (&deep_field, "type"),
        (&many, "body"),
    ])
    .await;
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_are_refused() {
    let router = Fake::default().router();
    let utf16: Vec<u8> = r#"{"type":"t"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xff\xfe".as_slice(), &utf16].concat();
    for bytes in [
        utf16,
        marked,
        b"{\"type\":\"\xff\"}".to_vec(),
        b"\0".to_vec(),
    ] {
        let answered = post(&router, "/api/v1/tasks", bytes).await;
        assert_eq!(answered.bad_fields(), ["body"]);
    }
}

#[tokio::test]
async fn fields_are_refused_by_name() {
    let long = "a".repeat(129);
    let long_type = format!(r#"{{"type":"{long}"}}"#);
    let long_queue = format!(r#"{{"type":"t","queue":"{long}"}}"#);
    let long_key = format!(r#"{{"type":"t","key":"{}"}}"#, "k".repeat(257));
    refused(&[
        ("{}", "type"),
        (r#"{"type":null}"#, "type"),
        (r#"{"type":""}"#, "type"),
        (r#"{"type":"../x"}"#, "type"),
        (r#"{"type":"a/b"}"#, "type"),
        (r#"{"type":"a\u0000"}"#, "type"),
        (r#"{"type":"🦀"}"#, "type"),
        (r#"{"type":"１"}"#, "type"),
        (&long_type, "type"),
        (&long_queue, "queue"),
        (r#"{"type":"t","queue":"@w"}"#, "queue"),
        (r#"{"type":"t","queue":"\u202ex"}"#, "queue"),
        (r#"{"type":"t","typo":1}"#, "typo"),
        (r#"{"type":"t","type":"t"}"#, "type"),
        (r#"{"type":"t","priority":10}"#, "priority"),
        (r#"{"type":"t","priority":-1}"#, "priority"),
        (r#"{"type":"t","priority":-0}"#, "priority"),
        (r#"{"type":"t","priority":5.0}"#, "priority"),
        (r#"{"type":"t","priority":256}"#, "priority"),
        (r#"{"type":"t","priority":1e400}"#, "priority"),
        (r#"{"type":"t","priority":9223372036854775807}"#, "priority"),
        (
            r#"{"type":"t","priority":-9223372036854775808}"#,
            "priority",
        ),
        (r#"{"type":"t","priority":"urgent"}"#, "priority"),
        (r#"{"type":"t","max_retries":-1}"#, "max_retries"),
        (r#"{"type":"t","max_retries":1.5}"#, "max_retries"),
        (r#"{"type":"t","max_retries":4294967295}"#, "max_retries"),
        (r#"{"type":"t","timeout":"0s"}"#, "timeout"),
        (r#"{"type":"t","timeout":30}"#, "timeout"),
        (r#"{"type":"t","timeout":"-1s"}"#, "timeout"),
        (r#"{"type":"t","timeout":"100000days"}"#, "timeout"),
        (r#"{"type":"t","delay":"-1s"}"#, "delay"),
        (r#"{"type":"t","delay":1e18}"#, "delay"),
        (r#"{"type":"t","delay":"999999999999999999s"}"#, "delay"),
        (r#"{"type":"t","run_at":"9999-12-31T23:59:59Z"}"#, "run_at"),
        (r#"{"type":"t","run_at":"2020-13-01T00:00:00Z"}"#, "run_at"),
        (
            r#"{"type":"t","run_at":"2030-01-01T00:00:00Z","delay":"1s"}"#,
            "run_at",
        ),
        (r#"{"type":"t","key":""}"#, "key"),
        (r#"{"type":"t","key":"a\nb"}"#, "key"),
        (&long_key, "key"),
        (r#"{"type":"t","metadata":[]}"#, "metadata"),
        (r#"{"type":"t","metadata":{"a":1}}"#, "metadata.a"),
        (r#"{"type":"t","metadata":{"a":"x","a":"y"}}"#, "metadata.a"),
        (r#"{"type":"t","retry":{"kind":"quadratic"}}"#, "retry.kind"),
        (r#"{"type":"t","retry":{"delay":"0s"}}"#, "retry.delay"),
        (
            r#"{"type":"t","retry":{"delay":"2s","cap":"1s"}}"#,
            "retry.cap",
        ),
        (r#"{"type":"t","retry":{"jitter":1}}"#, "retry.jitter"),
        (r#"{"type":"t","retry":{"more":1}}"#, "retry.more"),
    ])
    .await;
}

#[tokio::test]
async fn an_array_is_neither_empty_nor_too_long() {
    let fake = Fake::default();
    let router = fake.router();
    let array = |count: usize| format!("[{}]", vec![r#"{"type":"t"}"#; count].join(","));
    for count in [0, 1_001, 5_000] {
        let answered = post(&router, "/api/v1/tasks", array(count)).await;
        assert_eq!(answered.bad_fields(), ["body"], "{count}");
    }
    assert!(fake.memory().specs.is_empty());
    for count in [1, 1_000] {
        assert_eq!(
            post(&router, "/api/v1/tasks", array(count)).await.status,
            201,
            "{count}"
        );
    }
}

#[tokio::test]
async fn a_payload_may_be_as_large_as_the_limit_and_no_larger() {
    let fake = Fake::default();
    let payload = |len: usize| format!(r#"{{"type":"t","payload":"{}"}}"#, "x".repeat(len - 2));
    let limit = 256 * 1024;
    let router = fake.router();
    for len in [limit - 1, limit] {
        assert_eq!(
            post(&router, "/api/v1/tasks", payload(len)).await.status,
            201,
            "{len}"
        );
    }
    let over = post(&router, "/api/v1/tasks", payload(limit + 1))
        .await
        .problem(413);
    assert_eq!(over["errors"][0]["field"], "payload");
    let array = format!("[{},{}]", payload(limit + 1), payload(limit));
    let tasks = post(&router, "/api/v1/tasks", array).await.json()["tasks"].clone();
    assert_eq!(tasks[0]["error"]["errors"][0]["field"], "payload");
    assert_eq!(tasks[1]["status"], "pending");
    let wider = fake.router_within(Limits {
        payload_max: 1024 * 1024,
        ..Limits::default()
    });
    assert_eq!(
        post(&wider, "/api/v1/tasks", payload(1024 * 1024))
            .await
            .status,
        201
    );
    post(&wider, "/api/v1/tasks", payload(1024 * 1024 + 1))
        .await
        .problem(413);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_read_to_its_end_and_refused() {
    let fake = Fake::default();
    let router = fake.router();
    let chunks = |first: &'static str, count: usize| {
        let read = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = std::sync::Arc::clone(&read);
        let chunks = (0..count).map(move |index| {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, std::io::Error>(if index == 0 {
                first.to_owned()
            } else {
                " ".repeat(1024 * 1024)
            })
        });
        (Body::from_stream(futures_util::stream::iter(chunks)), read)
    };
    for first in ["{", "["] {
        let (body, read) = chunks(first, 40);
        let over = post(&router, "/api/v1/tasks", body).await.problem(413);
        assert_eq!(over["errors"][0]["field"], "body");
        assert_eq!(read.load(std::sync::atomic::Ordering::Relaxed), 40);
    }
    // There is no end to wait for: within reason it is given up.
    let (body, read) = chunks("[", 1_000_000);
    post(&router, "/api/v1/tasks", body).await.problem(413);
    assert!(read.load(std::sync::atomic::Ordering::Relaxed) < 100);
    assert!(fake.memory().specs.is_empty());
}

#[tokio::test]
async fn ids_in_paths_have_one_spelling() {
    let router = Fake::default().router();
    let long = "a".repeat(129);
    for id in [
        "x",
        "019AA000-0000-7000-8000-000000000000",
        "019aa0000000700080000000000000000",
        "%00",
        "%2e%2e%2fx",
        "%f0%9f%a6%80",
        "%ff",
        "a%2fb",
        &long,
    ] {
        assert_eq!(
            get(&router, &format!("/api/v1/tasks/{id}"))
                .await
                .bad_fields(),
            ["id"],
            "{id}"
        );
    }
    for name in [
        "%40w",
        "a%2fb",
        "%00",
        "%e2%80%aex",
        "e%cc%81",
        "%ef%bc%91",
        "a%0ab",
        &long,
    ] {
        let queue = format!("/api/v1/queues/{name}");
        assert_eq!(get(&router, &queue).await.bad_fields(), ["queue"], "{name}");
        assert_eq!(
            post(&router, &format!("{queue}/pause"), "")
                .await
                .bad_fields(),
            ["queue"]
        );
        assert_eq!(
            post(&router, &format!("/api/v1/locks/{name}"), "")
                .await
                .bad_fields(),
            ["key"]
        );
        assert_eq!(
            post(&router, &format!("/api/v1/nodes/{name}/drain"), "")
                .await
                .bad_fields(),
            ["id"]
        );
    }
}

#[tokio::test]
async fn queries_are_refused_by_name() {
    let router = Fake::default().router();
    for (query, field) in [
        ("state=sleeping", "state"),
        ("state=", "state"),
        ("queue=@w", "queue"),
        ("type=a/b", "type"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.5", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=2e2e", "cursor"),
        ("q=state:sleeping", "q"),
        ("q=colour:red", "q"),
        ("order=up", "order"),
        ("page=2", "page"),
    ] {
        assert_eq!(
            get(&router, &format!("/api/v1/tasks?{query}"))
                .await
                .bad_fields(),
            [field],
            "{query}"
        );
    }
    let id = "019aa000-0000-7000-8000-000000000000";
    for query in ["wait=61s", "wait=-1s", "wait=5", "wait=1s&wait=1s"] {
        let path = format!("/api/v1/tasks/{id}?{query}");
        assert_eq!(get(&router, &path).await.bad_fields(), ["wait"], "{query}");
    }
}

#[tokio::test]
async fn settings_and_locks_are_refused_by_name() {
    let router = Fake::default().router();
    for (body, field) in [
        ("{}", "strategy"),
        (r#"{"strategy":"best"}"#, "strategy"),
        (r#"{"strategy":"random","strategy":"random"}"#, "strategy"),
        (r#"{"strategy":"random","paused":true}"#, "paused"),
        ("", "body"),
    ] {
        let answered = call(&router, "PUT", "/api/v1/queues/q", body).await;
        assert_eq!(answered.bad_fields(), [field], "{body}");
    }
    for (body, field) in [
        (r#"{"ttl":"0s"}"#, "ttl"),
        (r#"{"ttl":"2h"}"#, "ttl"),
        (r#"{"wait":"2m"}"#, "wait"),
        (r#"{"owner":""}"#, "owner"),
        (r#"{"more":1}"#, "more"),
    ] {
        assert_eq!(
            post(&router, "/api/v1/locks/k", body).await.bad_fields(),
            [field],
            "{body}"
        );
    }
    for body in [
        "",
        "{}",
        r#"{"token":"nonsense"}"#,
        r#"{"token":"2f2f"}"#,
        r#"{"token":7}"#,
    ] {
        for method in ["PUT", "DELETE"] {
            let answered = call(&router, method, "/api/v1/locks/k", body).await;
            assert_eq!(answered.bad_fields(), ["token"], "{method} {body}");
        }
    }
}

#[tokio::test]
async fn the_frameworks_own_errors_are_problems_too() {
    let router = Fake::default().router();
    get(&router, "/nothing").await.problem(404);
    get(&router, "/api/v1/nothing").await.problem(404);
    get(&router, "/api/v1/tasks/a/b/c").await.problem(404);
    for (method, path) in [
        ("DELETE", "/api/v1/tasks"),
        ("POST", "/api/v1/stats"),
        ("PATCH", "/api/v1/queues/q"),
        ("WINDLASS", "/livez"),
    ] {
        call(&router, method, path, "").await.problem(405);
    }
}

#[tokio::test]
async fn only_plain_json_is_a_body() {
    let router = Fake::default().router();
    let request = |headers: &[(&str, &str)]| {
        let mut request = Request::builder().method("POST").uri("/api/v1/tasks");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::from(r#"{"type":"t"}"#)).unwrap()
    };
    for headers in [
        vec![],
        vec![("content-type", "text/plain")],
        vec![("content-type", "application/x-www-form-urlencoded")],
        vec![("content-type", "application/jsonx")],
        vec![
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ],
    ] {
        send(&router, request(&headers)).await.problem(415);
    }
    for kind in ["application/json", "Application/JSON; charset=utf-8"] {
        assert_eq!(
            send(&router, request(&[("content-type", kind)]))
                .await
                .status,
            201
        );
    }
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let fake = Fake::default();
    let router = fake.router();
    let request = |method: &str, site: &str| {
        Request::builder()
            .method(method)
            .uri("/api/v1/queues/q/pause")
            .header("sec-fetch-site", site)
            .body(Body::empty())
            .unwrap()
    };
    send(&router, request("POST", "cross-site"))
        .await
        .problem(403);
    send(&router, request("POST", "same-site"))
        .await
        .problem(403);
    assert_eq!(
        send(&router, request("POST", "same-origin")).await.status,
        200
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_body_gets_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300), open in prop::sample::select(vec!["", "{", "[", "[{\"type\":"])) {
        let body = [open.as_bytes(), &bytes].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let status = runtime.block_on(async { post(&Fake::default().router(), "/api/v1/tasks", body).await.status });
        prop_assert!(status == 201 || status == 400, "{}", status);
    }
}
