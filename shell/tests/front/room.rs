//! What the API tells of the room in the store.

use serde_json::json;

use crate::fake::{Fake, get, post};

#[tokio::test]
async fn a_task_for_which_the_store_has_no_room_may_be_sent_again_a_little_later() {
    let router = Fake::default().router();
    for body in [
        r#"{"type":"no_room"}"#,
        r#"[{"type":"no_room"},{"type":"no_room"}]"#,
    ] {
        let full = post(&router, "/api/v1/tasks", body).await;
        full.problem(503);
        assert!(full.text.contains("quota"), "{}", full.text);
        assert_eq!(full.retry_after.as_deref(), Some("5"));
    }
}

#[tokio::test]
async fn stats_and_metrics_tell_how_full_the_store_is() {
    let router = Fake::default().router();
    let stats = get(&router, "/api/v1/stats").await.json();
    assert_eq!(
        stats["store"],
        json!({"level": "tight", "used_bytes": 600, "size_bytes": 700, "quota_bytes": 1000, "kept": "1m30s"})
    );
    let metrics = get(&router, "/metrics").await.text;
    for line in [
        "windlass_store_level 1",
        "windlass_store_used_bytes 600",
        "windlass_store_size_bytes 700",
        "windlass_store_quota_bytes 1000",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
}
