//! Many submissions in few requests.

use futures_util::{StreamExt, stream};
use serde::Deserialize;
use windlass_core::ids::TaskId;

use super::submission::{Submission, send};
use super::transport::{Call, Problem};
use super::{Client, ClientError, ErrorKind, TaskHandle, read};
use crate::api::TASKS_MAX;

/// How many requests are under way at the same time.
const UNDER_WAY_MAX: usize = 4;
/// How large a request may grow: half of what the server takes.
const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What becomes of one submission.
type Fate<O> = Result<TaskHandle<O>, ClientError>;

#[derive(Debug, Deserialize)]
struct Answer {
    tasks: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    id: Option<TaskId>,
    error: Option<Problem>,
}

/// Submissions that share a request.
#[derive(Debug, Default)]
struct Group {
    /// Where they stand among all.
    places: Vec<usize>,
    bodies: String,
    /// Whether all of them have keys.
    unkeyed: bool,
}

impl Group {
    fn add(&mut self, place: usize, body: &str, keyed: bool) {
        self.places.push(place);
        self.bodies
            .push(if self.bodies.is_empty() { '[' } else { ',' });
        self.bodies.push_str(body);
        self.unkeyed |= !keyed;
    }

    fn is_full(&self) -> bool {
        self.places.len() == TASKS_MAX || self.bodies.len() >= REQUEST_BYTES_MAX
    }

    /// Sends them, and tells the fate of each.
    async fn send(self, client: &Client) -> (Vec<usize>, Result<Vec<Item>, ClientError>) {
        let call = Call::post("/api/v1/tasks").body(self.bodies + "]");
        let answer = send(client, &call, !self.unkeyed).await;
        let items = answer
            .and_then(|text| read::<Answer>(&text))
            .map(|it| it.tasks);
        (self.places, items)
    }
}

/// Submits all, and tells the fate of each, in order.
pub(super) async fn submit<O>(client: &Client, submissions: Vec<Submission<O>>) -> Vec<Fate<O>> {
    let mut fates: Vec<Option<Fate<O>>> = Vec::new();
    let mut groups = Vec::new();
    let mut group = Group::default();
    for submission in submissions {
        match submission.spelled() {
            Ok(body) => {
                group.add(fates.len(), &body, submission.has_key());
                fates.push(None);
            }
            Err(error) => fates.push(Some(Err(error))),
        }
        if group.is_full() {
            groups.push(std::mem::take(&mut group));
        }
    }
    if !group.places.is_empty() {
        groups.push(group);
    }
    let mut answers = stream::iter(groups)
        .map(|group| group.send(client))
        .buffer_unordered(UNDER_WAY_MAX);
    while let Some((places, answer)) = answers.next().await {
        for (index, place) in places.into_iter().enumerate() {
            fates[place] = Some(fate(client, answer.as_ref(), index));
        }
    }
    fates
        .into_iter()
        .map(|fate| fate.expect("every submission stands in one group, or has its fault"))
        .collect()
}

fn fate<O>(client: &Client, answer: Result<&Vec<Item>, &ClientError>, index: usize) -> Fate<O> {
    match answer.map(|items| items.get(index)) {
        Err(error) => Err(error.clone()),
        Ok(Some(Item {
            error: Some(problem),
            ..
        })) => Err(problem.to_error()),
        Ok(Some(Item { id: Some(id), .. })) => Ok(TaskHandle::new(client.clone(), *id)),
        Ok(Some(Item { id: None, .. }) | None) => Err(ClientError::new(
            ErrorKind::Failed,
            "the server did not tell what became of the task",
        )),
    }
}
