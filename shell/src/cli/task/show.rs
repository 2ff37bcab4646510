//! What tasks look like.

use serde_json::Value;

use crate::cli::output::{Cell, Column, Kind, Listing, Look, Table, cell};

/// Lists of tasks.
pub(in crate::cli) const TASKS: Listing = Listing {
    list: "tasks",
    id: "id",
    columns: &[
        Column::new("ID", "id").whole(),
        Column::new("TYPE", "type"),
        Column::new("QUEUE", "queue"),
        Column::new("STATUS", "status").kind(Kind::State).whole(),
        Column::new("PRIORITY", "priority"),
        Column::new("RETRIES", "retry_count"),
        Column::new("CREATED", "created_at").kind(Kind::Time),
        Column::new("COMPLETED", "completed_at").kind(Kind::Time),
        Column::new("WORKER", "worker_id"),
        Column::new("NAME", "name").wide(),
        Column::new("DUE", "due_at").kind(Kind::Time).wide(),
        Column::new("STARTED", "started_at").kind(Kind::Time).wide(),
        Column::new("LOSSES", "losses").wide(),
        Column::new("TIMEOUT", "timeout").wide(),
        Column::new("ERROR", "error").wide(),
    ],
};

/// The fields of a task, in the API's order.
pub(in crate::cli) const FIELDS: [(&str, Kind); 24] = [
    ("id", Kind::Plain),
    ("name", Kind::Plain),
    ("type", Kind::Plain),
    ("queue", Kind::Plain),
    ("status", Kind::State),
    ("priority", Kind::Plain),
    ("payload", Kind::Plain),
    ("metadata", Kind::Plain),
    ("created_at", Kind::Time),
    ("due_at", Kind::Time),
    ("assigned_at", Kind::Time),
    ("started_at", Kind::Time),
    ("completed_at", Kind::Time),
    ("worker_id", Kind::Plain),
    ("fence", Kind::Plain),
    ("retry_count", Kind::Plain),
    ("losses", Kind::Plain),
    ("max_retries", Kind::Plain),
    ("timeout", Kind::Plain),
    ("result", Kind::Plain),
    ("error", Kind::Plain),
    ("progress", Kind::Plain),
    ("run", Kind::Plain),
    ("attempts", Kind::Plain),
];

/// Why a task waits: a reason a row, then how many go before it, then when it may start.
pub(super) fn why(why: &Value, look: &Look) -> Table {
    let mut table = Table::new(&["STATUS", "REASON", "MESSAGE"]);
    let status = || Kind::State.cell(&why["status"], look);
    for reason in why["reasons"].as_array().into_iter().flatten() {
        let message = cell(&reason["message"]);
        table.row([status(), cell(&reason["reason"]).into(), message.into()]);
    }
    let mut reasons = why["reasons"].as_array().into_iter().flatten();
    let is_told = reasons.any(|it| it["reason"] == "behind");
    if let Some(ahead) = why["ahead"].as_u64().filter(|_| !is_told) {
        let message = format!("{ahead} tasks of its queue go before it");
        table.row([status(), "ahead".into(), message.into()]);
    }
    if let Some(message) = estimate(&why["estimate"], look) {
        table.row([status(), "estimate".into(), Cell::from(message)]);
    }
    table
}

/// When it may start, at the rate at which its queue moves now.
pub(in crate::cli) fn estimate(estimate: &Value, look: &Look) -> Option<String> {
    let start = look.time(estimate["start_at"].as_str()?);
    let rate = estimate["rate_per_second"].as_f64();
    let pace = rate.map(|rate| format!(", at {rate:.1} tasks a second"));
    Some(format!("it may start {start}{}", pace.unwrap_or_default()))
}
