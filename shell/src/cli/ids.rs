//! Tasks and nodes as people name them: by their ids, by enough of the start of one, or by ids on stdin.

use std::io::Read;
use std::str::FromStr;

use anyhow::Context;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use windlass_core::ids::TaskId;

use super::exit::{CliError, Exit};
use super::servers::{self, Call, Client};

/// How many starts of ids are looked up at the same time.
const LOOKUPS_MAX: usize = 16;
/// The length of a whole id.
const ID_LENGTH: usize = 36;

/// A task as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskRef {
    /// By its whole id.
    Id(TaskId),
    /// By the start of its id, which no other task has.
    Prefix(String),
    /// Tasks whose ids, or starts of ids, are on stdin.
    Stdin,
}

impl FromStr for TaskRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let is_start = !text.is_empty()
            && text.len() < ID_LENGTH
            && text.chars().all(|it| it.is_ascii_hexdigit() || it == '-');
        if is_start && text.starts_with(|it: char| it != '-') {
            Ok(Self::Prefix(text.to_ascii_lowercase()))
        } else {
            Err(
                "a task is named by its id, by the start of its id, or by - for ids on stdin"
                    .to_owned(),
            )
        }
    }
}

/// The tasks that `given` names, each whether it could be found. Ids on stdin stand where the `-` stood.
pub(super) async fn resolve(
    given: &[TaskRef],
    client: &Client,
) -> anyhow::Result<Vec<Result<TaskId, CliError>>> {
    let mut named = Vec::new();
    for reference in given {
        match reference {
            TaskRef::Stdin => named.extend(from_stdin()?),
            TaskRef::Id(_) | TaskRef::Prefix(_) => named.push(reference.clone()),
        }
    }
    let found = stream::iter(&named).map(|reference| one(reference, client));
    Ok(found.buffered(LOOKUPS_MAX).collect().await)
}

/// The one task that `given` names.
pub(super) async fn resolve_one(given: &TaskRef, client: &Client) -> anyhow::Result<TaskId> {
    let mut found = resolve(std::slice::from_ref(given), client).await?;
    if found.len() != 1 {
        return Err(CliError::new(Exit::Usage, "exactly one task is needed").into());
    }
    Ok(found.remove(0)?)
}

fn from_stdin() -> anyhow::Result<Vec<TaskRef>> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read ids from stdin")?;
    let words = text.split_whitespace().map(|word| match word.parse() {
        Ok(TaskRef::Stdin) | Err(_) => {
            let told = format!("{word} on stdin is not the id of a task, nor the start of one");
            Err(CliError::new(Exit::Usage, told).into())
        }
        Ok(reference @ (TaskRef::Id(_) | TaskRef::Prefix(_))) => Ok(reference),
    });
    words.collect()
}

#[derive(Debug, Deserialize)]
struct Page {
    tasks: Vec<Named>,
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Named {
    id: TaskId,
    #[serde(rename = "type")]
    kind: String,
    queue: String,
    status: String,
}

async fn one(reference: &TaskRef, client: &Client) -> Result<TaskId, CliError> {
    let prefix = match reference {
        TaskRef::Id(id) => return Ok(*id),
        TaskRef::Prefix(prefix) => prefix,
        TaskRef::Stdin => unreachable!("it was replaced by what is there"),
    };
    let mut found: Vec<Named> = Vec::new();
    let mut cursor = None;
    while found.len() < 2 {
        let call = Call::get("/api/v1/tasks")
            .query("q", Some(format!("id:{prefix}")))
            .query("limit", Some("2".to_owned()))
            .query("cursor", cursor.take());
        let page: Page = servers::parsed(&client.ask(&call).await?)?;
        found.extend(page.tasks);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    match &*found {
        [] => Err(CliError::new(
            Exit::NotFound,
            format!("there is no task whose id starts with {prefix}"),
        )),
        [task] => Ok(task.id),
        several => {
            let mut told = format!("the ids of several tasks start with {prefix}:");
            for Named {
                id,
                kind,
                queue,
                status,
            } in several
            {
                told.push_str(&format!("\n  {id}  {queue}/{kind}  {status}"));
            }
            Err(CliError::new(Exit::Usage, told))
        }
    }
}

/// The one of `names` that is `given`, or that alone starts with it.
pub(super) fn pick(what: &str, given: &str, names: &[String]) -> Result<String, CliError> {
    if names.iter().any(|name| name == given) {
        return Ok(given.to_owned());
    }
    let found: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| name.starts_with(given))
        .collect();
    match &*found {
        [] => Err(CliError::new(
            Exit::NotFound,
            format!("there is no {what} whose id is or starts with {given}"),
        )),
        [name] => Ok((*name).to_owned()),
        several => Err(CliError::new(
            Exit::Usage,
            format!(
                "the ids of several {what}s start with {given}:\n  {}",
                several.join("\n  ")
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_named_by_its_id_the_start_of_it_or_a_dash() {
        const ID: &str = "019aa000-0000-7000-8000-000000000000";
        assert_eq!(ID.parse(), Ok(TaskRef::Id(ID.parse().unwrap())));
        assert_eq!(
            "019AA000-0".parse(),
            Ok(TaskRef::Prefix("019aa000-0".to_owned()))
        );
        assert_eq!("-".parse(), Ok(TaskRef::Stdin));
        for wrong in [
            "",
            "--",
            "-a",
            "nonsense",
            "019aa000-0000-7000-8000-0000000000000",
            "a b",
        ] {
            assert!(wrong.parse::<TaskRef>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_picked_whole_or_by_a_start_that_no_other_has() {
        let names = ["w1", "w10", "x"].map(str::to_owned);
        assert_eq!(pick("node", "w1", &names).unwrap(), "w1");
        assert_eq!(pick("node", "w10", &names).unwrap(), "w10");
        assert_eq!(pick("node", "x", &names).unwrap(), "x");
        assert_eq!(pick("node", "w", &names).unwrap_err().exit, Exit::Usage);
        assert_eq!(pick("node", "y", &names).unwrap_err().exit, Exit::NotFound);
    }
}
