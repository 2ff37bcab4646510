//! The audit log: who changed what of others, when, and how that ended. A line of the log, a line of a file, and the last
//! ones in memory.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::role::Role;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::{Answer, AppState, answer, field};

/// So many records are kept in memory, and answered.
pub(crate) const RECENT_MAX: usize = 1_000;
/// The longest reason, in characters.
pub(crate) const REASON_MAX: usize = 256;
/// The longest name of what was acted on that is kept, in characters.
const OBJECT_MAX: usize = 256;
/// The header that carries a reason.
pub(crate) const REASON_HEADER: &str = "x-windlass-reason";

/// One action of somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Record {
    /// When it was answered.
    #[schema(format = DateTime)]
    pub at: String,
    /// Whose token it was; `anonymous` where none is required.
    pub principal: String,
    pub role: Role,
    /// Where it came from.
    pub source: String,
    pub method: String,
    /// The route, with the names of its variables.
    pub route: String,
    /// What it was done to: the variable of the route, or what the handler named.
    #[schema(required = true)]
    pub object: Option<String>,
    /// As `X-Windlass-Reason` said.
    #[schema(required = true)]
    pub reason: Option<String>,
    /// The status of the answer.
    pub status: u16,
    pub request_id: String,
}

/// What a handler adds to its answer when the path does not tell what was acted on.
#[derive(Debug, Clone)]
pub(crate) struct Acted(pub(crate) String);

/// Where actions are noted.
#[derive(Debug, Clone, Default)]
pub struct Audit(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    recent: Mutex<VecDeque<Record>>,
    file: Option<Mutex<File>>,
}

impl Audit {
    /// Notes in memory and in the file `path` too, behind what is there, one JSON object a line.
    pub fn to_file(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self(Arc::new(Inner {
            recent: Mutex::default(),
            file: Some(Mutex::new(file)),
        })))
    }

    /// Notes an action that was answered.
    pub(crate) fn note(&self, mut record: Record) {
        record.object = record
            .object
            .map(|it| it.chars().take(OBJECT_MAX).collect());
        // With `?`: what a client chose is shown with its control characters escaped.
        tracing::info!(
            target: "audit",
            principal = %record.principal,
            role = %record.role,
            source = %record.source,
            method = %record.method,
            route = %record.route,
            object = ?record.object.as_deref().unwrap_or_default(),
            reason = ?record.reason.as_deref().unwrap_or_default(),
            status = record.status,
            request_id = %record.request_id,
            "acted"
        );
        if let Some(file) = &self.0.file {
            let mut line = serde_json::to_vec(&record).expect("a record has string keys only");
            line.push(b'\n');
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            // In one call: lines of several processes that append to one file do not mix.
            if let Err(error) = file.write_all(&line) {
                tracing::error!(%error, "an action could not be written to the audit file");
            }
        }
        let mut recent = self.recent();
        if recent.len() >= RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(record);
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, VecDeque<Record>> {
        self.0.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reason that a request gives, or what is wrong with it.
pub(super) fn reason(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(REASON_HEADER).iter();
    let Some(value) = given.next() else {
        return Ok(None);
    };
    let wrong = |why: String| Err(Problem::bad_field(REASON_HEADER, why));
    if given.next().is_some() {
        return wrong("is given twice".to_owned());
    }
    let Ok(text) = std::str::from_utf8(value.as_bytes()) else {
        return wrong("is not UTF-8 text".to_owned());
    };
    if text.chars().count() > REASON_MAX || text.chars().any(char::is_control) {
        return wrong(format!(
            "must have at most {REASON_MAX} characters, and no control characters"
        ));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// The last actions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Records {
    /// The latest first.
    records: Vec<Record>,
}

/// `GET /api/v1/audit`
pub(crate) async fn show(State(app): AppState, uri: Uri) -> Answer {
    let mut query = Query::of(&uri)?;
    let most = u32::try_from(RECENT_MAX).unwrap_or(u32::MAX);
    let limit = query.take("limit", |text| match field::whole_text(text, most) {
        Ok(0) | Err(_) => Err(format!("must be a whole number from 1 to {most}")),
        Ok(limit) => Ok(limit),
    });
    query.close()?;
    let limit = limit.map_or(100, |limit| limit as usize);
    let records = app.front().audit.recent();
    let records = records.iter().rev().take(limit).cloned().collect();
    answer(StatusCode::OK, &Records { records })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn record(number: usize) -> Record {
        Record {
            at: "2030-01-01T00:00:00.000Z".to_owned(),
            principal: "ops".to_owned(),
            role: Role::Operate,
            source: "127.0.0.1".to_owned(),
            method: "POST".to_owned(),
            route: "/api/v1/queues/{queue}/pause".to_owned(),
            object: Some(format!("q{number}")),
            reason: Some("line\u{1b}[2J\u{2028}".to_owned()),
            status: 200,
            request_id: "r".to_owned(),
        }
    }

    #[test]
    fn the_last_ones_are_kept_and_the_file_has_all_a_line_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        std::fs::write(&path, "before\n").unwrap();
        let audit = Audit::to_file(&path).unwrap();
        for number in 0..=RECENT_MAX {
            audit.note(record(number));
        }
        let recent = audit.recent();
        assert_eq!(recent.len(), RECENT_MAX);
        assert_eq!(recent.front().unwrap().object.as_deref(), Some("q1"));
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("before"));
        let first: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(first["object"], "q0");
        assert_eq!(text.lines().count(), RECENT_MAX + 2);
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn a_reason_is_one_short_line() {
        let given = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_bytes(value).unwrap();
            headers.insert(REASON_HEADER, value);
            reason(&headers)
        };
        assert_eq!(reason(&HeaderMap::new()), Ok(None));
        assert_eq!(given(b""), Ok(None));
        assert_eq!(given("größer".as_bytes()), Ok(Some("größer".to_owned())));
        assert!(given(&[b'x'; REASON_MAX]).is_ok());
        for bad in [&b"\xff"[..], "\u{85}".as_bytes(), &[b'x'; REASON_MAX + 1]] {
            assert!(given(bad).is_err(), "{bad:?}");
        }
    }
}
