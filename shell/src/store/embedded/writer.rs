//! The disk's thread: makes groups durable, one after another, and lets go what waited for that. Meanwhile the store's
//! thread handles the next group.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use windlass_core::kv::Kv;

use super::EmbeddedError;
use super::disk::Disk;
use super::engine::Message;
use super::group::Group;
use super::snapshot::{Snapshots, Write};

/// The way to the disk. One group is with it at most: while it is busy, the next one grows.
#[derive(Debug)]
pub(super) struct Writer {
    snapshots: Snapshots,
    /// The emptied group that the disk has given back: it has nothing to do.
    idle: Option<Group>,
    groups: Sender<(Group, Write)>,
    emptied: Receiver<Group>,
    thread: JoinHandle<Result<(), EmbeddedError>>,
}

/// Tells the store's thread, which may wait for calls, that nothing is written any more.
struct Stop(Sender<Message>);

impl Drop for Stop {
    fn drop(&mut self) {
        // If nobody receives it, the store has stopped by itself.
        let _ = self.0.send(Message::Stop);
    }
}

impl Writer {
    /// Starts the disk's thread. When it ends, `store` is told to stop.
    pub(super) fn start(
        mut disk: Disk,
        snapshots: Snapshots,
        store: Sender<Message>,
    ) -> Result<Self, EmbeddedError> {
        let (groups, inbox) = channel::<(Group, Write)>();
        let (give_back, emptied) = channel();
        let run = move || {
            // Dropped when the thread ends, however it ends.
            let _stop = Stop(store);
            for (mut group, write) in inbox {
                if let Err(error) = disk.commit(&write, group.log()) {
                    tracing::error!(%error, "the store stops: it cannot write");
                    return Err(error);
                }
                group.release();
                // The store's thread has gone if nobody wants it: then no other group comes.
                let _ = give_back.send(group);
            }
            Ok(())
        };
        let thread = std::thread::Builder::new()
            .name("store disk".to_owned())
            .spawn(run)?;
        Ok(Self {
            snapshots,
            idle: Some(Group::default()),
            groups,
            emptied,
            thread,
        })
    }

    /// Has a group made durable and let go, behind all that came before, and leaves an empty one in its place. Waits
    /// while the disk is busy with the one before. `false` when the disk writes no more.
    pub(super) fn take(&mut self, group: &mut Group, kv: &Kv) -> bool {
        let idle = self.idle.take().or_else(|| self.emptied.recv().ok());
        let Some(empty) = idle else {
            return false;
        };
        if group.log().is_empty() {
            // All before it is durable, and it changes nothing.
            group.release();
            self.idle = Some(empty);
            return true;
        }
        let write = self.snapshots.next(group.log().len(), kv);
        let full = std::mem::replace(group, empty);
        self.groups.send((full, write)).is_ok()
    }

    /// Waits for the end of everything that was taken. Says why the disk wrote no more, if so.
    pub(super) fn finish(self) -> Result<(), EmbeddedError> {
        drop(self.groups);
        self.thread.join().map_err(|_| EmbeddedError::Panicked)?
    }
}
