//! Watches of a node's port. Each is a task with a connection of its own.

use std::sync::Arc;

use ::madsim::net::{Receiver, Sender};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use windlass::store::Answers;
use windlass_core::ids::{OpId, Revision};
use windlass_core::keyspace::Range;
use windlass_core::store::{Answer, ViewEvent};

use super::port::{Backoff, connect};
use super::wire::{Down, IDLE_MAX, SILENCE_MAX, Up};

/// A watch that goes on until this is dropped.
#[derive(Debug)]
pub(super) struct Watching {
    progress: Arc<Notify>,
    task: AbortHandle,
}

impl Watching {
    pub(super) fn ask_progress(&self) {
        self.progress.notify_one();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to watch. With `tells_gaps`, a gap ends the watch with [`ViewEvent::Lost`]; else everything is read again.
pub(super) fn begin(op: OpId, range: Range, answers: Answers, tells_gaps: bool) -> Watching {
    let progress = Arc::new(Notify::new());
    let feed = Feed {
        op,
        range,
        answers,
        progress: Arc::clone(&progress),
        backoff: Backoff::default(),
    };
    let task = tokio::spawn(feed.run(tells_gaps)).abort_handle();
    Watching { progress, task }
}

/// Why a connection is of no more use.
#[derive(Debug)]
enum End {
    /// It broke: go on from where it was.
    Broken,
    /// What follows is not known any more: read everything again.
    Gap,
}

struct Feed {
    op: OpId,
    range: Range,
    answers: Answers,
    progress: Arc<Notify>,
    backoff: Backoff,
}

impl Feed {
    async fn run(mut self, tells_gaps: bool) {
        loop {
            let mut told = None;
            while let End::Broken = self.follow(&mut told).await {
                self.backoff.pause().await;
            }
            if tells_gaps {
                return self.tell(ViewEvent::Lost);
            }
            self.backoff.pause().await;
        }
    }

    fn tell(&self, event: ViewEvent) {
        self.answers.give(self.op, Answer::View(event));
    }

    /// Follows on one connection: from `told` on, or from a full read when nothing was told.
    async fn follow(&mut self, told: &mut Option<Revision>) -> End {
        let Some((sender, mut receiver)) = connect().await else {
            return End::Broken;
        };
        let watch = Up::Watch {
            range: self.range.clone(),
            told: *told,
        };
        if sender.send(Box::new(watch)).await.is_err() {
            return End::Broken;
        }
        let mut asked = false;
        let end = self.listen(&sender, &mut receiver, told, &mut asked).await;
        if asked {
            // The question outlives the connection.
            self.progress.notify_one();
        }
        end
    }

    async fn listen(
        &mut self,
        sender: &Sender,
        receiver: &mut Receiver,
        told: &mut Option<Revision>,
        asked: &mut bool,
    ) -> End {
        // The first word is due at once.
        let mut patience = SILENCE_MAX;
        loop {
            tokio::select! { biased;
                down = timeout(patience, receiver.recv()) => match down {
                    Ok(Ok(down)) => {
                        let down = down.downcast::<Down>().expect("the store sends nothing else");
                        self.backoff.reset();
                        (patience, *asked) = (IDLE_MAX, false);
                        if let Err(end) = self.on_down(*down, told) {
                            return end;
                        }
                    }
                    Ok(Err(_)) => return End::Broken,
                    Err(_) if patience == SILENCE_MAX => return End::Broken,
                    Err(_) => self.progress.notify_one(),
                },
                () = self.progress.notified() => {
                    (patience, *asked) = (SILENCE_MAX, true);
                    if sender.send(Box::new(Up::Progress)).await.is_err() {
                        return End::Broken;
                    }
                }
            }
        }
    }

    fn on_down(&self, down: Down, told: &mut Option<Revision>) -> Result<(), End> {
        match down {
            Down::News(ViewEvent::Reset { at, items, more }) => {
                if !more {
                    *told = Some(at);
                }
                self.tell(ViewEvent::Reset { at, items, more });
                Ok(())
            }
            Down::News(ViewEvent::Delta { after, at, changes }) => {
                let before = told.ok_or(End::Gap)?;
                if after > before {
                    return Err(End::Gap);
                }
                // What was told before is told again after each resumption.
                let changes: Vec<_> = changes.into_iter().filter(|it| it.at() > before).collect();
                let at = at.max(before);
                *told = Some(at);
                self.tell(ViewEvent::Delta {
                    after: before,
                    at,
                    changes,
                });
                Ok(())
            }
            Down::News(ViewEvent::Lost) | Down::Compacted => Err(End::Gap),
            Down::Answer { .. } => unreachable!("nothing is asked on this connection"),
        }
    }
}
