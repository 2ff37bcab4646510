//! What a stream of events looks like: `text/event-stream` of the HTML standard, and the words in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use windlass_core::gateway::{ChangesView, TaskChange};
use windlass_core::ids::{NodeId, QueueName, Revision, TaskType};

/// The first words of a stream: how long a browser is to wait before it comes again, in milliseconds.
pub(super) const GREETING: Bytes = Bytes::from_static(b": windlass\nretry: 1000\n\n");

/// A sign of life, which every reader skips.
pub(super) const BEAT: Bytes = Bytes::from_static(b": beat\n\n");

/// What a reader wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Topics {
    pub(super) tasks: bool,
    pub(super) queues: bool,
    pub(super) nodes: bool,
    pub(super) stats: bool,
}

impl Topics {
    pub(super) const ALL: Self = Self {
        tasks: true,
        queues: true,
        nodes: true,
        stats: true,
    };

    const NONE: Self = Self {
        tasks: false,
        queues: false,
        nodes: false,
        stats: false,
    };

    /// Names with commas between them.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut topics = Self::NONE;
        for name in text.split(',') {
            match name {
                "tasks" => topics.tasks = true,
                "queues" => topics.queues = true,
                "nodes" => topics.nodes = true,
                "stats" => topics.stats = true,
                _ => return Err("is a list of tasks, queues, nodes and stats".to_owned()),
            }
        }
        Ok(topics)
    }
}

#[derive(Debug, Serialize)]
struct Changes<'a> {
    revision: String,
    tasks: Vec<Task<'a>>,
    tasks_omitted: u64,
    queues: &'a [QueueName],
    queues_omitted: u64,
    nodes: bool,
}

#[derive(Debug, Serialize)]
struct Task<'a> {
    id: String,
    status: &'static str,
    queue: Option<&'a QueueName>,
    #[serde(rename = "type")]
    kind: Option<&'a TaskType>,
    worker_id: Option<&'a NodeId>,
}

impl<'a> Task<'a> {
    fn of(change: &'a TaskChange) -> Self {
        Self {
            id: change.id.to_string(),
            status: change.status.as_str(),
            queue: change.queue.as_ref(),
            kind: change.kind.as_ref(),
            worker_id: change.worker.as_ref(),
        }
    }
}

/// What has changed, of these topics; `None` when nothing of them has.
pub(super) fn changes(changes: &ChangesView, topics: Topics) -> Option<Bytes> {
    let has_news = topics.tasks && !changes.tasks.is_empty()
        || topics.queues && !changes.queues.is_empty()
        || topics.nodes && changes.nodes;
    has_news.then(|| state(changes, topics))
}

/// The same, though nothing may have changed: the revision is told.
pub(super) fn state(changes: &ChangesView, topics: Topics) -> Bytes {
    let of = |wanted: bool, count: u64| if wanted { count } else { 0 };
    let spelled = Changes {
        revision: changes.revision.to_string(),
        tasks: match topics.tasks {
            true => changes.tasks.iter().map(Task::of).collect(),
            false => Vec::new(),
        },
        tasks_omitted: of(topics.tasks, changes.tasks_omitted),
        queues: match topics.queues {
            true => &changes.queues,
            false => &[],
        },
        queues_omitted: of(topics.queues, changes.queues_omitted),
        nodes: topics.nodes && changes.nodes,
    };
    event("changes", Some(changes.revision), &json(&spelled))
}

/// Changes were missed: what was read before `at` may be outdated.
pub(super) fn resync(at: Revision) -> Bytes {
    let revision = BTreeMap::from([("revision", at.to_string())]);
    event("resync", Some(at), &json(&revision))
}

/// Counts, spelled as JSON on one line.
pub(super) fn stats(text: &str) -> Bytes {
    event("stats", None, text)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("names and numbers can always be spelled")
}

/// JSON has no line feeds of its own, so that one line of data is enough.
fn event(name: &str, id: Option<Revision>, data: &str) -> Bytes {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    format!("{id}event: {name}\ndata: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use windlass_core::gateway::{ChangedStatus, TaskState};
    use windlass_core::ids::TaskId;
    use windlass_core::time::Wall;

    use super::*;

    fn view() -> ChangesView {
        ChangesView {
            tasks: vec![TaskChange {
                id: TaskId::floor_of(Wall::from_millis(1)),
                status: ChangedStatus::State(TaskState::Running),
                queue: Some("q".parse().unwrap()),
                kind: Some("echo".parse().unwrap()),
                worker: Some("w".parse().unwrap()),
            }],
            tasks_omitted: 3,
            queues: vec!["q".parse().unwrap()],
            ..ChangesView::none(Revision(7))
        }
    }

    #[test]
    fn a_frame_has_its_revision_its_name_and_one_line_of_data() {
        let expected = concat!(
            "id: 7\nevent: changes\n",
            r#"data: {"revision":"7","tasks":[{"id":"00000000-0001-0000-0000-000000000000","status":"running","#,
            r#""queue":"q","type":"echo","worker_id":"w"}],"tasks_omitted":3,"queues":["q"],"queues_omitted":0,"nodes":false}"#,
            "\n\n"
        );
        assert_eq!(changes(&view(), Topics::ALL).unwrap(), expected);
        let expected = "id: 9\nevent: resync\ndata: {\"revision\":\"9\"}\n\n";
        assert_eq!(resync(Revision(9)), expected);
        assert_eq!(stats("{}"), "event: stats\ndata: {}\n\n");
    }

    #[test]
    fn only_the_topics_that_are_wanted_are_told() {
        let only = |text| Topics::parse(text).unwrap();
        assert_eq!(only("tasks,queues,nodes,stats"), Topics::ALL);
        assert_eq!(changes(&view(), only("nodes,stats")), None);
        let queues = changes(&view(), only("queues")).unwrap();
        let queues = String::from_utf8(queues.to_vec()).unwrap();
        let expected = r#""tasks":[],"tasks_omitted":0,"queues":["q"]"#;
        assert!(queues.contains(expected), "{queues}");
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        for text in ["", "task", "tasks,", "tasks, queues", "TASKS"] {
            assert!(Topics::parse(text).is_err(), "{text:?}");
        }
    }
}
