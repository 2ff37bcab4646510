//! The tasks that workers and submitters share; a crate of its own in a real program.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass::Task;

/// A mail to be sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SendEmail {
    pub(crate) to: String,
    pub(crate) subject: String,
    // Old payloads lack what was added later.
    #[serde(default)]
    pub(crate) copies: Vec<String>,
}

/// What is left of a mail that was sent.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
pub(crate) struct Receipt {
    pub(crate) recipients: usize,
}

impl Task for SendEmail {
    const TYPE: &'static str = "email.send";
    const QUEUE: &'static str = "mail";
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(30));
    type Output = Receipt;
}
