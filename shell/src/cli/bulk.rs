//! `windlass task submit --from FILE`: many tasks, in arrays, several of them under way at the same time.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use futures_util::stream::{FuturesUnordered, StreamExt};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

use super::exit::{CliError, Exit};
use super::output::{self, Output, Table, cell};
use super::servers::{Call, Client, Problem};
use crate::api::TASKS_MAX;

/// How many arrays are under way at the same time.
const UNDER_WAY_MAX: usize = 4;
/// How large an array may grow before it is sent: half of what the server takes.
const ARRAY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a line may be: more than any payload.
const LINE_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// How often an array is sent again that no server could take.
const TRIES_MAX: u32 = 6;
/// How long to wait before that; doubles each time.
const TRY_PAUSE: Duration = Duration::from_millis(100);
/// How many faulty lines are told of one by one.
const TOLD_MAX: u64 = 100;

/// Lines that go out together.
#[derive(Debug, Default)]
struct Array {
    lines: Vec<(u64, String)>,
    bytes: usize,
}

/// What became of the lines so far.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    failed: u64,
    /// The exit code of the first array that failed as a whole.
    exit: Option<Exit>,
}

/// Submits every line of the file `from`.
pub(super) async fn run(from: &Path, client: &Client, output: Output) -> anyhow::Result<ExitCode> {
    let (input, size) = open(from)?;
    let bar = bar(size);
    let mut lines = Lines { input, number: 0 };
    let mut tally = Tally::default();
    let mut under_way = FuturesUnordered::new();
    let mut more = true;
    while more || !under_way.is_empty() {
        if more && under_way.len() < UNDER_WAY_MAX {
            let mut array = Array::default();
            match lines.fill(&mut array, &mut tally, &bar).await {
                Ok(ended) => more = !ended,
                // What was read before still goes out, and what is under way comes to its end.
                Err(error) => {
                    more = false;
                    tally.fail(&bar, lines.number, &format!("{error:#}"));
                }
            }
            if !array.lines.is_empty() {
                under_way.push(submit(array, client));
            }
        } else if let Some((array, answer)) = under_way.next().await {
            tally.count(&array, answer, &bar);
        }
    }
    bar.finish_and_clear();
    let Tally {
        accepted,
        failed,
        exit,
    } = tally;
    if failed > TOLD_MAX {
        output::note(&format!(
            "{failed} lines failed; the first {TOLD_MAX} are told above"
        ));
    }
    let json = json!({"accepted": accepted, "failed": failed}).to_string();
    output.result(&json, |summary| {
        let mut table = Table::new(&["FIELD", "VALUE"]);
        for field in ["accepted", "failed"] {
            table.row([field.to_owned(), cell(&summary[field])]);
        }
        table
    })?;
    Ok(match (failed, exit) {
        (0, _) => Exit::Done,
        // Nothing was accepted because of one thing that was wrong with all of it: that is what to tell.
        (_, Some(exit)) if accepted == 0 => exit,
        (_, Some(_) | None) => Exit::Failed,
    }
    .into())
}

type Input = Box<dyn AsyncBufRead + Unpin + Send>;

fn open(from: &Path) -> anyhow::Result<(Input, Option<u64>)> {
    if from == Path::new("-") {
        return Ok((Box::new(BufReader::new(tokio::io::stdin())), None));
    }
    let told = || format!("cannot read {}", from.display());
    let file = std::fs::File::open(from).with_context(told)?;
    let metadata = file.metadata().with_context(told)?;
    let size = metadata.is_file().then_some(metadata.len());
    let file = tokio::fs::File::from_std(file);
    Ok((Box::new(BufReader::with_capacity(256 * 1024, file)), size))
}

fn bar(size: Option<u64>) -> ProgressBar {
    let bar = match size {
        Some(size) => ProgressBar::new(size),
        None => ProgressBar::new_spinner(),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if size.is_some()
        && let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3}% {msg} ({eta} left)")
    {
        bar.set_style(style);
    }
    bar
}

struct Lines {
    input: Input,
    number: u64,
}

impl Lines {
    /// Fills `array` with the next lines, and says whether they were the last ones. Lines that are not JSON would
    /// spoil their whole array, so they are told of and left out.
    async fn fill(
        &mut self,
        array: &mut Array,
        tally: &mut Tally,
        bar: &ProgressBar,
    ) -> anyhow::Result<bool> {
        while array.lines.len() < TASKS_MAX && array.bytes < ARRAY_BYTES_MAX {
            let mut line = Vec::new();
            let mut limited = (&mut self.input).take(LINE_BYTES_MAX);
            let read = limited
                .read_until(b'\n', &mut line)
                .await
                .context("cannot read on")? as u64;
            if read == 0 {
                return Ok(true);
            }
            self.number += 1;
            bar.inc(read);
            if read == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
                anyhow::bail!("is longer than {LINE_BYTES_MAX} bytes: nothing behind it was read");
            }
            let Ok(text) = String::from_utf8(line) else {
                tally.fail(bar, self.number, "is not UTF-8 text");
                continue;
            };
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            if let Err(error) = serde_json::from_str::<&RawValue>(text) {
                tally.fail(bar, self.number, &format!("is not JSON: {error}"));
                continue;
            }
            array.bytes += text.len();
            array.lines.push((self.number, text.to_owned()));
        }
        Ok(false)
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    tasks: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    error: Option<Problem>,
}

async fn submit(array: Array, client: &Client) -> (Array, Result<Answer, CliError>) {
    let lines: Vec<&str> = array.lines.iter().map(|(_, line)| line.as_str()).collect();
    let call = Call::post("/api/v1/tasks").body(format!("[{}]", lines.join(",")));
    let mut tries = 0;
    let answer = loop {
        tries += 1;
        match client.ask(&call).await {
            // Only what certainly was not done is worth doing again.
            Err(error) if error.undone && tries < TRIES_MAX => {
                tokio::time::sleep(TRY_PAUSE * (1 << (tries - 1))).await;
            }
            answer => break answer,
        }
    };
    let answer = answer.and_then(|text| {
        serde_json::from_str(&text).map_err(|error| {
            CliError::new(
                Exit::Failed,
                format!("the server answered nonsense: {error}"),
            )
        })
    });
    (array, answer)
}

impl Tally {
    fn count(&mut self, array: &Array, answer: Result<Answer, CliError>, bar: &ProgressBar) {
        match answer {
            Ok(answer) => {
                for ((number, _), item) in array.lines.iter().zip(answer.tasks) {
                    match item.error {
                        None => self.accepted += 1,
                        Some(problem) => self.fail(bar, *number, &problem.to_string()),
                    }
                }
            }
            Err(error) => {
                let numbers = || array.lines.iter().map(|(number, _)| *number);
                let (first, last) = (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0));
                self.failed += array.lines.len() as u64;
                self.exit.get_or_insert(error.exit);
                bar.suspend(|| output::note(&format!("lines {first} to {last}: {error}")));
            }
        }
        bar.set_message(format!("{} accepted", self.accepted));
    }

    fn fail(&mut self, bar: &ProgressBar, number: u64, reason: &str) {
        self.failed += 1;
        if self.failed <= TOLD_MAX {
            bar.suspend(|| output::note(&format!("line {number}: {reason}")));
        }
    }
}
