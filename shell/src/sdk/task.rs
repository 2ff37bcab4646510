//! What makes a Rust type a task.

use std::time::Duration;

use windlass_core::ids::Priority;

/// A Rust type that is the payload of one type of task. Programs that submit and programs that work share it, so that
/// neither can send or return what the other does not understand.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use windlass::Task;
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct SendEmail {
///     to: String,
///     // Old payloads lack what was added later.
///     #[serde(default)]
///     copies: Vec<String>,
/// }
///
/// impl Task for SendEmail {
///     const TYPE: &'static str = "email.send";
///     const QUEUE: &'static str = "mail";
///     type Output = String;
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "this is not a task",
    note = "say what type of task it is the payload of: `impl Task for {Self} {{ const TYPE: &'static str = \"…\"; type Output = …; }}`"
)]
pub trait Task {
    /// The task's type, which selects the handler: `[A-Za-z0-9._-]{1,128}`.
    const TYPE: &'static str;
    /// Where it waits, unless a submission says otherwise.
    const QUEUE: &'static str = "default";
    /// How urgent it is, unless a submission says otherwise.
    const PRIORITY: Priority = Priority::NORMAL;
    /// How many failures are tried again, unless a submission says otherwise; the server's default without it.
    const MAX_RETRIES: Option<u32> = None;
    /// How long one attempt may run, unless a submission says otherwise; the server's default without it.
    const TIMEOUT: Option<Duration> = None;
    /// What its handler returns.
    type Output;
}
