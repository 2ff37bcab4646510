//! Requests over plain sockets, sound ones and others.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::rig::PATIENCE;

/// An answer of the server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> std::io::Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let broken = || Error::new(ErrorKind::UnexpectedEof, "no whole answer");
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
        let head = head.to_ascii_lowercase();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(broken)?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if length.is_some_and(|length: usize| length != body.len()) {
            return Err(broken());
        }
        Ok(Self {
            status,
            head,
            body: body.to_owned(),
        })
    }

    /// Its body, when the status is the one expected.
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Its body, which is a problem with this status.
    pub(crate) fn problem(&self, status: u16) -> Value {
        let problem = self.json(status);
        assert!(
            self.head.contains("content-type: application/problem+json"),
            "{}",
            self.head
        );
        assert_eq!(problem["status"], status);
        assert!(!text(&problem["title"]).is_empty());
        problem
    }

    /// The fields that bad input was refused for, each with a reason.
    pub(crate) fn bad_fields(&self, status: u16) -> Vec<String> {
        let problem = self.problem(status);
        let faults = problem["errors"].as_array().unwrap();
        faults
            .iter()
            .map(|fault| {
                assert!(!text(&fault["reason"]).is_empty(), "{problem}");
                text(&fault["field"])
            })
            .collect()
    }
}

/// One request with a JSON body, on a connection of its own.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> std::io::Result<Answer> {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    let request = match body {
        Some(body) => format!(
            "{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
        None => format!("{head}content-length: 0\r\n\r\n"),
    };
    Answer::parse(&exchange(address, request.as_bytes())?)
}

/// Sends these bytes, whatever they are, and returns what comes back until the server hangs up.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // A server that has heard enough may hang up before everything is sent.
    let sent = stream.write_all(bytes);
    let mut back = Vec::new();
    match stream.read_to_end(&mut back) {
        Err(error) if back.is_empty() => Err(error),
        Ok(0) => sent.and(Ok(back)),
        Ok(_) | Err(_) => Ok(back),
    }
}

/// Whatever the server answers to these bytes.
pub(crate) fn answer_to(address: SocketAddr, bytes: &[u8]) -> Answer {
    Answer::parse(&exchange(address, bytes).unwrap()).unwrap()
}

/// A string's text.
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not a text"))
        .to_owned()
}
