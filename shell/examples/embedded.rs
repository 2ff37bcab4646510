//! A whole Windlass inside one program: scheduler, store, worker and client. `cargo run --example embedded`
//!
//! With `data_dir` in place of `in_memory` nothing is lost between two runs; with `listen` the command line and other
//! programs can take part.
#![allow(
    clippy::print_stdout,
    reason = "that is how an example shows something"
)]

use serde::{Deserialize, Serialize};
use windlass::{Client, Context, Scheduler, Task, TaskError, Worker};

/// Counts the words of a text, by counting those of its lines.
#[derive(Serialize, Deserialize)]
struct CountWords {
    text: String,
}

impl Task for CountWords {
    const TYPE: &'static str = "words.count";
    type Output = usize;
}

#[derive(Serialize, Deserialize)]
struct CountLine(String);

impl Task for CountLine {
    const TYPE: &'static str = "words.count_line";
    type Output = usize;
}

async fn count_line(CountLine(line): CountLine) -> Result<usize, TaskError> {
    Ok(line.split_whitespace().count())
}

async fn count(client: Client, task: CountWords, ctx: Context) -> Result<usize, TaskError> {
    let mut lines = Vec::new();
    for (number, line) in task.text.lines().enumerate() {
        let line = client
            .submit(&CountLine(line.to_owned()))
            // This handler may run again: its children must not.
            .key(format!("{}/{number}", ctx.task()))
            .child_of(&ctx);
        lines.push(line.await?);
    }
    let mut words = 0;
    for line in &lines {
        words += line.wait().await?;
        ctx.progress(words);
    }
    Ok(words)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut scheduler = Scheduler::builder().in_memory().start().await?;
    let client = scheduler.client();
    let children = client.clone();
    let mut worker = Worker::builder()
        .store(scheduler.store())
        .slots(4)
        .handler(count_line)
        .handler(move |task: CountWords, ctx: Context| count(children.clone(), task, ctx))
        .start()
        .await?;

    let text = "a task is what\na client submits\nimmutable once accepted".to_owned();
    let words = client.submit(&CountWords { text }).await?.wait().await?;
    println!("{words} words");
    assert_eq!(words, 10);

    worker.stop();
    worker.wait().await?;
    scheduler.stop();
    scheduler.wait().await?;
    Ok(())
}
