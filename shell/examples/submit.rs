//! Submits mails, waits for some of them, and looks after the others:
//!
//! ```text
//! WINDLASS_SERVER=http://127.0.0.1:7070 cargo run --example submit
//! ```
#![allow(
    clippy::print_stdout,
    reason = "that is how an example shows something"
)]

#[path = "shared/mail.rs"]
mod mail;

use std::time::Duration;

use windlass::{Client, Priority, TaskState, WaitError};

use self::mail::{Receipt, SendEmail};

fn mail(to: &str) -> SendEmail {
    SendEmail {
        to: to.to_owned(),
        subject: "hello".to_owned(),
        copies: Vec::new(),
    }
}

pub(crate) async fn submit(client: &Client) -> Result<(), Box<dyn std::error::Error>> {
    // One task, and its result. The key makes a repetition harmless.
    let task = client
        .submit(&mail("ann@example.org"))
        .priority(Priority::HIGH)
        .key("welcome/ann")
        .await?;
    let Receipt { recipients } = task.wait().await?;
    println!("{}: {recipients} recipients", task.id());

    // Many in one request. Each has its own fate.
    let mails: Vec<SendEmail> = (0..100)
        .map(|n| mail(&format!("{n}@example.org")))
        .collect();
    let tasks = client
        .submit_all(mails.iter().map(|mail| client.submit(mail)))
        .await;
    for task in tasks {
        task?.wait().await?;
    }

    // One that fails for good.
    match client.submit(&mail("nobody")).await?.wait().await {
        Err(WaitError::Failed(task)) => println!("failed: {}", task.error.unwrap_or_default()),
        other => println!("that was not to be expected: {other:?}"),
    }

    // One for tomorrow, that nobody wants after all.
    let later = client
        .submit(&mail("bob@example.org"))
        .delay(Duration::from_secs(24 * 3_600))
        .await?;
    println!("it waits: {}", later.why().await?.reasons[0].message);
    later.cancel().await?;

    let failed = client.list().state(TaskState::Failed).queue("mail");
    println!("{} have failed", failed.first(1_000).await?.len());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    submit(&Client::from_env()?).await
}
