//! How to test handlers: alone, and in a whole cluster whose time leaps. `cargo run --example testing`

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use windlass::testing::{self, Windlass};
use windlass::{Context, StopReason, Task, TaskError, Worker};

#[derive(Serialize, Deserialize)]
struct Brew {
    minutes: u64,
}

impl Task for Brew {
    const TYPE: &'static str = "tea.brew";
    type Output = String;
}

async fn brew(task: Brew, ctx: Context) -> Result<String, TaskError> {
    if ctx.attempt().0 == 1 {
        return Err(TaskError::retry_after(
            "no water",
            Duration::from_secs(3_600),
        ));
    }
    tokio::select! { biased;
        () = ctx.cancelled() => Err(TaskError::fail(format!("spilt: {:?}", ctx.reason()))),
        () = tokio::time::sleep(Duration::from_secs(60 * task.minutes)) => Ok("tea".to_owned()),
    }
}

/// What a handler makes of what it is told.
async fn alone() {
    let tea = testing::run(brew, Brew { minutes: 4 }).attempt(2).await;
    assert_eq!(tea.ok().as_deref(), Some("tea"));
    let stopped = testing::run(brew, Brew { minutes: 4 })
        .attempt(2)
        .stop_after(Duration::from_secs(60), StopReason::Shutdown)
        .await;
    let told = stopped.err().map(|error| error.message().to_owned());
    assert_eq!(told.as_deref(), Some("spilt: Some(Shutdown)"));
}

/// What Windlass makes of what a handler returns.
async fn in_a_cluster() -> Result<(), Box<dyn std::error::Error>> {
    let began = Instant::now();
    let windlass = Windlass::start(Worker::builder().handler(brew)).await?;
    let task = windlass.client().submit(&Brew { minutes: 4 }).await?;
    assert_eq!(task.wait().await?, "tea");
    assert_eq!(task.get().await?.retry_count, 1);
    // An hour and four minutes, in no time.
    assert!(began.elapsed() >= Duration::from_secs(64 * 60));
    Ok(())
}

// In a test: `#[tokio::test(start_paused = true)]`
#[tokio::main(flavor = "current_thread", start_paused = true)]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    alone().await;
    in_a_cluster().await
}
