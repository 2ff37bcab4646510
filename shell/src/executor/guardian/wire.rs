//! What worker and guardian tell each other, over a socket that keeps messages apart and carries file descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixStream;
use windlass_core::ids::OpId;

/// The pipes of a command: stdin, stdout, stderr.
pub(super) const PIPES: usize = 3;

/// The longest command, in bytes. Well below [`MESSAGE_LEN_MAX`], even if every byte needs an escape.
pub(in crate::executor) const COMMAND_LEN_MAX: usize = 16 * 1_024;

/// The longest message, in bytes. Well below what a socket's buffer holds by default, so that it can always be sent.
const MESSAGE_LEN_MAX: usize = 128 * 1_024;

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Run a command; its pipes come along.
    Spawn {
        run: OpId,
        words: Vec<String>,
        env: Vec<(String, String)>,
    },
    /// End a command: SIGTERM, and SIGKILL after the grace.
    Stop { run: OpId, grace_ms: u64 },
    /// The worker's session lasts until this point of the machine's monotonic clock, in nanoseconds.
    Renew { until: u64 },
}

/// From the guardian.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The command runs, and leads this process group.
    Started { run: OpId, group: i32 },
    /// The command could not be started.
    Refused { run: OpId, reason: String },
    /// The command has ended, and its group with it.
    Ended { run: OpId, end: End },
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::executor) struct End {
    /// Its exit code, if it exited.
    pub(in crate::executor) code: Option<i32>,
    /// The signal that killed it, if one did.
    pub(in crate::executor) signal: Option<i32>,
    /// Whether it was told to stop before it ended.
    pub(in crate::executor) stopped: bool,
}

impl End {
    /// What was told to stop before it was started.
    pub(super) const NEVER_RAN: Self = Self {
        code: None,
        signal: None,
        stopped: true,
    };
}

/// One message, ready to be sent.
#[derive(Debug)]
pub(super) struct Parcel {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Parcel {
    pub(super) fn new(message: &impl Serialize, fds: Vec<OwnedFd>) -> Self {
        let bytes = serde_json::to_vec(message).expect("messages have no failing parts");
        debug_assert!(fds.is_empty() || fds.len() == PIPES, "all pipes or none");
        Self { bytes, fds }
    }
}

/// One end of the socket. Of a stream it has only that it tells when its other end is gone, and when it is ready.
#[derive(Debug)]
pub(super) struct Socket(UnixStream);

impl Socket {
    /// Both ends; neither is inherited by other children.
    pub(super) fn pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::SEQPACKET;
        Ok(rustix::net::socketpair(
            AddressFamily::UNIX,
            kind,
            flags,
            None,
        )?)
    }

    /// An end, non-blocking as [`Socket::pair`] made it.
    pub(super) fn new(end: OwnedFd) -> std::io::Result<Self> {
        UnixStream::from_std(end.into()).map(Self)
    }

    /// Sends a parcel, whole or not at all. Can be dropped at any time without losing or repeating it.
    pub(super) async fn send(&self, parcel: &Parcel) -> std::io::Result<()> {
        self.0
            .async_io(Interest::WRITABLE, || send(self.0.as_fd(), parcel))
            .await
    }

    /// The next message and its pipes; none when the other end is gone. Can be dropped at any time without losing one.
    pub(super) async fn receive<M: DeserializeOwned>(
        &self,
        buffer: &mut Vec<u8>,
    ) -> std::io::Result<Option<(M, Vec<OwnedFd>)>> {
        buffer.resize(MESSAGE_LEN_MAX, 0);
        let received = self
            .0
            .async_io(Interest::READABLE, || receive(self.0.as_fd(), buffer))
            .await?;
        match received {
            (0, _) => Ok(None),
            (len, fds) => Ok(Some((serde_json::from_slice(&buffer[..len])?, fds))),
        }
    }
}

fn send(socket: BorrowedFd<'_>, parcel: &Parcel) -> std::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PIPES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = parcel.fds.iter().map(AsFd::as_fd).collect();
    if !fds.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(&fds));
        assert!(fits, "the space is made for all pipes");
    }
    let bytes = [IoSlice::new(&parcel.bytes)];
    rustix::net::sendmsg(socket, &bytes, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> std::io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PIPES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [IoSliceMut::new(buffer)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(socket, &mut bytes, &mut control, flags)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            fds.extend(passed);
        }
    }
    Ok((received.bytes, fds))
}
