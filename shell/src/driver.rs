//! The only place where a machine meets tokio. Knows no store and has no `cfg`.

use std::time::Duration;

use tokio::sync::mpsc;
use windlass_core::machine::{Elapsed, Machine};

use crate::clock::Clock;

/// How many inputs are handled before effects are performed: bounds how long a stop order waits behind news.
const BATCH_MAX: usize = 256;

/// Performs effects. Every effect that expects an answer ends in exactly one input.
pub trait Ports<M: Machine> {
    /// Begins every effect, in order, and leaves the list empty. Never waits. The machine is there to be looked at.
    fn dispatch(&mut self, machine: &M, effects: &mut Vec<M::Effect>);

    /// Is told how long the machine took for what had come.
    fn decided(&mut self, span: Duration) {
        let _ = span;
    }
}

/// Runs a machine until every sender of its inbox is gone.
pub async fn run<M>(
    mut machine: M,
    clock: impl Clock,
    mut ports: impl Ports<M>,
    mut inbox: mpsc::UnboundedReceiver<M::Input>,
) where
    M: Machine<Input: From<Elapsed>>,
{
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut effects = Vec::new();
    let mut busy = Duration::ZERO;
    loop {
        let now = clock.now();
        machine.handle(now, Elapsed.into(), &mut effects);
        ports.decided(std::mem::take(&mut busy) + clock.now().mono.since(now.mono));
        ports.dispatch(&machine, &mut effects);
        let wake = machine.deadline().map(|(at, _)| at);
        tokio::select! { biased;
            count = inbox.recv_many(&mut batch, BATCH_MAX) => {
                if count == 0 {
                    return;
                }
                let began = clock.now().mono;
                for input in batch.drain(..) {
                    machine.handle(clock.now(), input, &mut effects);
                }
                busy = clock.now().mono.since(began);
            }
            () = clock.sleep_until(wake) => {}
        }
    }
}
