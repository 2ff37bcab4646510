//! A worker that sends mails:
//!
//! ```text
//! WINDLASS_ETCD=http://127.0.0.1:2379 cargo run --example worker
//! ```
//!
//! SIGTERM or Ctrl-C lets it finish what runs, and hand back the rest.

#[path = "shared/mail.rs"]
mod mail;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use windlass::{Context, TaskError, Worker, WorkerBuilder};

use self::mail::{Receipt, SendEmail};

/// What all handlers share: a pool of connections, say.
#[derive(Debug, Default)]
pub(crate) struct Mailer;

impl Mailer {
    async fn deliver(&self, mail: &SendEmail) -> Result<usize, io::Error> {
        // A real one talks to a server here.
        tokio::time::sleep(Duration::from_millis(20)).await;
        if mail.subject.is_empty() {
            return Err(io::Error::other("the server wants a subject"));
        }
        Ok(1 + mail.copies.len())
    }
}

async fn send(mailer: Arc<Mailer>, mail: SendEmail, ctx: Context) -> Result<Receipt, TaskError> {
    ctx.progress("connecting");
    if !mail.to.contains('@') {
        // No other attempt would go better.
        return Err(TaskError::fail(format!("{} is no address", mail.to)));
    }
    if mail.to.ends_with("@slow.example") && ctx.attempt().0 == 1 {
        return Err(TaskError::retry_after(
            "greylisted",
            Duration::from_secs(90),
        ));
    }
    // Every line that is logged here says which task, attempt and fence it is of.
    tracing::info!(to = mail.to, "sends");
    let recipients = tokio::select! { biased;
        // Whoever stops in time loses nothing: another attempt follows, unless the task was cancelled.
        () = ctx.cancelled() => return Err(TaskError::retry(format!("stopped: {:?}", ctx.reason()))),
        // Any error is tried again, as the task's policy says.
        delivered = mailer.deliver(&mail) => delivered?,
    };
    Ok(Receipt { recipients })
}

/// The worker, but for its store.
pub(crate) fn worker(mailer: Arc<Mailer>) -> WorkerBuilder {
    Worker::builder()
        .queues(["mail"])
        .slots(8)
        .label("zone", "eu")
        .handler(move |mail: SendEmail, ctx: Context| send(Arc::clone(&mailer), mail, ctx))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init();
    let etcd = std::env::var("WINDLASS_ETCD")?;
    worker(Arc::default()).etcd(etcd.split(',')).run().await?;
    Ok(())
}
