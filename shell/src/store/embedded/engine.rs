//! The store's thread: takes all calls that wait, and has their effects made durable together; then their answers go.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use windlass_core::ids::OpId;
use windlass_core::kv::{ClientId, Effect, Input, Kv};
use windlass_core::machine::Machine;
use windlass_core::store::Call;

use super::EmbeddedError;
use super::group::{Clients, Group, Name};
use super::writer::Writer;
use crate::clock::Clock;
use crate::store::{Answers, Owed};

/// The most calls that share an fsync: bounds how long the first of them waits for the others.
const GROUP_CALLS_MAX: usize = 4_096;

/// The most bytes of log that share an fsync, but for the last call's: bounds memory, and the wait.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// How long the thread sleeps at most.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

/// What clients send to the store.
#[derive(Debug)]
pub(super) enum Message {
    /// A new client.
    Join(ClientId, Answers),
    /// A question.
    Call {
        /// Whose.
        client: ClientId,
        /// Its name.
        op: OpId,
        /// The question.
        call: Call,
        /// The answer that is owed.
        owed: Owed,
    },
    /// A client is gone.
    Leave(ClientId),
    /// The store shall end.
    Stop,
}

/// What the thread owns.
#[derive(Debug)]
pub(super) struct Engine<C> {
    kv: Kv,
    /// Whether what changes is to be written down.
    durable: bool,
    clock: C,
    clients: Clients,
    group: Group,
    effects: Vec<Effect>,
}

impl<C: Clock> Engine<C> {
    pub(super) fn new(kv: Kv, durable: bool, clock: C) -> Self {
        Self {
            kv,
            durable,
            clock,
            clients: Clients::default(),
            group: Group::default(),
            effects: Vec::new(),
        }
    }

    /// Serves until it is told to stop, or cannot keep its promises any more. Whatever is not durable then is never
    /// answered but by its loss. Without a writer, all is let go at once.
    pub(super) fn run(
        mut self,
        inbox: &Receiver<Message>,
        writer: Option<Writer>,
    ) -> Result<(), EmbeddedError> {
        assert_eq!(
            self.durable,
            writer.is_some(),
            "what is written has a writer"
        );
        let Some(mut writer) = writer else {
            while self.take_group(inbox) {
                self.group.release();
            }
            self.group.release();
            return Ok(());
        };
        loop {
            let told_to_go_on = self.take_group(inbox);
            let is_taken = writer.take(&mut self.group, &self.kv);
            if !(told_to_go_on && is_taken) {
                return writer.finish();
            }
        }
    }

    /// Serves a store without a disk until nobody can ask it any more.
    pub(super) async fn serve(mut self, mut inbox: UnboundedReceiver<Message>) {
        assert!(!self.durable, "a disk would hold up its runtime");
        let mut batch = Vec::new();
        loop {
            let lease_ends = self.kv.deadline().map(|(at, _)| at);
            tokio::select! { biased;
                count = inbox.recv_many(&mut batch, GROUP_CALLS_MAX) => {
                    if count == 0 {
                        return;
                    }
                }
                () = self.clock.sleep_until(lease_ends) => {}
            }
            self.handle(Input::Elapsed, None);
            for message in batch.drain(..) {
                if !self.on_message(message) {
                    return;
                }
            }
            self.group.release();
        }
    }

    /// Waits for a message or for a lease to end, then takes everything else that waits. `false` when the store shall
    /// end.
    fn take_group(&mut self, inbox: &Receiver<Message>) -> bool {
        let first = match self.kv.deadline() {
            Some((at, _)) => inbox.recv_timeout(at.since(self.clock.now().mono).min(SLEEP_MAX)),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let mut next = match first {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return false,
        };
        self.handle(Input::Elapsed, None);
        while let Some(message) = next.take() {
            if !self.on_message(message) {
                return false;
            }
            if self.group.calls() < GROUP_CALLS_MAX && self.group.log().len() < GROUP_BYTES_MAX {
                next = inbox.try_recv().ok();
            }
        }
        true
    }

    fn on_message(&mut self, message: Message) -> bool {
        match message {
            Message::Join(client, answers) => self.clients.join(client, answers),
            Message::Call {
                client,
                op,
                call,
                owed,
            } => {
                self.clients.on_call(client, op, &call);
                self.handle(Input::Call { client, op, call }, Some(((client, op), owed)));
            }
            Message::Leave(client) => {
                self.handle(Input::Leave { client }, None);
                self.clients.leave(client);
            }
            Message::Stop => return false,
        }
        true
    }

    fn handle(&mut self, input: Input, owed: Option<(Name, Owed)>) {
        self.kv.handle(self.clock.now(), input, &mut self.effects);
        self.group
            .add(&self.clients, &mut self.effects, owed, self.durable);
    }
}
