//! What comes with being let in: sessions, records of actions, rates, and the headers of every answer.

use super::*;

async fn told(response: Response) -> serde_json::Value {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_session_is_a_cookie_that_only_the_browser_sees() {
    let tokens = Tokens::new();
    let router = api(tokens.front());
    let begin = |credential: &str, secure: bool| {
        let body = serde_json::json!({ "token": credential }).to_string();
        let mut asked = request("POST", "/api/v1/session", "10.0.0.1", None);
        asked
            .headers_mut()
            .insert("content-type", "application/json".parse().unwrap());
        if secure {
            asked.extensions_mut().insert(TlsUsed);
        }
        *asked.body_mut() = Body::from(body);
        router.clone().oneshot(asked)
    };
    let operate = token("operate").0;
    let response = begin(&operate, true).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let cookie = response.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(
        !begin(&operate, false).await.unwrap().headers()["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Secure")
    );
    let pair = cookie.split(';').next().unwrap();
    let with_cookie = |method: &str, path: &str| {
        let mut asked = request(method, path, "10.0.0.1", None);
        asked.headers_mut().insert("cookie", pair.parse().unwrap());
        router.clone().oneshot(asked)
    };
    let session = told(with_cookie("GET", "/api/v1/session").await.unwrap()).await;
    let expected =
        serde_json::json!({"principal": "the-operate", "role": "operate", "required": true});
    assert_eq!(session, expected);
    assert_eq!(
        with_cookie("GET", "/api/v1/audit").await.unwrap().status(),
        403
    );
    assert_eq!(
        with_cookie("GET", "/api/v1/stats").await.unwrap().status(),
        503
    );
    let ended = with_cookie("DELETE", "/api/v1/session").await.unwrap();
    assert!(
        ended.headers()["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    let wrong = begin(&token("unknown").0, true).await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert!(!wrong.headers().contains_key("set-cookie"));
    let nobody = request("GET", "/api/v1/session", "10.0.0.1", None);
    let nobody = told(router.clone().oneshot(nobody).await.unwrap()).await;
    assert_eq!(
        nobody,
        serde_json::json!({"principal": null, "role": null, "required": true})
    );
}

#[tokio::test]
async fn what_changes_something_of_others_is_noted_and_what_looks_is_not() {
    let tokens = Tokens::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let router = api(tokens.front().with_audit(Audit::to_file(&file).unwrap()));
    let act = async |method: &str, path: &str, role: Role, reason: Option<&str>| {
        let mut asked = request(method, path, "10.0.0.1", Some(&token(role.as_str()).0));
        asked
            .headers_mut()
            .insert("x-request-id", "r-1".parse().unwrap());
        if let Some(reason) = reason {
            asked
                .headers_mut()
                .insert("x-windlass-reason", reason.parse().unwrap());
        }
        status(&router, asked).await
    };
    assert_eq!(act("GET", "/api/v1/stats", Role::Read, None).await, 503);
    assert_eq!(
        act(
            "POST",
            "/api/v1/queues/q/pause",
            Role::Operate,
            Some("it burns")
        )
        .await,
        503
    );
    assert_eq!(
        act("POST", "/api/v1/nodes/n/drain", Role::Submit, None).await,
        403
    );
    let long = "x".repeat(audit::REASON_MAX + 1);
    assert_eq!(
        act("POST", "/api/v1/nodes/n/drain", Role::Admin, Some(&long)).await,
        400
    );
    let asked = request(
        "GET",
        "/api/v1/audit?limit=5",
        "10.0.0.1",
        Some(&token("admin").0),
    );
    let found = told(router.clone().oneshot(asked).await.unwrap()).await;
    let mut records = found["records"].as_array().unwrap().clone();
    for record in &mut records {
        assert!(record["at"].as_str().unwrap().ends_with('Z'));
        record.as_object_mut().unwrap().remove("at");
    }
    let expected = serde_json::json!([
        {"principal": "the-submit", "role": "submit", "source": "10.0.0.1", "method": "POST",
         "route": "/api/v1/nodes/{id}/drain", "object": "n", "reason": null, "status": 403, "request_id": "r-1"},
        {"principal": "the-operate", "role": "operate", "source": "10.0.0.1", "method": "POST",
         "route": "/api/v1/queues/{queue}/pause", "object": "q", "reason": "it burns", "status": 503, "request_id": "r-1"},
    ]);
    assert_eq!(serde_json::Value::Array(records), expected);
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn a_caller_above_its_rate_is_turned_away_and_others_are_not() {
    let tokens = Tokens::new();
    let router = api(tokens.front().with_rate_max(Some(5)));
    let ask = async |path: &str, role: Role| {
        status(
            &router,
            request("GET", path, "10.0.0.1", Some(&token(role.as_str()).0)),
        )
        .await
    };
    let mut passed = 0;
    for _ in 0..50 {
        let status = ask("/api/v1/stats", Role::Read).await;
        assert!(matches!(status, 429 | 503), "{status}");
        passed += u32::from(status == 503);
    }
    assert!((5..40).contains(&passed), "{passed}");
    assert_eq!(ask("/livez", Role::Read).await, 200);
    assert_eq!(ask("/api/v1/stats", Role::Admin).await, 503);
}

#[tokio::test]
async fn lists_are_turned_away_before_anything_else_is() {
    let router = api(Front::new(Door::open()).with_costly_max(0));
    let ask = async |method: &str, path: &str| {
        let asked = request(method, path, "10.0.0.1", None);
        router.clone().oneshot(asked).await.unwrap()
    };
    let list = ask("GET", "/api/v1/tasks").await;
    assert_eq!(list.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(list.headers().contains_key("retry-after"));
    assert!(
        told(list).await["detail"]
            .as_str()
            .unwrap()
            .contains("too many lists")
    );
    let cancel = ask(
        "POST",
        "/api/v1/tasks/019aa000-0000-7000-8000-000000000000/cancel",
    )
    .await;
    assert!(
        told(cancel).await["detail"]
            .as_str()
            .unwrap()
            .contains("not ready")
    );
    assert_eq!(ask("GET", "/livez").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn every_answer_has_its_name_and_forbids_what_browsers_guess() {
    let router = api(Front::new(Door::open()));
    let ask = async |path: &str, id: Option<&str>| {
        let mut asked = request("GET", path, "10.0.0.1", None);
        if let Some(id) = id {
            asked
                .headers_mut()
                .insert("x-request-id", id.parse().unwrap());
        }
        router.clone().oneshot(asked).await.unwrap()
    };
    for path in [
        "/livez",
        "/nothing",
        "/api/v1/tasks",
        "/api/v1/openapi.json",
        "/metrics",
    ] {
        let response = ask(path, None).await;
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("x-request-id").len(), 32, "{path}");
        if path.starts_with("/api/") {
            assert_eq!(header("cache-control"), "no-store", "{path}");
        }
    }
    let named = ask("/api/v1/stats", Some("job-4711/2")).await;
    assert_eq!(named.headers()["x-request-id"], "job-4711/2");
    assert_eq!(told(named).await["request_id"], "job-4711/2");
    for bad in ["", "a b", &"x".repeat(129), "<script>"] {
        let named = ask("/livez", Some(bad)).await;
        assert_eq!(named.headers()["x-request-id"].len(), 32, "{bad}");
    }
}
