//! Reads what a server sends as it happens: `text/event-stream`, resumed where it broke off.

use std::collections::VecDeque;
use std::time::Duration;

use super::exit::{CliError, Exit};
use super::servers::{Call, Client};

/// The longest frame that is taken, in bytes: many times what a server sends.
const FRAME_MAX: usize = 8 * 1024 * 1024;
/// A server that lives is not silent for longer: it sends a comment every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// How often in a row the servers may be out of reach before that is an error.
const MISSES_MAX: u32 = 30;
/// How long to wait before they are asked again.
const MISS_PAUSE: Duration = Duration::from_secs(1);

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where to resume behind it.
    pub(super) id: Option<String>,
    /// What kind of event.
    pub(super) event: String,
    /// What it says.
    pub(super) data: String,
}

/// Takes a stream of bytes apart.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    id: Option<String>,
    event: String,
    data: Vec<String>,
    size: usize,
}

impl Parser {
    /// Takes the next bytes in, and appends the frames that they complete. Fails when a frame is too long.
    fn push(&mut self, bytes: &[u8], out: &mut VecDeque<Frame>) -> Result<(), CliError> {
        self.size += bytes.len();
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                self.take(line.strip_suffix('\r').unwrap_or(&line), out);
            } else {
                self.line.push(*byte);
            }
        }
        if self.size > FRAME_MAX {
            let told = format!("the server sent an event of more than {FRAME_MAX} bytes");
            return Err(CliError::new(Exit::Failed, told));
        }
        Ok(())
    }

    fn take(&mut self, line: &str, out: &mut VecDeque<Frame>) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = std::mem::take(&mut self.data);
            self.size = 0;
            if !data.is_empty() {
                out.push_back(Frame {
                    id: self.id.clone(),
                    event: if event.is_empty() {
                        "message".to_owned()
                    } else {
                        event
                    },
                    data: data.join("\n"),
                });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event),
            "data" => self.data.push(value.to_owned()),
            // A comment, or a field of a later version.
            _ => {}
        }
    }
}

/// The events of the servers.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    client: &'a Client,
    topics: Option<String>,
    after: Option<String>,
    open: Option<(reqwest::Response, Parser)>,
    frames: VecDeque<Frame>,
    misses: u32,
}

impl<'a> Feed<'a> {
    /// The events of these topics, or of all; those behind `after` first, if the servers still know them.
    pub(super) fn new(client: &'a Client, topics: Option<String>, after: Option<String>) -> Self {
        Self {
            client,
            topics,
            after,
            open: None,
            frames: VecDeque::new(),
            misses: 0,
        }
    }

    /// The next event. Nothing is lost when this is given up before it is done.
    pub(super) async fn next(&mut self) -> Result<Frame, CliError> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                if frame.id.is_some() {
                    self.after.clone_from(&frame.id);
                }
                return Ok(frame);
            }
            match &mut self.open {
                None => self.connect().await?,
                Some((response, parser)) => {
                    match tokio::time::timeout(SILENCE_MAX, response.chunk()).await {
                        Ok(Ok(Some(bytes))) => parser.push(&bytes, &mut self.frames)?,
                        // It stopped, broke off or fell silent: the next server goes on.
                        Ok(Ok(None) | Err(_)) | Err(_) => {
                            self.open = None;
                            tokio::time::sleep(MISS_PAUSE).await;
                        }
                    }
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<(), CliError> {
        let mut call = Call::get("/api/v1/events").query("topics", self.topics.clone());
        if let Some(after) = &self.after {
            call = call.header("last-event-id", after.clone());
        }
        match self.client.open(&call).await {
            Ok(response) => {
                self.misses = 0;
                self.open = Some((response, Parser::default()));
                Ok(())
            }
            // Servers come and go while somebody watches; but the first time somebody should be there.
            Err(error) if self.may_come_back(&error) => {
                self.misses += 1;
                tokio::time::sleep(MISS_PAUSE).await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn may_come_back(&self, error: &CliError) -> bool {
        matches!(error.exit, Exit::Unreachable | Exit::TimedOut)
            && self.after.is_some()
            && self.misses < MISSES_MAX
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = ": hello\n\nid: 7\nevent: changes\ndata: {\"a\":\ndata: 1}\n\nevent: stats\r\ndata:x\r\n\r\n\ndata: y\n\n";

    fn frames(chunks: impl IntoIterator<Item = Vec<u8>>) -> Vec<Frame> {
        let (mut parser, mut out) = (Parser::default(), VecDeque::new());
        for chunk in chunks {
            parser.push(&chunk, &mut out).unwrap();
        }
        out.into()
    }

    #[test]
    fn a_stream_is_taken_apart() {
        let frame = |event: &str, data: &str| Frame {
            id: Some("7".to_owned()),
            event: event.to_owned(),
            data: data.to_owned(),
        };
        let expected = [
            frame("changes", "{\"a\":\n1}"),
            frame("stats", "x"),
            frame("message", "y"),
        ];
        assert_eq!(frames([STREAM.as_bytes().to_vec()]), expected);
    }

    #[test]
    fn a_frame_without_end_is_an_error() {
        let (mut parser, mut out) = (Parser::default(), VecDeque::new());
        let line = b"data: x\n".repeat(1_000);
        let sent = (0..=FRAME_MAX / line.len()).try_for_each(|_| parser.push(&line, &mut out));
        assert!(sent.is_err() && out.is_empty());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_come(cuts in proptest::collection::vec(0..STREAM.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|cut| STREAM.as_bytes()[cut[0]..cut[1]].to_vec());
            prop_assert_eq!(frames(chunks), frames([STREAM.as_bytes().to_vec()]));
        }

        #[test]
        fn no_bytes_crash_it(bytes in any::<Vec<u8>>()) {
            frames([bytes]);
        }
    }
}
